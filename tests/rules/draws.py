"""What is drawn for the life of a run: orders, results and what follows them."""

from __future__ import annotations

from hypothesis import strategies as st

from interlock.rules.admit import SWITCHED_OFF
from interlock.rules.changes import Applied, Refused
from interlock.rules.events import (
    Announce,
    Change,
    Fail,
    Finish,
    Next,
    Passed,
    Retry,
    Wait,
)
from interlock.rules.model import (
    MAX_DEADLINE,
    SECOND,
    Cause,
    Item,
    Mode,
    Result,
    TerminationRequest,
)
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from tests.rules.runs import ANN, BOB, Noted

STEPS = 4
ENDED = {State.DONE, State.ERROR}

times = st.integers(0, 1_000 * SECOND)
orders = st.builds(
    TerminationRequest,
    actor=st.sampled_from([ANN, BOB]),
    reason=st.sampled_from(["first", "second", "third"]),
    mode=st.sampled_from(Mode),
    deadline=st.sampled_from([0, 1, 10 * SECOND, MAX_DEADLINE]),
)
results = st.sampled_from(
    [
        Result(Outcome.SUCCEEDED, b"{}"),
        Result(Outcome.FAILED, error=b"{}"),
        Result(None, status=202),
        Result(Outcome.INTERRUPTED_NOT_SENT),
        Result(Outcome.INTERRUPTED_OUTCOME_UNKNOWN),
    ]
)
fences = st.sampled_from(
    [None] * 8 + [SWITCHED_OFF, TerminationRequest(BOB, "tree", cause=Cause.CASCADE, cause_execution=1)]
)
ACCEPTED_WAITS = [WaitingFor.CALLBACK, WaitingFor.TASK, WaitingFor.POLL]
answers: st.SearchStrategy[Applied | Refused] = st.sampled_from([Applied(), Refused(b"{}")])


@st.composite
def going_on(draw: st.DrawFn, position: int) -> Next:
    """What may come next for a run that has come to that step."""
    target = draw(st.integers(position, STEPS))
    passed = tuple(Passed(step, Outcome.SKIPPED) for step in range(position, target))
    if target == STEPS:
        return Finish(STEPS, passed)
    kind = draw(st.sampled_from(["announce", "announce", "change", "wait", "fail"]))
    if kind == "announce":
        return Announce(target, b"{}", tuple(Item(number, "") for number in range(draw(st.integers(0, 3)))), passed)
    if kind == "change":
        then = Wait(target, WaitingFor.TASK, draw(st.none() | times))
        return Change(target, Noted("a"), passed=passed, then=draw(st.none() | st.just(then)))
    if kind == "wait":
        waiting_for = draw(st.sampled_from([WaitingFor.TIMER, WaitingFor.TASK]))
        until = draw(times if waiting_for is WaitingFor.TIMER else st.none() | times)
        return Wait(target, waiting_for, until, passed=passed)
    return Fail(target, b"{}", passed=passed)


@st.composite
def after_a_result(draw: st.DrawFn, position: int, result: Result) -> Next:
    """What may follow a result of that step."""
    if result.outcome is None:
        return Wait(
            position, draw(st.sampled_from([WaitingFor.CALLBACK, WaitingFor.TASK, WaitingFor.POLL])), draw(times)
        )
    if result.outcome is Outcome.FAILED:
        return Fail(position) if draw(st.booleans()) else Retry(position, draw(times))
    if position + 1 >= STEPS:
        return Finish(STEPS)
    return draw(going_on(position + 1))
