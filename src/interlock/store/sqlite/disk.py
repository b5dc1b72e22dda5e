"""The data directory: one process at a time, and private to its user; and the checkpoints of its database."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import apsw

from interlock.errors import Fatal, Unavailable
from interlock.store.sqlite.offload import Offload, ThreadOffload
from interlock.store.sqlite.room import Room, Sizes, keep_files

DATABASE = "interlock.db"
LEAST = 4 * 1024 * 1024
"""Free bytes below which the disk counts as full, even if the files of the store have room."""
ROOM = 64 * 1024 * 1024
"""Free bytes from which on new runs are accepted again."""
CHECKPOINT_PAGES = 1_000
"""Pages in the WAL from which on an idle store makes a checkpoint."""
CHECKPOINT_PAGES_BUSY = 16_000
"""Pages in the WAL (64 MiB) from which on a busy store makes a checkpoint, too."""
CHECKPOINT_PAGES_FULL = 250
"""Pages in the WAL (1 MiB) from which on a store on a full disk makes a checkpoint: its WAL cannot grow."""
LOCK = "lock"
"""A file that servers of earlier releases lock, so that none of them uses the directory."""
FORMER_RESERVE = "reserve"
"""A file that earlier releases reserved for a full disk; it is removed."""
PRIVATE = 0o077
"""Mode bits that no file or directory of Interlock has."""

_log = logging.getLogger(__name__)


def free_bytes(path: Path) -> int:
    """Return the free bytes of the disk of a path."""
    return shutil.disk_usage(path).free


class DataDirectory:
    """A data directory, locked for this process until `release`, and private to its user.

    The directory and the database are locked themselves (`lock_database`), so neither a removed file nor another path
    admits a second process.

    Args:
        path: The directory; it is created if it does not exist.
        free: Returns the free bytes of the disk of a path.

    Raises:
        Unavailable: Another process uses the directory.
        Fatal: The directory, or a file in it, is a symbolic link or belongs to another user.
    """

    def __init__(self, path: Path, free: Callable[[Path], int] = free_bytes) -> None:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = path
        self._free = free
        self._locks: list[int] = []
        try:
            self._lock(_opened(path, os.O_RDONLY | os.O_DIRECTORY))
            make_private(path)
            self._lock(_opened(path / LOCK, os.O_CREAT | os.O_RDWR))
        except BaseException:
            self.release()
            raise
        (path / FORMER_RESERVE).unlink(missing_ok=True)

    @property
    def database(self) -> str:
        return str(self.path / DATABASE)

    def lock_database(self) -> int:
        """Lock the database file, and create it if necessary; return its descriptor, which is open until `release`.

        Raises:
            Unavailable: Another process uses the file, by this path or another one.
        """
        descriptor = _opened(self.path / DATABASE, os.O_CREAT | os.O_RDWR)
        try:
            self._lock(descriptor)
        except BaseException:
            self.release()
            raise
        return descriptor

    def is_in_place(self) -> bool:
        """Return whether the path of the database still leads to the locked file."""
        try:
            found, ours = os.stat(self.database, follow_symlinks=False), os.fstat(self._locks[-1])
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)

    def has_some(self) -> bool:
        return self._free(self.path) >= LEAST

    def has_room(self) -> bool:
        return self._free(self.path) >= ROOM

    def release(self) -> None:
        for descriptor in reversed(self._locks):
            os.close(descriptor)
        self._locks.clear()

    def _lock(self, descriptor: int) -> None:
        self._locks.append(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Unavailable(
                f"another process uses the data directory {self.path}; stop it, or choose another"
            ) from error
        except OSError as error:
            raise Unavailable(f"the data directory {self.path} cannot be locked: {error.strerror}") from error


def make_private(directory: Path) -> None:
    """Set the modes of a data directory and of the files of Interlock in it to 0700 and 0600.

    Raises:
        Fatal: One of them is a symbolic link, is not a regular file, or belongs to another user.
    """
    _check(directory, os.stat(directory, follow_symlinks=False), stat.S_ISDIR)
    with os.scandir(directory) as entries:
        found = [each for each in entries if is_ours(each.name) and not each.is_dir(follow_symlinks=False)]
    for entry in found:
        _check(Path(entry.path), entry.stat(follow_symlinks=False), stat.S_ISREG)


def is_ours(name: str) -> bool:
    """Return whether a file with this name in a data directory belongs to Interlock."""
    return name.startswith((DATABASE, *_OURS))


_OURS = (LOCK, FORMER_RESERVE, "frozen.json", "restore.json", "profile.json", ".profile.json", "working", "secrets.key")


@dataclass(frozen=True, slots=True)
class Access:
    """Who has access to a data directory and the files in it."""

    unusable: tuple[str, ...]
    """Why a server refuses the directory: a symbolic link, no regular file, or another user's."""
    shared: tuple[Path, ...]
    """The paths to which other users have access; a server takes it away at its start."""


