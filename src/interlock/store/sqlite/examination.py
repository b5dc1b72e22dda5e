"""Examining the database of a data directory without changing it, whether or not a server uses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from interlock.errors import Fatal, NotFound
from interlock.ports.clocks import ClockMark
from interlock.store.migrations import migrations
from interlock.store.sqlite.clocks import HELD, MARK
from interlock.store.sqlite.connection import checked_schema, open_reader, opening
from interlock.store.sqlite.disk import DATABASE
from interlock.store.statements import Dialect, load

PROGRESS_STEPS: Final = 100_000
"""Steps of SQLite's machine between two looks at the time limit: a few milliseconds."""

_SQL = load("examination", Dialect.SQLITE)
_IMMUTABLE: Final = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI


@dataclass(frozen=True, slots=True)
class Examination:
    """The state of a database."""

    schema: int
    """The number of its last migration."""
    known_schema: int
    """The number of the last migration of this program."""
    damage: str
    """The first finding of SQLite's quick check; empty if there is none."""
    is_complete: bool
    """Whether the quick check and the reads ended within the time limit; otherwise the fields below have no values."""
    keys: frozenset[bytes] = frozenset()
    """The ids of the keys that encrypted values need."""
    newest: int | None = None
    """The time of the newest record, in microseconds."""
    held: int | None = None
    """The time of the newest record while retention waits for an operator to confirm the clock."""


def examine(directory: Path, is_late: Callable[[], bool]) -> Examination:
    """Examine the database of a data directory. No data is written, and a server beside this can read and write.

    Like every reader of a log that no process has open, SQLite may rebuild the index of the log.

    Args:
        directory: The data directory.
        is_late: Returns whether the time limit has passed; called every `PROGRESS_STEPS`.

    Raises:
        NotFound: There is no database.
        Fatal: The database cannot be read, or belongs to another program.
    """
    file = directory / DATABASE
    if not file.exists():
        raise NotFound(f"there is no database in {directory}")
    log = file.with_name(f"{DATABASE}-wal")
    if log.exists():
        return _examine(lambda: open_reader(str(file)), is_late)
    # Without a log no server uses the file, and opening it in the usual way would create one.
    try:
        found = _examine(lambda: apsw.Connection(f"{file.resolve().as_uri()}?immutable=1", flags=_IMMUTABLE), is_late)
    except Fatal:
        if not log.exists():
            raise
    else:
        if not log.exists():
            return found
    # A server was started meanwhile, and may have written what was read.
    return _examine(lambda: open_reader(str(file)), is_late)


@opening()
def _examine(connect: Callable[[], apsw.Connection], is_late: Callable[[], bool]) -> Examination:
    with closing(connect()) as connection:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        try:
            schema = checked_schema(list(connection.execute(_SQL["examined_schema"])))
        except apsw.SQLError as error:
            raise Fatal("the database was not made by Interlock") from error
        known = len(migrations())
        connection.set_progress_handler(is_late, PROGRESS_STEPS)
        try:
            damage: str = next(connection.execute("PRAGMA quick_check(1)"))[0]
            if damage != "ok":
                return Examination(schema, known, damage, True)
            if schema < known:
                # The columns of the statements below may not exist yet.
                return Examination(schema, known, "", True)
            keys = frozenset(bytes(row[0]) for row in connection.execute(_SQL["examined_keys"]))
            (newest,) = next(connection.execute(_SQL["examined_newest"]))
        except apsw.InterruptError:
            return Examination(schema, known, "", False)
        mark, held = _kept(connection, MARK), _kept(connection, HELD)
        return Examination(schema, known, "", True, keys, _later(newest, mark), int(held) if held else None)


def _kept(connection: apsw.Connection, name: str) -> str:
    found: Any = connection.execute(_SQL["examined_clock"], (name,)).fetchone()
    return "" if found is None else bytes(found[0]).decode("utf-8", "replace")


def _later(newest: int | None, mark: str) -> int | None:
    try:
        marked = ClockMark(**json.loads(mark)).now if mark else None
    except (ValueError, TypeError):
        marked = None
    return max((at for at in (newest, marked) if at is not None), default=None)
