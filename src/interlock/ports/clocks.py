"""The clock readings that a store keeps, so that a wrong clock is detected and corrected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from interlock.ports.audit import AuditEntry
from interlock.rules.values import value


@value(frozen=True, slots=True, kw_only=True)
class ClockMark:
    """The readings of the clocks at one moment."""

    boot: str
    """Identifies the boot of the machine at which `uptime` is 0."""
    uptime: int
    """Microseconds."""
    now: int
    """Engine time."""


class Clocks(Protocol):
    """The readings and corrections of the clock of a store."""

    async def mark(self) -> ClockMark | None:
        """Return the newest stored mark."""
        ...

    def keep_mark(self, mark: ClockMark, held: int | None) -> Awaitable[None]:
        """Store a mark and `held` in one commit, because the next mark would say that the clock is right."""
        ...

    async def newest(self) -> int | None:
        """Return the time of the newest row of all audit records."""
        ...

    async def held(self) -> int | None:
        """Return the time of the newest record while retention waits for an operator to confirm the clock, or None."""
        ...

    def confirm(self, at: int, audit: AuditEntry) -> Awaitable[bool]:
        """Let retention remove old records again; return False if it does already."""
        ...

    def may_move(self) -> bool:
        """Whether the disk has room for a move. A failed move leaves wrong times in what was submitted meanwhile."""
        ...

    def move(
        self, by: int, wall: int, mark: ClockMark, held: int | None, audit: AuditEntry, moved: Callable[[], None]
    ) -> Awaitable[None]:
        """Move all stored times that runs wait for, in one commit with an audit row for each tenant.

        Changes that were submitted before are moved, and later ones are not: the caller moves engine time in the same
        turn of the loop.

        Args:
            by: Microseconds; negative to move back.
            wall: The right time.
            mark: The readings of the clocks after the move.
            held: Stored with the mark, as by `keep_mark`.
            audit: The audit row of each tenant.
            moved: Called right after the commit, before anything else.
        """
        ...
