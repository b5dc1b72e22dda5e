"""Transactions in SQLite: `store.tx.Tx` on a connection, which never suspends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Final, NoReturn

import apsw

from interlock.store.rows import Row
from interlock.store.rowset import CHANGES, Change, RowSet, Values
from interlock.store.statements import Dialect, Statement, statements
from interlock.store.tx import GuardFailed

STATEMENTS: Final = statements(Dialect.SQLITE)
"""The statements by name."""
CHANGE_STATEMENTS: Final[dict[Change, Statement]] = {
    change: STATEMENTS[change.name].ordered(change.columns) for change in CHANGES
}
"""The statements with their parameters numbered in the order of the columns."""


class SqliteQueries:
    """`store.tx.Queries` on a connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        """The connection, for modules that are about SQLite alone, such as the reserved pages."""
        self._execute: Callable[..., Any] = connection.execute

    async def one(self, name: str, /, **values: Any) -> Row | None:
        statement = STATEMENTS[name]
        found: Row | None = self._execute(statement, statement.values(values)).fetchone()
        return found

    async def only(self, name: str, /, **values: Any) -> Row:
        statement = STATEMENTS[name]
        found: Row | None = self._execute(statement, statement.values(values)).fetchone()
        if found is None:
            raise LookupError(f"{name} has returned no row")
        return found

    async def all(self, name: str, /, **values: Any) -> list[Row]:
        statement = STATEMENTS[name]
        found: list[Row] = self._execute(statement, statement.values(values)).fetchall()
        return found

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        # A thread makes the commits, so one can come between two reads.
        with self.connection:
            yield


class SqliteTx(SqliteQueries):
    """`store.tx.Tx` within a transaction of the writer."""

    @property
    def rows_written(self) -> int:
        return self.connection.total_changes()

    async def run(self, name: str, /, **values: Any) -> int:
        statement = STATEMENTS[name]
        self._execute(statement, statement.values(values))
        return self.connection.changes()

    async def many(self, name: str, columns: tuple[str, ...], rows: Sequence[Values]) -> None:
        self.connection.executemany(_ordered(name, columns), rows)

    async def write(self, rows: RowSet) -> None:
        execute = self._execute
        for change, values in rows:
            execute(CHANGE_STATEMENTS[change], values)
            if change.guarded and self.connection.changes() != 1:
                expected = dict(zip(change.columns, values, strict=True))
                raise GuardFailed(
                    f"execution {expected['id']} was not at epoch {expected['was_epoch']} in {expected['was_state']}"
                )

    def end(self) -> None:
        """Refuse every later statement: a job that keeps its transaction must not write outside it."""
        self._execute = _ended
        del self.connection


def _ended(*statement: object) -> NoReturn:
    raise RuntimeError("the transaction has ended")


@cache
def _ordered(name: str, columns: tuple[str, ...]) -> Statement:
    return STATEMENTS[name].ordered(columns)
