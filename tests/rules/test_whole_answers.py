"""The whole answer to each event, to the last field: the row, the records in their order, the effects in theirs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interlock.rules.changes import Applied, Refused
from interlock.rules.decide import OUTCOME_UNKNOWN, begin, decide
from interlock.rules.decision import (
    Decision,
    LateEvidence,
    Perform,
    StepClosed,
    StepOpened,
    StepSettled,
    Verdict,
    WakeAt,
)
from interlock.rules.events import (
    Announce,
    CalledBack,
    Change,
    Created,
    Event,
    Fail,
    Finish,
    ItemSettled,
    Next,
    Passed,
    Prepared,
    Recovered,
    Released,
    Retry,
    Settled,
    Wait,
    Woken,
)
from interlock.rules.model import (
    HOLD_MICROSECONDS,
    Execution,
    Item,
    Result,
)
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from tests.rules.answers import ABANDONED, CHILD, LATER, ORDER, ROW, UNTIL, accepted, moved, whole
from tests.rules.runs import (
    ACCEPTED,
    APPLIED,
    BORN,
    FAILED,
    SUCCEEDED,
    Ledger,
    Noted,
    a_run,
    attempt_of,
)

# --- going on ---------------------------------------------------------------------------------------------------------

PASSED = Passed(1, Outcome.SKIPPED, b"[1]", b"[2]")


def closed(epoch: int) -> StepClosed:
    return StepClosed(1, 1, epoch, LATER, Outcome.SKIPPED, b"[1]", b"[2]")


def going_on(following: Next, answer: Applied | Refused = APPLIED, *, hold: bool = False) -> tuple[Execution, Decision]:
    """The row of a run in flight at step 0, and the answer when that succeeds and this follows."""
    run = a_run()
    before = run.row
    return before, run.apply(Settled(LATER, attempt_of(before), SUCCEEDED, following, "you"), answer=answer, hold=hold)


SETTLED = StepSettled(0, 1, LATER, SUCCEEDED)


def test_an_announcement() -> None:
    before, decision = going_on(Announce(2, b"{}", (Item(0, "a"), Item(2, "c")), (PASSED,)))
    epoch = before.epoch + 1
    row = moved(before, State.PROCESS_STEP, step=2, attempt=1, attempt_epoch=epoch, items=2, holder="you")
    opened = StepOpened(2, 1, epoch, LATER, b"{}", None, (Item(0, "a"), Item(2, "c")))
    assert decision == whole(row, (SETTLED, closed(epoch), opened), Perform(row.ref, attempt_of(row)))


@pytest.mark.parametrize("until", [UNTIL, None])
def test_a_wait(until: int | None) -> None:
    before, decision = going_on(Wait(2, WaitingFor.TASK, until, b"{}", (PASSED,)))
    epoch = before.epoch + 1
    row = moved(before, State.WAITING, step=2, attempt=1)
    row = replace(row, waiting_for=WaitingFor.TASK, wake_at=until)
    opened = StepOpened(2, 1, epoch, LATER, b"{}", WaitingFor.TASK)
    effects = [WakeAt(row.ref, until)] if until else []
    assert decision == whole(row, (SETTLED, closed(epoch), opened), *effects)


def test_a_first_step_in_the_commit_that_lets_the_run_in() -> None:
    row = replace(ROW, state=State.PROCESS_STEP, epoch=2, attempt=1, attempt_epoch=2, items=1, holder="me")
    row = replace(row, waiting_for=None, wake_at=None)
    opened = StepOpened(0, 1, 2, LATER, None, None)
    expected = whole(row, (opened,), Perform(row.ref, attempt_of(row)))
    assert begin(CHILD, Created(LATER, Announce(0), "me")) == expected


def test_what_comes_next_is_not_yet_tried_if_the_disk_is_full() -> None:
    before, decision = going_on(Announce(1), hold=True)
    row = replace(
        moved(before, State.PENDING, step=1, attempt=0), waiting_for=WaitingFor.READY, wake_at=LATER + HOLD_MICROSECONDS
    )
    assert decision == whole(row, (SETTLED,), WakeAt(row.ref, LATER + HOLD_MICROSECONDS))


def lost_once() -> Ledger:
    """A run that rests at its first step, whose first attempt was lost."""
    run = a_run()
    run.apply(Recovered(BORN + 1, run.row.epoch, repeatable=True))
    return run


@pytest.mark.parametrize("following", [Announce(0), Wait(0, WaitingFor.TASK, UNTIL), Fail(0, b"[3]")])
def test_whatever_comes_at_a_step_for_the_second_time_has_a_row_of_its_own(following: Next) -> None:
    run = lost_once()
    run.apply(Prepared(LATER, run.row.epoch, following))
    assert (run.row.step, run.row.attempt, list(run.steps)) == (0, 2, [(0, 1), (0, 2)])


def test_so_has_a_change_and_a_step_that_is_passed() -> None:
    change = lost_once()
    change.apply(Prepared(LATER, change.row.epoch, replace(CHANGE, position=0, passed=())))
    passed = lost_once()
    passed.apply(Prepared(LATER, passed.row.epoch, Finish(1, (replace(PASSED, position=0),))))
    assert list(change.steps) == list(passed.steps) == [(0, 1), (0, 2)]


def test_a_wait_at_a_step_that_has_settled_has_a_row_of_its_own() -> None:
    run = a_run()
    run.apply(Settled(LATER, attempt_of(run.row), FAILED, Wait(0, WaitingFor.TIMER, UNTIL)))
    assert (run.row.attempt, run.outcome(0, 1), run.outcome(0, 2)) == (2, Outcome.FAILED, None)


def test_a_retry_may_come_to_a_wait() -> None:
    run = a_run()
    run.apply(Settled(BORN + 1, attempt_of(run.row), FAILED, Retry(0, LATER)))
    run.apply(Woken(LATER, run.row.epoch, WaitingFor.RETRY, None, Wait(0, WaitingFor.TASK, UNTIL)))
    assert (run.row.attempt, list(run.steps)) == (2, [(0, 1), (0, 2)])


def test_a_wait_for_the_answer_to_the_call_that_was_made() -> None:
    run = a_run()
    row = replace(moved(run.row, State.WAITING), waiting_for=WaitingFor.CALLBACK, wake_at=UNTIL)
    event = Settled(LATER, attempt_of(run.row), ACCEPTED, Wait(0, WaitingFor.CALLBACK, UNTIL))
    settled = StepSettled(0, 1, LATER, ACCEPTED, WaitingFor.CALLBACK)
    assert run.apply(event) == whole(row, (settled,), WakeAt(row.ref, UNTIL))


def test_a_retry() -> None:
    run = a_run()
    row = replace(moved(run.row, State.WAITING), waiting_for=WaitingFor.RETRY, wake_at=UNTIL)
    event = Settled(LATER, attempt_of(run.row), FAILED, Retry(0, UNTIL))
    assert run.apply(event) == whole(row, (StepSettled(0, 1, LATER, FAILED),), WakeAt(row.ref, UNTIL))


def test_the_end() -> None:
    before, decision = going_on(Finish(2, (PASSED,)))
    row = moved(before, State.DONE, step=2, attempt=0)
    assert decision == whole(row, (SETTLED, closed(row.epoch)))


def test_a_failure_of_the_steps_own() -> None:
    run = a_run()
    expected = whole(moved(run.row, State.ERROR), (StepSettled(0, 1, LATER, FAILED),))
    assert run.apply(Settled(LATER, attempt_of(run.row), FAILED, Fail(0))) == expected


def test_a_failure_on_the_way() -> None:
    before, decision = going_on(Fail(2, b"[3]", b"{}", (PASSED,)))
    row = moved(before, State.ERROR, step=2, attempt=1)
    failed = StepClosed(2, 1, row.epoch, LATER, Outcome.FAILED, b"{}", None, b"[3]")
    assert decision == whole(row, (SETTLED, closed(row.epoch), failed))


def test_a_success_whose_next_step_is_not_prepared() -> None:
    run = a_run()
    row = moved(run.row, State.PENDING, step=1, attempt=0)
    row = replace(row, waiting_for=WaitingFor.READY, wake_at=LATER)
    event = Settled(LATER, attempt_of(run.row), SUCCEEDED, None)
    assert run.apply(event) == whole(row, (SETTLED,), WakeAt(row.ref, LATER))


CHANGE = Change(2, Noted("a"), b"{}", (PASSED,))


def test_a_change_is_asked_for_before_anything_is_decided() -> None:
    run = a_run()
    event = Settled(LATER, attempt_of(run.row), SUCCEEDED, CHANGE, "you")
    assert decide(run.situation(), event) == Decision(Verdict.ACCEPTED, run.row, mutation=Noted("a"))


def test_a_change_that_is_made() -> None:
    before, decision = going_on(CHANGE)
    row = replace(moved(before, State.PENDING, step=3, attempt=0), waiting_for=WaitingFor.READY, wake_at=LATER)
    done = StepClosed(2, 1, row.epoch, LATER, Outcome.SUCCEEDED, b"{}", b"[5]")
    assert decision == whole(row, (SETTLED, closed(row.epoch), done), WakeAt(row.ref, LATER))


def test_a_change_that_is_refused() -> None:
    before, decision = going_on(CHANGE, Refused(b"[6]"))
    row = moved(before, State.ERROR, step=2, attempt=1)
    failed = StepClosed(2, 1, row.epoch, LATER, Outcome.FAILED, b"{}", None, b"[6]")
    assert decision == whole(row, (SETTLED, closed(row.epoch), failed))


THEN = replace(CHANGE, then=Wait(0, WaitingFor.TASK, UNTIL, b"[7]"))


def test_a_change_that_begins_a_wait() -> None:
    before, decision = going_on(THEN, Applied())
    row = moved(before, State.WAITING, step=2, attempt=1)
    row = replace(row, waiting_for=WaitingFor.TASK, wake_at=UNTIL)
    opened = StepOpened(2, 1, row.epoch, LATER, b"{}", WaitingFor.TASK)
    assert decision == whole(row, (SETTLED, closed(row.epoch), opened), WakeAt(row.ref, UNTIL))


def test_no_wait_begins_with_a_change_that_is_refused() -> None:
    assert going_on(THEN, Refused(b"[6]")) == going_on(CHANGE, Refused(b"[6]"))


def test_a_change_that_returns_something_begins_no_wait() -> None:
    with pytest.raises(AssertionError):
        going_on(THEN)


# --- waking, recovering, releasing ------------------------------------------------------------------------------------


def test_an_answer_that_was_waited_for() -> None:
    run = a_run(State.WAITING)
    row = moved(run.row, State.DONE, step=1, attempt=0)
    event = Woken(LATER, run.row.epoch, WaitingFor.CALLBACK, SUCCEEDED, Finish(1))
    assert run.apply(event) == whole(row, (SETTLED,))


def test_an_answer_that_another_holder_will_continue_from() -> None:
    run = a_run(State.WAITING)
    row = replace(moved(run.row, State.PENDING, step=1, attempt=0), waiting_for=WaitingFor.READY, wake_at=LATER)
    event = Woken(LATER, run.row.epoch, WaitingFor.CALLBACK, SUCCEEDED)
    assert run.apply(event) == whole(row, (SETTLED,), WakeAt(row.ref, LATER))


def test_a_wait_that_is_prolonged_keeps_its_row_and_another_steps_has_its_own() -> None:
    run = a_run(State.WAITING)
    row = replace(moved(run.row, State.WAITING), waiting_for=WaitingFor.TASK, wake_at=None)
    event = Woken(LATER, run.row.epoch, WaitingFor.CALLBACK, None, Wait(0, WaitingFor.TASK, None))
    assert run.apply(event) == whole(row, ())
    run.apply(Woken(LATER, run.row.epoch, WaitingFor.TASK, None, Wait(1, WaitingFor.TASK, None)))
    assert list(run.steps) == [(0, 1), (1, 1)]
    run.apply(Woken(LATER, run.row.epoch, WaitingFor.TASK, SUCCEEDED, Finish(2)))
    assert (run.outcome(1), run.row.state) == (Outcome.SUCCEEDED, State.DONE)


def test_a_timer_that_returns_something() -> None:
    run = a_run(State.PENDING)
    run.apply(Prepared(BORN, run.row.epoch, Wait(0, WaitingFor.TIMER, LATER)))
    row = moved(run.row, State.DONE, step=1, attempt=0)
    assert run.apply(Woken(LATER, run.row.epoch, WaitingFor.TIMER, SUCCEEDED, Finish(1))) == whole(row, (SETTLED,))


def test_a_retry_settles_nothing_whatever_it_is_given() -> None:
    run = a_run()
    run.apply(Settled(BORN + 1, attempt_of(run.row), FAILED, Retry(0, LATER)))
    row = moved(run.row, State.ERROR)
    assert run.apply(Woken(LATER, run.row.epoch, WaitingFor.RETRY, SUCCEEDED, Fail(0))) == whole(row, ())


def test_who_takes_it_on_is_named() -> None:
    waiting, ready = a_run(State.WAITING), a_run(State.PENDING)
    waiting.apply(Woken(LATER, waiting.row.epoch, WaitingFor.CALLBACK, SUCCEEDED, Announce(1), "you"))
    ready.apply(Prepared(LATER, ready.row.epoch, Announce(0), "you"))
    assert (waiting.row.holder, ready.row.holder) == ("you", "you")


def test_a_retry_whose_time_has_come() -> None:
    run = a_run()
    run.apply(Settled(BORN + 1, attempt_of(run.row), FAILED, Retry(0, LATER)))
    row = replace(moved(run.row, State.PENDING), waiting_for=WaitingFor.READY, wake_at=LATER)
    assert run.apply(Woken(LATER, run.row.epoch, WaitingFor.RETRY)) == whole(row, (), WakeAt(row.ref, LATER))


def test_an_answer_that_comes_too_late() -> None:
    """No status belongs to a callback, which is a request of the remote."""
    run = a_run(State.TERMINATE)
    attempt = attempt_of(a_run().row)
    events: list[tuple[Event, Result]] = [
        (CalledBack(LATER, 0, SUCCEEDED), replace(SUCCEEDED, status=None)),
        (Settled(LATER, attempt, SUCCEEDED, Announce(1)), SUCCEEDED),
    ]
    for event, evidence in events:
        late = LateEvidence(attempt, LATER, Outcome.LATE_SUCCEEDED, evidence)
        assert run.apply(event) == Decision(Verdict.SUPERSEDED, run.row, (late,))
    assert run.apply(CalledBack(LATER, 0, SUCCEEDED)) == Decision(Verdict.SUPERSEDED, run.row)
    item = LateEvidence(attempt, LATER, Outcome.LATE_SUCCEEDED, SUCCEEDED, 1)
    assert run.apply(ItemSettled(LATER, attempt, 1, SUCCEEDED)) == Decision(Verdict.SUPERSEDED, run.row, (item,))


def test_a_step_that_may_be_repeated_after_a_crash() -> None:
    run = a_run()
    row = replace(moved(run.row, State.PENDING), waiting_for=WaitingFor.READY, wake_at=LATER)
    expected = whole(row, (ABANDONED,), WakeAt(row.ref, LATER))
    assert run.apply(Recovered(LATER, run.row.epoch, repeatable=True)) == expected


def test_a_step_that_may_not_be_repeated_after_a_crash() -> None:
    run = a_run()
    unknown = Result(Outcome.INTERRUPTED_OUTCOME_UNKNOWN, error=OUTCOME_UNKNOWN)
    expected = whole(moved(run.row, State.ERROR), (StepSettled(0, 1, LATER, unknown),))
    assert run.apply(Recovered(LATER, run.row.epoch, repeatable=False)) == expected


def test_a_run_that_is_let_go() -> None:
    run = a_run(State.PAUSED_BY_CIRCUIT_BREAKER)
    row = replace(moved(run.row, State.PENDING), waiting_for=WaitingFor.READY, wake_at=LATER)
    assert run.apply(Released(LATER)) == whole(row, (), WakeAt(row.ref, LATER))


def test_a_run_that_is_cancelled() -> None:
    run = a_run(State.PAUSED_BY_CIRCUIT_BREAKER)
    row = moved(run.row, State.TERMINATE)
    assert run.apply(Released(LATER, ORDER)) == whole(row, accepted(ORDER, State.PAUSED_BY_CIRCUIT_BREAKER))
