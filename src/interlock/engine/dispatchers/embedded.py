"""The embedded dispatcher: one process, one event loop, a bounded number of attempts at once.

What is due comes from the store's index, and only the nearest times are held in memory, with one sleeper for all of
them: a run that waits costs disk and nothing else. A slot is a task that carries one run on until it rests.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import anyio

from interlock.engine.advance import Advance
from interlock.engine.commits import Carried
from interlock.engine.dispatchers.backlog import SWEEP, Backlog
from interlock.engine.dispatchers.recovery import Recovery
from interlock.engine.held import SUPERSEDED, Again, Claim, Held, Turn, Waits
from interlock.engine.supervisor import Supervisor
from interlock.engine.suspects import Suspects
from interlock.engine.turns import Limits, Turns
from interlock.engine.waiting import wait_for
from interlock.errors import Fatal, Unavailable
from interlock.ports import Clock, Executions, Marks, NoMarks
from interlock.rules.model import SECOND, Ref
from interlock.rules.states import State

SLOTS: Final = 256
NEAR: Final = 10_000
"""Most runs whose time is held in memory, and most that wait in line for a slot; the store knows the others."""
AFTER_CRASH: Final = SECOND
MOST_CRASHES: Final = 3
"""How often a turn of one run may break off by a defect before the run is ended."""

_log = logging.getLogger(__name__)


class EmbeddedDispatcher:
    """`ports.Dispatcher` and `engine.start.Slots` for the one process that owns its store.

    It listens to the store's commits (`Store.listen`), and takes runs on while `run` is running: before that, and while
    draining, hints are only noted.
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
        # Made here, because the first one loads a back end for as long as a hundred terminations take.
        self._shield = anyio.CancelScope(shield=True)
        self._running = False
        self._draining = False
        self._drained: asyncio.Event = asyncio.Event()
        """Nothing is in flight any more."""
        self._failure: BaseException | None = None
        self._crashes: Counter[Ref] = Counter()

    # --- counts ---------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> int:
        """Slots in use."""
        return len(self._held)

    @property
    def in_line(self) -> int:
        """Runs that are known to be ready and wait for a slot."""
        return len(self._turns) + len(self._suspects)

    @property
    def timers(self) -> int:
        """Times held in memory."""
        return self._backlog.times

    @property
    def holding(self) -> bool:
        """Whether no run continues yet after a process that ended without order, so that runs can be terminated."""
        return self._recovery.holding

    # --- hints of the store's commits -----------------------------------------------------------------------------

    def interrupt(self, ref: Ref, epoch: int) -> None:
        held = self._held.get(ref)
        if held is not None:
            held.interrupt(epoch)

    def ready(self, ref: Ref, at: int | None) -> None:
        if at is not None and at > self._clock.now():
            self._backlog.expect(ref, at)
            return
        # A deadline may have passed while the order that set it was being committed.
        held = self._held.get(ref)
        if held is None:
            self._enqueue(ref)
        else:
            # A hint cannot wait for a read: it is noted, and whether it is a deadline is looked at beside the turn.
            held.noted += 1
            self._beside("deadline", lambda: self._look_at_deadline(ref))
        self._fill()

    def stopped(self, ref: Ref) -> None:
        self._turns.forget(ref)
        held = self._held.get(ref)
        if held is not None:
            held.stop()
        elif ref in self._suspects:
            self._suspects.forget(ref)

    # --- slots for runs that are being created --------------------------------------------------------------------

    def try_slot(self, ref: Ref) -> Held | None:
        """None also while others of the tenant wait in line: a new run does not overtake them."""
        turns, tenant = self._turns, ref.tenant
        if not self._running or self._draining or not turns.free_for(tenant) or turns.waits_for(tenant, None):
            return None
        turns.take(tenant)
        held = self._held[ref] = Held(ref, turns)
        return held

    def took(self, held: Held, carried: Carried) -> None:
        if self._held.get(held.ref) is held:
            self._spawn(held, lambda: self._advance.carry(carried, held))
        # Otherwise its commit came after the end: as what was cut off then, it is for `recover` at the next start.

    def free_slot(self, held: Held, ended: Turn = SUPERSEDED) -> None:
        self._release(held, ended)

    # --- life -----------------------------------------------------------------------------------------------------

    async def recover(self) -> int:
        """Settle whatever a process that is dead left in flight; returns how many runs that was.

        To be called before `run`, which does what a failure leaves of it. Nothing is performed here. If the process
        ended without order, stopping runs alone are settled: one of the others may have ended it, so that `run` sees to
        them when callers have had time to stop it.
        """
        return await self._recovery.begin()

    async def run(self) -> None:
        """Carry runs on until cancelled. Whatever is in flight then is left as it is: for `recover` at the next start.

        Raises:
            Fatal: the store can no longer be vouched for.
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
            with self._shield:
                await self._cancel_all()

    async def _look(self) -> None:
        """Take on what has come due. What a failure leaves is found by the next sweep."""
        if self._failure is not None:
            raise self._failure
        await self._backlog.take_due()
        self._fill()

    def opens_later(self) -> None:
        """The port is about to open: what is held back is held back until it was open for a while."""
        self._recovery.opens_later()

    def opened(self) -> None:
        """The port is open."""
        self._recovery.opened()

    def take_no_more(self) -> None:
        """From now on take on nothing new, and announce nothing after the attempts that are in flight."""
        self._draining = True
        for held in self._held.values():
            held.closing = True

    async def drain(self, grace: float) -> None:
        """Take on nothing new, let attempts in flight end for up to `grace` seconds, and announce no others.

        What is still in flight after that is cut off without a word: it is nobody's outcome, and the next start
        recovers it. Stops keep working meanwhile.
        """
        self.take_no_more()
        if self._held:
            until = self._clock.now() + round(grace * SECOND)
            await wait_for(self._drained.wait, self._clock, until)
        await self._cancel_all()

    def clock_moved(self) -> None:
        """Ask the store anew for all times: it has moved them with the clock."""
        self._backlog.clock_moved()

    async def _come_due(self, ref: Ref, *, passing: bool = False) -> bool:
        """False: there is no room for it. `passing`: pass over a run whose lane is full."""
        held = self._held.get(ref)
        if held is None:
            if passing and ref not in self._turns:
                host = await self._advance.destination(ref)
                if host is not None and self._turns.full(ref.tenant, host):
                    self._backlog.overflow(ref.tenant, host)
                    return True
            return self._enqueue(ref)
        # The deadline of a stop does not wait for the attempt it is about.
        row = await self._executions.get(ref)
        if row is not None and row.state is State.STOPPING:
            self._beside("deadline", lambda: self._advance.overdue(ref))
        elif self._held.get(ref) is held:
            held.noted += 1
        else:
            # The turn ended during the read, and nothing else says that the run is ready.
            return self._enqueue(ref)
        return True

    async def _look_at_deadline(self, ref: Ref) -> None:
        """Give up on the attempt of a run in a slot if the run is stopping and its deadline has passed."""
        row = await self._executions.get(ref)
        if row is not None and row.state is State.STOPPING:
            await self._advance.overdue(ref)

    # --- turns ----------------------------------------------------------------------------------------------------

    def _enqueue(self, ref: Ref, *, lost: bool = False) -> bool:
        # No sweep would find a lost one again: it is in flight.
        if self._turns.put(ref, lost=lost):
            return True
        self._backlog.has_more = True
        return False

    def _fill(self) -> None:
        """Give free slots to those whose turn it is."""
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
                self._held[ref].noted += 1
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
        """The suspect was evaluated and the process lives: the next one may be."""
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
            # Nothing was decided by it: look again soon.
            ended = Again(self._clock.now() + SECOND)
        except Fatal as failure:
            self._failure = failure
            self._backlog.wake()
            ended = SUPERSEDED
        except (Exception, asyncio.CancelledError):
            # The last line: a defect met by one run must not stop the others. A cancellation that nobody asked for is
            # one too; at the end of the dispatcher, what is in flight is left as it is.
            assert held.task is not None
            if held.task.cancelling():
                raise
            _log.exception("the turn of execution %s broke off", held.ref.id)
            ended = SUPERSEDED
            held.noted = 0
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
            # That it is ready was said by its own commit: it is ready when the host has a slot for it.
            if not self._turns.put(ref, ended.host):
                self._backlog.overflow(ref.tenant, ended.host)
        elif held.noted:
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
        """A turn that broke off held its run, and nobody does now: take it on as one that lost its holder."""
        await self._clock.sleep_until(self._clock.now() + AFTER_CRASH)
        if self._crashes[ref] >= MOST_CRASHES:
            await self._advance.give_up(ref)
            del self._crashes[ref]
        elif ref not in self._held:
            self._enqueue(ref, lost=True)
            self._fill()

    # --- tasks beside the turns -----------------------------------------------------------------------------------

    def _beside(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do it until it is done: nothing else would find a run that is in flight and has no holder."""
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
        await asyncio.gather(*tasks, return_exceptions=True)
        for held in self._held.values():
            self._turns.give_back(held.ref.tenant, held.host)
        self._held.clear()
