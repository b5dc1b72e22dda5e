"""Writing the rows of a decision down, in the transaction of the writer."""

from __future__ import annotations

from typing import Final

import apsw

from interlock.rules.decision import Decision, Record
from interlock.rules.model import Execution
from interlock.store.rowset import CHANGES, Change, RowSet, rowset_of, rowset_of_new
from interlock.store.statements import Dialect, Statement, load


class GuardFailed(AssertionError):
    """A row was not where the same transaction had read it: the writer is not alone. Never expected."""


def write(connection: apsw.Connection, was: Execution, decision: Decision, at: int) -> None:
    """Write what the rules decided for a run that exists.

    Raises:
        GuardFailed: the row moved between the reading and the writing.
    """
    write_rows(connection, rowset_of(was, decision, at))


def write_new(
    connection: apsw.Connection,
    row: Execution,
    input_: bytes,
    records: tuple[Record, ...],
    at: int,
    subject: str | None,
) -> None:
    """Write a run that did not exist, and what goes beside it."""
    write_rows(connection, rowset_of_new(row, input_, records, at, subject=subject))


def write_rows(connection: apsw.Connection, rows: RowSet) -> None:
    """Write rows in their order.

    Raises:
        GuardFailed: one that must change a row has changed none.
    """
    for change, values in rows:
        connection.execute(STATEMENTS[change], values)
        if change.guarded and connection.changes() != 1:
            stood = dict(zip(change.columns, values, strict=True))
            raise GuardFailed(f"execution {stood['id']} was not at epoch {stood['was_epoch']} in {stood['was_state']}")


def _statements() -> dict[Change, Statement]:
    found: dict[str, Statement] = {}
    for subject in ("executions", "terminations", "audit"):
        found |= load(subject, Dialect.SQLITE)
    return {change: found[change.name].ordered(change.columns) for change in CHANGES}


STATEMENTS: Final = _statements()
"""With their parameters numbered in the order of the columns."""
