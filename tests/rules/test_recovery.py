"""A run found in flight whose holder is dead."""

import pytest

from interlock.rules.decide import OUTCOME_UNKNOWN, RESULT_LOST
from interlock.rules.decision import StepSettled, Verdict
from interlock.rules.events import Announce, ItemSettled, Prepared, Recovered, Settled
from interlock.rules.model import SECOND, Result
from interlock.rules.outcomes import Outcome
from interlock.rules.states import IN_FLIGHT, State
from tests.rules.runs import BORN, FAILED, SUCCEEDED, Ledger, a_run, attempt_of

BOOT = BORN + 60 * SECOND


def error_of(run: Ledger, *, repeatable: bool = False) -> bytes | None:
    [settled] = run.apply(Recovered(BOOT, run.row.epoch, repeatable)).records
    assert isinstance(settled, StepSettled)
    return settled.result.error


def test_a_repeatable_step_goes_again_as_a_new_attempt() -> None:
    run = a_run()
    dead = attempt_of(run.row)
    run.apply(Recovered(BOOT, run.row.epoch, repeatable=True))
    assert (run.row.state, run.row.step, run.row.wake_at) == (State.PENDING, 0, BOOT)
    assert run.outcome(0) is Outcome.ABANDONED
    run.apply(Prepared(BOOT, run.row.epoch, Announce(0), "next"))
    assert (run.row.attempt, run.row.holder) == (2, "next")
    assert run.apply(Settled(BOOT, dead, SUCCEEDED, Announce(1))).verdict is Verdict.SUPERSEDED
    assert run.steps[0, 1].late == [Outcome.LATE_SUCCEEDED]


def test_any_other_step_ends_the_run_with_its_outcome_unknown() -> None:
    run = a_run()
    assert error_of(run) == OUTCOME_UNKNOWN
    assert (run.row.state, run.outcome(0)) == (State.ERROR, Outcome.INTERRUPTED_OUTCOME_UNKNOWN)


def test_a_stopping_run_is_terminated_and_its_attempt_given_up() -> None:
    run = a_run(State.STOPPING)
    run.apply(Recovered(BOOT, run.row.epoch, repeatable=True))
    assert (run.row.state, run.outcome(0)) == (State.TERMINATE, Outcome.ABANDONED)


@pytest.mark.parametrize("state", sorted(set(State) - IN_FLIGHT))
def test_what_was_not_in_flight_is_left_alone(state: State) -> None:
    run = a_run(state)
    before = run.row
    assert run.apply(Recovered(BOOT, before.epoch, repeatable=True)).verdict is Verdict.SUPERSEDED
    assert run.row is before


def test_the_living_are_not_robbed() -> None:
    run = a_run()
    before = run.row
    assert run.apply(Recovered(BOOT, before.epoch - 1, repeatable=True)).verdict is Verdict.SUPERSEDED
    assert run.row is before


def test_of_several_items_one_at_most_is_in_doubt() -> None:
    nothing_done = a_run(items=3)
    error_of(nothing_done)
    assert nothing_done.outcome(0) is Outcome.INTERRUPTED_OUTCOME_UNKNOWN
    one_done = a_run(items=3)
    one_done.apply(ItemSettled(BORN, attempt_of(one_done.row), 0, SUCCEEDED))
    error_of(one_done)
    assert one_done.outcome(0) is Outcome.INTERRUPTED_PARTLY


@pytest.mark.parametrize("last", [SUCCEEDED, FAILED])
def test_with_all_items_settled_nothing_is_in_doubt_but_what_the_step_returns(last: Result) -> None:
    run = a_run(items=2)
    for item, result in enumerate((SUCCEEDED, last)):
        run.apply(ItemSettled(BORN, attempt_of(run.row), item, result))
    assert error_of(run) == RESULT_LOST
    assert (run.row.state, run.outcome(0)) == (State.ERROR, last.outcome)
