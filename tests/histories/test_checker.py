"""The checker: what it takes for right, what it finds out, and that it misses nothing a search by hand would find."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.histories.checker import OF_ITS_OWN_ACCORD, check, told
from tests.histories.model import (
    DONE,
    ERROR,
    IN_FLIGHT,
    MISSING,
    OVER,
    STOPPING,
    TERMINATE,
    TWICE,
    WAITING,
    Detail,
    Kind,
    Operation,
    Order,
    Record,
    Run,
    Shown,
    Told,
    after,
)

ANN, BOB = Order("ann", "wrong person"), Order("bob", "wrong list")
END = "12:00"


def orders(at: float, until: float, verdict: str = "", state: str = "", order: Order = ANN) -> Operation:
    """A terminate with its answer; without a verdict, the answer was lost."""
    result = Told(verdict, state) if verdict else None
    return Operation(Kind.TERMINATE, at, until if verdict else inf, order, result)


def gets(at: float, until: float, state: str, end: str = END) -> Operation:
    return Operation(Kind.GET, at, until, None, Shown(state, end if state in OVER else ""))


def lists(at: float, until: float, state: str) -> Operation:
    return Operation(Kind.LIST, at, until, None, Shown(state, END if state in OVER else ""))


def details(at: float, until: float, state: str, outcome: str, order: Order = ANN) -> Operation:
    end = END if state in OVER else ""
    record = None
    if state in {STOPPING, TERMINATE}:
        record = Record(order.actor, order.reason, order.mode, "11:59", end, state)
    return Operation(Kind.DETAIL, at, until, None, Detail(state, end, outcome, record))


def answers(at: float, status: int = 200) -> Operation:
    return Operation(Kind.ANSWER, at, argument=status)


def calls_back(at: float, until: float, status: int = 200) -> Operation:
    return Operation(Kind.CALLBACK, at, until, None, status)


GOOD = {
    "a run that is left alone": [gets(0, 1, IN_FLIGHT), answers(2), gets(3, 4, IN_FLIGHT), gets(5, 6, DONE)],
    "a run that fails": [answers(0, 410), gets(1, 2, ERROR), orders(3, 4, "already-finished", ERROR)],
    "a stop of a call in flight": [
        orders(0, 1, "accepted", STOPPING),
        gets(2, 3, IN_FLIGHT),
        details(4, 5, STOPPING, ""),
        details(6, 7, TERMINATE, "INTERRUPTED_OUTCOME_UNKNOWN"),
        gets(8, 9, TERMINATE),
    ],
    "an answer that beats the cut": [
        orders(0, 1, "accepted", STOPPING),
        answers(2),
        details(3, 4, TERMINATE, "SUCCEEDED"),
    ],
    "a stop that comes too late": [answers(0), orders(1, 5, "already-finished", DONE), gets(2, 6, IN_FLIGHT)],
    "a stop whose answer was lost and that took effect": [orders(0, 1), gets(2, 3, IN_FLIGHT), gets(8, 9, TERMINATE)],
    "a stop whose answer was lost and that had no effect": [orders(0, 1), answers(2), gets(8, 9, DONE)],
    "two orders": [
        orders(0, 9, "repeated", STOPPING),
        orders(1, 8, "accepted", STOPPING, BOB),
        details(10, 11, STOPPING, "", BOB),
    ],
    "a waiting run is stopped at once": [
        answers(0, 202),
        gets(1, 2, WAITING),
        orders(3, 4, "accepted", TERMINATE),
        calls_back(5, 6, 400),
        details(7, 8, TERMINATE, "INTERRUPTED_WAITING"),
    ],
    "a callback that overtakes its 202": [calls_back(0, 5), answers(1, 202), gets(6, 7, "PENDING"), gets(8, 9, DONE)],
    "a callback before a refusal": [
        calls_back(0, 1),
        calls_back(2, 3, 400),
        answers(4, 410),
        details(5, 6, "PENDING", "SUCCEEDED"),
        gets(7, 8, DONE),
    ],
    "a stop after an early callback": [
        calls_back(0, 1),
        orders(2, 3, "accepted", STOPPING),
        calls_back(4, 5, 400),
        details(6, 7, TERMINATE, "SUCCEEDED"),
    ],
    "a crash after an early callback": [
        calls_back(0, 1),
        Operation(Kind.CRASH, 2),
        details(3, 4, "PENDING", "SUCCEEDED"),
        gets(5, 6, DONE),
    ],
    "a draining stop": [
        orders(0, 1, "accepted", STOPPING, ANN._replace(mode="drain")),
        answers(4),
        details(5, 6, TERMINATE, "SUCCEEDED", ANN._replace(mode="drain")),
    ],
    "a crash while it stops": [
        orders(0, 1, "accepted", STOPPING),
        Operation(Kind.CRASH, 2),
        details(3, 4, TERMINATE, "ABANDONED"),
    ],
    "a crash too many": [
        *(Operation(kind, at) for at in range(4) for kind in (Kind.CRASH, Kind.REPEAT)),
        details(5, 6, ERROR, "INTERRUPTED_OUTCOME_UNKNOWN"),
    ],
    "a crash while it calls": [
        Operation(Kind.CRASH, 0),
        Operation(Kind.REPEAT, 0),
        details(1, 2, "PENDING", "ABANDONED"),
        gets(3, 4, IN_FLIGHT),
        orders(5, 6, "accepted", STOPPING),
        details(7, 8, TERMINATE, "INTERRUPTED_NOT_SENT"),
    ],
}

BAD = {
    "S1 an early callback is lost": [calls_back(0, 1), answers(2, 410), gets(3, 4, ERROR)],
    "S1 an early callback is lost in a crash": [
        calls_back(0, 1),
        Operation(Kind.CRASH, 2),
        details(3, 4, "PENDING", "ABANDONED"),
    ],
    "S5 an early callback is refused": [calls_back(0, 1, 400), gets(2, 3, IN_FLIGHT)],
    "S7 a callback is accepted by a stopping run": [orders(0, 1, "accepted", STOPPING), calls_back(2, 3)],
    "S1 an accepted order is lost": [orders(0, 1, "accepted", STOPPING), answers(2), gets(3, 4, DONE)],
    "S1 an accepted order is lost in a crash": [
        orders(0, 1, "accepted", STOPPING),
        Operation(Kind.CRASH, 2),
        Operation(Kind.REPEAT, 2),
        details(3, 4, IN_FLIGHT, ""),
    ],
    "S1 a callback that was taken is lost": [answers(0, 202), calls_back(1, 2), gets(3, 4, WAITING)],
    "S4 a stopped run flips to success": [
        orders(0, 1, "accepted", STOPPING),
        gets(2, 3, TERMINATE),
        answers(4),
        gets(5, 6, DONE),
    ],
    "S4 a stopped run is overwritten by its error": [
        answers(0, 410),
        orders(1, 2, "accepted", STOPPING),
        gets(3, 4, ERROR),
    ],
    "S4 the time of the end moves": [answers(0), gets(1, 2, DONE), gets(3, 4, DONE, "12:01")],
    "S5 a stop overwrites a finished run": [answers(0), gets(1, 2, DONE), orders(3, 4, "accepted", TERMINATE)],
    "S5 a stop overwrites what was seen as done": [
        answers(0),
        orders(1, 6, "already-finished", DONE),
        gets(7, 8, TERMINATE),
    ],
    "S5 an order is told of an end that never was": [orders(0, 1, "already-finished", DONE), gets(2, 3, IN_FLIGHT)],
    "S5 a callback is taken after the stop": [
        answers(0, 202),
        orders(1, 2, "accepted", TERMINATE),
        calls_back(3, 4, 200),
    ],
    "S5 a callback is refused by a run that waits for it": [
        answers(0, 202),
        gets(1, 2, WAITING),
        calls_back(3, 4, 400),
    ],
    "S6 two orders are accepted": [orders(0, 9, "accepted", STOPPING), orders(1, 8, "accepted", STOPPING, BOB)],
    "S6 an order repeats none": [orders(0, 1, "repeated", TERMINATE)],
    "S6 the record names the second order": [
        orders(0, 1, "accepted", STOPPING),
        orders(2, 3, "repeated", STOPPING, BOB),
        details(4, 5, STOPPING, "", BOB),
    ],
    "S9 what the receiver has is shown as not sent": [
        orders(0, 1, "accepted", STOPPING),
        details(2, 3, TERMINATE, "INTERRUPTED_NOT_SENT"),
    ],
    "S10 the outcome of a step changes": [
        orders(0, 1, "accepted", STOPPING),
        details(2, 3, TERMINATE, "INTERRUPTED_OUTCOME_UNKNOWN"),
        details(4, 5, TERMINATE, "INTERRUPTED_RESPONSE"),
    ],
    "S12 a waiting run is still stopping": [
        answers(0, 202),
        gets(1, 2, WAITING),
        orders(3, 4, "accepted", STOPPING),
    ],
    "S14 a read after the answer sees no stop": [orders(0, 1, "accepted", STOPPING), details(2, 3, IN_FLIGHT, "")],
    "S14 a read goes back behind another one": [answers(0), gets(1, 2, DONE), gets(3, 4, IN_FLIGHT)],
    "S14 a list shows another state than the run has": [answers(0), gets(1, 2, DONE), lists(3, 4, IN_FLIGHT)],
    "a run that moves is not in its list": [answers(0), lists(1, 2, MISSING)],
    "a run that moves is in its list twice": [answers(0), lists(1, 2, TWICE)],
    "a view that mixes two commits": [answers(0), details(1, 2, IN_FLIGHT, "SUCCEEDED"), gets(3, 4, DONE)],
    "a drained attempt that was cut": [
        orders(0, 1, "accepted", STOPPING, ANN._replace(mode="drain")),
        gets(2, 3, TERMINATE),
    ],
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_what_can_have_happened_is_accepted(history: list[Operation]) -> None:
    finding = check([*OF_ITS_OWN_ACCORD, *history])
    assert finding.linearizable, told(history, finding)


@pytest.mark.parametrize("history", BAD.values(), ids=BAD)
def test_what_breaks_a_promise_is_found_out(history: list[Operation]) -> None:
    assert not check([*OF_ITS_OWN_ACCORD, *history]).linearizable


def test_a_violation_is_told_with_its_times_and_where_the_search_got_to() -> None:
    history = [orders(0, 1_000, "accepted", STOPPING), gets(2_000, 3_000, DONE)]
    lines = told(history, check(history)).splitlines()
    assert lines[1].split()[:4] == ["0", "1", "1", "terminate"]
    assert lines[2].split()[:4] == ["2", "3", "-", "get"]
    assert lines[-1] == "after the last one in order: STOPPING, ann, wrong person, interrupt"


# --- histories that are right by how they were made -------------------------------------------------------------------

KINDS: st.SearchStrategy[tuple[Kind, Order | int | None]] = st.sampled_from(
    [
        (Kind.TERMINATE, ANN),
        (Kind.TERMINATE, BOB._replace(mode="drain")),
        (Kind.TERMINATE, BOB._replace(at_once=True)),
        (Kind.ANSWER, 200),
        (Kind.ANSWER, 202),
        (Kind.ANSWER, 410),
        (Kind.CALLBACK, None),
        (Kind.GET, None),
        (Kind.DETAIL, None),
        (Kind.SETTLE, None),
        (Kind.FINISH, None),
    ]
)
"""An operation, without its times."""
UNANSWERED = {Kind.ANSWER, Kind.SETTLE, Kind.FINISH}
POSSIBLE: list[Told | Shown | Detail | int] = [
    *(Told(verdict, state) for verdict in ("accepted", "repeated") for state in (STOPPING, TERMINATE)),
    *(Told("already-finished", state) for state in (DONE, ERROR)),
    *(200, 400),
    *(Shown(state, END if state in OVER else "") for state in (IN_FLIGHT, WAITING, "PENDING", *sorted(OVER))),
]


def results(run: Run, kind: Kind) -> Sequence[Told | Shown | Detail | int]:
    """Every answer that an operation of this kind might give; which of them is true, the model says."""
    if kind is not Kind.DETAIL:
        wanted = {Kind.TERMINATE: Told, Kind.GET: Shown, Kind.CALLBACK: int}[kind]
        return [result for result in POSSIBLE if isinstance(result, wanted)]
    end = END if run.state in OVER else ""
    record = Record(*run.order[:3], "11:59", end, run.state) if run.order is not None else None
    return [Detail(run.state, end, outcome, record) for outcome in ("ABANDONED", run.outcome)]


@st.composite
def right_histories(draw: st.DrawFn) -> list[Operation]:
    """Operations one after the other, each with a true answer, and then times that let them overlap."""
    run, history = Run(), list[Operation]()
    for place, (kind, argument) in enumerate(draw(st.lists(KINDS, min_size=1, max_size=14))):
        at = place * 10.0
        called, returned = at - draw(st.integers(0, 60)), at + draw(st.integers(1, 60))
        made = [Operation(kind, called, argument=argument)]
        if kind not in UNANSWERED and not (kind is Kind.TERMINATE and draw(st.booleans())):
            made = [Operation(kind, called, returned, argument, result) for result in results(run, kind)]
        for operation in made:
            if (following := after(run, operation)) is not None:
                history.append(operation)
                run = following
                break
    return history


@given(right_histories())
def test_whatever_one_run_can_do_is_accepted_however_it_overlaps(history: list[Operation]) -> None:
    finding = check(history)
    assert finding.linearizable, told(history, finding)


@given(right_histories())
def test_a_final_state_that_is_another_one_later_is_found_out(history: list[Operation]) -> None:
    stopped = [*history, orders(1_000, 1_001, order=ANN._replace(at_once=True)), gets(1_002, 1_003, TERMINATE)]
    assert not check([*stopped, gets(1_004, 1_005, DONE)]).linearizable


# --- and a search without any wit -------------------------------------------------------------------------------------


def by_hand(history: list[Operation]) -> bool:
    """Whether any order of all that has an answer and some of the rest is right: tried one by one."""
    closed = [operation for operation in history if not operation.is_open]
    rest = [operation for operation in history if operation.is_open]
    chosen = (subset for count in range(len(rest) + 1) for subset in combinations(rest, count))
    return any(_is_right(order) for subset in chosen for order in permutations([*closed, *subset]))


def _is_right(order: tuple[Operation, ...]) -> bool:
    run: Run | None = Run()
    for place, operation in enumerate(order):
        if any(later.returned < operation.called for later in order[place + 1 :]):
            return False
        run = after(run, operation) if run is not None else None
    return run is not None


@st.composite
def any_histories(draw: st.DrawFn) -> list[Operation]:
    """A few operations with any answers."""
    history = list[Operation]()
    for kind, argument in draw(st.lists(KINDS.filter(lambda made: made[0] is not Kind.DETAIL), min_size=1, max_size=5)):
        called = draw(st.integers(0, 20))
        if kind in UNANSWERED or (kind is Kind.TERMINATE and draw(st.booleans())):
            history.append(Operation(kind, called, argument=argument))
        else:
            returned, result = called + draw(st.integers(1, 20)), draw(st.sampled_from(list(results(Run(), kind))))
            history.append(Operation(kind, called, returned, argument, result))
    return history


@given(any_histories())
def test_the_search_finds_an_order_exactly_if_there_is_one(history: list[Operation]) -> None:
    assert check(history).linearizable == by_hand(history)
