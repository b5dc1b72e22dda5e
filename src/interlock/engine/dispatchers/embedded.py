"""The embedded dispatcher: one process, one event loop, and a bounded number of attempts in flight.

Due runs come from an index of the store. Only the nearest times are in memory, with one sleep for all of them, so a
waiting run uses disk space only. A slot is a task that advances one run until the run waits or is terminal.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from interlock.engine.advance import Advance
from interlock.engine.commits import ActiveRun
from interlock.engine.dispatchers.backlog import SWEEP, Backlog
from interlock.engine.dispatchers.recovery import Recovery
from interlock.engine.held import SUPERSEDED, Again, Claim, Held, Turn, Waits
from interlock.engine.supervisor import Supervisor
from interlock.engine.suspects import Suspects
from interlock.engine.turns import Limits, Turns
from interlock.engine.waiting import all_ended, wait_for
from interlock.errors import Fatal, Unavailable
from interlock.ports import Clock, Executions, Marks, NoMarks
from interlock.rules.model import SECOND, Ref
from interlock.rules.states import State

SLOTS: Final = 256
NEAR: Final = 10_000
"""Runs whose time is in memory, and runs in the queue for a slot, at most; the store has the others."""
CRASH_PAUSE_MICROSECONDS: Final = SECOND
"""Microseconds until a run is advanced again after a defect."""
MAX_CRASHES: Final = 3
"""Times that advancing one run may fail because of a defect before the run ends in `ERROR`."""

_log = logging.getLogger(__name__)


class EmbeddedDispatcher:
    """`ports.Dispatcher` and `engine.start.Slots` for the one process that owns its store.

    It listens to the store's commits (`Store.listen`), and advances runs while `run` is running. Before that, and while
    it drains, notifications are only recorded.
    """

    def __init__(
        self,
        executions: Executions,
        advance: Advance,
        clock: Clock,
        *,
        slots: int | Limits = SLOTS,
        near: int = NEAR,
        sweep: int = SWEEP,
        supervisor: Supervisor | None = None,
        marks: Marks | None = None,
    ) -> None:
        self.holder = advance.holder
        self._supervisor = supervisor or Supervisor(clock)
        self._executions = executions
        self._advance = advance
        self._clock = clock
        self._turns = Turns(slots if isinstance(slots, Limits) else Limits(slots), near)
        self._held: dict[Ref, Held] = {}
        self._backlog = Backlog(executions, clock, self._come_due, near, sweep)
        known = marks if marks is not None else NoMarks()
        self._suspects = Suspects(known)
        self._recovery = Recovery(executions, advance, clock, self._suspects, unclean=known.unclean)
        self._side: set[asyncio.Task[None]] = set()
        self._running = False
        self._draining = False
        self._drained: asyncio.Event = asyncio.Event()
        """Set once nothing is in flight."""
        self._failure: BaseException | None = None
        self._crashes: Counter[Ref] = Counter()

    # --- counts ---------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> int:
        """The number of slots in use."""
        return len(self._held)

    @property
    def in_line(self) -> int:
        """The number of runs that are known to be ready and wait for a slot."""
        return len(self._turns) + len(self._suspects)

    @property
    def timers(self) -> int:
        """The number of times in memory."""
        return self._backlog.times

    @property
    def holding(self) -> bool:
        """Whether runs are held back because the previous process crashed, so that they can be terminated first."""
        return self._recovery.holding

    # --- notifications of the store's commits ---------------------------------------------------------------------

    def interrupt(self, ref: Ref, epoch: int) -> None:
        """Cancel the attempt of a run in a slot if it was announced with a lower epoch."""
        held = self._held.get(ref)
        if held is not None:
            held.interrupt(epoch)

    def ready(self, ref: Ref, at: int | None) -> None:
        """Advance a run at a time, or immediately if the time is None or has passed."""
        if at is not None and at > self._clock.now():
            self._backlog.expect(ref, at)
            return
        # A deadline may have passed while the termination that set it was being committed.
        held = self._held.get(ref)
        if held is None:
            self._enqueue(ref)
        else:
            # A notification cannot wait for a read: a separate task reads whether it is about a deadline.
            held.ready_notifications += 1
            self._beside("deadline", lambda: self._look_at_deadline(ref))
        self._fill()

    def stopped(self, ref: Ref) -> None:
        """Remove a run whose termination was accepted from the queue, or cancel its evaluation."""
        self._turns.forget(ref)
        held = self._held.get(ref)
        if held is not None:
            held.stop()
        elif ref in self._suspects:
            self._suspects.forget(ref)

    # --- slots for runs that are being created --------------------------------------------------------------------

    def try_slot(self, ref: Ref) -> Held | None:
        """Take a slot for a new run; None if no slot is free, or if older runs of the tenant are queued."""
        turns, tenant = self._turns, ref.tenant
        if not self._running or self._draining or not turns.free_for(tenant) or turns.waits_for(tenant, None):
            return None
        turns.take(tenant)
        held = self._held[ref] = Held(ref, turns)
        return held

    def took(self, held: Held, active: ActiveRun) -> None:
        """Advance the new run in this slot."""
        if self._held.get(held.ref) is held:
            self._spawn(held, lambda: self._advance.carry(active, held))
        # Otherwise the dispatcher ended before the commit, and `recover` settles the run at the next start.

    def free_slot(self, held: Held, ended: Turn = SUPERSEDED) -> None:
        """Take back the slot of a new run that does not need it now."""
        self._release(held, ended)

    # --- start and end --------------------------------------------------------------------------------------------

    async def recover(self) -> int:
        """Settle the runs that a lost process left in flight.

        Call it before `run`, which completes the recovery if this fails. Nothing is performed here. After a crash only
        stopping runs are settled. One of the others may have caused the crash, so `run` settles them later, when
        clients have had time to terminate it.

        Returns:
            The number of settled runs.
        """
        return await self._recovery.begin()

    async def run(self) -> None:
        """Advance runs until this is cancelled. `recover` settles what is in flight then, at the next start.

        Raises:
            Fatal: The store can no longer be trusted.
        """
        recovery = self._recovery
        await recovery.hold()
        if recovery.is_due:
            await self._supervisor.until_done("recovery", recovery.settle_all)
        recovery.holding = False
        self._running = True
        try:
            while True:
                await self._supervisor.until_done("dispatcher", self._look)
                await self._backlog.wait(at_once=self._failure is not None)
        finally:
            self._running = False
            await self._cancel_all()

    async def _look(self) -> None:
        """Queue the runs that are due, and fill free slots. After a failure the next sweep finds them."""
        if self._failure is not None:
            raise self._failure
        await self._backlog.take_due()
        self._fill()

    def opens_later(self) -> None:
        """Hold runs back until the port has been open for a while; call it before the port opens."""
        self._recovery.opens_later()

    def opened(self) -> None:
        """Record that the port is open."""
        self._recovery.opened()

    def take_no_more(self) -> None:
        """Start no more runs, and announce no attempt after those in flight."""
        self._draining = True
        for held in self._held.values():
            held.closing = True

    async def drain(self, grace: float) -> None:
        """Start nothing new, and wait up to `grace` seconds for the attempts in flight.

        Attempts that are still in flight afterwards are cancelled without a recorded outcome; the next start recovers
        them. Terminations work until the end.
        """
        self.take_no_more()
        if self._held:
            until = self._clock.now() + round(grace * SECOND)
            await wait_for(self._drained.wait, self._clock, until)
        await self._cancel_all()

    def clock_moved(self) -> None:
        """Read all times from the store again, because they were moved with the clock."""
        self._backlog.clock_moved()

    async def _come_due(self, ref: Ref, *, passing: bool = False) -> bool:
        """Queue a due run. Returns False if there is no room. With `passing`, a run whose lane is full is skipped."""
        held = self._held.get(ref)
        if held is None:
            if passing and ref not in self._turns:
                host = await self._advance.destination(ref)
                if host is not None and self._turns.full(ref.tenant, host):
                    self._backlog.overflow(ref.tenant, host)
                    return True
            return self._enqueue(ref)
        # The deadline of a termination does not wait for the attempt in flight.
        row = await self._executions.get(ref)
        if row is not None and row.state is State.STOPPING:
            self._beside("deadline", lambda: self._advance.overdue(ref))
        elif self._held.get(ref) is held:
            held.ready_notifications += 1
        else:
            # The task ended during the read, and no other notification says that the run is ready.
            return self._enqueue(ref)
        return True

    async def _look_at_deadline(self, ref: Ref) -> None:
        """Abandon the attempt of a run in a slot if the run is stopping and its deadline has passed."""
        row = await self._executions.get(ref)
        if row is not None and row.state is State.STOPPING:
            await self._advance.overdue(ref)

    # --- slots ----------------------------------------------------------------------------------------------------

    def _enqueue(self, ref: Ref, *, lost: bool = False) -> bool:
        # A lost run is in flight, so no sweep would find it; it always has room.
        if self._turns.put(ref, lost=lost):
            return True
        self._backlog.has_more = True
        return False

    def _fill(self) -> None:
        """Give the free slots to the next runs."""
        if not self._running or self._draining:
            return
        while (turn := self._turns.next()) is not None:
            ref = turn.ref
            if (
                turn.host is not None
                and self._backlog.has_overflow
                and not self._turns.waits_for(ref.tenant, turn.host)
            ):
                self._backlog.refill(ref.tenant, turn.host)
            if ref in self._held:
                self._held[ref].ready_notifications += 1
                self._turns.give_back(ref.tenant, turn.host)
                continue
            if not self._suspects.may_start(ref, lost=turn.lost):
                self._turns.give_back(ref.tenant, turn.host)
                continue
            self._backlog.forget(ref)
            held = self._held[ref] = Held(ref, self._turns, turn.host)
            if ref in self._suspects:
                held.cautious = partial(self._survived, ref)
            self._start(held, Claim(ref, turn.lost))

    def _survived(self, ref: Ref) -> None:
        """Queue the next suspect, after one was evaluated without a crash."""
        following = self._suspects.survived(ref)
        if following is not None:
            self._enqueue(following[0], lost=following[1])
            self._fill()

    def _start(self, held: Held, claim: Claim) -> None:
        if self._suspects.is_set_aside(claim.ref):
            self._spawn(held, lambda: self._advance.set_aside(claim.ref))
        else:
            self._spawn(held, lambda: self._advance.advance(claim, held))

    def _spawn(self, held: Held, turn: Callable[[], Coroutine[Any, Any, Turn]]) -> None:
        held.task = asyncio.get_running_loop().create_task(self._turn(held, turn))

    async def _turn(self, held: Held, turn: Callable[[], Coroutine[Any, Any, Turn]]) -> None:
        try:
            ended = await turn()
        except Unavailable:
            # No commit was made; the run is advanced again soon.
            ended = Again(self._clock.now() + SECOND)
        except Fatal as failure:
            self._failure = failure
            self._backlog.wake()
            ended = SUPERSEDED
        except (Exception, asyncio.CancelledError):
            # A defect of one run must not stop the others. An unexpected cancellation is such a defect. A cancellation
            # by the dispatcher, at its end, leaves what is in flight as it is.
            assert held.task is not None
            if held.task.cancelling():
                raise
            _log.exception("advancing execution %s failed; it will be retried", held.ref.id)
            ended = SUPERSEDED
            held.ready_notifications = 0
            self._crashes[held.ref] += 1
            self._beside("recovery", lambda: self._after_crash(held.ref))
        else:
            if self._crashes:
                del self._crashes[held.ref]
            if held.cautious is not None:
                self._suspects.forget(held.ref)
        if held.cautious is not None:
            self._survived(held.ref)
        self._release(held, ended)

    def _release(self, held: Held, ended: Turn) -> None:
        ref = held.ref
        if self._held.pop(ref, None) is not None:
            self._turns.give_back(ref.tenant, held.host)
        if isinstance(ended, Waits):
            # Its own commit notified that it is ready; it can advance when its host has a slot.
            if not self._turns.put(ref, ended.host):
                self._backlog.overflow(ref.tenant, ended.host)
        elif held.ready_notifications:
            self._enqueue(ref)
        elif isinstance(ended, Again):
            if ended.at > self._clock.now():
                self._backlog.expect(ref, ended.at)
            else:
                self._enqueue(ref)
        if len(self._turns):
            self._fill()
        if self._backlog.has_more and not self._turns.unknown:
            self._backlog.sweep_now()
        if self._draining and not self._held:
            self._drained.set()

    async def _after_crash(self, ref: Ref) -> None:
        """Advance a run again after a defect, as a run that has lost its holder; after too many, end it."""
        await self._clock.sleep_until(self._clock.now() + CRASH_PAUSE_MICROSECONDS)
        if self._crashes[ref] >= MAX_CRASHES:
            await self._advance.give_up(ref)
            del self._crashes[ref]
        elif ref not in self._held:
            self._enqueue(ref, lost=True)
            self._fill()

    # --- tasks beside the slots -----------------------------------------------------------------------------------

    def _beside(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task that repeats the work until it succeeds; no sweep finds a run in flight without a holder."""
        task = asyncio.get_running_loop().create_task(self._guarded(name, work))
        self._side.add(task)
        task.add_done_callback(self._side.discard)

    async def _guarded(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await self._supervisor.until_done(name, work)
        except Fatal as failure:
            self._failure = failure
            self._backlog.wake()

    async def _cancel_all(self) -> None:
        tasks = [held.task for held in self._held.values() if held.task is not None]
        tasks.extend(self._side)
        for task in tasks:
            task.cancel()
        cancelled = await all_ended(tasks)
        for held in self._held.values():
            self._turns.give_back(held.ref.tenant, held.host)
        self._held.clear()
        if cancelled:
            raise asyncio.CancelledError
