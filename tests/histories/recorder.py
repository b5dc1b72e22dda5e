"""Histories of a real server: eight threads, each a client with a line of its own, race over one run after another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import inf
from threading import Barrier, BrokenBarrierError, Event
from time import perf_counter_ns
from typing import Any, Final

from tests.histories.checker import OF_ITS_OWN_ACCORD
from tests.histories.model import (
    DEADLINE,
    IN_FLIGHT,
    MISSING,
    OVER,
    TERMINATE,
    TWICE,
    WAITING,
    Detail,
    Kind,
    Operation,
    Order,
    Record,
    Shown,
    Told,
)
from tests.histories.plans import DETAIL, THREADS, Action, Balance, Plan, Position, draw
from tests.histories.receiver import Asked, Receiver
from tests.histories.wire import PATIENCE, Address, Connection, Exchange, NotSent, request
from tests.histories.wire import field as header

ROUND: Final = 32
"""Runs that are started together, and then raced one after the other."""
_CALLBACK: Final = b'{"version":"v1","context":{}}'
_PAGE: Final = 25
"""More runs than two rounds have of one automation, and some that were lost in crashes."""
_PREFIX: Final = "AUTOMATION_EXECUTION_STATE_"


@dataclass(frozen=True, slots=True)
class Subject:
    """The server under test, and what is raced on it."""

    address: Address
    automations: tuple[str, ...]
    """All the same. There are several, so that a list of the runs of one is short."""
    tokens: dict[str, str]
    """By actor: two clients that may do everything."""

    @property
    def actors(self) -> tuple[str, str]:
        first, second = self.tokens
        return first, second


@dataclass(slots=True)
class Raced:
    """One run, and what was seen of it."""

    id: int
    automation: str
    plan: Plan
    asked: Asked
    state: str = ""
    """As the last look showed it."""
    seen: list[tuple[int, Action, Exchange]] = field(default_factory=list)

    def history(self, crashes: Sequence[int] = ()) -> list[Operation]:
        """What happened to the run. `crashes` are the times at which the server was killed."""
        operations = [*OF_ITS_OWN_ACCORD, *self.asked.answers]
        operations += [operation for entry in self.seen for operation in _operation(self.id, *entry)]
        orders = [operation.called for operation in operations if operation.kind is Kind.TERMINATE]
        if orders:
            operations.append(Operation(Kind.OVERDUE, min(orders) + DEADLINE))
        for at in self.survived(crashes):
            operations += [Operation(Kind.CRASH, at), Operation(Kind.REPEAT, at)]
        return operations

    def survived(self, crashes: Sequence[int]) -> list[int]:
        """Those of the crashes that fell into the time of this run, as its clients know it."""
        return [at for at in crashes if self.asked.since <= at <= self.seen[-1][2].returned]


class Recorder:
    """Records one round after the other.

    with Recorder(subject, receiver, seed=1) as recorder:
        for runs in recorder.rounds(1_000): ...
    """

    def __init__(self, subject: Subject, receiver: Receiver, *, seed: int) -> None:
        self.serving = Event()
        """To be cleared while the server is away."""
        self.serving.set()
        self.raced = 0
        """Runs so far."""
        self._subject = subject
        self._receiver = receiver
        self._seed = seed
        self._number = 0
        self._balance = Balance()
        self._barrier = Barrier(THREADS, timeout=2 * PATIENCE)
        self._open = ExitStack()

    def __enter__(self) -> Recorder:
        self._lines = [self._open.enter_context(Connection(self._subject.address)) for _ in range(THREADS + 1)]
        self._starter = self._open.enter_context(ThreadPoolExecutor(1, "starter"))
        self._threads = self._open.enter_context(ThreadPoolExecutor(THREADS, "client"))
        return self

    def __exit__(self, *raised: object) -> None:
        self._open.close()

    def rounds(self, count: int) -> Iterator[list[Raced]]:
        """`count` runs in rounds: started, raced, and looked at until each is over. While a round is raced, the next
        one is started."""
        sizes = [min(ROUND, count - begun) for begun in range(0, count, ROUND)]
        following = self._starter.submit(self._start, sizes[0])
        for size in [*sizes[1:], 0]:
            runs = following.result()
            following = self._starter.submit(self._start, size)
            for run in runs:
                if run.plan.position is Position.WAITED:
                    run.asked.answer(202)
            self._each(self._race, runs)
            self._each(self._close, runs)
            self._receiver.forget(run.id for run in runs)
            self._learn(runs)
            yield runs

    def _learn(self, runs: Sequence[Raced]) -> None:
        for position in Position:
            states = [run.state for run in runs if run.plan.position is position]
            stopped = states.count(TERMINATE)
            self._balance.learn(position, len(states) - stopped, stopped)

    def _each(self, work: Callable[[int, Sequence[Raced]], None], runs: Sequence[Raced]) -> None:
        """The work, done by every thread with its own number."""
        for done in [self._threads.submit(self._whole, work, thread, runs) for thread in range(THREADS)]:
            done.result()

    def _whole(self, work: Callable[[int, Sequence[Raced]], None], thread: int, runs: Sequence[Raced]) -> None:
        """Do the work of one thread; if it fails, no other thread waits for it at the barrier."""
        try:
            work(thread, runs)
        except BrokenBarrierError:
            return
        except BaseException:
            self._barrier.abort()
            raise

    def _start(self, count: int) -> list[Raced]:
        """Start runs, and wait until the receiver has a call of each."""
        subject = self._subject
        token = subject.tokens[subject.actors[0]]
        started: list[tuple[int, str]] = []
        while len(started) < count:
            automation = subject.automations[len(started) % len(subject.automations)]
            path = f"/api/v1/automations/{automation}/execute"
            # A run whose answer is lost in a crash is in no history.
            if (answer := self._send(THREADS, request("POST", path, subject.address, token, b"{}"))).status == 200:
                started.append((int(json.loads(answer.body)["executionId"]), automation))
        plans = [draw(self._seed, self._number + place, subject.actors, self._balance) for place in range(count)]
        self._number += count
        return [Raced(*run, plan, self._receiver.asked(run[0])) for run, plan in zip(started, plans, strict=True)]

    def _race(self, thread: int, runs: Sequence[Raced]) -> None:
        for run in runs:
            if self._barrier.wait() == 0:
                self.raced += 1
            for action in run.plan.of_thread[thread]:
                self._do(thread, run, action)

    def _do(self, thread: int, run: Raced, action: Action) -> Exchange | None:
        if action.kind is Kind.ANSWER:
            assert isinstance(action.argument, int)
            run.asked.answer(action.argument)
            return None
        exchange = self._send(thread, self._wire(run, action), is_lost=action.is_lost)
        run.seen.append((thread, action, exchange))
        return exchange

    def _send(self, thread: int, wire: bytes, *, is_lost: bool = False) -> Exchange:
        """Send the request as soon as a server listens."""
        line = self._lines[thread]
        while True:
            assert self.serving.wait(PATIENCE), "the server did not come back"
            try:
                return line.lose(wire) if is_lost else line.ask(wire)
            except NotSent:
                continue

    def _wire(self, run: Raced, action: Action) -> bytes:
        subject = self._subject
        token = next(iter(subject.tokens.values()))
        match action.kind:
            case Kind.GET:
                return request("GET", f"/api/v1/automation_executions/{run.id}", subject.address, token)
            case Kind.DETAIL:
                return request("GET", f"/interlock/v1/executions/{run.id}", subject.address, token)
            case Kind.LIST:
                wanted = {"automationTemplateId": run.automation, "pageSize": _PAGE}
                path = "/api/v1/search/automation_executions"
                return request("POST", path, subject.address, token, json.dumps(wanted).encode())
            case Kind.CALLBACK:
                return request("POST", run.asked.callback, subject.address, body=_CALLBACK)
        order = action.argument
        assert isinstance(order, Order)
        body: dict[str, str] = {"reason": order.reason, "mode": order.mode}
        if order.at_once:
            body["deadline"] = "0s"
        path = f"/api/v1/automation_executions/{run.id}/actions/terminate"
        return request("POST", path, subject.address, subject.tokens[order.actor], json.dumps(body).encode())

    def _close(self, thread: int, runs: Sequence[Raced]) -> None:
        """Read each of this thread's runs until it is terminal, and stop those that no received action will end."""
        stop = Action(Kind.TERMINATE, Order(self._subject.actors[0], "no other action did"))
        for run in runs[thread::THREADS]:
            until = perf_counter_ns() + PATIENCE * 1e9
            while run.state not in OVER and perf_counter_ns() < until:
                looked = self._do(thread, run, DETAIL)
                run.state = json.loads(looked.body)["state"] if looked is not None and looked.status == 200 else ""
                if run.state in {IN_FLIGHT, WAITING}:
                    self._do(thread, run, stop)


