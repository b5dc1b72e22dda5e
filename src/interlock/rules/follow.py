"""From what comes next to the row that says so: the steps passed on the way, then the move."""

from __future__ import annotations

from dataclasses import replace

from interlock.rules.admit import Newcomer, admit
from interlock.rules.decision import (
    ChildCreated,
    Decision,
    Effect,
    Perform,
    Record,
    StepClosed,
    StepOpened,
    Verdict,
    WakeAt,
)
from interlock.rules.events import Announce, Change, Fail, Finish, Next, Passed, Retry, Wait
from interlock.rules.model import HOLD, MAX_DEPTH, AttemptRef, Execution, Situation
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor, move
from interlock.rules.stop import stop_at_boundary


def follow(situation: Situation, following: Next, at: int, holder: str, records: tuple[Record, ...] = ()) -> Decision:
    """Move the run on to what comes next, unless a standing order or a full disk forbids starting anything."""
    execution = situation.execution
    if situation.fence is not None and not isinstance(following, Finish | Fail):
        return stop_at_boundary(situation, at, records)
    if situation.hold and isinstance(following, Announce | Change):
        # What was evaluated on the way is dropped: the steps passed are evaluated again when the run is taken on.
        first = following.passed[0].position if following.passed else following.position
        return hand_over(
            situation, first, at, records, attempt=execution.attempt if first == execution.step else 0, after=HOLD
        )
    epoch = execution.epoch + 1
    match following:
        case Announce(position, input_, items, passed):
            number = _next_number(execution, position)
            row = replace(
                execution,
                state=move(execution.state, State.PROCESS_STEP),
                epoch=epoch,
                step=position,
                attempt=number,
                attempt_epoch=epoch,
                items=len(items),
                waiting_for=None,
                wake_at=None,
                holder=holder,
                updated_at=at,
            )
            opened = StepOpened(position, number, epoch, at, input_, None, items)
            return Decision(
                Verdict.ACCEPTED,
                row,
                (*records, *_closed(execution, passed, at), opened),
                (Perform(row.ref, AttemptRef(position, number, epoch)),),
                moved=True,
            )
        case Wait(position, waiting_for, until, input_, passed):
            number = execution.attempt
            opened_now: tuple[Record, ...] = ()
            if waiting_for is WaitingFor.TIMER or position != execution.step or number == 0:
                number = 1
                opened_now = (StepOpened(position, number, epoch, at, input_, waiting_for),)
            row = replace(
                execution,
                state=move(execution.state, State.WAITING),
                epoch=epoch,
                step=position,
                attempt=number,
                attempt_epoch=0,
                items=0,
                waiting_for=waiting_for,
                wake_at=until,
                updated_at=at,
            )
            effects: tuple[Effect, ...] = (WakeAt(row.ref, until),) if until is not None else ()
            return Decision(
                Verdict.ACCEPTED, row, (*records, *_closed(execution, passed, at), *opened_now), effects, moved=True
            )
        case Retry(_, until):
            row = replace(
                execution,
                state=move(execution.state, State.WAITING),
                epoch=epoch,
                attempt_epoch=0,
                items=0,
                waiting_for=WaitingFor.RETRY,
                wake_at=until,
                updated_at=at,
            )
            return Decision(Verdict.ACCEPTED, row, records, (WakeAt(row.ref, until),), moved=True)
        case Finish(steps, passed):
            return _end(situation, State.DONE, steps, at, (*records, *_closed(execution, passed, at)))
        case Fail(position, error, input_, passed):
            failed: tuple[Record, ...] = _closed(execution, passed, at)
            if error is not None:
                failed = (
                    *failed,
                    StepClosed(
                        position, _next_number(execution, position), epoch, at, Outcome.FAILED, input_, None, error
                    ),
                )
            return _end(situation, State.ERROR, position, at, (*records, *failed))
        case Change():
            return _change(situation, following, at, records)


