"""Looks on while a world lives, and says at once when the server breaks its word.

It sees each commit, each answer, and each first byte of each call. What can only be judged at the end is in `account`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Final

from interlock.assembly.system import System
from interlock.engine.feed import Feed
from interlock.rules.model import Execution, Mode, Ref
from interlock.rules.states import IN_FLIGHT, TERMINAL, State, WaitingFor
from simulation.account import Account
from simulation.asgi import Answer
from simulation.coverage import Situation
from simulation.items import judge_call
from simulation.network import Call
from simulation.parts import World
from simulation.reads import finished
from simulation.records import Order, Seen, Started
from simulation.scenario import SECOND
from simulation.verdicts import Violated

SLACK: Final = 3 * SECOND
"""How much later than its deadline a stop may be seen to be over: the commit has to be made."""
AT_ONCE: Final = 2_000
"""Microseconds within which a connection is closed once its run is told to stop."""
CONVALESCENCE: Final = 40 * SECOND
"""How long a server that stood still, or had a slow disk, may be late."""
_STOPPED: Final = frozenset({State.STOPPING, State.TERMINATE})
_ALLOWED: Final = frozenset({200, 400, 404, 405, 408, 409, 429, 503})
_STOPS: Final = {
    State.PENDING: Situation.STOP_PENDING,
    State.PROCESS_STEP: Situation.STOP_IN_FLIGHT,
    State.WAITING: Situation.STOP_WAITING,
    State.PAUSED_BY_CIRCUIT_BREAKER: Situation.STOP_PAUSED,
}
_REPEATS: Final = {
    State.STOPPING: Situation.STOP_STOPPING,
    State.TERMINATE: Situation.STOP_TERMINATED,
    State.DONE: Situation.STOP_DONE,
    State.ERROR: Situation.STOP_ERROR,
}


class Oracle:
    """`broken` says which property did not hold, and how; nothing is looked at after that."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.broken: str | None = None
        self.stopped: asyncio.Event = asyncio.Event()
        self.seen: dict[int, Seen] = {}
        self.acknowledged: list[Started] = []
        self.runs = 0
        self.terminations = 0
        self.receipts = 0
        self._unhealthy_until = 0

    def break_(self, name: str, how: str) -> None:
        """A property does not hold."""
        if self.broken is None:
            self.broken = f"{name}: {how}"
            self._world.note(f"BROKEN {self.broken}")
            self.stopped.set()

    def require(self, holds: bool, name: str, how: str) -> None:
        if not holds:
            self.break_(name, how)

    def unhealthy(self) -> None:
        """The server cannot be in time for a while, and need not be."""
        self._unhealthy_until = self._world.loop.microseconds + CONVALESCENCE

    @property
    def _healthy(self) -> bool:
        return self._world.loop.microseconds > self._unhealthy_until

    # --- commits --------------------------------------------------------------------------------------------------

    def follower(self, system: System) -> Follower:
        return Follower(system, self)

    def committed(self, system: System, id_: int) -> None:
        row = finished(system.store.executions.get(Ref(system.tenant.id, id_)))
        if row is None:
            return
        now = self._world.loop.microseconds
        self._world.note(f"run {id_ & 0xFFFFFF:x}: {row.state} {row.epoch} at {row.step} #{row.attempt}")
        seen = self.seen.get(id_)
        if seen is None:
            seen = self.seen[id_] = Seen(row)
        else:
            self._moved(seen, row)
        self._shape(system, row)
        before, seen.row = seen.row, row
        if row.state in TERMINAL and seen.ended_at is None:
            seen.ended_at = now
        if row.state in _STOPPED:
            self._stopping(system, seen, before)

    def _moved(self, seen: Seen, row: Execution) -> None:
        before = seen.row
        self.require(row.epoch >= before.epoch, "S8", f"{row.id} went back from epoch {before.epoch} to {row.epoch}")
        if before.state in TERMINAL:
            self.require(row == before, "S4", f"{row.id} was {before.state} and is {row.state}")
        if before.state is State.PAUSED_BY_CIRCUIT_BREAKER and row.state is not State.TERMINATE:
            self._world.saw(Situation.RELEASED)
        if before.state in _STOPPED:
            self.require(row.state in _STOPPED, "S8", f"{row.id} was {before.state} and is {row.state}")

    def _shape(self, system: System, row: Execution) -> None:
        """What must be so of every row that anybody can read."""
        in_flight = row.state in IN_FLIGHT
        self.require(in_flight == (row.attempt_epoch > 0), "S12", f"{row.id} is {row.state}, {row.attempt_epoch}")
        if in_flight:
            open_ = any(
                (step.position, step.attempt) == (row.step, row.attempt) and step.outcome is None
                for step in finished(system.store.executions.steps(row.ref))
            )
            self.require(open_, "S12", f"{row.id} is {row.state} and has no attempt in flight")
        if row.state in TERMINAL:
            self.require(
                row.wake_at is None and row.waiting_for is None and row.items == 0, "S13", f"{row.id} left a timer"
            )

    def _stopping(self, system: System, seen: Seen, before: Execution) -> None:
        row, loop = seen.row, self._world.loop
        termination = finished(system.store.executions.termination(row.ref))
        if termination is None:
            self.break_("S16", f"{row.id} is {row.state}, and no client requested it")
            return
        if seen.stopped_at is None:
            seen.stopped_at = loop.microseconds
        server = self._world.host.server
        if row.state is State.STOPPING:
            loop.call_later(_too_late(system, row) / SECOND, self._overdue, server, row.id)
        if not seen.cut and (row.state is State.TERMINATE or termination.mode is Mode.INTERRUPT):
            seen.cut = True
            loop.call_later(AT_ONCE / SECOND, self._closed, server, row.id)

    def _overdue(self, server: object, id_: int) -> None:
        host = self._world.host
        if host.server is not server or host.ailing or not self._healthy:
            return
        if host.system.watch.unmoved:
            # Some rows have been moved with the clock and others not: look when all have been.
            self._world.loop.call_later(SLACK / SECOND, self._overdue, server, id_)
            return
        # Read anew: a move of the clock is no commit of the run.
        row = finished(host.system.store.executions.get(self.seen[id_].row.ref))
        if row is not None and row.state is State.STOPPING:
            late = _too_late(host.system, row) <= 0
            self.require(not late, "L1", f"{id_} is still STOPPING after its deadline")

    def _closed(self, server: object, id_: int) -> None:
        if self._world.host.server is not server:
            return
        for call in self._world.network.open:
            if call.execution == id_ and not call.deaf:
                self.break_("S2", f"{id_} was told to stop, and its call to {call.step} is still open")

    # --- calls ----------------------------------------------------------------------------------------------------

    def sent(self, call: Call) -> None:
        """The first byte of a call is about to leave."""
        world = self._world
        server = world.host.server
        if server is None or server.dead or server.system is None or server.fatal is not None:
            return
        system = server.system
        row = finished(system.store.executions.get(Ref(system.tenant.id, call.execution)))
        if row is None:
            self.break_("S3", f"a call of {call.execution} leaves, and there is no such run")
            return
        # Between a commit and its news, which is the moment that counts, the process knows the row before.
        seen = self.seen.get(call.execution)
        told = row if seen is None else seen.row
        if not call.deaf:
            self.require(seen is None or not seen.cut, "S2", f"{row.id} calls {call.step} after it was told to stop")
            self.require(told.state in IN_FLIGHT, "S2", f"{row.id} calls {call.step} in {told.state}")
            self.require(told.step == int(call.step[1:]), "S3", f"{row.id} stands at {told.step}, calls {call.step}")
        self.require(server.disk.unsynced == 0, "S3", f"{row.id} calls {call.step}, and that is not on disk yet")
        if call.item and self.broken is None:
            try:
                judge_call(world, system, told, call)
            except Violated as violated:
                self.break_(violated.name, violated.how)

    # --- answers --------------------------------------------------------------------------------------------------

    def answered(self, method: str, path: str, answer: Answer) -> None:
        self.require(
            answer.status in _ALLOWED, "answers", f"{method} {path}: {answer.status} {answer.body[:200].decode()}"
        )

    def started(self, started: Started) -> None:
        self.acknowledged.append(started)

    def ordered(self, order: Order, start: int | None) -> None:
        """A terminate was answered."""
        world, server = self._world, self._world.host.server
        if order.status != 200:
            self.require(order.status == 503, "S1", f"{order.execution} was started, and terminate says {order.status}")
            excused = server is None or server.dead or server.fatal is not None or world.host.ailing
            self.require(excused, "L2", f"terminate of {order.execution} was refused: 503")
            return
        if server is None or server.dead or server.system is None:
            return
        system = server.system
        row = finished(system.store.executions.get(Ref(system.tenant.id, order.execution)))
        if row is None:
            self.break_("S1", f"{order.execution} is gone")
            return
        how = f"{row.id}: {order.verdict}, and it is {row.state}"
        if order.verdict == "already-finished":
            self.require(row.state in {State.DONE, State.ERROR}, "S5", how)
        else:
            self.require(order.verdict in {"accepted", "repeated"}, "S5", how)
            self.require(row.state in _STOPPED, "S14", how)
        if order.cascade:
            for below in self._below(system, row.id):
                self.require(
                    below.state in TERMINAL or below.state is State.STOPPING,
                    "S11",
                    f"{below.id} is {below.state} after the cascade of {row.id}",
                )
        self._cover(system, order, row)

    def _below(self, system: System, id_: int) -> Iterator[Execution]:
        for child in finished(system.store.executions.children(Ref(system.tenant.id, id_))):
            yield child
            yield from self._below(system, child.id)

    def _cover(self, system: System, order: Order, row: Execution) -> None:
        world = self._world
        if order.verdict == "accepted":
            termination = finished(system.store.executions.termination(row.ref))
            if termination is not None:
                world.saw(_STOPS[termination.found])
            if world.host.disk_full:
                world.saw(Situation.STOP_ON_FULL_DISK)
            if system.draining:
                world.saw(Situation.STOP_WHILE_DRAINING)
        else:
            world.saw(_REPEATS[row.state])
        seen = self.seen.get(row.id)
        ended = None if seen is None else seen.ended_at
        assert order.answered_at is not None
        if order.verdict == "already-finished" and ended is not None and order.sent_at - ended <= 1_000:
            world.saw(Situation.COMPLETION_WINS)
        if order.verdict == "accepted":
            near = any(
                call.delivered and call.closed_at is not None and abs(call.closed_at - order.sent_at) <= 1_000
                for call in world.calls()
                if call.execution == row.id
            )
            if near:
                world.saw(Situation.STOP_WINS)

    def read(self, execution: int, how: str, asked_at: int, answer: Answer) -> None:
        """A client was shown the run."""
        if answer.status in {429, 503}:
            return
        self.require(answer.status == 200, "S14", f"{execution} cannot be read: {answer.status}")
        if answer.status != 200:
            return
        state, told = _shown(execution, how, answer)
        if state is None:
            return
        for order in self._world.clients.orders:
            if order.execution != execution or order.verdict not in {"accepted", "repeated"}:
                continue
            if order.answered_at is not None and order.answered_at <= asked_at:
                fine = {"PROCESS_STEP", "TERMINATE"} if how in {"c1", "search", "list"} else {"STOPPING", "TERMINATE"}
                self.require(state in fine and told, "S14", f"{execution} was stopped, and {how} shows {state}")
        seen = self.seen.get(execution)
        if seen is not None:
            if seen.shown_over:
                self.require(state == seen.shown_over, "S4", f"{execution} was shown {seen.shown_over}, then {state}")
            if state in TERMINAL:
                seen.shown_over = state

    # --- the end of a process, and the next one -------------------------------------------------------------------

    def process_gone(self) -> None:
        if any(seen.row.state is State.STOPPING for seen in self.seen.values()):
            self._world.saw(Situation.STOPPING_AT_CRASH)

    def came_up(self, system: System) -> None:
        """The next process serves: nothing that was acknowledged is lost, and what is overdue is over."""
        executions, tenant = system.store.executions, system.tenant.id
        clock = system.clock
        for id_, seen in self.seen.items():
            row = finished(executions.get(Ref(tenant, id_)))
            if row is None or row.epoch < seen.row.epoch:
                self.break_("S1", f"{id_} was {seen.row.state} {seen.row.epoch}, and is {row and row.state} now")
                return
            self._moved(seen, row)
            self.require(row.state is not State.STOPPING, "L1", f"{id_} is STOPPING when the server serves again")
            seen.row = row
            if row.state is State.WAITING and row.waiting_for is WaitingFor.TIMER and (row.wake_at or 0) < clock.now():
                self._world.saw(Situation.TIMER_WHILE_DOWN)
            if row.state in _STOPPED:
                seen.cut = True
        for started in self.acknowledged:
            assert started.execution is not None
            known = finished(executions.get(Ref(tenant, started.execution))) is not None
            self.require(known, "S1", f"{started.execution} was acknowledged, and is not there")

    def at_rest(self, system: System) -> None:
        """Nothing has gone wrong for a while: no stop is in progress any more."""
        rows = finished(system.store.executions.page(system.tenant.id, states=(State.STOPPING,), limit=1))
        self.require(not rows, "L1", "a run is still stopping long after the last fault")

    def active(self, system: System) -> bool:
        """Whether some run is not at its end."""
        states = tuple(state for state in State if state not in TERMINAL)
        return bool(finished(system.store.executions.page(system.tenant.id, states=states, limit=1)))

    async def final(self, system: System) -> None:
        """Judge the whole."""
        account = Account(self._world, system)
        try:
            await account.judge()
        except Violated as violated:
            self.break_(violated.name, violated.how)
        self.runs, self.terminations, self.receipts = account.runs, account.terminations, account.receipts


