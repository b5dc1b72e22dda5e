"""`decide`: the one owner of what happens to a run.

Everything that can happen to an execution is an event; `decide` answers what follows from it in the situation at hand.
The store calls it inside the transaction that writes the answer, so between the reading and the writing nothing moves.
"""

from __future__ import annotations

from dataclasses import replace

from interlock.rules.admit import Newcomer, admit
from interlock.rules.decision import Decision, ItemRecord, LateEvidence, Record, StepSettled, Verdict
from interlock.rules.events import (
    Created,
    DeadlinePassed,
    Event,
    ItemSettled,
    Prepared,
    Recovered,
    Released,
    Settled,
    Terminated,
    Woken,
)
from interlock.rules.follow import follow, hand_over
from interlock.rules.model import AttemptRef, Execution, Result, Situation
from interlock.rules.outcomes import INTERRUPTED, Outcome, derive, late
from interlock.rules.states import State, WaitingFor, move
from interlock.rules.stop import cut_off, settle_stopped, terminate


def decide(situation: Situation, event: Event) -> Decision:
    """What follows from the event. Never raises for anything a caller or a far end can do.

    Raises:
        IllegalMove: a defect in these rules.
    """
    match event:
        case Settled():
            return _settled(situation, event)
        case Prepared():
            return _prepared(situation, event)
        case Woken():
            return _woken(situation, event)
        case ItemSettled():
            return _item_settled(situation, event)
        case Terminated():
            return terminate(situation, event.request, event.at)
        case DeadlinePassed():
            return _deadline_passed(situation, event)
        case Recovered():
            return _recovered(situation, event)
        case Released():
            return _released(situation, event)


def begin(newcomer: Newcomer, event: Created, *, disabled: bool = False, paused: bool = False) -> Decision:
    """Create a run: let it in and, if a slot was free, move it on to what comes first in the same commit."""
    let_in = admit(newcomer, event.at, disabled=disabled, paused=paused)
    if event.next is None or let_in.execution.state is not State.PENDING:
        return let_in
    return follow(Situation(let_in.execution), event.next, event.at, event.holder)


def superseded(execution: Execution, *records: Record) -> Decision:
    return Decision(Verdict.SUPERSEDED, execution, records)


def _prepared(situation: Situation, event: Prepared) -> Decision:
    execution = situation.execution
    if execution.epoch != event.epoch or execution.state is not State.PENDING:
        return superseded(execution)
    return follow(situation, event.next, event.at, event.holder)


def _settled(situation: Situation, event: Settled) -> Decision:
    execution, result = situation.execution, event.result
    if not _current(execution, event.attempt):
        return _evidence(execution, event.attempt, result, event.at)
    if execution.state is State.STOPPING:
        return settle_stopped(situation, event.attempt, result, event.at)
    if result.outcome in INTERRUPTED or event.next is None:
        # An interrupt is never an outcome: nothing was terminated, so nothing is settled.
        return superseded(execution)
    accepted = WaitingFor.CALLBACK if result.outcome is None else None
    settled = StepSettled(event.attempt.position, event.attempt.number, event.at, result, accepted)
    return follow(situation, event.next, event.at, event.holder, (settled,))


def _item_settled(situation: Situation, event: ItemSettled) -> Decision:
    execution = situation.execution
    if not _current(execution, event.attempt):
        return _evidence(execution, event.attempt, event.result, event.at)
    if (event.item, None) not in situation.items:
        return superseded(execution)
    record = ItemRecord(event.attempt.position, event.attempt.number, event.item, event.at, event.result)
    return Decision(Verdict.ACCEPTED, execution, (record,))


def _woken(situation: Situation, event: Woken) -> Decision:
    execution = situation.execution
    if execution.epoch != event.epoch or execution.state is not State.WAITING or execution.waiting_for is not event.by:
        return superseded(execution)
    early = execution.wake_at is not None and event.at < execution.wake_at
    if early and event.by in {WaitingFor.TIMER, WaitingFor.RETRY}:
        return superseded(execution)
    records: tuple[Record, ...] = ()
    if event.result is not None:
        records = (StepSettled(execution.step, execution.attempt, event.at, event.result),)
    if event.next is not None:
        return follow(situation, event.next, event.at, event.holder, records)
    if event.by is WaitingFor.RETRY:
        return hand_over(situation, execution.step, event.at, records, attempt=execution.attempt)
    return hand_over(situation, execution.step + 1, event.at, records)


def _deadline_passed(situation: Situation, event: DeadlinePassed) -> Decision:
    execution = situation.execution
    if execution.state is not State.STOPPING or execution.epoch != event.epoch:
        return superseded(execution)
    if execution.wake_at is not None and event.at < execution.wake_at:
        return superseded(execution)
    return cut_off(situation, event.at)


def _recovered(situation: Situation, event: Recovered) -> Decision:
    execution = situation.execution
    if execution.epoch != event.epoch or not execution.in_flight:
        return superseded(execution)
    if execution.state is State.STOPPING:
        return cut_off(situation, event.at)
    attempt = AttemptRef(execution.step, execution.attempt, execution.attempt_epoch)
    if event.repeatable:
        lost = StepSettled(attempt.position, attempt.number, event.at, Result(Outcome.ABANDONED))
        return hand_over(situation, execution.step, event.at, (lost,), attempt=execution.attempt)
    unknown = _unknown(situation)
    lost = StepSettled(attempt.position, attempt.number, event.at, Result(unknown, error=OUTCOME_UNKNOWN))
    ended = replace(
        execution,
        state=move(execution.state, State.ERROR),
        epoch=execution.epoch + 1,
        attempt_epoch=0,
        items=0,
        waiting_for=None,
        wake_at=None,
        updated_at=event.at,
        completed_at=event.at,
    )
    return Decision(Verdict.ACCEPTED, ended, (lost,), moved=True)


def _unknown(situation: Situation) -> Outcome:
    """What became of an attempt whose performer is gone; as items settle one by one, one at most is in doubt."""
    settled = [outcome for _, outcome in situation.items if outcome is not None]
    not_started = len(situation.items) - len(settled) - 1
    if not_started < 0:
        return derive(settled) if settled else Outcome.INTERRUPTED_OUTCOME_UNKNOWN
    return derive([*settled, Outcome.INTERRUPTED_OUTCOME_UNKNOWN, *[Outcome.NOT_STARTED] * not_started])


OUTCOME_UNKNOWN = (
    b'{"code":"OUTCOME_UNKNOWN","message":"the server stopped while this step was at work; '
    b'whether it took effect is not known, and it may not be repeated"}'
)


def _released(situation: Situation, event: Released) -> Decision:
    execution = situation.execution
    if execution.state is not State.PAUSED_BY_CIRCUIT_BREAKER:
        return superseded(execution)
    if event.cancel is not None:
        return terminate(situation, event.cancel, event.at)
    return hand_over(situation, execution.step, event.at, ())


def _current(execution: Execution, attempt: AttemptRef) -> bool:
    return (
        execution.attempt_epoch == attempt.epoch
        and execution.attempt_epoch != 0
        and execution.step == attempt.position
        and execution.attempt == attempt.number
    )


def _evidence(execution: Execution, attempt: AttemptRef, result: Result, at: int) -> Decision:
    outcome = late(result.outcome)
    if outcome is None:
        return superseded(execution)
    return superseded(execution, LateEvidence(attempt, at, outcome, result))
