"""What a dispatcher does after an earlier process: it settles attempts in flight, and holds runs back after a crash."""

from __future__ import annotations

import asyncio
from typing import Final

from interlock.engine.advance import Advance
from interlock.engine.suspects import Suspects
from interlock.engine.waiting import wait_for
from interlock.errors import Fatal
from interlock.ports import Clock, Executions
from interlock.rules.model import SECOND
from interlock.rules.states import IN_FLIGHT, TERMINAL, State

HOLD_MICROSECONDS: Final = SECOND // 2
"""How long no run continues after a process that did not end in order, so that runs can be terminated before."""
MAX_OPENING_MICROSECONDS: Final = 30 * SECOND
"""How long runs are held back at most for a port that is about to open."""
RECOVERY_BATCH: Final = 256
"""Runs that are settled together."""
MAX_IDLE_RECOVERY_ROUNDS: Final = 10
"""Rounds of recovery in a row that may find every run moved by another event."""


class Recovery:
    """Settles the runs that an earlier process left in flight.

    Args:
        executions: the runs.
        advance: settles one run.
        clock: for the pauses.
        suspects: the runs that an earlier process did not survive.
        unclean: whether the earlier process ended without order.
    """

    def __init__(
        self, executions: Executions, advance: Advance, clock: Clock, suspects: Suspects, *, unclean: bool
    ) -> None:
        self._executions = executions
        self._advance = advance
        self._clock = clock
        self._suspects = suspects
        self._unclean = unclean
        self._opening: asyncio.Event | None = None
        """Set once the port is open; None: there is none to wait for."""
        self.is_due = False
        """A recovery is to be done, or was begun and has not succeeded."""
        self.holding = False
        """No run continues yet, so that runs can be terminated: the earlier process ended without order."""

    async def begin(self) -> int:
        """Settle what can be settled before the port opens, and return how many runs that was.

        After a process that ended without order, only stopping runs are settled: one of the other runs may have ended
        it, so they are settled when callers have had time to terminate it.
        """
        self.is_due = True
        if self._unclean:
            self.holding = True
            return await self._settle_in_flight((State.STOPPING,))
        return await self.settle_all()

    async def settle_all(self) -> int:
        """Settle every run in flight, and return how many there were.

        Raises:
            Fatal: another process changes the same runs.
        """
        for ref in self._suspects.all():
            row = await self._executions.get(ref)
            if row is None or row.state in TERMINAL:
                self._suspects.forget(ref)
        settled = await self._settle_in_flight(tuple(IN_FLIGHT))
        self.is_due = False
        return settled

    async def hold(self) -> None:
        """Wait while runs are held back; the time begins when the port is open."""
        if not self.holding:
            return
        await self._clock.sleep_until(self._clock.now() + HOLD_MICROSECONDS)
        if self._opening is not None:
            latest = self._clock.now() + MAX_OPENING_MICROSECONDS
            await wait_for(self._opening.wait, self._clock, latest)
            await self._clock.sleep_until(self._clock.now() + HOLD_MICROSECONDS)

    def opens_later(self) -> None:
        """Note that the port is about to open: runs are held back until it was open for a while."""
        self._opening = asyncio.Event()

    def opened(self) -> None:
        """Note that the port is open."""
        if self._opening is not None:
            self._opening.set()

    async def _settle_in_flight(self, states: tuple[State, ...]) -> int:
        settled = idle_rounds = 0
        while found := await self._executions.in_flight(RECOVERY_BATCH, states):
            moved = await asyncio.gather(*(self._advance.recover(execution) for execution in found))
            # A termination may have been faster with each of them, but not again and again.
            idle_rounds = 0 if any(moved) else idle_rounds + 1
            if idle_rounds == MAX_IDLE_RECOVERY_ROUNDS:
                raise Fatal("runs in flight cannot be recovered: another process is changing them")
            settled += len(found)
        return settled