def access_of(directory: Path) -> Access:
    """Return what `make_private` would refuse or change, and change nothing.

    Raises:
        OSError: the directory cannot be read.
    """
    found = [(directory, os.stat(directory, follow_symlinks=False), stat.S_ISDIR)]
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if is_ours(entry.name) and not entry.is_dir(follow_symlinks=False):
                    found.append((Path(entry.path), entry.stat(follow_symlinks=False), stat.S_ISREG))
    wrong = [_wrong_with(path, status, is_right) for path, status, is_right in found]
    return Access(
        tuple(error.message for error in wrong if error is not None),
        tuple(path for path, status, _ in found if status.st_mode & PRIVATE and not stat.S_ISLNK(status.st_mode)),
    )


def _check(path: Path, found: os.stat_result, is_right: Callable[[int], bool]) -> None:
    wrong = _wrong_with(path, found, is_right)
    if wrong is not None:
        raise wrong
    if found.st_mode & PRIVATE:
        _log.warning("other users had access to %s (mode %o); it is taken away", path, stat.S_IMODE(found.st_mode))
        path.chmod(stat.S_IMODE(found.st_mode) & ~PRIVATE)


def _wrong_with(path: Path, found: os.stat_result, is_right: Callable[[int], bool]) -> Fatal | None:
    if stat.S_ISLNK(found.st_mode):
        return _is_link(path)
    if not is_right(found.st_mode):
        return Fatal(f"{path} is not what it has to be: a directory for the data, and regular files in it")
    if found.st_uid != os.geteuid():
        return Fatal(
            f"{path} belongs to the user with the number {found.st_uid}, and this process runs as {os.geteuid()}: "
            "run it as that user, or change the owner"
        )
    return None


def _is_link(path: Path) -> Fatal:
    return Fatal(f"{path} is a symbolic link; give the path that it leads to, or put the file itself in its place")


def _opened(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if path.is_symlink():
            # The system says "not a directory" or "too many levels of symbolic links", which helps no operator.
            raise _is_link(path) from error
        raise Fatal(f"{path} cannot be opened: {os.strerror(error.errno or 0)}") from error


class Checkpointer:
    """Moves the WAL into the database, on a connection of its own and not on the loop, so that no commit waits for it.

    Args:
        path: The database.
        on_failure: Called once, with the error after which the files cannot be trusted.
        vfs: Name of the apsw VFS of the store; None for that of SQLite.
        offload: Does the work; None for a thread.
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
        # Before its first read a connection does not know of the WAL, and makes no checkpoint.
        self._connection.execute("PRAGMA schema_version").fetchall()
        self._on_failure = on_failure
        self._offload = offload if offload is not None else ThreadOffload("interlock-checkpointer")
        self._busy = False
        self._room: Room | None = None

    def keep_room(self, room: Room, sizes: Sizes) -> None:
        """Keep the files at the sizes that the store needs."""
        keep_files(self._connection, sizes)
        self._room = room

    def ask(self) -> None:
        """Make a checkpoint, unless one is in progress or has failed. Call it on the loop."""
        if not self._busy:
            self._busy = True
            self._offload.run(lambda: checkpoint(self._connection, self._room), self._made)

    def close(self) -> None:
        self._offload.close()
        self._connection.close()

    def abandon(self) -> None:
        """Close the connection and leave the files as they are."""
        abandon(self._connection)

    def _made(self, error: apsw.Error | None) -> None:
        if error is None:
            self._busy = False
        else:
            self._on_failure(error)


def checkpoint(connection: apsw.Connection, room: Room | None = None) -> apsw.Error | None:
    """Move as much of the WAL as possible into the database; return the error after which it cannot be trusted."""
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        if room is not None:
            # SQLite has truncated the database file to the pages that it knew, and a commit may have added more.
            room.covered(connection)
    except (apsw.BusyError, apsw.LockedError, apsw.FullError):
        # A later commit requests the next checkpoint; until then the WAL is only longer.
        return None
    except apsw.Error as error:
        return error
    return None


def abandon(connection: apsw.Connection) -> None:
    """Close a connection, and leave the files as the end of the process would."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close(True)
