"""Leases: a run is terminated unless its client renews its lease in time."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from interlock.rules.model import Ref


class Leases(Protocol):
    """The leases of runs. `Executions.create` creates a lease in the commit that creates its run."""

    async def expires_at(self, ref: Ref) -> int | None:
        """Return when the lease of a run expires; None if it has no lease."""
        ...

    def renew(self, ref: Ref, at: int, length: int | None) -> Awaitable[int | None]:
        """Renew a lease from `at` on, for its length or a new one in microseconds.

        Returns:
            When it expires; None if the run has no lease, is terminal or is stopping.
        """
        ...

    async def next(self) -> int | None:
        """Return when the next lease of any tenant expires."""
        ...

    def expire(self, at: int) -> Awaitable[int]:
        """Terminate a batch of runs whose leases have expired, and return the number of these leases."""
        ...

    def news(self) -> Awaitable[None]:
        """Wait until a lease was created or renewed since the last call."""
        ...
