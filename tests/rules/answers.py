"""Expected answers of the rules: rows, records and decisions at one moment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from interlock.rules.admit import Newcomer
from interlock.rules.decision import (
    AuditRecord,
    Decision,
    Record,
    StepSettled,
    TerminationRecord,
    Verdict,
)
from interlock.rules.model import (
    SECOND,
    Execution,
    Result,
    Termination,
    TerminationRequest,
)
from interlock.rules.outcomes import Outcome
from interlock.rules.states import TERMINAL, State, WaitingFor
from tests.rules.runs import (
    BOB,
    BORN,
    order,
)

LATER = BORN + 5 * SECOND
UNTIL = LATER + 60 * SECOND
ORDER = order(BOB, "wrong person")
ABANDONED = StepSettled(0, 1, LATER, Result(Outcome.ABANDONED))


def moved(row: Execution, state: State, **changed: Any) -> Execution:
    """The row after a move, LATER: what belonged to an attempt or a wait is gone unless given."""
    bare = replace(row, epoch=row.epoch + 1, attempt_epoch=0, items=0, waiting_for=None, wake_at=None)
    return replace(bare, state=state, updated_at=LATER, completed_at=LATER if state in TERMINAL else None, **changed)


def accepted(request: TerminationRequest, found: State, deadline_at: int = LATER) -> tuple[Record, ...]:
    """The record of an order accepted LATER, and its audit row."""
    return (
        TerminationRecord(Termination(request, LATER, deadline_at, request.mode, found), new=True),
        AuditRecord("execution.terminate", request, "accepted", found),
    )


def whole(row: Execution, records: tuple[Record, ...], *effects: Any, verdict: Verdict = Verdict.ACCEPTED) -> Decision:
    return Decision(verdict, row, records, effects, moved=True)


# --- being let in -----------------------------------------------------------------------------------------------------

CHILD = Newcomer(1, 8, "mover", 5, is_draft=True, parent=7, root=3, depth=2)
ROW = Execution(
    tenant=1,
    id=8,
    automation="mover",
    definition=5,
    state=State.PENDING,
    epoch=1,
    step=0,
    attempt=0,
    attempt_epoch=0,
    items=0,
    waiting_for=WaitingFor.READY,
    wake_at=LATER,
    holder=None,
    created_at=LATER,
    updated_at=LATER,
    completed_at=None,
    is_draft=True,
    parent=7,
    root=3,
    depth=2,
)
