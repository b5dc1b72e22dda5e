"""`decide`: the one function that decides every change of a run.

Everything that can happen to a run is an event. `decide` returns what the event changes in the given situation. The
store calls it in the transaction that writes the decision, so nothing changes between the read and the write.
"""

from __future__ import annotations

from dataclasses import replace

from interlock.rules.admit import Newcomer, admit
from interlock.rules.callbacks import settle_attempt, settled_by_callback, without_status
from interlock.rules.decision import (
    CallbackKept,
    Decision,
    ItemRecord,
    LateEvidence,
    Record,
    StepOpened,
    StepSettled,
    Verdict,
)
from interlock.rules.events import (
    CalledBack,
    Change,
    Created,
    DeadlinePassed,
    Event,
    ItemSettled,
    Polled,
    Prepared,
    Recovered,
    Released,
    Settled,
    Terminated,
    Wait,
    Woken,
)
from interlock.rules.follow import end_in_error, follow, make_ready
from interlock.rules.model import AttemptRef, Cause, Execution, Result, Situation
from interlock.rules.outcomes import INTERRUPTED, Outcome, derive, late
from interlock.rules.states import State, WaitingFor
from interlock.rules.stop import (
    abandon_attempt,
    end_stopping,
    settle_stopped,
    stop_at_boundary,
    stopped_waiting,
    terminate,
)


def decide(situation: Situation, event: Event) -> Decision:
    """Decide what an event changes. No request of a client and no answer of a remote makes this raise.

    Args:
        situation: The run and everything that the decision depends on, read in the same transaction.
        event: What happened to the run.

    Returns:
        The new row, the records to write beside it, and the effects to attempt after the commit.

    Raises:
        IllegalMove: A defect in these rules.
    """
    match event:
        case Settled():
            return _settled(situation, event)
        case Prepared():
            return _prepared(situation, event)
        case Woken():
            return _woken(situation, event)
        case Polled():
            return _polled(situation, event)
        case CalledBack():
            return _called_back(situation, event)
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
    """Decide the creation of a run and, if it has a slot, its first step in the same commit.

    A run whose first step is a change is created ready, because an applier needs a run that exists.

    Args:
        newcomer: The run to create.
        event: The creation, with the first step if a slot was free.
        disabled: Whether the tenant has disabled automations.
        paused: Whether the automation's circuit breaker is open.
    """
    admitted = admit(newcomer, event.at, disabled=disabled, paused=paused)
    if event.next is None or isinstance(event.next, Change) or admitted.execution.state is not State.PENDING:
        return admitted
    return follow(Situation(admitted.execution), event.next, event.at, event.holder)


def superseded(execution: Execution, *records: Record) -> Decision:
    """Return the decision that leaves the run as it is and only writes `records`."""
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
    called_back = settled_by_callback(situation, result)
    unfinished = event.next is None and result.outcome is not Outcome.SUCCEEDED
    if result.outcome in INTERRUPTED or (unfinished and not called_back):
        # No termination was accepted, and without one an interrupt is no outcome: the attempt is not settled.
        return superseded(execution)
    accepted = None
    if result.outcome is None:
        accepted = event.next.waiting_for if isinstance(event.next, Wait) else WaitingFor.CALLBACK
    settled = settle_attempt(situation, event.attempt, event.at, result, accepted)
    if event.next is None or called_back:
        return make_ready(situation, execution.step + 1, event.at, settled)
    return follow(situation, event.next, event.at, event.holder, settled)


def _item_settled(situation: Situation, event: ItemSettled) -> Decision:
    execution, result = situation.execution, event.result
    if not _current(execution, event.attempt):
        return _evidence(execution, event.attempt, result, event.at, event.item)
    if (event.item, None) not in situation.items:
        return superseded(execution)
    if execution.state is State.STOPPING:
        result = stopped_waiting(result)
    elif result.outcome in INTERRUPTED:
        return superseded(execution)
    record = ItemRecord(event.attempt.position, event.attempt.number, event.item, event.at, result, event.again)
    fence = situation.fence
    if fence is None or fence.cause is not Cause.CASCADE or execution.state is State.STOPPING:
        return Decision(Verdict.ACCEPTED, execution, (record,))
    stopping = terminate(situation, fence, event.at)
    return replace(stopping, records=(record, *stopping.records))


def _woken(situation: Situation, event: Woken) -> Decision:
    execution, by, result = situation.execution, event.by, event.result
    if execution.epoch != event.epoch or execution.state is not State.WAITING or execution.waiting_for is not by:
        return superseded(execution)
    early = execution.wake_at is not None and event.at < execution.wake_at
    if early and by in {WaitingFor.TIMER, WaitingFor.RETRY}:
        return superseded(execution)
    if by is WaitingFor.TIMER and result is None:
        result = _TIMER_PASSED
    records: tuple[Record, ...] = ()
    if result is not None and by is not WaitingFor.RETRY:
        records = (StepSettled(execution.step, execution.attempt, event.at, result),)
    if event.next is not None:
        return follow(situation, event.next, event.at, event.holder, records)
    if by is WaitingFor.RETRY:
        return make_ready(situation, execution.step, event.at, records, attempt=execution.attempt)
    return make_ready(situation, execution.step + 1, event.at, records)


