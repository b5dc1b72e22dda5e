"""A run as its clients see it: a register on which the first commit wins.

A history is a set of operations, each with the time of its call and the time of its answer. It is linearizable if each
operation can be given one moment within its interval so that, one after the other, they do what `after` says. An
operation without an answer may have happened at any time after its call, or never: a lost reply, an answer of the
receiver, and a move of the server itself (`SETTLE` and those after it).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final, NamedTuple

DEADLINE: Final = 10_000_000_000
"""Nanoseconds after which a stopping run is given up, if the order does not say."""
MOST_LOSSES: Final = 3
"""Attempts that may be lost in crashes; then the step is not tried again."""

IN_FLIGHT, WAITING, PENDING, STOPPING = "PROCESS_STEP", "WAITING", "PENDING", "STOPPING"
DONE, ERROR, TERMINATE = "DONE", "ERROR", "TERMINATE"
OVER: Final = frozenset({DONE, ERROR, TERMINATE})

CUT: Final = "CUT"
"""The attempt was told to stop. What it made of that is learned by the first look at it."""
_OF_A_CUT: Final = frozenset({"INTERRUPTED_OUTCOME_UNKNOWN", "INTERRUPTED_RESPONSE", "ABANDONED"})
"""Not INTERRUPTED_NOT_SENT, except of a retry: the receiver had the first attempt before the history began."""
_TO_FINISH: Final = (PENDING, "SUCCEEDED")
_TO_REPEAT: Final = (PENDING, "ABANDONED")


class Kind(StrEnum):
    ANSWER = "receiver answers"
    CALLBACK = "callback"
    TERMINATE = "terminate"
    GET = "get"
    DETAIL = "detail"
    LIST = "list"
    SETTLE = "attempt settles"
    FINISH = "nothing is left to do"
    OVERDUE = "deadline passes"
    CRASH = "kill -9, and a new start"
    REPEAT = "the call goes again"


class Order(NamedTuple):
    """A terminate: who, why and how."""

    actor: str
    reason: str
    mode: str = "interrupt"
    at_once: bool = False
    """`deadline: 0s`"""


class Told(NamedTuple):
    """What became of a terminate, as the header `Interlock-Termination` says."""

    verdict: str
    state: str


MISSING: Final = "MISSING"
TWICE: Final = "TWICE"


class Shown(NamedTuple):
    """A run in C1's words, alone or in the list of its automation's, where it stands once, come what may."""

    state: str
    completed_at: str = ""


class Record(NamedTuple):
    """The termination record."""

    actor: str
    reason: str
    mode: str
    accepted_at: str
    settled_at: str
    state: str


class Detail(NamedTuple):
    """A run in our own view. `outcome` is that of the newest attempt."""

    state: str
    completed_at: str = ""
    outcome: str = ""
    record: Record | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a history; times are nanoseconds of one monotonic clock. `returned` is inf without an answer."""

    kind: Kind
    called: float
    returned: float = inf
    argument: Order | int | None = None
    """The terminate; the status that the receiver answers with."""
    result: Told | Shown | Detail | int | None = None
    client: int = -1

    @property
    def is_open(self) -> bool:
        return self.returned == inf


class Run(NamedTuple):
    """A run, and what has been learned of it: what was seen once has to stay so."""

    state: str = IN_FLIGHT
    order: Order | None = None
    """The one that was accepted."""
    outcome: str = ""
    accepted_at: str = ""
    completed_at: str = ""
    losses: int = 0
    """Attempts that were lost in crashes, and made again."""
    called: bool = False
    """A callback came while the attempt was in flight: it is kept until the attempt ends."""


def after(run: Run, operation: Operation) -> Run | None:
    """The run when the operation has happened to it; None if it cannot have had this result now."""
    match operation.kind:
        case Kind.GET | Kind.LIST:
            return _seen(run, operation.result)
        case Kind.DETAIL:
            return _looked_into(run, operation.result)
        case Kind.TERMINATE:
            assert isinstance(operation.argument, Order)
            told, following = _terminate(run, operation.argument)
            return following if operation.is_open or told == operation.result else None
        case Kind.ANSWER:
            return _answered(run, operation.argument)
        case Kind.CALLBACK:
            return _called_back(run, operation)
        case Kind.SETTLE:
            # A draining attempt is left alone.
            is_cut = run.state == STOPPING and run.order is not None and run.order.mode == "interrupt"
            return _given_up(run, CUT) if is_cut else run
        case Kind.FINISH:
            return run._replace(state=DONE) if (run.state, run.outcome) == _TO_FINISH else run
        case Kind.OVERDUE:
            return _given_up(run, "ABANDONED") if run.state == STOPPING else run
        case Kind.CRASH:
            return _crashed(run)
        case Kind.REPEAT:
            is_due = (run.state, run.outcome) == _TO_REPEAT
            return run._replace(state=IN_FLIGHT, outcome="") if is_due else run


