"""Terminations of many runs by one order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from interlock.ports.access import ClientRow
from interlock.ports.audit import AuditEntry
from interlock.rules.model import TerminationRequest

Reach = frozenset[str] | None
"""The apps whose runs a client may terminate; None: all runs of the tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """What somebody may order to be stopped: by that client, until then, once."""

    id: str
    client: str
    expires_at: int
    total: int
    used: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkTermination:
    """An order, and how far it has come. The other counters are about the runs that it names."""

    tenant: int
    id: str
    request: TerminationRequest
    paused: tuple[str, ...]
    """Automations whose new runs are held back."""
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
    """How many executions it stopped below those that it names."""

    @property
    def dealt_with(self) -> int:
        return self.accepted + self.repeated + self.already_finished + self.denied + self.not_found


class BulkTerminations(Protocol):
    """Plans and orders. An order has the id of the plan that it carries out."""

    def plan(self, tenant: int, plan: PlanRow, at: int, executions: Sequence[int]) -> Awaitable[None]:
        """Keep a plan. The ids may be unknown, or another tenant's."""
        ...

    async def find_plan(self, tenant: int, id: str) -> PlanRow | None: ...

    def hold_back(self, tenant: int, automations: Sequence[str], at: int, audit: AuditEntry) -> Awaitable[None]:
        """Hold back new runs of these automations from this commit on, until their breakers are cleared."""
        ...

    def begin(self, order: BulkTermination, audit: AuditEntry) -> Awaitable[bool]:
        """Carry out the plan of this id from now on, and in the same commit hold back new runs of `paused`.

        False: the plan is not there, was used, has expired, or is another client's.
        """
        ...

    async def get(self, tenant: int, id: str) -> BulkTermination | None: ...

    async def page(self, tenant: int, *, before: str | None = None, limit: int = 25) -> list[BulkTermination]:
        """Newest first, starting below the id `before`."""
        ...

    def abort(self, tenant: int, id: str, at: int, audit: AuditEntry) -> Awaitable[bool]:
        """Stop nobody further. False: unknown, or at its end."""
        ...

    def unfinished(self) -> Awaitable[None]:
        """Wait until there may be an order that is not at its end; at first there may."""
        ...

    async def next(self) -> BulkTermination | None:
        """The oldest order of any tenant that is not at its end."""
        ...

    async def batch(self, order: BulkTermination, limit: int) -> list[int]:
        """The next runs that it names."""
        ...

    def carry_out(
        self, order: BulkTermination, ids: Sequence[int], reach: Callable[[ClientRow | None], Reach], at: int
    ) -> Awaitable[None]:
        """Stop those that the order's client may stop, and count all, in one commit; the last batch ends the order.

        Args:
            reach: what the client may stop, given its row as it is in the transaction.
        """
        ...

    def forget_plans(self, at: int) -> Awaitable[None]:
        """Forget plans that nobody carried out in time."""
        ...
