"""Dead-man leases: a run is terminated unless somebody keeps saying that it is wanted."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from interlock.rules.model import Ref


class Leases(Protocol):
    """The leases of runs. One is made in the commit that creates its run, by `Executions.create`."""

    async def expires_at(self, ref: Ref) -> int | None:
        """None: the run has none."""
        ...

    def renew(self, ref: Ref, at: int, length: int | None) -> Awaitable[int | None]:
        """Let it run from `at` for its length, or a new one, in microseconds; returns when it expires then.

        None: the run has no lease, or has ended or is being stopped.
        """
        ...

    async def next(self) -> int | None:
        """When the next lease of any tenant expires."""
        ...

    def expire(self, at: int) -> Awaitable[int]:
        """Terminate the next runs whose lease has expired; returns how many leases ended, 0 if none had expired."""
        ...

    def news(self) -> Awaitable[None]:
        """Wait until a lease was made or renewed since the last call."""
        ...
