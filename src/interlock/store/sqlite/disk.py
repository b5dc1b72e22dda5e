"""The data directory: one process at a time, room kept in reserve, and checkpoints at our own time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw

from interlock.errors import Unavailable
from interlock.store.sqlite.offload import Offload, ThreadOffload

DATABASE = "interlock.db"
RESERVE = 8 * 1024 * 1024
"""Bytes kept so that terminations and results still have room on a full disk."""
ROOM = 64 * 1024 * 1024
"""Free bytes at which new runs are let in again."""
CHECKPOINT_PAGES = 1_000
"""Pages in the WAL that make a checkpoint worth it while nothing else is to be done."""
CHECKPOINT_PAGES_BUSY = 16_000
"""Pages in the WAL (64 MiB) that make one due however busy the store is."""
CHECKPOINT_PAGES_FULL = 250
"""Pages in the WAL (1 MiB) that make one due on a full disk, where the WAL may take no more room than it has."""
MARGIN = 1024 * 1024
"""Bytes of a full disk that a checkpoint leaves to the commits after it."""


def free_bytes(path: Path) -> int:
    """Bytes that the disk below the path has room for."""
    return shutil.disk_usage(path).free


class DataDirectory:
    """A data directory, locked for this process until `release`.

    Args:
        free: bytes that the disk below a path has room for.

    Raises:
        Unavailable: another process uses it.
    """

    def __init__(self, path: Path, free: Callable[[Path], int] = free_bytes) -> None:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = path
        self._free = free
        self._reserve = path / "reserve"
        self._lock = os.open(path / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise Unavailable(f"another process uses the data directory {path}; stop it, or choose another") from error

    @property
    def database(self) -> str:
        return str(self.path / DATABASE)

    def keep_reserve(self) -> bool:
        """Set the reserve aside; False if there is no room for it."""
        try:
            descriptor = os.open(self._reserve, os.O_CREAT | os.O_WRONLY, 0o600)
        except OSError:
            return False
        try:
            os.posix_fallocate(descriptor, 0, RESERVE)
        except OSError:
            self._reserve.unlink(missing_ok=True)
            return False
        finally:
            os.close(descriptor)
        return True

    def release_reserve(self) -> None:
        self._reserve.unlink(missing_ok=True)

    def has_room(self) -> bool:
        return self._free(self.path) >= ROOM

    def takes(self, size: int) -> bool:
        """Whether the database can grow to so many bytes, and commits go on after that."""
        return size - os.stat(self.database).st_size + MARGIN <= self._free(self.path)

    def release(self) -> None:
        os.close(self._lock)


class Checkpointer:
    """Moves the WAL into the database, on a connection of its own and away from the loop: no commit waits for it.

    Args:
        on_failure: told once of the error after which the files can no longer be vouched for.
        vfs: the name of the apsw VFS that the store opens its files with, if it is not SQLite's own.
        offload: where the work is done, if not in a thread.
    """

    def __init__(
        self,
        path: str,
        on_failure: Callable[[apsw.Error], None],
        *,
        vfs: str | None = None,
        offload: Offload | None = None,
    ) -> None:
        self._connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
        self._connection.set_busy_timeout(0)
        # Until it has read something a connection does not know that there is a WAL, and checkpoints nothing.
        self._connection.execute("PRAGMA schema_version").fetchall()
        self._on_failure = on_failure
        self._offload = offload if offload is not None else ThreadOffload("interlock-checkpointer")
        self._busy = False

    def ask(self) -> None:
        """Make a checkpoint, unless one is under way or has failed. To be called on the loop."""
        if not self._busy:
            self._busy = True
            self._offload.run(lambda: checkpoint(self._connection), self._made)

    def close(self) -> None:
        self._offload.close()
        self._connection.close()

    def abandon(self) -> None:
        """Let go of the files as they are."""
        abandon(self._connection)

    def _made(self, error: apsw.Error | None) -> None:
        if error is None:
            self._busy = False
        else:
            self._on_failure(error)


def checkpoint(connection: apsw.Connection) -> apsw.Error | None:
    """Move what can be moved of the WAL into the database; the error after which the files cannot be vouched for."""
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    except (apsw.BusyError, apsw.LockedError, apsw.FullError):
        # After a later commit it is tried again; until then the WAL is merely longer.
        return None
    except apsw.Error as error:
        return error
    return None


def abandon(connection: apsw.Connection) -> None:
    """Close it, and leave the files as the end of the process would."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close(True)
