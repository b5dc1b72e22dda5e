"""The runs that come due: the nearest times are in memory, and a sweep asks the store for the others.

The store holds the truth. A time that was lost, or found no room in memory, is found by a later sweep.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from interlock.engine.dispatchers.timers import Timers
from interlock.engine.waiting import wait_for
from interlock.ports import Clock, Executions
from interlock.rules.model import SECOND, Ref
from interlock.system import yield_to_loop

SWEEP: Final = 10 * SECOND
"""How often the store is asked for what is due, hints or no hints."""
HORIZON: Final = 2 * SWEEP
"""How far ahead of its time a run is taken into memory."""
BATCH: Final = 1_000
"""Runs asked for in one sweep: what a turn of the loop can bear. If there are more, the next sweep comes sooner."""
WALK_PAUSE_MICROSECONDS: Final = SECOND // 20
"""Between two batches of a long backlog, so that other work has its turn."""

_LAST: Final = Ref(2**63 - 1, 2**63 - 1)


class ComeDue(Protocol):
    """Takes on a run that is due. `passing`: pass over it if its lane is full. False: there is no room for it."""

    async def __call__(self, ref: Ref, *, passing: bool = False) -> bool: ...


class Backlog:
    """Finds the runs that are due, from the oldest to the newest.

    Args:
        executions: the runs.
        clock: says what is due.
        come_due: takes on each run that is due.
        near: most times in memory.
        sweep: microseconds between two sweeps.
    """

    def __init__(
        self,
        executions: Executions,
        clock: Clock,
        come_due: ComeDue,
        near: int,
        sweep: int,
    ) -> None:
        self._executions = executions
        self._clock = clock
        self._come_due = come_due
        self._near = near
        self._sweep_every = sweep
        self._timers = Timers(near)
        self._known_until = 0
        """Up to this time everything that will come due is in `_timers`; there is a sweep before it has come."""
        self._sweep_at = 0
        self._walked: tuple[int, Ref] | None = None
        """How far the sweep has come among the runs that are due; None: it begins with the oldest."""
        self._walk_number = 0
        """Raised whenever the sweep is told to begin with the oldest again."""
        self._overflowed: set[tuple[int, str]] = set()
        """Lanes that had no room for a run: the sweep passes over those like it until the lane is empty."""
        self._waiting_for: int | None = None
        self._sooner: asyncio.Event = asyncio.Event()
        self.has_more = False
        """More is due than there is room for in memory."""

    @property
    def times(self) -> int:
        """Times held in memory."""
        return len(self._timers)

    def expect(self, ref: Ref, at: int) -> None:
        """Note a time to come, if it comes before a sweep would find it."""
        if at > self._known_until:
            return
        if not self._timers.put(ref, at):
            self._know_until(at - 1)
        if self._waiting_for is not None and at < self._waiting_for:
            self._sooner.set()

    def forget(self, ref: Ref) -> None:
        """Drop the time of a run that is looked at now."""
        self._timers.forget(ref)

    async def take_due(self) -> None:
        """Report each run that has come due. After a failure the next call asks the store."""
        now = self._clock.now()
        try:
            for ref in self._timers.due(now):
                await self._come_due(ref)
            if now >= self._sweep_at:
                await self._sweep(now)
        except Exception:
            self._sweep_at = 0
            raise

    async def wait(self, *, at_once: bool = False) -> None:
        """Return at the next time, or when a nearer one was noted; `at_once` after one turn of the loop."""
        next_at = self._timers.next_at
        until = self._sweep_at if next_at is None else min(next_at, self._sweep_at)
        if at_once or until <= self._clock.now():
            await yield_to_loop()
            return
        self._waiting_for = until
        self._sooner.clear()
        try:
            await wait_for(self._sooner.wait, self._clock, until)
        finally:
            self._waiting_for = None

    def wake(self) -> None:
        """End `wait`."""
        self._sooner.set()

    def sweep_now(self) -> None:
        """Ask the store at once, where the last sweep ended."""
        self._sweep_at = 0
        self._sooner.set()

    def overflow(self, tenant: int, host: str) -> None:
        """Note that the lane of this host had no room for a run."""
        self._overflowed.add((tenant, host))

    @property
    def has_overflow(self) -> bool:
        """Whether a lane had no room for a run."""
        return bool(self._overflowed)

    def refill(self, tenant: int, host: str) -> None:
        """Look for the runs that an empty lane had no room for, if there were any."""
        if (tenant, host) in self._overflowed:
            self._overflowed.discard((tenant, host))
            self._walk_anew()

    def clock_moved(self) -> None:
        """Ask the store anew for all times: it has moved them with the clock."""
        self._timers = Timers(self._near)
        self._known_until = 0
        self._walk_anew()

    def _walk_anew(self) -> None:
        """Sweep now, beginning with the oldest run that is due."""
        self._walked = None
        self._walk_number += 1
        self.sweep_now()

    def _know_until(self, at: int) -> None:
        """What comes due later than this is not in memory: there has to be a sweep by then."""
        self._known_until = min(self._known_until, at)
        self._sweep_at = min(self._sweep_at, at + 1)

    async def _sweep(self, now: int) -> None:
        """Ask the store for what is due and what soon will be. Finds whatever a lost hint would have left."""
        self._sweep_at = now + self._sweep_every
        self._known_until = now + HORIZON
        timers = self._timers
        soon = await self._executions.due(now, BATCH, HORIZON, (now, _LAST))
        if self._timers is not timers:
            # The clock was moved meanwhile: these are times of the old one.
            return
        for ref, at in soon:
            if not timers.put(ref, at):
                self._know_until(at - 1)
                break
        if len(soon) >= BATCH:
            self._know_until(max(soon[-1][1] - 1, now + SECOND))
        await self._walk(now)

    async def _walk(self, now: int) -> None:
        """Take on the next runs that are due. One batch follows the other from the oldest to the newest, so that
        thousands that wait for one host do not hide those behind them."""
        self.has_more = False
        walk = self._walk_number
        found = await self._executions.due(now, BATCH, 0, self._walked)
        for ref, at in found:
            has_room = await self._come_due(ref, passing=self.has_overflow)
            if self._walk_number != walk:
                # The next sweep begins with the oldest.
                return
            if not has_room:
                self.has_more = True
                return
            self._walked = (at, ref)
        if self._walk_number != walk:
            return
        if len(found) >= BATCH:
            self._sweep_at = now + WALK_PAUSE_MICROSECONDS
        else:
            self._walked = None
