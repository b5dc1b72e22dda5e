"""Terminations: what a terminate does in each state, and how a stopping run becomes terminal.

The store's SQL has the set-based form of these rules, for trees and batches. A property test compares the two in every
state.
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
    """Decide a terminate, which is accepted in every state.

    Args:
        situation: The run, and its termination if it is stopping.
        request: The terminate.
        at: Engine time in microseconds.
    """
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
    """Record the result of the attempt in flight of a stopping run, which becomes `TERMINATE`."""
    # The output is stored with the step as evidence; no context is assembled for a terminated run.
    settled = settle_attempt(situation, attempt, at, stopped_waiting(result))
    return Decision(Verdict.ACCEPTED, _terminated(situation.execution, at), settled, moved=True)


def stopped_waiting(result: Result) -> Result:
    """Return the result to record for a stopping run, which does not wait for an answer that comes later."""
    return result if result.outcome is not None else replace(result, outcome=Outcome.INTERRUPTED_WAITING)


def end_stopping(situation: Situation, at: int) -> Decision:
    """Abandon the attempt in flight of a stopping run, because its deadline passed or its holder no longer exists."""
    row = _terminated(situation.execution, at)
    return Decision(Verdict.ACCEPTED, row, abandon_attempt(situation, at), (Interrupt(row.ref, row.epoch),), moved=True)


def abandon_attempt(situation: Situation, at: int) -> tuple[Record, ...]:
    """Return the records that abandon the attempt in flight; a stored callback settles it instead."""
    execution = situation.execution
    attempt = AttemptRef(execution.step, execution.attempt, execution.attempt_epoch)
    return settle_attempt(situation, attempt, at, Result(Outcome.ABANDONED))


def stop_at_boundary(situation: Situation, at: int, records: tuple[Record, ...]) -> Decision:
    """Terminate a run that a fence covers, at the point where it would start its next step."""
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
        ended = end_stopping(situation, at)
        return replace(ended, records=(*records, *ended.records))
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
    """Keep the first termination; take over an earlier deadline or a stricter mode from this request."""
    execution, termination = situation.execution, situation.termination
    assert termination is not None
    audit = _audit(request, Verdict.REPEATED, execution)
    earliest = min(termination.deadline_at, at + request.deadline)
    strictest = Mode.INTERRUPT if request.mode is Mode.INTERRUPT else termination.mode
    if earliest == termination.deadline_at and strictest is termination.mode:
        return Decision(Verdict.REPEATED, execution, (audit,))
    updated = TerminationRecord(replace(termination, deadline_at=earliest, mode=strictest), new=False)
    if earliest <= at:
        ended = end_stopping(situation, at)
        return replace(ended, verdict=Verdict.REPEATED, records=(updated, audit, *ended.records))
    row = replace(execution, wake_at=earliest, updated_at=at)
    effects: tuple[Effect, ...] = (WakeAt(row.ref, earliest),)
    if strictest is Mode.INTERRUPT:
        effects = (Interrupt(row.ref, row.epoch), *effects)
    return Decision(Verdict.REPEATED, row, (updated, audit), effects, moved=True)


def _terminated(execution: Execution, at: int) -> Execution:
    return execution.moved(State.TERMINATE, at, step=execution.step, attempt=execution.attempt)


def _accepted(request: TerminationRequest, at: int, deadline_at: int, found: State) -> TerminationRecord:
    return TerminationRecord(Termination(request, at, deadline_at, request.mode, found), new=True)


def _audit(request: TerminationRequest, verdict: Verdict, execution: Execution) -> AuditRecord:
    return AuditRecord(TERMINATE_ACTION, request, verdict, execution.state)
