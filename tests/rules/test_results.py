"""Results: the current attempt's moves the run, any other's is evidence, and an interrupt is no outcome."""

import pytest

from interlock.rules.decision import LateEvidence, Perform, StepSettled, Verdict, WakeAt
from interlock.rules.events import (
    Announce,
    CalledBack,
    Fail,
    Finish,
    ItemSettled,
    Passed,
    Prepared,
    Retry,
    Settled,
    Terminated,
    Wait,
    Woken,
)
from interlock.rules.model import SECOND, AttemptRef, Mode, Result
from interlock.rules.outcomes import INTERRUPTED, Outcome
from interlock.rules.states import State, WaitingFor
from tests.rules.runs import ACCEPTED, BORN, FAILED, SUCCEEDED, a_run, attempt_of, order

LATER = BORN + 5 * SECOND


def test_a_result_and_the_next_announcement_are_one_commit() -> None:
    run = a_run()
    decision = run.apply(Settled(LATER, attempt_of(run.row), SUCCEEDED, Announce(1, b"{}"), "me"))
    assert (run.row.state, run.row.step, run.row.attempt, run.row.holder) == (State.PROCESS_STEP, 1, 1, "me")
    assert decision.effects == (Perform(run.row.ref, attempt_of(run.row)),)
    assert (run.outcome(0), run.outcome(1)) == (Outcome.SUCCEEDED, None)


def test_steps_passed_on_the_way_are_settled_in_the_commit_that_passes_them() -> None:
    run = a_run()
    skipped, evaluated = Passed(1, Outcome.SKIPPED), Passed(2, Outcome.SUCCEEDED, b"{}", b'{"a":1}')
    run.apply(Settled(LATER, attempt_of(run.row), SUCCEEDED, Finish(3, (skipped, evaluated))))
    assert (run.row.state, run.row.step, run.row.completed_at) == (State.DONE, 3, LATER)
    assert [kept.outcome for kept in run.steps.values()] == [Outcome.SUCCEEDED, Outcome.SKIPPED, Outcome.SUCCEEDED]


@pytest.mark.parametrize("outcome", sorted(INTERRUPTED))
def test_an_interrupt_is_never_an_outcome_while_nothing_was_terminated(outcome: Outcome) -> None:
    run = a_run(items=2)
    before = run.row
    attempt = attempt_of(before)
    for event in (
        Settled(LATER, attempt, Result(outcome), Announce(1)),
        ItemSettled(LATER, attempt, 0, Result(outcome)),
    ):
        decision = run.apply(event)
        assert (decision.verdict, decision.records) == (Verdict.SUPERSEDED, ())
    assert run.row is before


def test_the_result_of_an_attempt_that_is_not_current_is_evidence_and_nothing_else() -> None:
    run = a_run(State.TERMINATE)
    over, attempt = run.row, AttemptRef(0, 1, 2)
    decision = run.apply(Settled(LATER, attempt, SUCCEEDED, Announce(1)))
    assert (decision.verdict, decision.effects, run.row) == (Verdict.SUPERSEDED, (), over)
    assert (run.outcome(0), run.steps[0, 1].late) == (Outcome.ABANDONED, [Outcome.LATE_SUCCEEDED])
    run.apply(Settled(LATER, attempt, FAILED, None))
    assert run.steps[0, 1].late == [Outcome.LATE_SUCCEEDED, Outcome.LATE_FAILED]
    assert run.apply(Settled(LATER, attempt, Result(Outcome.INTERRUPTED_NOT_SENT), None)).records == ()


def test_evidence_of_an_item_says_of_which() -> None:
    run = a_run(State.PROCESS_STEP, items=2)
    attempt = attempt_of(run.row)
    run.apply(Terminated(LATER, order(deadline=0)))
    [evidence] = run.apply(ItemSettled(LATER, attempt, 1, SUCCEEDED)).records
    assert isinstance(evidence, LateEvidence)
    assert (evidence.outcome, evidence.item) == (Outcome.LATE_SUCCEEDED, 1)


def test_each_item_settles_once_and_the_run_stays_where_it_is() -> None:
    run = a_run(items=3)
    before, attempt = run.row, attempt_of(run.row)
    assert run.apply(ItemSettled(LATER, attempt, 0, SUCCEEDED)).verdict is Verdict.ACCEPTED
    assert run.apply(ItemSettled(LATER, attempt, 0, FAILED)).records == ()
    assert run.apply(ItemSettled(LATER, attempt, 9, FAILED)).records == ()
    assert run.steps[0, 1].items == [Outcome.SUCCEEDED, None, None]
    assert run.row is before


