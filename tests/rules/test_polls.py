"""Polls: a result belongs to the wait that its poll began in, and is evidence once the attempt is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interlock.rules.admit import SWITCHED_OFF
from interlock.rules.decision import Decision, LateEvidence, StepSettled, Verdict, WakeAt
from interlock.rules.events import (
    Announce,
    CalledBack,
    Fail,
    Finish,
    Next,
    Polled,
    Retry,
    Settled,
    Terminated,
    Wait,
    Woken,
)
from interlock.rules.model import SECOND, AttemptRef, Cause, Result, SecretRef, TerminationRequest
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from tests.rules.runs import BOB, BORN, FAILED, SUCCEEDED, Ledger, a_run, attempt_of, order

FIRST, LATER = BORN + SECOND, BORN + 5 * SECOND
RUNNING = Result(None, handle=SecretRef(b"sealed"), wait_left=7)
CASCADE = TerminationRequest(BOB, "tree", cause=Cause.CASCADE, cause_execution=1)
AGAIN = Wait(0, WaitingFor.POLL, LATER)


def a_polled_run() -> Ledger:
    """A run whose receiver has accepted the work, and is polled."""
    run = a_run()
    attempt = attempt_of(run.row)
    run.apply(Settled(BORN + 1, attempt, RUNNING, Wait(0, WaitingFor.POLL, FIRST)))
    assert (run.row.state, run.row.waiting_for, run.row.wake_at) == (State.WAITING, WaitingFor.POLL, FIRST)
    assert run.steps[0, 1].waiting_for is WaitingFor.POLL
    return run


def polled(run: Ledger, result: Result, following: Next | None) -> Polled:
    """The result of a poll that began now."""
    return Polled(FIRST, AttemptRef(0, 1, run.steps[0, 1].epoch), run.row.epoch, result, following, "me")


def test_poll_of_unfinished_work_keeps_the_attempt_open_and_sets_its_next_time() -> None:
    run = a_polled_run()
    epoch = run.row.epoch
    decision = run.apply(polled(run, RUNNING, AGAIN))
    assert decision.records == (StepSettled(0, 1, FIRST, RUNNING, WaitingFor.POLL),)
    assert decision.effects == (WakeAt(run.row.ref, LATER),)
    assert (run.row.state, run.row.waiting_for, run.row.wake_at) == (State.WAITING, WaitingFor.POLL, LATER)
    assert (run.row.attempt, run.row.epoch, run.outcome(0)) == (1, epoch + 1, None)


@pytest.mark.parametrize(
    ("result", "following", "state"),
    [
        (SUCCEEDED, Announce(1), State.PROCESS_STEP),
        (SUCCEEDED, Finish(1), State.DONE),
        (SUCCEEDED, None, State.PENDING),
        (FAILED, Fail(0), State.ERROR),
        (FAILED, Retry(0, LATER), State.WAITING),
    ],
)
def test_poll_that_knows_the_result_settles_the_attempt(result: Result, following: Next | None, state: State) -> None:
    run = a_polled_run()
    assert run.apply(polled(run, result, following)).verdict is Verdict.ACCEPTED
    assert (run.row.state, run.outcome(0), len(run.steps)) == (state, result.outcome, 1 + (following == Announce(1)))


@pytest.mark.parametrize("result", [FAILED, RUNNING])
def test_poll_that_says_nothing_of_what_follows_moves_nothing(result: Result) -> None:
    run = a_polled_run()
    assert run.apply(polled(run, result, None)) == Decision(Verdict.SUPERSEDED, run.row)


@pytest.mark.parametrize("deadline", [0, 10 * SECOND])
def test_stop_of_a_polled_run_is_immediate_and_leaves_its_row_open(deadline: int) -> None:
    run = a_polled_run()
    decision = run.apply(Terminated(FIRST, order(deadline=deadline)))
    assert (run.row.state, decision.effects, run.outcome(0)) == (State.TERMINATE, (), None)


@pytest.mark.parametrize(
    ("result", "late"), [(SUCCEEDED, Outcome.LATE_SUCCEEDED), (FAILED, Outcome.LATE_FAILED), (RUNNING, None)]
)
def test_result_after_the_stop_is_evidence_once(result: Result, late: Outcome | None) -> None:
    run = a_polled_run()
    event = polled(run, result, Fail(0))
    run.apply(Terminated(FIRST, order()))
    evidence = () if late is None else (LateEvidence(event.attempt, FIRST, late, result),)
    assert run.apply(event) == Decision(Verdict.SUPERSEDED, run.row, evidence)
    assert run.apply(event) == Decision(Verdict.SUPERSEDED, run.row)


def test_result_of_a_superseded_poll_changes_nothing_while_the_wait_goes_on() -> None:
    run = a_polled_run()
    event = polled(run, SUCCEEDED, Finish(1))
    run.apply(polled(run, RUNNING, AGAIN))
    assert run.apply(event) == Decision(Verdict.SUPERSEDED, run.row)


@pytest.mark.parametrize(("result", "following"), [(RUNNING, AGAIN), (FAILED, Fail(0))])
def test_times_that_were_moved_with_the_clock_make_what_a_poll_says_of_its_wait_void(
    result: Result, following: Next
) -> None:
    run = a_polled_run()
    event = replace(polled(run, result, following), wake_at=FIRST - 1)
    assert run.apply(event) == Decision(Verdict.SUPERSEDED, run.row)
    run.apply(replace(event, wake_at=FIRST))
    assert run.outcome(0) is result.outcome


def test_result_of_a_superseded_poll_changes_nothing_after_the_step_succeeded() -> None:
    run = a_polled_run()
    event = polled(run, SUCCEEDED, Finish(1))
    run.apply(event)
    assert run.apply(event) == Decision(Verdict.SUPERSEDED, run.row)


def test_result_of_an_attempt_that_was_retried_meanwhile_is_no_evidence_of_the_new_one() -> None:
    run = a_polled_run()
    event = polled(run, SUCCEEDED, Finish(1))
    run.apply(polled(run, FAILED, Retry(0, LATER)))
    run.apply(Woken(LATER, run.row.epoch, WaitingFor.RETRY, None, Announce(0), "me"))
    assert run.apply(event) == Decision(Verdict.SUPERSEDED, run.row)


@pytest.mark.parametrize("fence", [CASCADE, SWITCHED_OFF])
@pytest.mark.parametrize(("result", "following"), [(RUNNING, AGAIN), (SUCCEEDED, Announce(1)), (SUCCEEDED, None)])
def test_fence_ends_a_polled_run_with_what_the_poll_found(
    fence: TerminationRequest, result: Result, following: Next | None
) -> None:
    run = a_polled_run()
    run.apply(polled(run, result, following), fence=fence)
    assert (run.row.state, run.outcome(0), len(run.steps)) == (State.TERMINATE, result.outcome, 1)


def test_full_disk_does_not_end_a_poll() -> None:
    run = a_polled_run()
    run.apply(polled(run, RUNNING, AGAIN), hold=True)
    assert (run.row.state, run.row.wake_at) == (State.WAITING, LATER)
    run.apply(polled(run, SUCCEEDED, Announce(1)), hold=True)
    assert (run.row.state, run.row.step, run.outcome(0)) == (State.PENDING, 1, Outcome.SUCCEEDED)


@pytest.mark.parametrize("at", [FIRST - 1, LATER])
def test_callback_settles_work_that_is_polled(at: int) -> None:
    run = a_polled_run()
    poll = polled(run, SUCCEEDED, Finish(1))
    assert run.apply(CalledBack(at, 0, SUCCEEDED)).verdict is Verdict.ACCEPTED
    assert (run.row.state, run.row.step, run.outcome(0)) == (State.PENDING, 1, Outcome.SUCCEEDED)
    assert run.apply(CalledBack(at, 0, SUCCEEDED)) == Decision(Verdict.SUPERSEDED, run.row)
    assert run.apply(poll) == Decision(Verdict.SUPERSEDED, run.row)


def test_attempt_that_is_accepted_while_it_is_stopped_is_not_polled() -> None:
    run = a_run()
    attempt = attempt_of(run.row)
    run.apply(Terminated(BORN + 1, order()))
    run.apply(Settled(FIRST, attempt, RUNNING, Wait(0, WaitingFor.POLL, LATER)))
    assert (run.row.state, run.row.wake_at, run.outcome(0)) == (State.TERMINATE, None, Outcome.INTERRUPTED_WAITING)


@pytest.mark.parametrize("wrong", [{"position": 1}, {"number": 2}], ids=str)
def test_result_for_another_attempt_than_the_one_that_waits_changes_nothing(wrong: dict[str, int]) -> None:
    run = a_polled_run()
    event = polled(run, SUCCEEDED, Finish(1))
    event = replace(event, attempt=replace(event.attempt, **wrong))
    assert run.apply(event) == Decision(Verdict.SUPERSEDED, run.row)
