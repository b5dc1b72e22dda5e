"""The audit record."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from interlock.rules.model import Actor
from interlock.rules.values import value


@value(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """The audit data of a change. `action` is `resource.verb`, `details` is JSON text."""

    actor: Actor
    action: str
    target: str
    outcome: str = "ok"
    reason: str = ""
    details: bytes | None = None


@value(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One stored row of the audit record."""

    tenant: int
    id: int
    at: int
    entry: AuditEntry
    hash: bytes | None = None
    """SHA-256 over the previous hash and this row; None until the row is sealed."""


class AuditLog(Protocol):
    """The audit record. The other stores append to it in the transaction of the change."""

    def append(self, tenant: int, at: int, entry: AuditEntry) -> Awaitable[None]:
        """Append a row that belongs to no other change."""
        ...

    def refuse(self, tenant: int, at: int, entry: AuditEntry) -> Awaitable[None]:
        """Record a refusal: with a row of its own, or, for repeated refusals of one caller, in a later row that counts
        them."""
        ...

    def sum_up(self, at: int, *, every: bool = False) -> Awaitable[None]:
        """Write the rows that count refusals, for windows that have ended, or for all windows with `every`."""
        ...

    async def news(self) -> None:
        """Return when a commit was made since the last call; the first call returns immediately."""
        ...

    def look_again(self) -> None:
        """Let `news` return without a commit."""
        ...

    async def unsealed(self, limit: int) -> list[AuditRow]:
        """Return the oldest unsealed rows, at most `limit` of each tenant, in the order of their ids."""
        ...

    async def head(self, tenant: int) -> tuple[int, bytes]:
        """Return (id, hash) of the newest sealed row; (0, 32 zero bytes) before the first."""
        ...

    def seal(self, tenant: int, head: tuple[int, bytes], seals: Sequence[tuple[int, bytes]]) -> Awaitable[bool]:
        """Append (id, hash) pairs to the chain if `head` is still its newest seal; return False otherwise."""
        ...

    async def rows(self, tenant: int, *, after: int = 0, limit: int = 1000) -> list[AuditRow]: ...