def _operation(run: int, client: int, action: Action, exchange: Exchange) -> Iterator[Operation]:
    """What the exchange was, as far as it tells anything. A refusal for want of capacity tells nothing of a read."""
    called, status = exchange.called, exchange.status
    if action.kind is Kind.CALLBACK and status in {200, 400}:
        yield Operation(action.kind, called, exchange.returned, None, status, client)
    elif action.kind in {Kind.CALLBACK, Kind.TERMINATE} and status != 200:
        assert status in {0, 503}, exchange
        yield Operation(action.kind, called, inf, action.argument, None, client)
    elif status == 200:
        result = _READERS[action.kind](run, exchange)
        yield Operation(action.kind, called, exchange.returned, action.argument, result, client)
    else:
        assert status in {0, 429, 503}, exchange


def _told(run: int, exchange: Exchange) -> Told:
    verdict, _, state = header(exchange.head, b"interlock-termination").decode().partition("; state=")
    return Told(verdict, state)


def _got(run: int, exchange: Exchange) -> Shown:
    return _shown(json.loads(exchange.body)["automationExecution"])


def _listed(run: int, exchange: Exchange) -> Shown:
    shown = [view["automationExecution"] for view in json.loads(exchange.body)["list"]]
    found = [one for one in shown if one["id"] == str(run)]
    return _shown(found[0]) if len(found) == 1 else Shown(TWICE if found else MISSING)


def _shown(run: dict[str, Any]) -> Shown:
    return Shown(run["state"].removeprefix(_PREFIX), run.get("completedAt") or "")


def _detail(run: int, exchange: Exchange) -> Detail:
    shown: dict[str, Any] = json.loads(exchange.body)
    attempts = shown["steps"][0]["attempts"]
    found = shown.get("termination")
    record = None
    if found:
        record = Record(
            found["actor"]["client"],
            found["reason"],
            found["mode"],
            found["acceptedAt"],
            found.get("settledAt") or "",
            found["state"],
        )
    return Detail(shown["state"], shown.get("completedAt") or "", attempts[-1]["outcome"], record)


_READERS: Final[dict[Kind, Callable[[int, Exchange], Told | Shown | Detail]]] = {
    Kind.TERMINATE: _told,
    Kind.GET: _got,
    Kind.LIST: _listed,
    Kind.DETAIL: _detail,
}
