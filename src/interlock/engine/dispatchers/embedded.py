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
from interlock.engine.dispatchers.timers import Timers
from interlock.engine.held import SUPERSEDED, Again, Claim, Held, Turn, Waits
from interlock.engine.supervisor import Supervisor
from interlock.engine.suspects import Suspects
from interlock.engine.turns import Limits, Turns
from interlock.engine.waiting import wait_for
from interlock.errors import Fatal, Unavailable
from interlock.ports import Clock, Executions, Marks, NoMarks
from interlock.rules.model import SECOND, Ref
from interlock.rules.states import IN_FLIGHT, TERMINAL, State
from interlock.system import yield_to_loop

SLOTS: Final = 256
NEAR: Final = 10_000
"""Most runs whose time is held in memory, and most that wait in line for a slot; the store knows the others."""
SWEEP: Final = 10 * SECOND
"""How often the store is asked for what is due, hints or no hints."""
HORIZON: Final = 2 * SWEEP
"""How far ahead of its time a run is taken into memory."""
BATCH: Final = 1_000
"""Runs asked for in one sweep: what a turn of the loop can bear. If there are more, the next sweep comes sooner."""
WALK_PAUSE_MICROSECONDS: Final = SECOND // 20
"""Between two batches of a long backlog, so that other work has its turn."""
HOLD_MICROSECONDS: Final = SECOND // 2
"""How long runs are not taken on after a process that ended without order, so that they can be stopped before."""
MAX_OPENING_MICROSECONDS: Final = 30 * SECOND
"""How long runs are held back at most for a port that is about to open."""
RECOVERY_BATCH: Final = 256
MAX_IDLE_RECOVERY_ROUNDS: Final = 10
"""Rounds of recovery in a row that may find every run moved by another event."""
AFTER_CRASH: Final = SECOND
MOST_CRASHES: Final = 3
"""How often a turn of one run may break off by a defect before the run is ended."""

