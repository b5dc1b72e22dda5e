"""Moves of a run to what comes next: the records of the steps that it passed, and the new row."""

from __future__ import annotations

from dataclasses import replace

from interlock.rules.changes import Refused
from interlock.rules.decision import (
    Decision,
    Perform,
    Record,
    StepClosed,
    StepOpened,
    StepSettled,
    Verdict,
    WakeAt,
)
from interlock.rules.events import Announce, Change, Fail, Finish, Next, Passed, Retry, Wait
from interlock.rules.model import HOLD_MICROSECONDS, AttemptRef, Cause, Execution, Situation
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from interlock.rules.stop import stop_at_boundary


def follow(situation: Situation, following: Next, at: int, holder: str, records: tuple[Record, ...] = ()) -> Decision:
    """Move the run to what comes next, unless a fence or a full disk forbids a start.

    Args:
        situation: The run, and the fence that covers it.
        following: What the engine prepared to come next.
        at: Engine time in microseconds.
        holder: The node that performs an announced attempt.
        records: Records that precede those of the move.
    """
    execution = situation.execution
    fence = situation.fence
    if fence is not None and (fence.cause is Cause.CASCADE or not isinstance(following, Finish | Fail)):
        # The cascade of an ancestor was accepted earlier. It counts as if it had reached this run, even at its end.
        return stop_at_boundary(situation, at, records)
    if situation.hold and _starts(execution, following, records):
        # The values of the passed steps are dropped; they are evaluated again when the run continues.
        assert not isinstance(following, Retry | Finish | Fail)
        first = following.passed[0].position if following.passed else following.position
        return make_ready(
            situation,
            first,
            at,
            records,
            attempt=execution.attempt if first == execution.step else 0,
            after=HOLD_MICROSECONDS,
        )
    match following:
        case Announce():
            return _announce(execution, following, at, holder, records)
        case Wait():
            return _wait(execution, following, at, records)
        case Retry():
            return _retry(execution, following, at, records)
        case Finish(steps, passed):
            return _end(execution, State.DONE, steps, at, (*records, *_closed(execution, passed, at)))
        case Fail():
            return _fail(execution, following, at, records)
        case Change():
            return _change(situation, following, at, records)


def make_ready(
    situation: Situation, step: int, at: int, records: tuple[Record, ...], *, attempt: int = 0, after: int = 0
) -> Decision:
    """Make the run ready for any free slot; under a fence, terminate it instead.

    Args:
        situation: The run, and the fence that covers it.
        step: The position at which the run continues.
        at: Engine time in microseconds.
        records: Records to write with the move.
        attempt: The number of the last attempt at that step; 0 if there was none.
        after: Microseconds until the run may continue.
    """
    if situation.fence is not None:
        return stop_at_boundary(situation, at, records)
    wake_at = at + after
    row = situation.execution.moved(
        State.PENDING, at, step=step, attempt=attempt, waiting_for=WaitingFor.READY, wake_at=wake_at
    )
    return Decision(Verdict.ACCEPTED, row, records, (WakeAt(row.ref, wake_at),), moved=True)


def end_in_error(execution: Execution, at: int, records: tuple[Record, ...]) -> Decision:
    """End the run in `ERROR` at its current step; `records` hold the reason."""
    return _end(execution, State.ERROR, execution.step, at, records, attempt=execution.attempt)


def _announce(execution: Execution, announce: Announce, at: int, holder: str, records: tuple[Record, ...]) -> Decision:
    position, epoch = announce.position, execution.epoch + 1
    number = _next_number(execution, position)
    row = execution.moved(
        State.PROCESS_STEP,
        at,
        step=position,
        attempt=number,
        attempt_epoch=epoch,
        items=len(announce.items) or 1,
        holder=holder,
    )
    opened = StepOpened(
        position, number, epoch, at, announce.input, None, announce.items, announce.sealed, announce.key
    )
    if announce.passed:
        records = (*records, *_closed(execution, announce.passed, at))
    perform = Perform(row.ref, AttemptRef(position, number, epoch))
    return Decision(Verdict.ACCEPTED, row, (*records, opened), (perform,), moved=True)