def _polled(situation: Situation, event: Polled) -> Decision:
    """Decide the result of a poll: it is for the wait that it began in, and is evidence once the attempt is over."""
    execution, result, attempt = situation.execution, event.result, event.attempt
    goes_on = execution.waiting_for is WaitingFor.POLL and (execution.step, execution.attempt) == (
        attempt.position,
        attempt.number,
    )
    if not goes_on or execution.epoch != event.epoch:
        called = situation.called
        if goes_on or called is None or called.attempt.number != attempt.number:
            # The next poll of the same attempt gives the same result.
            return superseded(execution)
        if called.outcome is Outcome.SUCCEEDED or called.late:
            return superseded(execution)
        return _evidence(execution, attempt, result, event.at)
    if result.outcome in INTERRUPTED or (event.next is None and result.outcome is not Outcome.SUCCEEDED):
        # A poll is a read: one that was interrupted, or says nothing of what follows, is repeated.
        return superseded(execution)
    if event.wake_at is not None and event.wake_at != execution.wake_at:
        # So is one whose times are those of a clock that was corrected meanwhile.
        return superseded(execution)
    accepted = None
    if result.outcome is None:
        accepted = event.next.waiting_for if isinstance(event.next, Wait) else WaitingFor.POLL
    settled = (StepSettled(attempt.position, attempt.number, event.at, result, accepted),)
    if event.next is None:
        return make_ready(situation, execution.step + 1, event.at, settled)
    return follow(situation, event.next, event.at, event.holder, settled)


def _called_back(situation: Situation, event: CalledBack) -> Decision:
    """Decide a callback: it settles its step once, if it arrives before the run has moved on.

    A receiver that is polled may call back as well: its work is then known to be done, and is not asked for again.
    """
    execution, called, kept = situation.execution, situation.called, situation.callback
    if called is None:
        return superseded(execution)
    state, waiting_for, at = execution.state, execution.waiting_for, event.at
    if execution.step == event.position:
        if state is State.PROCESS_STEP and kept is None:
            return Decision(Verdict.ACCEPTED, execution, (CallbackKept(event.position, at, event.result),))
        in_time = execution.wake_at is None or at < execution.wake_at
        if waiting_for is WaitingFor.POLL or (waiting_for is WaitingFor.CALLBACK and in_time):
            settled = StepSettled(execution.step, execution.attempt, at, event.result)
            return make_ready(situation, execution.step + 1, at, (settled,))
        if waiting_for in {WaitingFor.READY, WaitingFor.RETRY} and situation.fence is None:
            # No row is open between two attempts, so the callback gets a row of its own. No other call is made.
            number = execution.attempt + 1
            opened = StepOpened(event.position, number, execution.epoch + 1, at, None, WaitingFor.CALLBACK)
            settled = StepSettled(event.position, number, at, without_status(event.result))
            return make_ready(situation, execution.step + 1, at, (opened, settled))
    if kept is not None or called.outcome is Outcome.SUCCEEDED or called.late:
        return superseded(execution)
    return _evidence(execution, called.attempt, without_status(event.result), at)


def _deadline_passed(situation: Situation, event: DeadlinePassed) -> Decision:
    execution = situation.execution
    if execution.state is not State.STOPPING or execution.epoch != event.epoch:
        return superseded(execution)
    if execution.wake_at is not None and event.at < execution.wake_at:
        return superseded(execution)
    return end_stopping(situation, event.at)


def _recovered(situation: Situation, event: Recovered) -> Decision:
    execution = situation.execution
    if execution.epoch != event.epoch or not execution.in_flight:
        return superseded(execution)
    if execution.state is State.STOPPING:
        return end_stopping(situation, event.at)
    abandoned = abandon_attempt(situation, event.at)
    if situation.callback is not None:
        return make_ready(situation, execution.step + 1, event.at, abandoned)
    if event.repeatable:
        return make_ready(situation, execution.step, event.at, abandoned, attempt=execution.attempt)
    fence = situation.fence
    if fence is not None and fence.cause is Cause.CASCADE:
        return stop_at_boundary(situation, event.at, abandoned)
    settled = [outcome for _, outcome in situation.items if outcome is not None]
    if settled and len(settled) == len(situation.items):
        result = Result(derive(settled), error=RESULT_LOST)
    else:
        # Items settle one by one, so at most one is in doubt. Items that had not begun do not change the outcome.
        result = Result(derive([*settled, Outcome.INTERRUPTED_OUTCOME_UNKNOWN]), error=OUTCOME_UNKNOWN)
    return end_in_error(execution, event.at, (StepSettled(execution.step, execution.attempt, event.at, result),))


_TIMER_PASSED = Result(Outcome.SUCCEEDED)

OUTCOME_UNKNOWN = (
    b'{"code":"OUTCOME_UNKNOWN","message":"the server stopped or failed while this step was at work; '
    b'whether it took effect is not known, and it may not be repeated"}'
)
RESULT_LOST = (
    b'{"code":"RESULT_LOST","message":"the server stopped when all items of this step were settled, '
    b'and before what it returns was recorded"}'
)


def _released(situation: Situation, event: Released) -> Decision:
    execution = situation.execution
    if execution.state is not State.PAUSED_BY_CIRCUIT_BREAKER:
        return superseded(execution)
    if event.cancel is not None:
        return terminate(situation, event.cancel, event.at)
    return make_ready(situation, execution.step, event.at, ())


def _current(execution: Execution, attempt: AttemptRef) -> bool:
    return (
        execution.attempt_epoch == attempt.epoch
        and execution.attempt_epoch != 0
        and execution.step == attempt.position
        and execution.attempt == attempt.number
    )


def _evidence(execution: Execution, attempt: AttemptRef, result: Result, at: int, item: int | None = None) -> Decision:
    outcome = late(result.outcome)
    if outcome is None:
        return superseded(execution)
    return superseded(execution, LateEvidence(attempt, at, outcome, result, item))