_LAST: Final = Ref(2**63 - 1, 2**63 - 1)

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
        self._sweep_every = sweep
        self._held: dict[Ref, Held] = {}
        self._near = near
        self._timers = Timers(near)
        self._known_until = 0
        """Up to this time everything that will come due is in `_timers`; there is a sweep before it has come."""
        self._sweep_at = 0
        self._walked: tuple[int, Ref] | None = None
        """How far the sweep has come among the runs that are due; None: it begins with the oldest."""
        self._walk_number = 0
        """Raised whenever the sweep is told to begin with the oldest again."""
        self._more = False
        """More is due than there is room for in memory."""
        self._overflowed: set[tuple[int, str]] = set()
        """Lanes that had no room for a run: the sweep passes over those like it until the lane is empty."""
        self._waiting_for: int | None = None
        self._sooner: asyncio.Event = asyncio.Event()
        self._marks = marks if marks is not None else NoMarks()
        self._suspects = Suspects(self._marks)
        self._side: set[asyncio.Task[None]] = set()
        self._unrecovered = False
        """A recovery is to be done, or was begun and has not succeeded."""
        self._opening: asyncio.Event | None = None
        """Set once the port is open; None: there is none to wait for."""
        self.holding = False
        """The process before this one ended without order: runs are not taken on yet, so that they can be stopped."""
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
        return len(self._timers)

    # --- hints of the store's commits -----------------------------------------------------------------------------

    def interrupt(self, ref: Ref, epoch: int) -> None:
        held = self._held.get(ref)
        if held is not None:
            held.interrupt(epoch)

    def ready(self, ref: Ref, at: int | None) -> None:
        if at is not None and at > self._clock.now():
            self._expect(ref, at)
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
        self._unrecovered = True
        if self._marks.unclean:
            self.holding = True
            return await self._settle_in_flight((State.STOPPING,))
        return await self._recover_all()

    async def _recover_all(self) -> int:
        for ref in self._suspects.all():
            row = await self._executions.get(ref)
            if row is None or row.state in TERMINAL:
                self._suspects.forget(ref)
        settled = await self._settle_in_flight(tuple(IN_FLIGHT))
        self._unrecovered = False
        return settled

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

    async def run(self) -> None:
        """Carry runs on until cancelled. Whatever is in flight then is left as it is: for `recover` at the next start.

        Raises:
            Fatal: the store can no longer be vouched for.
        """
        if self.holding:
            await self._clock.sleep_until(self._clock.now() + HOLD_MICROSECONDS)
            if self._opening is not None:
                latest = self._clock.now() + MAX_OPENING_MICROSECONDS
                await wait_for(self._opening.wait, self._clock, latest)
                await self._clock.sleep_until(self._clock.now() + HOLD_MICROSECONDS)
        if self._unrecovered:
            await self._supervisor.until_done("recovery", self._recover_all)
        self.holding = False
        self._running = True
        try:
            while True:
                await self._supervisor.until_done("dispatcher", self._look)
                await self._rest()
        finally:
            self._running = False
            with self._shield:
                await self._cancel_all()

    async def _look(self) -> None:
        """Take on what has come due. What a failure leaves is found by the next sweep."""
        if self._failure is not None:
            raise self._failure
        now = self._clock.now()
        try:
            for ref in self._timers.due(now):
                await self._come_due(ref)
            if now >= self._sweep_at:
                await self._sweep(now)
        except Exception:
            self._sweep_at = 0
            raise
        self._fill()

    def opens_later(self) -> None:
        """The port is about to open: what is held back is held back until it was open for a while."""
        self._opening = asyncio.Event()

    def opened(self) -> None:
        """The port is open."""
        if self._opening is not None:
            self._opening.set()

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
        self._timers = Timers(self._near)
        self._known_until = 0
        self._walk_anew()

    # --- times ----------------------------------------------------------------------------------------------------

    def _expect(self, ref: Ref, at: int) -> None:
        """Note a time to come, if it comes before a sweep would find it."""
        if at > self._known_until:
            return
        if not self._timers.put(ref, at):
            self._know_until(at - 1)
        if self._waiting_for is not None and at < self._waiting_for:
            self._sooner.set()

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
        self._more = False
        walk = self._walk_number
        found = await self._executions.due(now, BATCH, 0, self._walked)
        for ref, at in found:
            has_room = await self._come_due(ref, passing=bool(self._overflowed))
            if self._walk_number != walk:
                # The next sweep begins with the oldest.
                return
            if not has_room:
                self._more = True
                return
            self._walked = (at, ref)
        if self._walk_number != walk:
            return
        if len(found) >= BATCH:
            self._sweep_at = now + WALK_PAUSE_MICROSECONDS
        else:
            self._walked = None

    async def _come_due(self, ref: Ref, *, passing: bool = False) -> bool:
        """False: there is no room for it. `passing`: pass over a run whose lane is full."""
        held = self._held.get(ref)
        if held is None:
            if passing and ref not in self._turns:
                host = await self._advance.destination(ref)
                if host is not None and self._turns.full(ref.tenant, host):
                    self._overflowed.add((ref.tenant, host))
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

    async def _rest(self) -> None:
        """Until the next time, or until a nearer one is noted."""
        next_at = self._timers.next_at
        until = self._sweep_at if next_at is None else min(next_at, self._sweep_at)
        if self._failure is not None or until <= self._clock.now():
            await yield_to_loop()
            return
        self._waiting_for = until
        self._sooner.clear()
        try:
            await wait_for(self._sooner.wait, self._clock, until)
        finally:
            self._waiting_for = None

    # --- turns ----------------------------------------------------------------------------------------------------

    def _enqueue(self, ref: Ref, *, lost: bool = False) -> bool:
        # No sweep would find a lost one again: it is in flight.
        if self._turns.put(ref, lost=lost):
            return True
        self._more = True
        return False

    def _fill(self) -> None:
        """Give free slots to those whose turn it is."""
        if not self._running or self._draining:
            return
        while (turn := self._turns.next()) is not None:
            ref = turn.ref
            if self._overflowed and turn.host is not None:
                self._refill(ref.tenant, turn.host)
            if ref in self._held:
                self._held[ref].noted += 1
                self._turns.give_back(ref.tenant, turn.host)
                continue
            if not self._suspects.may_start(ref, lost=turn.lost):
                self._turns.give_back(ref.tenant, turn.host)
                continue
            self._timers.forget(ref)
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

    def _refill(self, tenant: int, host: str) -> None:
        """If the lane is empty, look in the store for the runs that it had no room for."""
        if (tenant, host) in self._overflowed and not self._turns.waits_for(tenant, host):
            self._overflowed.discard((tenant, host))
            self._walk_anew()

    def _walk_anew(self) -> None:
        """Sweep now, beginning with the oldest run that is due."""
        self._walked = None
        self._walk_number += 1
        self._sweep_at = 0
        self._sooner.set()

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
            self._sooner.set()
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
                self._overflowed.add((ref.tenant, ended.host))
        elif held.noted:
            self._enqueue(ref)
        elif isinstance(ended, Again):
            if ended.at > self._clock.now():
                self._expect(ref, ended.at)
            else:
                self._enqueue(ref)
        if len(self._turns):
            self._fill()
        if self._more and not self._turns.unknown:
            self._sweep_at = 0
            self._sooner.set()
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
            self._sooner.set()

    async def _cancel_all(self) -> None:
        tasks = [held.task for held in self._held.values() if held.task is not None]
        tasks.extend(self._side)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for held in self._held.values():
            self._turns.give_back(held.ref.tenant, held.host)
        self._held.clear()
