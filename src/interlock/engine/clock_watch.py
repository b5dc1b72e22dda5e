"""The clock watch: it compares engine time with the wall clock, because engine time only counts from the start.

If the two differ by more than `CLOCK_DRIFT_MICROSECONDS`, one commit moves engine time to the wall clock, together with
every time that something waits for. So a wait of 30 minutes takes 30 minutes of real time, whatever the wall clock did.
Records keep the time with which they were written, and an audit row records the move. After a restart of the process,
but not of the machine, the uptime of the machine is used in the same way.

Old records are removed by age, so a clock that is years ahead would remove all of them. Nothing is removed in the first
hour of a process, and, if the clock is far from the newest record, until an operator confirms the clock.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from interlock.errors import InterlockError
from interlock.ports import AuditEntry, Clock
from interlock.ports.clocks import ClockMark, Clocks
from interlock.rules.model import SECOND, SYSTEM

CLOCK_DRIFT_MICROSECONDS: Final = 5 * SECOND
"""Microseconds by which engine time and the wall clock may differ before engine time is moved."""
LOOK_EVERY: Final = 5 * SECOND
MARK_EVERY: Final = 60 * SECOND
"""Microseconds between two marks of the clock in the store."""
FAR: Final = 7 * 86_400 * SECOND
"""Microseconds between the clock and the newest record from which on an operator has to confirm the clock."""
NO_REMOVAL_AFTER_START: Final = 3_600 * SECOND
"""Microseconds after the start of a process, and after a move of its clock, in which nothing old is removed."""
MOVE_ACTION: Final = "clock.move"
CONFIRM_ACTION: Final = "clock.confirm"

_log = logging.getLogger(__name__)


class ClockWatch:
    """Compares the clocks, and decides whether old records may be removed.

    Args:
        clocks: The times that the store keeps.
        clock: Engine time, the wall clock and the uptime.
        moved: Called after the commit with the number of microseconds by which engine time was moved.
    """

    def __init__(self, clocks: Clocks, clock: Clock, moved: Callable[[int], None] = lambda by: None) -> None:
        self._clocks = clocks
        self._clock = clock
        self._tell_moved = moved
        self._removable_from = clock.uptime() + NO_REMOVAL_AFTER_START
        self._held: int | None = None
        self._newest: int | None = None
        """The newest record of the previous process. Records of this process have the time that is in doubt."""
        self.unmoved = 0
        """Microseconds by which the stored times still have to be moved, because engine time was moved or the clock
        changed before the start."""
        self._look_at = self._mark_at = clock.uptime()

    async def read_record(self) -> None:
        """Read the times of the previous process. Call it before this process writes anything."""
        self._held = await self._clocks.held()
        self._newest = await self._clocks.newest()

    @property
    def drift(self) -> int:
        """Microseconds by which the wall clock is ahead of engine time."""
        return self._clock.wall() - self._clock.now()

    @property
    def problem(self) -> str:
        """A description of what is wrong with the clock; empty if nothing is wrong."""
        if abs(self.drift) > CLOCK_DRIFT_MICROSECONDS:
            return f"the wall clock is {_told(self.drift)} engine time, which is being moved"
        if self._held is None:
            return ""
        now = self._clock.now()
        return (
            f"the clock says {_date(now)}, and the newest record was of {_date(self._held)}: nothing old is removed "
            f"until the server is started with --confirm-clock {_date(now)}"
        )

    def may_remove(self) -> bool:
        """Return whether records that have reached their retention time may be removed now."""
        return self._held is None and not self._drifted and self._clock.uptime() >= self._removable_from

    @property
    def _drifted(self) -> bool:
        return abs(self.drift) > CLOCK_DRIFT_MICROSECONDS

    async def begin(self, *, confirmed: str = "") -> None:
        """Compare the clock with the times that `read_record` found. Call it before any work begins.

        Args:
            confirmed: Today's date in UTC as the operator confirmed it, as YYYY-MM-DD; empty if not confirmed.
        """
        known, clock = await self._clocks.mark(), self._clock
        newest = self._newest
        if known is not None:
            newest = max(known.now, newest or known.now)
        if newest is not None and abs(clock.now() - newest) > FAR:
            self._hold(newest)
        if known is not None and known.boot == clock.boot():
            # The uptime of the machine went on while no process counted.
            self.unmoved = clock.now() - (known.now + clock.uptime() - known.uptime)
            await self._catch_up()
        if self._held is not None and confirmed == _date(clock.now()):
            await self._clocks.confirm(
                clock.now(), AuditEntry(actor=SYSTEM, action=CONFIRM_ACTION, target="", reason=confirmed)
            )
            self._held = None
        await self._mark()

    async def look(self) -> None:
        """Compare the clocks if the last comparison is `LOOK_EVERY` ago. Call it about once a second."""
        uptime = self._clock.uptime()
        if uptime >= self._look_at:
            self._look_at = uptime + LOOK_EVERY
            await self._catch_up()
            if self._drifted and self._clocks.may_move():
                by = self.drift
                if abs(by) > FAR:
                    self._hold(self._clock.now())
                await self._move(by, by)
        if uptime >= self._mark_at:
            await self._mark()

    async def _catch_up(self) -> None:
        """Move the stored times, but not engine time, by what is left of an earlier change of the clock."""
        if abs(self.unmoved) > CLOCK_DRIFT_MICROSECONDS:
            await self._move(self.unmoved, 0)
        self.unmoved = 0

    async def _move(self, by: int, clock_by: int) -> None:
        """Move the stored times by `by`, and engine time by `clock_by`."""
        clock = self._clock
        right = clock.now() + clock_by
        details = json.dumps({"microseconds": by, "from": right - by, "to": right})
        reason = f"the clock was {_told(-by)} the time"
        audit = AuditEntry(actor=SYSTEM, action=MOVE_ACTION, target="", reason=reason, details=details.encode())
        mark = ClockMark(boot=clock.boot(), uptime=clock.uptime(), now=right)
        self._removable_from = clock.uptime() + NO_REMOVAL_AFTER_START
        moving = self._clocks.move(by, right, mark, self._held, audit, lambda: self._moved(by))
        _log.warning("the wall clock is %s engine time; engine time and all stored times are moved", _told(by))
        # Within one turn of the loop: jobs that were submitted earlier have the old time, which the commit moves.
        clock.move(clock_by)
        self.unmoved = by
        try:
            await moving
        except InterlockError:
            clock.move(-clock_by)
            self.unmoved -= clock_by
            raise

    def _moved(self, by: int) -> None:
        self.unmoved = 0
        self._tell_moved(by)

    def _hold(self, newest: int) -> None:
        """Remove nothing until an operator confirms the clock. The commit of the next mark stores this as well."""
        if self._held is None:
            self._held = newest
            _log.warning(
                "no old record is removed until the clock is confirmed; it was %s",
                _date(newest),
            )

    async def _mark(self) -> None:
        clock = self._clock
        self._mark_at = clock.uptime() + MARK_EVERY
        await self._clocks.keep_mark(ClockMark(boot=clock.boot(), uptime=clock.uptime(), now=clock.now()), self._held)


def _date(at: int) -> str:
    try:
        return datetime.fromtimestamp(at // SECOND, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return f"{at} microseconds after 1970"


def _told(by: int) -> str:
    return f"{abs(by) / SECOND:.1f} s {'ahead of' if by > 0 else 'behind'}"
