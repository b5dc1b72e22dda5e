"""Admission: the first row of a new run, for runs that a client or a trigger starts and for children alike."""

from __future__ import annotations

from dataclasses import replace

from interlock.rules.decision import AuditRecord, Decision, Effect, Record, TerminationRecord, Verdict, WakeAt
from interlock.rules.model import SYSTEM, Cause, Execution, Mode, Termination, TerminationRequest
from interlock.rules.states import State, WaitingFor, move
from interlock.rules.subject import NO_NAMES, SubjectNames
from interlock.rules.values import value

SWITCHED_OFF = TerminationRequest(
    actor=SYSTEM, reason="automations are disabled", deadline=0, cause=Cause.TENANT_SWITCH
)


@value(frozen=True, slots=True)
class Newcomer:
    """The data of a run that is about to be created."""

    tenant: int
    id: int
    automation: str
    definition: int
    is_draft: bool = False
    parent: int | None = None
    root: int | None = None
    """The id of the first ancestor; None if the run has no parent."""
    depth: int = 0
    names: SubjectNames = NO_NAMES
    """The subject as the run's own data name it."""


def admit(newcomer: Newcomer, at: int, *, disabled: bool, paused: bool) -> Decision:
    """Decide the first state of a new run.

    Args:
        newcomer: The run to create.
        at: Engine time in microseconds.
        disabled: Whether the tenant has disabled automations. The run is then created in `TERMINATE`.
        paused: Whether the automation's circuit breaker is open. The run is then created paused.

    Returns:
        The row of the run, ready for a slot unless `disabled` or `paused`, and its records.
    """
    row = Execution(
        tenant=newcomer.tenant,
        id=newcomer.id,
        automation=newcomer.automation,
        definition=newcomer.definition,
        state=move(None, State.PENDING),
        epoch=1,
        step=0,
        attempt=0,
        attempt_epoch=0,
        items=0,
        waiting_for=WaitingFor.READY,
        wake_at=at,
        holder=None,
        created_at=at,
        updated_at=at,
        completed_at=None,
        is_draft=newcomer.is_draft,
        parent=newcomer.parent,
        root=newcomer.root if newcomer.root is not None else newcomer.id,
        depth=newcomer.depth,
    )
    records: tuple[Record, ...] = ()
    effects: tuple[Effect, ...] = ()
    if disabled:
        row = replace(row, state=move(None, State.TERMINATE), waiting_for=None, wake_at=None, completed_at=at)
        stopped = Termination(SWITCHED_OFF, at, at, Mode.INTERRUPT, State.PENDING)
        records = (
            TerminationRecord(stopped, new=True),
            AuditRecord("execution.terminate", SWITCHED_OFF, Verdict.ACCEPTED, State.PENDING),
        )
    elif paused:
        row = replace(row, state=move(None, State.PAUSED_BY_CIRCUIT_BREAKER), waiting_for=None, wake_at=None)
    else:
        effects = (WakeAt(row.ref, at),)
    return Decision(Verdict.ACCEPTED, row, records, effects, moved=True)