def hand_over(
    situation: Situation, step: int, at: int, records: tuple[Record, ...], *, attempt: int = 0, after: int = 0
) -> Decision:
    """Rest the run, ready for anybody who has a free slot, `after` microseconds from now."""
    execution = situation.execution
    if situation.fence is not None:
        return stop_at_boundary(situation, at, records)
    row = replace(
        execution,
        state=move(execution.state, State.PENDING),
        epoch=execution.epoch + 1,
        step=step,
        attempt=attempt,
        attempt_epoch=0,
        items=0,
        waiting_for=WaitingFor.READY,
        wake_at=at + after,
        updated_at=at,
    )
    return Decision(Verdict.ACCEPTED, row, records, (WakeAt(row.ref, at + after),), moved=True)


def _end(situation: Situation, state: State, step: int, at: int, records: tuple[Record, ...]) -> Decision:
    execution = situation.execution
    row = replace(
        execution,
        state=move(execution.state, state),
        epoch=execution.epoch + 1,
        step=step,
        attempt_epoch=0,
        items=0,
        waiting_for=None,
        wake_at=None,
        updated_at=at,
        completed_at=at,
    )
    return Decision(Verdict.ACCEPTED, row, records, moved=True)


def _change(situation: Situation, change: Change, at: int, records: tuple[Record, ...]) -> Decision:
    """A Run automation step: the child and the step's outcome in the parent's commit."""
    execution, child, target = situation.execution, change.mutation, situation.child
    epoch = execution.epoch + 1
    passed = (*records, *_closed(execution, change.passed, at))
    number = _next_number(execution, change.position)
    refusal = None
    if target is None or target.definition is None:
        refusal = CHILD_MISSING
    elif not target.on_demand:
        refusal = CHILD_NOT_ON_DEMAND
    elif execution.depth + 1 > MAX_DEPTH:
        refusal = CHILD_TOO_DEEP
    if refusal is not None or target is None or target.definition is None:
        failed = StepClosed(change.position, number, epoch, at, Outcome.FAILED, change.input, None, refusal)
        return _end(situation, State.ERROR, change.position, at, (*passed, failed))
    newcomer = Newcomer(
        tenant=execution.tenant,
        id=child.id,
        automation=child.automation,
        definition=target.definition,
        parent=execution.id,
        root=execution.root,
        depth=execution.depth + 1,
        is_draft=execution.is_draft,
    )
    let_in = admit(newcomer, at, disabled=target.disabled, paused=target.paused)
    done = StepClosed(change.position, number, epoch, at, Outcome.SUCCEEDED, change.input, change.output)
    started = ChildCreated(let_in.execution, child.input, let_in.records)
    rested = hand_over(situation, change.position + 1, at, (*passed, done, started))
    return replace(rested, effects=(*rested.effects, *let_in.effects))


CHILD_MISSING = b'{"code":"CHILD_NOT_FOUND","message":"the automation to run does not exist or is not published"}'
CHILD_NOT_ON_DEMAND = (
    b'{"code":"CHILD_NOT_ON_DEMAND","message":"the automation to run has a trigger; only on demand ones can be run"}'
)
CHILD_TOO_DEEP = (
    b'{"code":"CHILD_TOO_DEEP","message":"runs started by runs reached the limit of ten generations; '
    b'do these automations start each other?"}'
)


def _next_number(execution: Execution, position: int) -> int:
    """Attempts are numbered through at a step, over crashes and retries, so that no row is ever written over."""
    return execution.attempt + 1 if position == execution.step else 1


def _closed(execution: Execution, passed: tuple[Passed, ...], at: int) -> tuple[StepClosed, ...]:
    if not passed:
        return ()
    epoch = execution.epoch + 1
    return tuple(
        StepClosed(
            step.position, _next_number(execution, step.position), epoch, at, step.outcome, step.input, step.output
        )
        for step in passed
    )