class Follower:
    """`ports.ChangeListener` between a store and those who follow it: the oracle sees every commit, too."""

    def __init__(self, system: System, oracle: Oracle) -> None:
        self._feed: Feed = system.feed
        self._system = system
        self._oracle = oracle

    def changed(self, tenant: int, id: int) -> None:
        self._feed.changed(tenant, id)
        if tenant == self._system.tenant.id:
            self._oracle.committed(self._system, id)


def _shown(execution: int, how: str, answer: Answer) -> tuple[str | None, bool]:
    """The state that an answer shows, and whether it tells of the termination where it should."""
    tree = json.loads(answer.body)
    if how == "detail":
        return tree["state"], "termination" in tree or tree["state"] not in _STOPPED
    if how == "receipt":
        return tree["state"], "termination" in tree or tree["state"] not in _STOPPED
    if how == "c1":
        run = tree["automationExecution"]
    elif how == "search":
        found = [entry["automationExecution"] for entry in tree.get("list", ())]
        run = found[0] if found else None
    else:
        found = [entry for entry in tree.get("automationExecutions", ()) if entry["id"] == str(execution)]
        run = found[0] if found else None
    if run is None:
        return None, True
    state = str(run["state"]).removeprefix("AUTOMATION_EXECUTION_STATE_")
    return state, bool(run.get("completedAt")) == (state in TERMINAL)


def _too_late(system: System, stopping: Execution) -> int:
    """Microseconds until a run has to be over, though its deadline may still have to be moved with the clock."""
    assert stopping.wake_at is not None
    return stopping.wake_at + SLACK - (system.clock.now() - system.watch.unmoved)
