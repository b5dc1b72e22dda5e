"""Backups of the embedded store: created while a server runs, verified, and restored to a frozen store.

A restored store has no record of anything that happened after the backup. So it starts *frozen*: it can be read and its
runs can be terminated, and no run moves until an operator releases the store.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import apsw

from interlock.errors import FailedPrecondition, Fatal, InterlockError, NotFound
from interlock.ports import AuditEntry
from interlock.rules.model import SYSTEM
from interlock.rules.states import TERMINAL, State
from interlock.rules.values import value
from interlock.store.migrations import migrations
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.connection import integrity_errors, migrate, open_reader, open_writer
from interlock.store.sqlite.disk import DATABASE, DataDirectory
from interlock.store.sqlite.tx import SqliteTx
from interlock.store.statements import Dialect, load
from interlock.store.tx import drive

FROZEN: Final = "frozen.json"
"""The file that freezes a data directory; it names the backup."""
SUM: Final = ".sha256"
RESTORE_ACTION: Final = "store.restore"
RELEASE_ACTION: Final = "store.release"
PAGES_AT_ONCE: Final = 1_024
"""Pages that are copied before other writers may continue: 4 MiB."""
RESTORING: Final = "restore.json"
"""The file in a data directory whose restore is not complete; it names the backup."""
PARTIAL: Final = f"{DATABASE}.partial"
_COMPANIONS: Final = tuple(f"{DATABASE}{suffix}" for suffix in ("-wal", "-shm", "-journal"))

_SQL = load("backup", Dialect.SQLITE)
_ACTIVE: Final = tuple(state for state in State if state not in TERMINAL)


@value(frozen=True, slots=True)
class BackupFacts:
    """The contents of a backup."""

    file: str
    size: int
    """Bytes."""
    schema: int
    automations: int
    executions: int
    unfinished: int
    """Runs that were active."""
    sha256: str
    """The digest of the file. FILE.sha256 contains it in the format of `sha256sum`."""


@value(frozen=True, slots=True)
class OpenAttempt:
    """A run that was active in the backup; the store has no record of what it did afterwards."""

    tenant: int
    execution: int
    automation: str
    state: str
    step: int
    updated_at: int


class Files:
    """Changes files, by one method each. Written files are private to their user, and synced when it returns."""

    def write(self, file: Path, text: str) -> None:
        """Write a file atomically."""
        partial = file.with_name(f"{file.name}.partial")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
        self.put(partial, file)

    def put(self, partial: Path, file: Path) -> None:
        """Move a file to its place atomically."""
        self.sync(partial)
        self.rename(partial, file)
        self.sync(file.parent)

    def rename(self, partial: Path, file: Path) -> None:
        partial.rename(file)

    def unlink(self, file: Path) -> None:
        file.unlink()
        self.sync(file.parent)

    def sync(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def change(self, work: Callable[[], None]) -> None:
        """Let SQLite change a file of its own."""
        work()

    def copy(self, reader: apsw.Connection, file: Path) -> None:
        """Copy a database into a file, and overwrite what an earlier attempt left."""
        # SQLite must not roll the journal of an earlier attempt back into this copy.
        for name in (file.name, f"{file.name}-journal", f"{file.name}-wal", f"{file.name}-shm"):
            file.with_name(name).unlink(missing_ok=True)
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.close(descriptor)
        with closing(apsw.Connection(str(file))) as writer:
            with writer.backup("main", reader, "main") as backup:
                while not backup.done:
                    backup.step(PAGES_AT_ONCE)
            # A backup is one file. A server that opens it turns the WAL on again.
            writer.execute("PRAGMA journal_mode = DELETE").fetchall()


def create(directory: Path, file: Path) -> BackupFacts:
    """Copy the database of a data directory at one moment, beside a server or without one, and verify the copy.

    Raises:
        NotFound: There is no database.
        FailedPrecondition: The file exists already.
        Fatal: The copy is damaged.
    """
    source = directory / DATABASE
    if not source.exists():
        raise NotFound(f"there is no database in {directory}")
    if file.exists():
        raise FailedPrecondition(f"there is a file {file} already")
    partial, files = file.with_name(f"{file.name}.partial"), Files()
    try:
        with closing(open_reader(str(source))) as reader:
            files.copy(reader, partial)
        facts = replace(verify(partial), file=str(file))
        files.write(file.with_name(f"{file.name}{SUM}"), f"{facts.sha256}  {file.name}\n")
        files.put(partial, file)
    finally:
        partial.unlink(missing_ok=True)
    return facts


def verify(file: Path) -> BackupFacts:
    """Verify a backup: its digest, if FILE.sha256 exists, its integrity by SQLite's check, and its schema.

    The database of a data directory is not a backup: its log may have a part of it.

    Raises:
        NotFound: There is no such file.
        Fatal: The file is damaged, or is not a backup of Interlock.
    """
    if not file.exists():
        raise NotFound(f"there is no file {file}")
    _refuse_part(file)
    digest = _digest(file)
    beside = file.with_name(f"{file.name}{SUM}")
    if beside.exists() and beside.read_text(encoding="utf-8", errors="replace").split()[:1] != [digest]:
        raise Fatal(f"{file} is not the file that {beside.name} was made for: it is damaged, or was changed")
    try:
        with closing(apsw.Connection(f"{file.resolve().as_uri()}?immutable=1", flags=_READ)) as connection:
            if damage := integrity_errors(connection):
                raise Fatal(f"{file} is damaged: {damage[0]}")
            schema = _schema(connection, file)
            (automations,) = next(connection.execute(_SQL["backup_automations"]))
            (executions,) = next(connection.execute(_SQL["backup_executions"]))
            unfinished = sum(1 for _ in _open_attempts(connection))
    except (apsw.Error, ValueError) as error:
        raise Fatal(f"{file} is no database, or a damaged one: {error}") from error
    return BackupFacts(str(file), file.stat().st_size, schema, automations, executions, unfinished, digest)


def _refuse_part(file: Path) -> None:
    """Refuse the database of a data directory, or a copy of one: its log has the last commits."""
    with file.open("rb") as opened:
        header = opened.read(_VERSIONS.stop)
    journal = file.with_name(f"{file.name}-journal")
    if header[_VERSIONS] == _WITH_LOG or (journal.exists() and journal.stat().st_size):
        raise Fatal(
            f"{file} is no backup: it belongs to a data directory, or was copied from one, and what was written last "
            "stands in another file; make one with interlock backup create FILE --data-dir DIRECTORY"
        )


_VERSIONS: Final = slice(18, 20)
"""The bytes of the header of a database with the versions of its write and read format."""
_WITH_LOG: Final = b"\2\2"


def restore(file: Path, directory: Path, at: int, *, files: Files | None = None) -> BackupFacts:
    """Create a data directory from a backup. It is frozen until `release`.

    The store and the audit record keep the restore, and the store marks the runs that were active in the backup. The
    next start of a server, or the next restore, completes a restore that was interrupted.

    Args:
        file: The backup.
        directory: The data directory; it has no database.
        at: The time, in microseconds.
        files: Changes files; None for the disk of this machine.

    Raises:
        Fatal: The backup is damaged.
        FailedPrecondition: The directory has a database, or the log of another one.
        Unavailable: A server uses the directory.
    """
    facts = verify(file)
    files = files or Files()
    with _locked(directory):
        if (directory / DATABASE).exists() and not (directory / RESTORING).exists():
            raise FailedPrecondition(f"{directory} has a database already; restore into an empty directory")
        _refuse_companions(directory)
        noted = {"backup": str(file.resolve()), "sha256": facts.sha256, "at": at}
        files.write(directory / RESTORING, json.dumps({**noted, "copied": False}))
        _carry_out(directory, facts, at, noted, files)
    return facts


def finish_restore(directory: Path, *, files: Files | None = None) -> bool:
    """Complete an interrupted restore; return False if there is none. The directory must be locked.

    Raises:
        Fatal: The restore cannot be completed: its backup was removed, or is another file now.
    """
    note = directory / RESTORING
    if not note.exists():
        return False
    files = files or Files()
    try:
        noted = json.loads(note.read_bytes())
        file, at, copied = Path(noted["backup"]), int(noted["at"]), bool(noted["copied"])
        sha256 = str(noted["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise Fatal(f"{note} cannot be read; restore into {directory} again") from error
    if (directory / DATABASE).exists():
        files.unlink(note)
        return True
    _refuse_companions(directory)
    if copied and (directory / PARTIAL).exists():
        _put_in_place(directory, file, files)
        return True
    try:
        facts = verify(file)
    except (InterlockError, OSError) as error:
        raise Fatal(
            f"a restore of {file} into {directory} was cut off, and cannot be finished: {error}; restore again, or "
            f"remove {note} to begin with an empty store"
        ) from error
    if facts.sha256 != sha256:
        raise Fatal(f"a restore into {directory} was cut off, and {file} is another file now; restore again")
    _carry_out(directory, facts, at, {"backup": str(file), "sha256": sha256, "at": at}, files)
    return True


def _carry_out(directory: Path, facts: BackupFacts, at: int, noted: dict[str, Any], files: Files) -> None:
    file, partial = Path(facts.file), directory / PARTIAL
    with closing(apsw.Connection(f"{file.resolve().as_uri()}?immutable=1", flags=_READ)) as reader:
        files.copy(reader, partial)
    with closing(apsw.Connection(str(partial))) as connection:
        files.change(lambda: _mark(connection, facts, at))
    files.sync(partial)
    # From here on the copy is complete, and the backup is no longer needed.
    files.write(directory / RESTORING, json.dumps({**noted, "copied": True}))
    _put_in_place(directory, file, files)


def _put_in_place(directory: Path, file: Path, files: Files) -> None:
    # The mark is written first: after a crash the store must not run.
    files.write(directory / FROZEN, json.dumps({"backup": str(file)}))
    files.put(directory / PARTIAL, directory / DATABASE)
    files.unlink(directory / RESTORING)


def _refuse_companions(directory: Path) -> None:
    """Refuse the log of another database: SQLite would write it into the restored one, and destroy that."""
    if (directory / DATABASE).exists():
        return
    found = [name for name in _COMPANIONS if (directory / name).exists()]
    if found:
        raise FailedPrecondition(
            f"{directory} has {', '.join(found)} of another database; restore into an empty directory, or move "
            "these files away"
        )


def frozen(directory: Path) -> bool:
    """Return whether the data directory is frozen."""
    return (directory / FROZEN).exists()


def open_attempts(directory: Path) -> list[OpenAttempt]:
    """Return the runs of a data directory that were active in its backup.

    Raises:
        NotFound: There is no database.
    """
    source = directory / DATABASE
    if not source.exists():
        raise NotFound(f"there is no database in {directory}")
    with closing(open_reader(str(source))) as reader:
        return list(_open_attempts(reader))


def release(directory: Path, at: int) -> bool:
    """Release a restored store: its runs continue at the next start. Return False if it was not frozen.

    Args:
        directory: The data directory.
        at: The time, in microseconds.

    Raises:
        Unavailable: A server uses the directory; stop it first.
    """
    with _locked(directory) as held:
        finish_restore(directory)
        if not frozen(directory):
            return False
        with closing(open_writer(held.database)) as connection, connection:
            _audit(connection, at, AuditEntry(actor=SYSTEM, action=RELEASE_ACTION, target=""))
        Files().unlink(directory / FROZEN)
    return True


_READ: Final = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI


@contextmanager
def _locked(directory: Path) -> Iterator[DataDirectory]:
    held = DataDirectory(directory)
    try:
        yield held
    finally:
        held.release()


def _mark(connection: apsw.Connection, facts: BackupFacts, at: int) -> None:
    migrate(connection)
    (known_until,) = next(connection.execute(_SQL["backup_known_until"]))
    backup = Path(facts.file).name
    details = json.dumps({"sha256": facts.sha256, "unfinished": facts.unfinished}).encode()
    with connection:
        (number,) = next(connection.execute(_SQL["backup_restored"], (backup, known_until, at)))
        connection.execute(_SQL["backup_mark"], (number,))
        _audit(connection, at, AuditEntry(actor=SYSTEM, action=RESTORE_ACTION, target=backup, details=details))


def _audit(connection: apsw.Connection, at: int, entry: AuditEntry) -> None:
    """Add the entry to the audit record of each tenant."""
    for row in connection.execute(_SQL["backup_tenants"]).fetchall():
        tenant: Any = row[0]
        drive(append_audit(SqliteTx(connection), tenant, at, entry))


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _schema(connection: apsw.Connection, file: Path) -> int:
    known = migrations()
    try:
        applied = list(connection.execute(_SQL["backup_schema"]))
    except apsw.SQLError as error:
        raise Fatal(f"{file} is no backup of Interlock's") from error
    if len(applied) > len(known):
        raise Fatal(
            f"{file} has schema {len(applied)}, and this program knows {len(known)}: it needs a newer Interlock"
        )
    for (number, checksum), migration in zip(applied, known, strict=False):
        if checksum != migration.checksum:
            raise Fatal(f"{file} was made by another program: its migration {number} differs")
    return len(applied)


def _open_attempts(connection: apsw.Connection) -> Iterator[OpenAttempt]:
    for (tenant,) in connection.execute(_SQL["backup_tenants"]).fetchall():
        for state in _ACTIVE:
            for row in connection.execute(_SQL["backup_active"], (tenant, state)):
                yield OpenAttempt(*row)
