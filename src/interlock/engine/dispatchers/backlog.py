"""The backlog of due runs: the nearest times are in memory, and a sweep reads the others from the store.

A time that was lost, or for which memory had no room, is found by a later sweep.
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
"""Microseconds between two sweeps, which find due runs without notifications."""
HORIZON: Final = 2 * SWEEP
"""Microseconds before its time from which a run is kept in memory."""
BATCH: Final = 1_000
"""Runs that one sweep reads, so that it does not block the loop. If there are more, the next sweep comes sooner."""
WALK_PAUSE_MICROSECONDS: Final = SECOND // 20
"""Microseconds between two batches of a long backlog, so that other work is not delayed."""

_LAST: Final = Ref(2**63 - 1, 2**63 - 1)


class ComeDue(Protocol):
    """Queues a due run. Returns False if there is no room. With `passing`, a run whose lane is full is skipped."""

    async def __call__(self, ref: Ref, *, passing: bool = False) -> bool: ...


class Backlog:
    """Finds the runs that are due, from the oldest to the newest.

    Args:
        executions: The runs.
        clock: Engine time.
        come_due: Queues each run that is due.
        near: The largest number of times in memory.
        sweep: Microseconds between two sweeps.
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
        """Up to this time `_timers` has every run that will be due; a sweep comes before it."""
        self._sweep_at = 0
        self._walked: tuple[int, Ref] | None = None
        """The last due run that the sweep has read; None if the sweep begins with the oldest."""
        self._walk_number = 0
        """Raised whenever the sweep has to begin with the oldest run again."""
        self._overflowed: set[tuple[int, str]] = set()
        """Lanes that had no room for a run. The sweep skips runs of such a lane until the lane is empty."""
        self._waiting_for: int | None = None
        self._sooner: asyncio.Event = asyncio.Event()
        self.has_more = False
        """Whether more runs are due than there is room for in memory."""

    @property
    def times(self) -> int:
        """The number of times in memory."""
        return len(self._timers)

    def expect(self, ref: Ref, at: int) -> None:
        """Keep a future time in memory, if the run is due before the next sweep."""
        if at > self._known_until:
            return
        if not self._timers.put(ref, at):
            self._know_until(at - 1)
        if self._waiting_for is not None and at < self._waiting_for:
            self._sooner.set()

    def forget(self, ref: Ref) -> None:
        """Remove the time of a run that is advanced now."""
        self._timers.forget(ref)

    async def take_due(self) -> None:
        """Pass each due run to `come_due`. After a failure the next call sweeps."""
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
        """Wait until the next time, or until a nearer one is known. With `at_once`, wait one turn of the loop."""
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
        """Sweep immediately, from where the last sweep ended."""
        self._sweep_at = 0
        self._sooner.set()

    def overflow(self, tenant: int, host: str) -> None:
        """Record that the lane of this host had no room for a run."""
        self._overflowed.add((tenant, host))

    @property
    def has_overflow(self) -> bool:
        """Whether a lane had no room for a run."""
        return bool(self._overflowed)

    def refill(self, tenant: int, host: str) -> None:
        """Sweep for the runs that the lane had no room for; call it when the lane is empty."""
        if (tenant, host) in self._overflowed:
            self._overflowed.discard((tenant, host))
            self._walk_anew()

    def clock_moved(self) -> None:
        """Read all times from the store again, because they were moved with the clock."""
        self._timers = Timers(self._near)
        self._known_until = 0
        self._walk_anew()

    def _walk_anew(self) -> None:
        """Sweep now, from the oldest due run on."""
        self._walked = None
        self._walk_number += 1
        self.sweep_now()

    def _know_until(self, at: int) -> None:
        """Record that times after `at` are not in memory, and sweep before then."""
        self._known_until = min(self._known_until, at)
        self._sweep_at = min(self._sweep_at, at + 1)

    async def _sweep(self, now: int) -> None:
        """Read the runs that are due or soon will be, also those whose notification was lost."""
        self._sweep_at = now + self._sweep_every
        self._known_until = now + HORIZON
        timers = self._timers
        soon = await self._executions.due(now, BATCH, HORIZON, (now, _LAST))
        if self._timers is not timers:
            # The clock was moved meanwhile, so these times are out of date.
            return
        for ref, at in soon:
            if not timers.put(ref, at):
                self._know_until(at - 1)
                break
        if len(soon) >= BATCH:
            self._know_until(max(soon[-1][1] - 1, now + SECOND))
        await self._walk(now)

    async def _walk(self, now: int) -> None:
        """Queue the next batch of due runs.

        Batches go from the oldest run to the newest, so that thousands of runs that wait for one host do not hide the
        runs behind them.
        """
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