def _given_up(run: Run, outcome: str) -> Run:
    """A stopping run is at its end without an answer to its attempt; a kept callback is known to be one."""
    return run._replace(state=TERMINATE, outcome="SUCCEEDED" if run.called else outcome, called=False)


def _settled_by_callback(run: Run) -> Run:
    return run._replace(state=PENDING, outcome="SUCCEEDED", called=False)


def _crashed(run: Run) -> Run:
    if run.state == STOPPING:
        return _given_up(run, "ABANDONED")
    if run.state != IN_FLIGHT:
        return run
    if run.called:
        return _settled_by_callback(run)
    if run.losses == MOST_LOSSES:
        return run._replace(state=ERROR, outcome="INTERRUPTED_OUTCOME_UNKNOWN")
    return run._replace(state=PENDING, outcome="ABANDONED", losses=run.losses + 1)


def _terminate(run: Run, order: Order) -> tuple[Told, Run]:
    state, first = run.state, run.order
    if state in {DONE, ERROR}:
        return Told("already-finished", state), run
    if state == TERMINATE:
        return Told("repeated", state), run
    if state == STOPPING:
        assert first is not None
        if order.mode == "interrupt" != first.mode:
            run = run._replace(order=first._replace(mode="interrupt"))
        if order.at_once:
            run = _given_up(run, "ABANDONED")
        return Told("repeated", run.state), run
    if state in {WAITING, PENDING}:
        outcome = run.outcome or "INTERRUPTED_WAITING"
        return Told("accepted", TERMINATE), run._replace(state=TERMINATE, order=order, outcome=outcome)
    if order.at_once:
        return Told("accepted", TERMINATE), _given_up(run._replace(order=order), "ABANDONED")
    return Told("accepted", STOPPING), run._replace(state=STOPPING, order=order)


_ANSWERS: Final = {
    200: (DONE, "SUCCEEDED", "SUCCEEDED"),
    202: (WAITING, "", "INTERRUPTED_WAITING"),
    410: (ERROR, "FAILED", "FAILED"),
}
"""By status: the state that it leads to, the outcome then, and the outcome if the run is being stopped."""


def _answered(run: Run, status: object) -> Run:
    assert isinstance(status, int)
    state, outcome, if_stopping = _ANSWERS[status]
    if run.state == IN_FLIGHT:
        if run.called and status != 200:
            return _settled_by_callback(run)
        return run._replace(state=state, outcome=outcome, called=False)
    if run.state == STOPPING:
        return _given_up(run, if_stopping)
    return run


def _called_back(run: Run, operation: Operation) -> Run | None:
    following = None
    if run.state == WAITING or (run.state, run.outcome) == _TO_REPEAT:
        # The callback's commit hands the run over to the next step; there is none, so the run is DONE then.
        following = _settled_by_callback(run)
    elif run.state == IN_FLIGHT and not run.called:
        following = run._replace(called=True)
    if operation.is_open:
        return following or run
    return following if operation.result == 200 else None if following is not None else run


def _seen(run: Run, result: object) -> Run | None:
    assert isinstance(result, Shown)
    if result.state != (IN_FLIGHT if run.state == STOPPING else run.state):
        return None
    return _completed(run, result.completed_at)


def _completed(run: Run, at: str) -> Run | None:
    if (run.state in OVER) != bool(at):
        return None
    if run.completed_at == at:
        return run
    return None if run.completed_at else run._replace(completed_at=at)


def _looked_into(run: Run, result: object) -> Run | None:
    assert isinstance(result, Detail)
    record = result.record
    if result.state != run.state or (record is not None) != (run.state in {STOPPING, TERMINATE}):
        return None
    if run.outcome == CUT:
        if result.outcome not in _OF_A_CUT and not (run.losses and result.outcome == "INTERRUPTED_NOT_SENT"):
            return None
        run = run._replace(outcome=result.outcome)
    elif result.outcome != run.outcome:
        return None
    if record is not None:
        first = run.order
        assert first is not None
        if record[:3] != first[:3] or record.state != run.state or record.settled_at != result.completed_at:
            return None
        if not run.accepted_at:
            run = run._replace(accepted_at=record.accepted_at)
        elif run.accepted_at != record.accepted_at:
            return None
    return _completed(run, result.completed_at)
