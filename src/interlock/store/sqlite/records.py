"""Writing a decision down: the row, and each record that goes beside it, in the transaction of the writer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import apsw

from interlock.ports import AuditEntry
from interlock.rules.decision import (
    AuditRecord,
    CallbackKept,
    CallbackTaken,
    ChildCreated,
    Decision,
    ItemRecord,
    LateEvidence,
    Record,
    StepClosed,
    StepOpened,
    StepSettled,
    TerminationRecord,
)
from interlock.rules.model import Execution, TerminationRequest
from interlock.rules.states import State
from interlock.rules.stop import TERMINATE_ACTION
from interlock.store.sqlite import rows
from interlock.store.sqlite.audit import append_audit
from interlock.store.statements import Dialect, load

_SQL = load("executions", Dialect.SQLITE) | load("terminations", Dialect.SQLITE)
_MOVE = _SQL["execution_move"]
_STEP = _SQL["execution_step"]
_INSERT = _SQL["execution_insert"]
_INPUT = _SQL["input_insert"]
_OPEN = _SQL["step_open"]
_CLOSED = _SQL["step_closed"]
_SETTLE = _SQL["step_settle"]
_ACCEPT = _SQL["step_accept"]
_LATE = _SQL["step_late"]
_CALLBACK_KEEP = _SQL["callback_keep"]
_CALLBACK_TAKEN = _SQL["callback_taken"]
_ITEM_OPEN = _SQL["item_open"]
_ITEM_SETTLE = _SQL["item_settle"]
_TERMINATION = _SQL["termination_insert"]
_SHARPEN = _SQL["termination_sharpen"]


class GuardFailed(AssertionError):
    """A row was not where the same transaction had read it: the writer is not alone. Never expected."""


def write(connection: apsw.Connection, was: Execution, decision: Decision, at: int) -> None:
    """Write what the rules decided for a run that exists.

    Raises:
        GuardFailed: the row moved between the reading and the writing.
    """
    row = decision.execution
    if decision.moved:
        if row.state is was.state is State.PROCESS_STEP:
            connection.execute(_STEP, rows.stepped(was, row))
        else:
            connection.execute(_MOVE, rows.moved(was, row))
        if connection.changes() != 1:
            raise GuardFailed(f"execution {row.id} was not at epoch {was.epoch} in {was.state}")
    write_records(connection, row, decision.records, at)


def write_new(connection: apsw.Connection, row: Execution, input_: bytes, shown_input: bytes | None = None) -> None:
    """Write a run that did not exist. A secret is no subject: that comes from what may be shown."""
    connection.execute(_INSERT, (*rows.inserted(row), input_ if shown_input is None else shown_input))
    connection.execute(_INPUT, (row.tenant, row.id, input_, shown_input))


def write_records(connection: apsw.Connection, row: Execution, records: tuple[Record, ...], at: int) -> None:
    """Write what goes beside the row."""
    for record in records:
        _WRITERS[type(record)](connection, row, record, at)


def audit_entry(request: TerminationRequest, id_: int, verdict: str, found: str) -> AuditEntry:
    """The audit row of one termination asked for. `deadline` in its details is microseconds."""
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


def _opened(connection: apsw.Connection, row: Execution, record: StepOpened, at: int) -> None:
    connection.execute(
        _OPEN,
        (
            row.tenant,
            row.id,
            record.position,
            record.attempt,
            record.epoch,
            record.at,
            record.waiting_for,
            record.input,
            record.shown_input,
            record.key,
        ),
    )
    if len(record.items) > 1:
        key = (row.tenant, row.id, record.position, record.attempt)
        connection.executemany(_ITEM_OPEN, [(*key, number, name) for number, name in enumerate(record.items)])


def _closed(connection: apsw.Connection, row: Execution, record: StepClosed, at: int) -> None:
    connection.execute(
        _CLOSED,
        (
            row.tenant,
            row.id,
            record.position,
            record.attempt,
            record.epoch,
            record.at,
            record.at,
            record.outcome,
            record.input,
            record.output,
            record.error,
            record.shown_output,
        ),
    )


def _settled(connection: apsw.Connection, row: Execution, record: StepSettled, at: int) -> None:
    result = record.result
    key = (row.tenant, row.id, record.position, record.attempt)
    if record.accepted is not None:
        connection.execute(_ACCEPT, (record.accepted, result.status, result.phase, *key))
        return
    told = (result.outcome, result.output, result.error, result.status, result.phase, result.reached)
    connection.execute(_SETTLE, (record.at, *told, *key))


def _late(connection: apsw.Connection, row: Execution, record: LateEvidence, at: int) -> None:
    evidence: dict[str, Any] = {"outcome": record.outcome, "at": record.at, "epoch": record.attempt.epoch}
    if record.item is not None:
        evidence["item"] = record.item
    if record.result.status is not None:
        evidence["status"] = record.result.status
    for name, value in (("output", record.result.output), ("error", record.result.error)):
        if value is not None:
            evidence[name] = json.loads(value)
    attempt = record.attempt
    connection.execute(_LATE, (json.dumps(evidence), row.tenant, row.id, attempt.position, attempt.number))


def _callback_kept(connection: apsw.Connection, row: Execution, record: CallbackKept, at: int) -> None:
    result = record.result
    key = (row.tenant, row.id, record.position)
    connection.execute(_CALLBACK_KEEP, (*key, record.at, result.output, result.status))


def _callback_taken(connection: apsw.Connection, row: Execution, record: CallbackTaken, at: int) -> None:
    connection.execute(_CALLBACK_TAKEN, (row.tenant, row.id, record.position))


def _item(connection: apsw.Connection, row: Execution, record: ItemRecord, at: int) -> None:
    result = record.result
    key = (row.tenant, row.id, record.position, record.attempt, record.item)
    connection.execute(_ITEM_SETTLE, (record.at, result.outcome, result.output, result.error, *key))


def _termination(connection: apsw.Connection, row: Execution, record: TerminationRecord, at: int) -> None:
    found = record.termination
    if record.new:
        connection.execute(_TERMINATION, rows.order(row.tenant, row.id, found))
    else:
        connection.execute(_SHARPEN, (found.deadline_at, found.mode, row.tenant, row.id))


def _audit(connection: apsw.Connection, row: Execution, record: AuditRecord, at: int) -> None:
    append_audit(connection, row.tenant, at, audit_entry(record.request, row.id, record.outcome, record.found))


def _child(connection: apsw.Connection, row: Execution, record: ChildCreated, at: int) -> None:
    write_new(connection, record.execution, record.input, record.shown_input)
    write_records(connection, record.execution, record.records, at)


_WRITERS: dict[type, Callable[[apsw.Connection, Execution, Any, int], None]] = {
    StepOpened: _opened,
    StepClosed: _closed,
    StepSettled: _settled,
    LateEvidence: _late,
    CallbackKept: _callback_kept,
    CallbackTaken: _callback_taken,
    ItemRecord: _item,
    TerminationRecord: _termination,
    AuditRecord: _audit,
    ChildCreated: _child,
}
