"""Bulk terminations and their plans."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from interlock.ports.access import ClientRow
from interlock.ports.audit import AuditEntry
from interlock.rules.model import TerminationRequest
from interlock.rules.values import value

Reach = frozenset[str] | None
"""The apps whose runs a client may terminate; None: all runs of the tenant."""


@value(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """A plan of a bulk termination. Its client can use it once, until `expires_at`."""

    id: str
    client: str
    expires_at: int
    total: int
    used: bool = False


@value(frozen=True, slots=True, kw_only=True)
class BulkTermination:
    """A bulk termination and its progress. The counters, except `below`, are about the runs that it names."""

    tenant: int
    id: str
    request: TerminationRequest
    paused: tuple[str, ...]
    """Automations whose new runs are paused."""
    at: int
    total: int
    accepted: int = 0
    repeated: int = 0
    already_finished: int = 0
    denied: int = 0
    not_found: int = 0
    finished_at: int | None = None
    aborted_at: int | None = None
    below: int = 0
    """Number of terminated descendants of the runs that it names."""

    @property
    def dealt_with(self) -> int:
        return self.accepted + self.repeated + self.already_finished + self.denied + self.not_found


class BulkTerminations(Protocol):
    """Plans and bulk terminations. A bulk termination has the id of its plan."""

    def plan(self, tenant: int, plan: PlanRow, at: int, executions: Sequence[int]) -> Awaitable[None]:
        """Store a plan. The ids may be unknown, or of another tenant."""
        ...

    async def find_plan(self, tenant: int, id: str) -> PlanRow | None: ...

    def hold_back(self, tenant: int, automations: Sequence[str], at: int, audit: AuditEntry) -> Awaitable[None]:
        """Pause new runs of these automations from this commit on, until their breakers are cleared."""
        ...

    def begin(self, order: BulkTermination, audit: AuditEntry) -> Awaitable[bool]:
        """Begin a bulk termination, and pause new runs of its `paused` automations in the same commit.

        Returns:
            False if its plan is unknown, was used, has expired, or belongs to another client.
        """
        ...

    async def get(self, tenant: int, id: str) -> BulkTermination | None: ...

    async def page(self, tenant: int, *, before: str | None = None, limit: int = 25) -> list[BulkTermination]:
        """Return bulk terminations, newest first, starting below the id `before`."""
        ...

    def abort(self, tenant: int, id: str, at: int, audit: AuditEntry) -> Awaitable[bool]:
        """Abort a bulk termination; return False if it is unknown or finished."""
        ...

    def unfinished(self) -> Awaitable[None]:
        """Wait until a bulk termination may be in progress. The first call returns immediately."""
        ...

    async def next(self) -> BulkTermination | None:
        """Return the oldest bulk termination in progress, of any tenant."""
        ...

    async def batch(self, order: BulkTermination, limit: int) -> list[int]:
        """Return the next runs of a bulk termination, at most `limit`."""
        ...

    def carry_out(
        self, order: BulkTermination, ids: Sequence[int], reach: Callable[[ClientRow | None], Reach], at: int
    ) -> Awaitable[None]:
        """Terminate the runs that the client may terminate, and count all, in one commit; the last batch finishes it.

        Args:
            order: The bulk termination.
            ids: The runs of the batch.
            reach: Returns what the client may terminate; it receives the client's row in the transaction.
            at: Engine time of the termination.
        """
        ...

    def forget_plans(self, at: int) -> Awaitable[None]:
        """Delete plans that were not used in time."""
        ...
