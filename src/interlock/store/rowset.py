"""A decision as rows with named columns: the one mapping from records to the columns of the tables.

A `Change` names a statement, and for each of its parameters the attribute of one of two objects that has its value;
for most changes the run and the record. `operator.attrgetter` reads the values as fast as a hand-written tuple, and no
line depends on the order of the columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final, NamedTuple

from interlock.ports import AuditEntry
from interlock.rules.decision import (
    AuditRecord,
    CallbackKept,
    CallbackTaken,
    Decision,
    ItemRecord,
    LateEvidence,
    Record,
    StepClosed,
    StepOpened,
    StepSettled,
    TerminationRecord,
)
from interlock.rules.model import Execution, Item, SecretRef, TerminationRequest
from interlock.rules.states import State
from interlock.rules.stop import TERMINATE_ACTION
from interlock.store.statements import columns

Values = tuple[Any, ...]
Paths = Mapping[str, str]
"""For each column the attribute that has its value, or a path of attributes with dots."""


class Change:
    """A statement that writes, and the attributes that have its values.

    Args:
        name: The name of the statement.
        first: The columns whose values the first object has, with their paths.
        second: The columns whose values the second object has, with their paths.
        guarded: Whether the statement must find exactly one row; otherwise the row was changed since it was read.
    """

    __slots__ = ("columns", "first", "guarded", "name", "second")

    def __init__(self, name: str, first: Paths, second: Paths, *, guarded: bool = False) -> None:
        self.name = name
        self.guarded = guarded
        self.columns = (*first, *second)
        # Two functions instead of a method: a method would cost a decision of three rows a microsecond.
        self.first = _getter(first)
        self.second = _getter(second)


RowSet = list[tuple[Change, Values]]
"""The changes in the order in which they are written, each with its values in the order of its columns."""


def rowset_of(was: Execution, decision: Decision, at: int) -> RowSet:
    """Return the rows of a decision about an existing run."""
    row = decision.execution
    rows: RowSet = []
    if decision.moved:
        # No indexed column changes from one attempt to the next, so this statement leaves the indexes alone.
        change = STEP if row.state is was.state is State.PROCESS_STEP else MOVE
        rows.append((change, change.first(row) + change.second(was)))
    for record in decision.records:
        _ADDERS[type(record)](rows, row, record, at)
    return rows


def rowset_of_new(
    row: Execution,
    input_: bytes,
    records: tuple[Record, ...],
    at: int,
    sealed: SecretRef | None = None,
    subject: str | None = None,
) -> RowSet:
    """Return the rows of a new run and of the records of its start."""
    given = Given(input_, sealed, subject)
    rows: RowSet = [(INSERT, INSERT.first(row) + INSERT.second(given)), (INPUT, INPUT.first(row) + INPUT.second(given))]
    for record in records:
        _ADDERS[type(record)](rows, row, record, at)
    return rows


def audit_values(tenant: int, at: int, entry: AuditEntry) -> Values:
    """Return the values of a row of the audit record, in the order of the columns of `AUDIT`."""
    return AUDIT.first(Occasion(tenant, at)) + AUDIT.second(entry)


def audit_entry(request: TerminationRequest, id_: int, verdict: str, found: str) -> AuditEntry:
    """Return the audit entry of a requested termination. `deadline` in its details is in microseconds."""
    named = f',"named":"{request.cause_execution}"' if request.cause_execution is not None else ""
    details = (
        f'{{"cause":"{request.cause}","found":"{found}","mode":"{request.mode}",'
        f'"deadline":{request.deadline},"cascade":{"true" if request.cascade else "false"}{named}}}'
    )
    return AuditEntry(
        actor=request.actor,
        action=TERMINATE_ACTION,
        target=str(id_),
        outcome=verdict,
        reason=request.reason,
        details=details.encode(),
    )


# --- the columns ------------------------------------------------------------------------------------------------------


class Given(NamedTuple):
    """The trigger data of a run."""

    input: bytes
    sealed: SecretRef | None
    subject: str | None


class Occasion(NamedTuple):
    """The audit record, by its tenant, and the time of the entry."""

    tenant: int
    at: int


class OpenedItem(NamedTuple):
    """An item of an attempt that was announced."""

    attempt: StepOpened
    item: Item


class Evidence(NamedTuple):
    """A result that arrived after the outcome."""

    position: int
    attempt: int
    evidence: str


def _getter(paths: Paths) -> Callable[[object], Values]:
    if not paths:
        return lambda source: ()
    found = attrgetter(*paths.values())
    return found if len(paths) > 1 else lambda source: (found(source),)


def _named(*names: str) -> dict[str, str]:
    """Return columns that have the names of the attributes."""
    return {name: name for name in names}


_KEY: Final = {"tenant": "tenant", "execution": "id"}
_ATTEMPT: Final = _named("position", "attempt")
_ACTOR: Final = {"client": "actor.client", "principal": "actor.principal", "address": "actor.address"}
_STEPPED: Final = _named("tenant", "id", "epoch", "step", "attempt", "attempt_epoch", "items", "holder", "updated_at")
_WAS: Final = {"was_epoch": "epoch", "was_state": "state"}
_REQUEST: Final = {
    **{column: f"request.{path}" for column, path in _ACTOR.items()},
    "reason": "request.reason",
    "asked_mode": "request.mode",
    "cascade": "request.cascade",
    "deadline": "request.deadline",
    "cause": "request.cause",
    "cause_execution": "request.cause_execution",
}
_RESULT: Final = {name: f"result.{name}" for name in ("outcome", "output", "error", "status", "phase", "reached")}

INSERT: Final = Change("execution_insert", _named(*columns("execution")), {"subject": "subject"})
INPUT: Final = Change("input_insert", _KEY, {"input": "input", "sealed": "sealed"})
MOVE: Final = Change(
    "execution_move", {**_STEPPED, **_named("state", "waiting_for", "wake_at", "completed_at")}, _WAS, guarded=True
)
STEP: Final = Change("execution_step", _STEPPED, _WAS, guarded=True)
OPENED: Final = Change(
    "step_open",
    _KEY,
    {**_ATTEMPT, "started_at": "at", "sealed_input": "sealed", **_named("epoch", "waiting_for", "input", "key")},
)
ITEM_OPENED: Final = Change(
    "item_open",
    _KEY,
    {"position": "attempt.position", "attempt": "attempt.attempt", "item": "item.number", "name": "item.name"},
)
CLOSED: Final = Change(
    "step_closed",
    _KEY,
    {
        **_ATTEMPT,
        "started_at": "at",
        "settled_at": "at",
        "sealed_output": "sealed",
        **_named("epoch", "outcome", "input", "output", "error"),
    },
)
SETTLED: Final = Change(
    "step_settle", _KEY, {**_ATTEMPT, "settled_at": "at", "sealed_output": "result.sealed", **_RESULT}
)
ACCEPTED: Final = Change(
    "step_accept",
    _KEY,
    {
        **_ATTEMPT,
        "waiting_for": "accepted",
        **{name: f"result.{name}" for name in ("status", "phase", "handle", "wait_left")},
    },
)
LATE: Final = Change("step_late", _KEY, _named("position", "attempt", "evidence"))
CALLBACK_KEPT: Final = Change(
    "callback_keep",
    _KEY,
    {
        "position": "position",
        "at": "at",
        **{name: f"result.{name}" for name in ("output", "status", "sealed")},
    },
)
CALLBACK_TAKEN: Final = Change("callback_taken", _KEY, {"position": "position"})
ITEM_SETTLED: Final = Change(
    "item_settle",
    _KEY,
    {
        **_ATTEMPT,
        "item": "item",
        "settled_at": "at",
        **{name: _RESULT[name] for name in ("outcome", "output", "error", "reached")},
        "again": "again",
        "sealed": "result.sealed",
    },
)
TERMINATION: Final = Change(
    "termination_insert", _KEY, {**_REQUEST, **_named("accepted_at", "deadline_at", "mode", "found")}
)
SHARPENED: Final = Change("termination_sharpen", _KEY, _named("deadline_at", "mode"))
AUDIT: Final = Change(
    "audit_insert",
    _named("tenant", "at"),
    {**_ACTOR, **_named("action", "target", "outcome", "reason", "details")},
)

CHANGES: Final = tuple(found for found in list(globals().values()) if isinstance(found, Change))


# --- the records ------------------------------------------------------------------------------------------------------


def _opened(rows: RowSet, row: Execution, record: StepOpened, at: int) -> None:
    key = OPENED.first(row)
    rows.append((OPENED, key + OPENED.second(record)))
    rows += [(ITEM_OPENED, key + ITEM_OPENED.second(OpenedItem(record, item))) for item in record.items]


def _closed(rows: RowSet, row: Execution, record: StepClosed, at: int) -> None:
    rows.append((CLOSED, CLOSED.first(row) + CLOSED.second(record)))


def _settled(rows: RowSet, row: Execution, record: StepSettled, at: int) -> None:
    change = SETTLED if record.accepted is None else ACCEPTED
    rows.append((change, change.first(row) + change.second(record)))


def _late(rows: RowSet, row: Execution, record: LateEvidence, at: int) -> None:
    evidence: dict[str, Any] = {"outcome": record.outcome, "at": record.at, "epoch": record.attempt.epoch}
    if record.item is not None:
        evidence["item"] = record.item
    if record.result.status is not None:
        evidence["status"] = record.result.status
    for name, value in (("output", record.result.output), ("error", record.result.error)):
        if value is not None:
            evidence[name] = json.loads(value)
    found = Evidence(record.attempt.position, record.attempt.number, json.dumps(evidence))
    rows.append((LATE, LATE.first(row) + LATE.second(found)))


def _callback_kept(rows: RowSet, row: Execution, record: CallbackKept, at: int) -> None:
    rows.append((CALLBACK_KEPT, CALLBACK_KEPT.first(row) + CALLBACK_KEPT.second(record)))


def _callback_taken(rows: RowSet, row: Execution, record: CallbackTaken, at: int) -> None:
    rows.append((CALLBACK_TAKEN, CALLBACK_TAKEN.first(row) + CALLBACK_TAKEN.second(record)))


def _item(rows: RowSet, row: Execution, record: ItemRecord, at: int) -> None:
    rows.append((ITEM_SETTLED, ITEM_SETTLED.first(row) + ITEM_SETTLED.second(record)))


def _termination(rows: RowSet, row: Execution, record: TerminationRecord, at: int) -> None:
    change = TERMINATION if record.new else SHARPENED
    rows.append((change, change.first(row) + change.second(record.termination)))


def _audit(rows: RowSet, row: Execution, record: AuditRecord, at: int) -> None:
    entry = audit_entry(record.request, row.id, record.outcome, record.found)
    rows.append((AUDIT, audit_values(row.tenant, at, entry)))


_ADDERS: Final[dict[type, Callable[[RowSet, Execution, Any, int], None]]] = {
    StepOpened: _opened,
    StepClosed: _closed,
    StepSettled: _settled,
    LateEvidence: _late,
    CallbackKept: _callback_kept,
    CallbackTaken: _callback_taken,
    ItemRecord: _item,
    TerminationRecord: _termination,
    AuditRecord: _audit,
}
