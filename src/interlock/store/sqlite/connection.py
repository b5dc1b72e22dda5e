"""Opens the database: sets and verifies the settings that durability depends on, and migrates the schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import apsw

from interlock.errors import Fatal
from interlock.store.migrations import migrations

MEMORY = ":memory:"
OLDEST_SQLITE = 3_051_003
"""Older versions can corrupt a WAL database when two connections write or checkpoint at the same moment."""
PAGE_CACHE_KIB = 16_384
STATEMENT_CACHE = 256


DriverError: Final = apsw.Error
"""The base class of the errors of SQLite, for modules that do not know the driver."""


def sqlite_version() -> tuple[int, str]:
    """Return the version of SQLite, as the number that `OLDEST_SQLITE` is compared with and as text."""
    return apsw.SQLITE_VERSION_NUMBER, apsw.sqlite_lib_version()


@contextmanager
def opening() -> Iterator[None]:
    """Convert every error of SQLite within this context: the database cannot be used.

    Raises:
        Fatal: SQLite raised an error.
    """
    try:
        yield
    except apsw.Error as error:
        raise Fatal(f"the database cannot be opened: {error}") from error


@opening()
def open_writer(path: str, *, vfs: str | None = None) -> apsw.Connection:
    """Open the one writing connection, with WAL and a sync of every commit before its answer.

    Raises:
        Fatal: SQLite is too old or refused a setting, the database belongs to a newer program, or the disk or the file
            is damaged.
    """
    number, text = sqlite_version()
    if number < OLDEST_SQLITE:
        raise Fatal(f"SQLite {text} is too old: 3.51.3 or newer is needed")
    connection = apsw.Connection(path, vfs=vfs, statementcachesize=STATEMENT_CACHE)
    _pragma(connection, "journal_mode", "WAL", "memory" if path == MEMORY else "wal")
    _pragma(connection, "synchronous", "FULL", 2)
    _pragma(connection, "foreign_keys", "OFF", 0)
    connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
    # The store decides when to make a checkpoint, so that no commit waits for one.
    connection.wal_autocheckpoint(0)
    migrate(connection)
    return connection


@opening()
def open_reader(path: str, *, vfs: str | None = None) -> apsw.Connection:
    """Open a read-only connection for keyed reads."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs, statementcachesize=STATEMENT_CACHE)
    connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
    connection.execute("PRAGMA query_only = ON")
    return connection


def integrity_errors(connection: apsw.Connection) -> list[str]:
    """Return the findings of SQLite's integrity check; empty if there are none."""
    found: list[str] = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    return [] if found == ["ok"] else found


def migrate(connection: apsw.Connection) -> int:
    """Apply the missing migrations, and return their number.

    Raises:
        Fatal: the database was made by a newer program, or a migration was edited after it had been applied.
    """
    known = migrations()
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)"
    )
    applied = checked_schema(list(connection.execute("SELECT number, checksum FROM migrations ORDER BY number")))
    for migration in known[applied:]:
        with connection:
            connection.execute(migration.sql)
            connection.execute(
                "INSERT INTO migrations (number, name, checksum) VALUES (?, ?, ?)",
                (migration.number, migration.name, migration.checksum),
            )
    return len(known) - applied


def checked_schema(applied: Sequence[tuple[Any, ...]]) -> int:
    """Return the number of the schema that these migrations, as (number, checksum), have made.

    Raises:
        Fatal: the database was made by a newer program, or a migration was edited after it had been applied.
    """
    known = migrations()
    if len(applied) > len(known):
        raise Fatal(
            f"this database has schema {len(applied)}, and this program knows {len(known)}: it was written by a newer "
            "Interlock; install that version, or restore a backup made before the upgrade"
        )
    for (number, checksum), migration in zip(applied, known, strict=False):
        if checksum != migration.checksum:
            raise Fatal(f"migration {number} ({migration.name}) differs from the one this database was made with")
    return len(applied)


def _pragma(connection: apsw.Connection, name: str, value: str, expected: str | int) -> None:
    # The row has to be fetched: only then does SQLite raise an error of the change.
    connection.execute(f"PRAGMA {name} = {value}").fetchall()
    found = connection.pragma(name)
    if found != expected:
        raise Fatal(f"PRAGMA {name} is {found!r} where {expected!r} is needed; the disk cannot be trusted with commits")
