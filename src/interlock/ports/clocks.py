"""What a store remembers of the clock, so that a wrong one is noticed and put right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from interlock.ports.audit import AuditEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockMark:
    """What the clocks said at one moment."""

    boot: str
    """Names the start of the machine since which `uptime` counts."""
    uptime: int
    """Microseconds."""
    now: int
    """Engine time."""


class Clocks(Protocol):
    """The clock of the store's times."""

    async def mark(self) -> ClockMark | None:
        """The newest mark that was kept."""
        ...

    def keep_mark(self, mark: ClockMark, held: int | None) -> Awaitable[None]:
        """Keep the mark, and `held` in the same commit: the next mark would say that the clock is right."""
        ...

    async def newest(self) -> int | None:
        """When the newest row of any audit record was written."""
        ...

    async def held(self) -> int | None:
        """Of when the newest record was, if nothing is removed until an operator confirms the clock."""
        ...

    def confirm(self, at: int, audit: AuditEntry) -> Awaitable[bool]:
        """Let old records be removed again; False if they are."""
        ...

    def may_move(self) -> bool:
        """Whether there is room for a move. One that fails leaves what came meanwhile with a time that never was."""
        ...

    def move(
        self, by: int, wall: int, mark: ClockMark, held: int | None, audit: AuditEntry, moved: Callable[[], None]
    ) -> Awaitable[None]:
        """Move every time that something waits for, in one commit with a row on each tenant's record.

        What was submitted before is moved, and what is submitted later is not: the caller moves engine time in the same
        turn of the loop.

        Args:
            by: microseconds, negative to move back.
            wall: the right time.
            mark: what the clocks say once that is done.
            held: kept with it, as by `keep_mark`.
            moved: called right after the commit, before anything else is done.
        """
        ...