def test_items_go_on_settling_while_a_run_drains() -> None:
    run = a_run(State.STOPPING, items=2, mode=Mode.DRAIN)
    attempt = attempt_of(run.row)
    run.apply(ItemSettled(LATER, attempt, 0, SUCCEEDED))
    run.apply(ItemSettled(LATER, attempt, 1, ACCEPTED))
    assert run.steps[0, 1].items == [Outcome.SUCCEEDED, Outcome.INTERRUPTED_WAITING]
    assert run.row.state is State.STOPPING


@pytest.mark.parametrize("by", [WaitingFor.CALLBACK, WaitingFor.TASK])
def test_an_accepted_call_waits_with_its_row_open_and_its_answer_settles_it(by: WaitingFor) -> None:
    run = a_run()
    decision = run.apply(Settled(LATER, attempt_of(run.row), ACCEPTED, Wait(0, by, LATER + SECOND)))
    assert (run.row.state, run.row.waiting_for, run.row.attempt) == (State.WAITING, by, 1)
    assert (run.outcome(0), run.steps[0, 1].waiting_for) == (None, by)
    assert decision.effects == (WakeAt(run.row.ref, LATER + SECOND),)
    run.apply(Woken(LATER, run.row.epoch, by, SUCCEEDED, Announce(1), "me"))
    assert (run.outcome(0), run.row.step, run.row.state) == (Outcome.SUCCEEDED, 1, State.PROCESS_STEP)


def test_an_answer_that_comes_after_the_stop_is_evidence_and_a_timeout_of_ours_is_not() -> None:
    run = a_run(State.WAITING)
    waiting = run.row
    run.apply(Terminated(LATER, order()))
    timeout = Woken(LATER, waiting.epoch, WaitingFor.CALLBACK, FAILED, Fail(0))
    assert run.apply(timeout).records == ()
    assert run.apply(CalledBack(LATER, 0, SUCCEEDED)).verdict is Verdict.SUPERSEDED
    assert (run.row.state, run.steps[0, 1].late) == (State.TERMINATE, [Outcome.LATE_SUCCEEDED])


def test_a_timer_is_never_early_and_settles_its_step_without_being_told_how() -> None:
    run = a_run(State.PENDING)
    run.apply(Prepared(BORN, run.row.epoch, Wait(0, WaitingFor.TIMER, LATER)))
    waiting = run.row
    run.apply(Woken(LATER - 1, waiting.epoch, WaitingFor.TIMER))
    assert run.row is waiting
    run.apply(Woken(LATER, waiting.epoch, WaitingFor.TIMER))
    assert (run.row.state, run.row.step, run.outcome(0)) == (State.PENDING, 1, Outcome.SUCCEEDED)


def test_a_retry_is_a_new_attempt_with_a_row_of_its_own() -> None:
    run = a_run()
    run.apply(Settled(BORN + 1, attempt_of(run.row), FAILED, Retry(0, LATER)))
    assert (run.row.waiting_for, run.row.wake_at) == (WaitingFor.RETRY, LATER)
    run.apply(Woken(LATER - 1, run.row.epoch, WaitingFor.RETRY, None, Announce(0)))
    assert run.row.state is State.WAITING
    run.apply(Woken(LATER, run.row.epoch, WaitingFor.RETRY))
    assert (run.row.state, run.row.attempt) == (State.PENDING, 1)
    run.apply(Prepared(LATER, run.row.epoch, Announce(0), "me"))
    assert (run.row.attempt, list(run.steps)) == (2, [(0, 1), (0, 2)])


def test_a_retry_that_cannot_be_prepared_fails_in_a_row_of_its_own() -> None:
    run = a_run()
    run.apply(Settled(BORN + 1, attempt_of(run.row), FAILED, Retry(0, LATER)))
    run.apply(Woken(LATER, run.row.epoch, WaitingFor.RETRY, None, Fail(0, b"{}")))
    assert (run.row.state, run.row.attempt, run.outcome(0, 2)) == (State.ERROR, 2, Outcome.FAILED)


def test_what_was_prepared_from_an_old_reading_does_nothing() -> None:
    run = a_run(State.PENDING)
    old = run.row.epoch
    run.apply(Prepared(BORN, old, Announce(0), "me"))
    before = run.row
    assert run.apply(Prepared(BORN, old, Announce(0), "another holder")).verdict is Verdict.SUPERSEDED
    assert run.row is before


def test_a_row_that_failed_at_a_later_step_does_not_carry_the_attempt_of_an_earlier_one() -> None:
    run = a_run()
    decision = run.apply(Settled(LATER, attempt_of(run.row), SUCCEEDED, Fail(1)))
    assert (run.row.step, run.row.attempt) == (1, 0)
    assert [type(record) for record in decision.records] == [StepSettled]
