"""Circuit breakers."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from interlock.ports.audit import AuditEntry
from interlock.ports.bulk import BulkAction
from interlock.rules.breaker import Trip


class Breakers(Protocol):
    """The circuit breakers of automations. They are configured with the automation, and trip when a run is created."""

    async def trips(self, tenant: int, automations: Sequence[str]) -> Mapping[str, Trip]:
        """Return the trip of each automation whose breaker has tripped."""
        ...

    def settle(
        self, tenant: int, automation: str, at: int, audit: AuditEntry, *, reset: bool, decided: BulkAction | None
    ) -> Awaitable[str]:
        """Reset a breaker, decide about the runs that it has paused, or both, in one commit with an audit row.

        A later decision replaces an earlier one for the runs that this has not reached.

        Returns:
            The id of the bulk action: the new one, or an earlier one that does the same for the same runs; "" if no
            run is paused or nothing was decided.

        Raises:
            NotFound: The automation is unknown. A deleted automation is known: its paused runs still need a decision.
        """
        ...
