"""The audit record."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

from interlock.rules.model import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """What goes into the audit record beside a change. `action` is `resource.verb`, `details` is JSON text."""

    actor: Actor
    action: str
    target: str
    outcome: str = "ok"
    reason: str = ""
    details: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One row of the audit record as it is kept."""

    tenant: int
    id: int
    at: int
    entry: AuditEntry
    hash: bytes | None = None
    """SHA-256 over the hash before it and this row; None until sealed."""


class AuditLog(Protocol):
    """The audit record: appended to by the other stores, in the transaction of what it tells of."""

    def append(self, tenant: int, at: int, entry: AuditEntry) -> Awaitable[None]:
        """For what changes nothing else, such as a denial."""
        ...

    def refuse(self, tenant: int, at: int, entry: AuditEntry) -> Awaitable[None]:
        """Record that something was refused: a row of its own, or, where one caller is refused over and over, one of
        those that a later row counts."""
        ...

    def sum_up(self, at: int, *, every: bool = False) -> Awaitable[None]:
        """Write the rows that count what was refused, of the windows that are over or, before an end, of every one."""
        ...

    async def news(self) -> None:
        """Return once something was committed since the last call; at once the first time."""
        ...

    def look_again(self) -> None:
        """Let `news` return though nothing was committed."""
        ...

    async def unsealed(self, limit: int) -> list[AuditRow]:
        """The oldest rows that are not sealed, at most `limit` of each tenant, in the order of their ids."""
        ...

    async def head(self, tenant: int) -> tuple[int, bytes]:
        """(id, hash) of the newest sealed row; (0, 32 zero bytes) before the first."""
        ...

    def seal(self, tenant: int, head: tuple[int, bytes], seals: Sequence[tuple[int, bytes]]) -> Awaitable[bool]:
        """Append (id, hash) to the chain, if `head` is still its newest seal; False if it is not."""
        ...

    async def rows(self, tenant: int, *, after: int = 0, limit: int = 1000) -> list[AuditRow]: ...
