"""Recovery from an earlier process: its attempts in flight are settled, and runs are held back after a crash."""

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
"""Microseconds for which runs are held back after a crash, so that they can be terminated first."""
MAX_OPENING_MICROSECONDS: Final = 30 * SECOND
"""Microseconds for which runs are held back at most until the port is open."""
RECOVERY_BATCH: Final = 256
"""Runs that are settled concurrently."""
MAX_IDLE_RECOVERY_ROUNDS: Final = 10
"""Consecutive rounds of recovery in which other events may have moved every run."""


class Recovery:
    """Settles the runs that an earlier process left in flight.

    Args:
        executions: The runs.
        advance: Settles one run.
        clock: Measures the pauses.
        suspects: The runs that an earlier process worked on when it crashed.
        unclean: Whether the earlier process crashed.
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
        """Set once the port is open; None if no port will open."""
        self._opened_at: int | None = None
        self.is_due = False
        """Whether a recovery is required and has not succeeded yet."""
        self.holding = False
        """Whether runs are held back because the earlier process crashed, so that they can be terminated first."""

    async def begin(self) -> int:
        """Settle the runs that can be settled before the port opens, and return their number.

        After a crash only stopping runs are settled. One of the other runs may have caused the crash, so they are
        settled later, when clients have had time to terminate it.
        """
        self.is_due = True
        if self._unclean:
            self.holding = True
            return await self._settle_in_flight((State.STOPPING,))
        return await self.settle_all()

    async def settle_all(self) -> int:
        """Settle every run in flight, and return how many there were.

        Raises:
            Fatal: Another process changes the same runs.
        """
        for ref in self._suspects.all():
            row = await self._executions.get(ref)
            if row is None or row.state in TERMINAL:
                self._suspects.forget(ref)
        settled = await self._settle_in_flight(tuple(IN_FLIGHT))
        self.is_due = False
        return settled

    async def hold(self) -> None:
        """Wait as long as runs are held back, which is counted from the moment at which the port opened."""
        if not self.holding:
            return
        await self._clock.sleep_until(self._clock.now() + HOLD_MICROSECONDS)
        if self._opening is not None:
            latest = self._clock.now() + MAX_OPENING_MICROSECONDS
            await wait_for(self._opening.wait, self._clock, latest)
            opened_at = self._clock.now() if self._opened_at is None else self._opened_at
            await self._clock.sleep_until(opened_at + HOLD_MICROSECONDS)

    def opens_later(self) -> None:
        """Hold runs back until the port has been open for a while; call it before the port opens."""
        self._opening = asyncio.Event()

    def opened(self) -> None:
        """Record that the port is open."""
        if self._opening is not None:
            self._opened_at = self._clock.now()
            self._opening.set()

    async def _settle_in_flight(self, states: tuple[State, ...]) -> int:
        settled = idle_rounds = 0
        while found := await self._executions.in_flight(RECOVERY_BATCH, states):
            moved = await asyncio.gather(*(self._advance.recover(execution) for execution in found))
            # A termination may have moved every one of them, but not in many rounds.
            idle_rounds = 0 if any(moved) else idle_rounds + 1
            if idle_rounds == MAX_IDLE_RECOVERY_ROUNDS:
                raise Fatal("runs in flight cannot be recovered: another process is changing them")
            settled += len(found)
        return settled
