"""The early callback: accepted at once, kept while its step is attempted, and then the outcome of that attempt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interlock.rules.admit import SWITCHED_OFF
from interlock.rules.decision import CallbackKept, CallbackTaken, LateEvidence, StepSettled, Verdict
from interlock.rules.events import (
    Announce,
    CalledBack,
    DeadlinePassed,
    Event,
    Fail,
    Prepared,
    Recovered,
    Retry,
    Settled,
    Terminated,
    Wait,
    Woken,
)
from interlock.rules.model import SECOND, Mode, Result
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from tests.rules.runs import ACCEPTED, BORN, FAILED, SUCCEEDED, Ledger, a_run, attempt_of, order

EARLY, LATER, UNTIL = BORN + 2, BORN + 5 * SECOND, BORN + 60 * SECOND
ANSWER = Result(Outcome.SUCCEEDED, b'{"ticket":1}', status=202)
CALLED = CalledBack(EARLY, 0, ANSWER)


def called_early(state: State = State.PROCESS_STEP, *, mode: Mode = Mode.INTERRUPT) -> Ledger:
    """A run in flight whose step was called back; for STOPPING, it was ordered to stop after that."""
    run = a_run()
    decision = run.apply(CALLED)
    assert (decision.verdict, decision.moved) == (Verdict.ACCEPTED, False)
    assert decision.records == (CallbackKept(0, EARLY, ANSWER),)
    if state is State.STOPPING:
        run.apply(Terminated(LATER, order(mode=mode)))
    assert run.row.state is state
    return run


def ends(run: Ledger) -> dict[str, tuple[Event, Result]]:
    """Everything that ends the attempt in flight without an answer of its own, and what it says of the attempt."""
    attempt, epoch = attempt_of(run.row), run.row.epoch
    nothing = Result(None)
    lost = Result(Outcome.ABANDONED, status=503, phase="reading")
    return {
        "accepted with 202": (Settled(LATER, attempt, ACCEPTED, Wait(0, WaitingFor.CALLBACK, UNTIL)), ACCEPTED),
        "failed, to be retried": (Settled(LATER, attempt, FAILED, Retry(0, UNTIL)), FAILED),
        "failed for good": (Settled(LATER, attempt, FAILED, Fail(0)), FAILED),
        "failed, and nothing was planned": (Settled(LATER, attempt, FAILED, None), FAILED),
        "cut by an orderly stop of the server": (Settled(LATER, attempt, lost, Fail(0)), lost),
        "lost, repeatable": (Recovered(LATER, epoch, repeatable=True), nothing),
        "lost, not repeatable": (Recovered(LATER, epoch, repeatable=False), nothing),
    }


@pytest.mark.parametrize("how", ends(a_run()))
def test_the_kept_callback_settles_an_attempt_that_ends_without_an_answer(how: str) -> None:
    run = called_early()
    event, reported = ends(run)[how]
    decision = run.apply(event)
    assert (run.row.state, run.row.step, run.row.waiting_for) == (State.PENDING, 1, WaitingFor.READY)
    done = replace(ANSWER, status=reported.status, phase=reported.phase)
    assert decision.records[0] == StepSettled(0, 1, LATER, done)
    assert decision.records[-1] == CallbackTaken(0)
    refused = [LateEvidence(attempt_of(a_run().row), LATER, Outcome.LATE_FAILED, reported)]
    assert list(decision.records[1:-1]) == (refused if reported.outcome is Outcome.FAILED else [])
    evidence = [Outcome.LATE_FAILED] if reported.outcome is Outcome.FAILED else []
    assert run.steps[0, 1].late == evidence
    assert list(run.steps) == [(0, 1)]


@pytest.mark.parametrize("fence", [order(), SWITCHED_OFF], ids=["cascade", "switch"])
@pytest.mark.parametrize("how", ends(a_run()))
def test_a_standing_order_stops_the_run_that_the_callback_would_have_moved_on(how: str, fence: object) -> None:
    run = called_early()
    run.apply(ends(run)[how][0], fence=fence)  # type: ignore[arg-type]
    assert (run.row.state, run.outcome(0), run.callbacks) == (State.TERMINATE, Outcome.SUCCEEDED, {})


@pytest.mark.parametrize("state", [State.PROCESS_STEP, State.STOPPING])
def test_an_answer_of_its_own_settles_the_attempt_and_the_callback_is_evidence(state: State) -> None:
    run = called_early(state)
    attempt = attempt_of(run.row)
    decision = run.apply(Settled(LATER, attempt, SUCCEEDED, Announce(1)))
    assert decision.records[:3] == (
        StepSettled(0, 1, LATER, SUCCEEDED),
        LateEvidence(attempt, EARLY, Outcome.LATE_SUCCEEDED, replace(ANSWER, status=None)),
        CallbackTaken(0),
    )
    assert run.row.state is (State.TERMINATE if state is State.STOPPING else State.PROCESS_STEP)


def gives_up(run: Ledger) -> dict[str, Event]:
    """Everything that ends a stopping run's attempt without an answer of its own."""
    attempt, epoch = attempt_of(run.row), run.row.epoch
    cut = {
        outcome.value: Settled(LATER, attempt, Result(outcome, phase="writing"), None)
        for outcome in (Outcome.INTERRUPTED_NOT_SENT, Outcome.INTERRUPTED_OUTCOME_UNKNOWN, Outcome.INTERRUPTED_RESPONSE)
    }
    return {
        **cut,
        "accepted with 202": Settled(LATER, attempt, ACCEPTED, Wait(0, WaitingFor.CALLBACK, UNTIL)),
        "failed": Settled(LATER, attempt, FAILED, Retry(0, UNTIL)),
        "its deadline": DeadlinePassed(LATER + 10 * SECOND, epoch),
        "a nearer deadline": Terminated(LATER, order(deadline=0)),
        "a crash": Recovered(LATER, epoch, repeatable=True),
    }


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("how", gives_up(a_run()))
def test_a_stopped_run_says_that_the_work_was_done_and_goes_nowhere(how: str, mode: Mode) -> None:
    run = called_early(State.STOPPING, mode=mode)
    run.apply(gives_up(run)[how])
    assert (run.row.state, run.row.step, run.outcome(0)) == (State.TERMINATE, 0, Outcome.SUCCEEDED)
    assert run.callbacks == {}


