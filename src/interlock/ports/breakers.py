"""Circuit breakers."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from interlock.ports.audit import AuditEntry
from interlock.ports.bulk import BulkAction
from interlock.rules.breaker import Trip


class Breakers(Protocol):
    """The circuit breakers of automations. They are set with the automation, and trip when a run is created."""

    async def trips(self, tenant: int, automations: Sequence[str]) -> Mapping[str, Trip]:
        """Automation to how its breaker tripped; those whose breaker is closed, or that have none, are left out."""
        ...

    def settle(
        self, tenant: int, automation: str, at: int, audit: AuditEntry, *, reset: bool, decided: BulkAction | None
    ) -> Awaitable[str]:
        """Reset the breaker, decide about the runs held back until now, or both, in one commit with its audit row.

        Returns the id of the bulk action: the new one, that of an earlier one if it does the same for the same runs, or
        "" if nothing is held back or nothing was decided. A later decision takes the place of an earlier one for the
        runs that this has not reached.

        Raises:
            NotFound: the automation is unknown. A deleted one is not: what it holds back still has to be decided about.
        """
        ...