def _wait(execution: Execution, wait: Wait, at: int, records: tuple[Record, ...]) -> Decision:
    position, number = wait.position, execution.attempt
    if not _open_at(execution, position, records):
        number = _next_number(execution, position)
        opened = StepOpened(position, number, execution.epoch + 1, at, wait.input, wait.waiting_for)
        records = (*records, *_closed(execution, wait.passed, at), opened)
    row = execution.moved(
        State.WAITING, at, step=position, attempt=number, waiting_for=wait.waiting_for, wake_at=wait.until
    )
    effects = (WakeAt(row.ref, wait.until),) if wait.until is not None else ()
    return Decision(Verdict.ACCEPTED, row, records, effects, moved=True)


def _retry(execution: Execution, retry: Retry, at: int, records: tuple[Record, ...]) -> Decision:
    row = execution.moved(
        State.WAITING,
        at,
        step=execution.step,
        attempt=execution.attempt,
        waiting_for=WaitingFor.RETRY,
        wake_at=retry.until,
    )
    return Decision(Verdict.ACCEPTED, row, records, (WakeAt(row.ref, retry.until),), moved=True)


def _fail(execution: Execution, fail: Fail, at: int, records: tuple[Record, ...]) -> Decision:
    position = fail.position
    records = (*records, *_closed(execution, fail.passed, at))
    if fail.error is None:
        attempt = execution.attempt if position == execution.step else 0
        return _end(execution, State.ERROR, position, at, records, attempt=attempt)
    number = _next_number(execution, position)
    failed = StepClosed(position, number, execution.epoch + 1, at, Outcome.FAILED, fail.input, None, fail.error)
    return _end(execution, State.ERROR, position, at, (*records, failed), attempt=number)


def _end(
    execution: Execution, state: State, step: int, at: int, records: tuple[Record, ...], *, attempt: int = 0
) -> Decision:
    return Decision(Verdict.ACCEPTED, execution.moved(state, at, step=step, attempt=attempt), records, moved=True)


def _change(situation: Situation, change: Change, at: int, records: tuple[Record, ...]) -> Decision:
    """Ask for the change first; with its answer, end the step or begin its wait in the same commit."""
    execution, answer = situation.execution, situation.answer
    if answer is None:
        return Decision(Verdict.ACCEPTED, execution, mutation=change.mutation)
    then = change.then
    if then is not None and not isinstance(answer, Refused):
        assert answer.output is None, "a step that waits returns what the wait ends with"
        wait = replace(then, position=change.position, input=change.input, passed=change.passed)
        return _wait(execution, wait, at, records)
    epoch, number = execution.epoch + 1, _next_number(execution, change.position)
    records = (*records, *_closed(execution, change.passed, at))
    if isinstance(answer, Refused):
        failed = StepClosed(change.position, number, epoch, at, Outcome.FAILED, change.input, None, answer.error)
        return _end(execution, State.ERROR, change.position, at, (*records, failed), attempt=number)
    done = StepClosed(change.position, number, epoch, at, Outcome.SUCCEEDED, change.input, answer.output)
    return make_ready(situation, change.position + 1, at, (*records, done))


def _starts(execution: Execution, following: Next, records: tuple[Record, ...]) -> bool:
    """Return whether the move starts something; waiting for the answer to a call that was made starts nothing."""
    if isinstance(following, Wait):
        return not _open_at(execution, following.position, records)
    return isinstance(following, Announce | Change)


def _open_at(execution: Execution, position: int, records: tuple[Record, ...]) -> bool:
    """Return whether the newest attempt at the step stays open, after a 202 or because the step waits."""
    if position != execution.step or execution.state is State.PENDING or execution.waiting_for is WaitingFor.RETRY:
        return False
    return not any(isinstance(record, StepSettled) and record.accepted is None for record in records)


def _next_number(execution: Execution, position: int) -> int:
    """Return the number of the next attempt; numbers continue over crashes and retries, so no row is overwritten."""
    return execution.attempt + 1 if position == execution.step else 1


def _closed(execution: Execution, passed: tuple[Passed, ...], at: int) -> tuple[StepClosed, ...]:
    if not passed:
        return ()
    epoch = execution.epoch + 1
    return tuple(
        StepClosed(
            step.position,
            _next_number(execution, step.position),
            epoch,
            at,
            step.outcome,
            step.input,
            step.output,
            sealed=step.sealed,
        )
        for step in passed
    )