def test_a_terminate_that_waits_for_nothing_says_that_the_work_was_done() -> None:
    run = called_early()
    run.apply(Terminated(LATER, order(deadline=0)))
    assert (run.row.state, run.outcome(0), run.callbacks) == (State.TERMINATE, Outcome.SUCCEEDED, {})


def test_the_first_of_several_early_callbacks_stands() -> None:
    run = called_early()
    for state in (State.PROCESS_STEP, State.STOPPING):
        again = run.apply(CalledBack(LATER, 0, Result(Outcome.SUCCEEDED, b'{"ticket":2}')))
        assert (run.row.state, again.verdict, again.records) == (state, Verdict.SUPERSEDED, ())
        run.apply(Terminated(LATER, order()))
    assert run.callbacks[0].result is ANSWER


def between_attempts(how: str) -> Ledger:
    run = a_run()
    if how == "retry":
        run.apply(Settled(LATER, attempt_of(run.row), FAILED, Retry(0, UNTIL)))
    else:
        run.apply(Recovered(LATER, run.row.epoch, repeatable=True))
    return run


@pytest.mark.parametrize("how", ["retry", "crash"])
def test_a_callback_between_two_attempts_settles_the_step_and_spares_the_retry(how: str) -> None:
    run = between_attempts(how)
    before = run.row
    assert run.apply(CALLED).verdict is Verdict.ACCEPTED
    assert (run.row.state, run.row.step, run.outcome(0, 2)) == (State.PENDING, 1, Outcome.SUCCEEDED)
    stale: list[Event] = [
        Prepared(LATER, before.epoch, Announce(0), "me"),
        Woken(UNTIL, before.epoch, WaitingFor.RETRY, None, Announce(0), "me"),
    ]
    for event in stale:
        assert run.apply(event).verdict is Verdict.SUPERSEDED
    assert run.apply(CALLED).records == ()


@pytest.mark.parametrize("how", ["retry", "crash"])
def test_a_callback_between_two_attempts_of_a_run_that_is_to_stop_is_evidence(how: str) -> None:
    run = between_attempts(how)
    assert run.apply(CALLED, fence=order()).verdict is Verdict.SUPERSEDED
    assert (list(run.steps), run.steps[0, 1].late) == ([(0, 1)], [Outcome.LATE_SUCCEEDED])


@pytest.mark.parametrize("state", [State.STOPPING, State.TERMINATE, State.DONE, State.ERROR])
def test_a_callback_after_the_stop_or_the_end_is_evidence_once_and_refused(state: State) -> None:
    run = a_run(state)
    done = state is State.DONE
    for _ in range(2):
        decision = run.apply(CALLED)
        assert (decision.verdict, decision.moved, run.row.state) == (Verdict.SUPERSEDED, False, state)
    assert run.steps[0, 1].late == ([] if done else [Outcome.LATE_SUCCEEDED])


@pytest.mark.parametrize("state", [State.PENDING, State.PAUSED_BY_CIRCUIT_BREAKER])
def test_a_callback_for_a_step_that_was_never_attempted_is_refused(state: State) -> None:
    run = a_run(state)
    assert run.apply(CALLED).records == ()
    assert run.row.state is state


def test_a_callback_after_its_time_is_evidence_whether_or_not_the_timeout_was_noticed() -> None:
    run = a_run(State.WAITING)
    assert run.row.wake_at is not None
    decision = run.apply(CalledBack(run.row.wake_at, 0, ANSWER))
    assert (decision.verdict, run.row.state) == (Verdict.SUPERSEDED, State.WAITING)
    assert run.steps[0, 1].late == [Outcome.LATE_SUCCEEDED]


def test_a_callback_for_an_earlier_step_settles_nothing_of_the_present_one() -> None:
    run = a_run()
    run.apply(Settled(LATER, attempt_of(run.row), SUCCEEDED, Announce(1), "me"))
    assert run.apply(CALLED).records == ()
    assert run.apply(CalledBack(LATER, 1, ANSWER)).records == (CallbackKept(1, LATER, ANSWER),)
