"""The stop: what an order to terminate does in each situation, and how a stopping run comes to rest.

The set-based form of these rules, for trees and batches, stands in the store's SQL; a property test holds the two
against each other in every state.
"""

from __future__ import annotations

from dataclasses import replace

from interlock.rules.callbacks import settle_attempt
from interlock.rules.decision import (
    AuditRecord,
    Decision,
    Effect,
    Interrupt,
    Record,
    TerminationRecord,
    Verdict,
    WakeAt,
)
from interlock.rules.model import AttemptRef, Execution, Mode, Result, Situation, Termination, TerminationRequest
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor

TERMINATE_ACTION = "execution.terminate"


def terminate(situation: Situation, request: TerminationRequest, at: int) -> Decision:
    """Accept the order, whatever state the run is in."""
    execution = situation.execution
    match execution.state:
        case State.DONE | State.ERROR:
            return Decision(
                Verdict.ALREADY_FINISHED, execution, (_audit(request, Verdict.ALREADY_FINISHED, execution),)
            )
        case State.TERMINATE:
            return Decision(Verdict.REPEATED, execution, (_audit(request, Verdict.REPEATED, execution),))
        case State.STOPPING:
            return _repeated(situation, request, at)
        case State.PROCESS_STEP:
            return _in_flight(situation, request, at)
        case State.PENDING | State.WAITING | State.PAUSED_BY_CIRCUIT_BREAKER:
            records = (_accepted(request, at, at, execution.state), _audit(request, Verdict.ACCEPTED, execution))
            return Decision(Verdict.ACCEPTED, _terminated(execution, at), records, moved=True)


def settle_stopped(situation: Situation, attempt: AttemptRef, result: Result, at: int) -> Decision:
    """The attempt in flight of a stopping run has reported: that is what it is recorded as, and the run is at rest."""
    # The output is kept with the step as evidence; a terminated run never assembles a context again.
    settled = settle_attempt(situation, attempt, at, stopped_waiting(result))
    return Decision(Verdict.ACCEPTED, _terminated(situation.execution, at), settled, moved=True)


def stopped_waiting(result: Result) -> Result:
    """What a stopping run records: a call that was accepted and will be answered later is not waited for."""
    return result if result.outcome is not None else replace(result, outcome=Outcome.INTERRUPTED_WAITING)


def cut_off(situation: Situation, at: int) -> Decision:
    """Give up on the attempt in flight of a stopping run: its deadline has passed, or its holder is dead."""
    row = _terminated(situation.execution, at)
    return Decision(Verdict.ACCEPTED, row, abandon(situation, at), (Interrupt(row.ref, row.epoch),), moved=True)


def abandon(situation: Situation, at: int) -> tuple[Record, ...]:
    """The records of an attempt in flight that is given up: in doubt, unless its step was called back."""
    execution = situation.execution
    attempt = AttemptRef(execution.step, execution.attempt, execution.attempt_epoch)
    return settle_attempt(situation, attempt, at, Result(Outcome.ABANDONED))


def stop_at_boundary(situation: Situation, at: int, records: tuple[Record, ...]) -> Decision:
    """A standing order covers this run and it was about to start something: it ends here instead."""
    execution, request = situation.execution, situation.fence
    assert request is not None
    accepted = (_accepted(request, at, at, execution.state), _audit(request, Verdict.ACCEPTED, execution))
    return Decision(Verdict.ACCEPTED, _terminated(execution, at), (*records, *accepted), moved=True)


def _in_flight(situation: Situation, request: TerminationRequest, at: int) -> Decision:
    execution = situation.execution
    deadline_at = at + request.deadline
    records: tuple[Record, ...] = (
        _accepted(request, at, deadline_at, execution.state),
        _audit(request, Verdict.ACCEPTED, execution),
    )
    if request.deadline == 0:
        cut = cut_off(situation, at)
        return replace(cut, records=(*records, *cut.records))
    row = execution.moved(
        State.STOPPING,
        at,
        step=execution.step,
        attempt=execution.attempt,
        attempt_epoch=execution.attempt_epoch,
        items=execution.items,
        waiting_for=WaitingFor.DEADLINE,
        wake_at=deadline_at,
    )
    effects: tuple[Effect, ...] = (WakeAt(row.ref, deadline_at),)
    if request.mode is Mode.INTERRUPT:
        effects = (Interrupt(row.ref, row.epoch), *effects)
    return Decision(Verdict.ACCEPTED, row, records, effects, moved=True)


def _repeated(situation: Situation, request: TerminationRequest, at: int) -> Decision:
    """The first order stands; a nearer deadline or a sharper mode is taken over from this one."""
    execution, termination = situation.execution, situation.termination
    assert termination is not None
    audit = _audit(request, Verdict.REPEATED, execution)
    nearer = min(termination.deadline_at, at + request.deadline)
    sharper = Mode.INTERRUPT if request.mode is Mode.INTERRUPT else termination.mode
    if nearer == termination.deadline_at and sharper is termination.mode:
        return Decision(Verdict.REPEATED, execution, (audit,))
    sharpened = TerminationRecord(replace(termination, deadline_at=nearer, mode=sharper), new=False)
    if nearer <= at:
        cut = cut_off(situation, at)
        return replace(cut, verdict=Verdict.REPEATED, records=(sharpened, audit, *cut.records))
    row = replace(execution, wake_at=nearer, updated_at=at)
    effects: tuple[Effect, ...] = (WakeAt(row.ref, nearer),)
    if sharper is Mode.INTERRUPT:
        effects = (Interrupt(row.ref, row.epoch), *effects)
    return Decision(Verdict.REPEATED, row, (sharpened, audit), effects, moved=True)


def _terminated(execution: Execution, at: int) -> Execution:
    return execution.moved(State.TERMINATE, at, step=execution.step, attempt=execution.attempt)


def _accepted(request: TerminationRequest, at: int, deadline_at: int, found: State) -> TerminationRecord:
    return TerminationRecord(Termination(request, at, deadline_at, request.mode, found), new=True)


def _audit(request: TerminationRequest, verdict: Verdict, execution: Execution) -> AuditRecord:
    return AuditRecord(TERMINATE_ACTION, request, verdict, execution.state)
