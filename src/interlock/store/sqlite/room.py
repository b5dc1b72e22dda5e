"""Room in the files of the store, for terminations and results on a full disk. No other process can use it.

A commit needs room in three places, and each is reserved before:

- the log is allocated ahead of its frames, kept when the store is closed, and never shortened. SQLite writes it from
  its start again when a checkpoint has moved all of it into the database;
- the database file is extended before the commit that adds pages, so a checkpoint needs no new room. A checkpoint
  beside a commit truncates the file to the pages before the commit; the file is then extended again at once;
- new pages come from the free list: a row of the table `room` reserves pages, and its deletion frees them.

A reserve file would be worse: when it is removed, every process on the disk can use its room.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import apsw

from interlock.rules.values import value
from interlock.store.statements import Dialect, load

LOG_HEAD_BYTES: Final = 32
FRAME_HEAD_BYTES: Final = 24
INDEX_BLOCK_BYTES: Final = 32 * 1024
INDEX_BLOCK_FRAMES: Final = 4_096
"""Frames of the log for one block of the shared index; the first block has a few less."""
STOPS_PAGES: Final = 256
"""Free pages that a commit of more than `SMALL_COMMIT_PAGES` leaves to terminations."""
SMALL_COMMIT_PAGES: Final = 8

_SQL = load("room", Dialect.SQLITE)

Allocate = Callable[[int, int], None]
"""Allocates a number of bytes on the disk for the file of a descriptor. Raises OSError if the disk has no room."""


def allocate(descriptor: int, size: int) -> None:
    """Extend a file to a size, with room on the disk that survives a power failure; a longer file stays as it is."""
    standing = os.fstat(descriptor).st_size
    if standing >= size:
        return
    try:
        os.posix_fallocate(descriptor, standing, size - standing)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        # This file system cannot allocate room: a full disk shows when it refuses a write.
        os.ftruncate(descriptor, size)
    # The room is needed after a power failure on a full disk, too.
    os.fdatasync(descriptor)


_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


@value(frozen=True, slots=True)
class Sizes:
    """The room to reserve, in bytes."""

    log: int = 2 * 1024 * 1024
    """In the log, ahead of its frames."""
    pages: int = 4 * 1024 * 1024
    """In pages of the database."""
    chunk: int = 1024 * 1024
    """The step by which the database file grows."""


SIZES: Final = Sizes()


class Room:
    """The room that a store reserves.

    Args:
        path: The database, which SQLite has opened in WAL mode.
        database: A descriptor of the database file, which outlives this object.
        sizes: The room to reserve.
        allocate: Allocates room on the disk for a file.
    """

    def __init__(self, path: str, database: int, sizes: Sizes, allocate: Allocate = allocate) -> None:
        self._database = database
        self._sizes = sizes
        self._allocate = allocate
        # SQLite has POSIX locks on the index, and would lose them if a descriptor of the index were closed before.
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        self._log, self._index = (os.open(f"{path}{suffix}", flags) for suffix in ("-wal", "-shm"))
        self._log_ahead = 0
        self._index_bytes = 0
        self._page_bytes = 0
        self._free_pages = 0
        self._pages = 0
        self._growing = threading.Lock()
        self.short = False
        """Whether there was no room after the last commit."""

    def prepare(self, connection: apsw.Connection) -> None:
        """Reserve as much room as is free. Call it once, before the first commit."""
        self._page_bytes = connection.pragma("page_size")
        self._pages = connection.pragma("page_count")
        try:
            self._cover(connection)
            frames, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
            self._go_ahead_of(max(frames, 0))
        except OSError:
            self.short = True

    def before_commit(self, connection: apsw.Connection, *, full: bool) -> None:
        """Extend the database file for the pages that the transaction has added.

        Raises:
            apsw.FullError: The disk has no room for them, or the rest is reserved for terminations.
        """
        try:
            self._cover(connection)
        except OSError as error:
            if connection.pragma("page_count") > self._pages:
                raise apsw.FullError("no room for the pages of the commit") from error
        if full:
            free = connection.pragma("freelist_count")
            if free < STOPS_PAGES and self._free_pages - free > SMALL_COMMIT_PAGES:
                raise apsw.FullError("the room that is left is for stops")

    def after_commit(self, connection: apsw.Connection, frames: int, *, full: bool) -> None:
        """Reserve room ahead of a log with this number of frames, in the thread that made the commit."""
        self._pages = connection.pragma("page_count")
        if full:
            self._free_pages = connection.pragma("freelist_count")
        try:
            self._cover(connection)
            self._go_ahead_of(frames)
        except OSError:
            self.short = True

    def keep(self, connection: apsw.Connection) -> bool:
        """Reserve pages, in a transaction of the caller; return False if they are reserved already."""
        self.short = False
        found = connection.execute(_SQL["room_kept"]).fetchone()
        if found is not None and found[0] >= self._sizes.pages:
            return False
        connection.execute(_SQL["room_keep"], (self._sizes.pages,))
        # Other commits have to leave these pages.
        self._free_pages = 0
        return True

    def give_up(self, connection: apsw.Connection) -> bool:
        """Free the reserved pages, in a transaction of the caller; return False if there are none."""
        connection.execute(_SQL["room_give_up"])
        return connection.changes() > 0

    def covered(self, connection: apsw.Connection) -> bool:
        """Extend the database file to the size of its pages, in any thread; return whether it has that size.

        A checkpoint then needs no further room.
        """
        try:
            self._cover(connection)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the files, after the last connection was closed."""
        os.close(self._log)
        os.close(self._index)

    def _cover(self, connection: apsw.Connection) -> None:
        needed = connection.pragma("page_count") * self._page_bytes
        # On a file system that cannot allocate room, a file that grew meanwhile would be truncated.
        with self._growing:
            if needed <= os.fstat(self._database).st_size:
                return
            try:
                self._allocate(self._database, -(-needed // self._sizes.chunk) * self._sizes.chunk)
            except OSError:
                self._allocate(self._database, needed)
                self.short = True

    def _go_ahead_of(self, frames: int) -> None:
        frame = self._page_bytes + FRAME_HEAD_BYTES
        needed = LOG_HEAD_BYTES + frames * frame + self._sizes.log
        if needed <= self._log_ahead:
            return
        ahead = needed + self._sizes.log
        blocks = ahead // frame // INDEX_BLOCK_FRAMES + 2
        if blocks * INDEX_BLOCK_BYTES > self._index_bytes:
            self._allocate(self._index, blocks * INDEX_BLOCK_BYTES)
            self._index_bytes = blocks * INDEX_BLOCK_BYTES
        self._allocate(self._log, ahead)
        self._log_ahead = ahead


def keep_files(connection: apsw.Connection, sizes: Sizes) -> None:
    """Set a connection so that it neither removes the log when it is closed nor truncates the database file."""
    for operation, argument in (
        (apsw.SQLITE_FCNTL_PERSIST_WAL, 1),
        (apsw.SQLITE_FCNTL_CHUNK_SIZE, sizes.chunk),
    ):
        number = ctypes.c_int(argument)
        # A VFS that does not know the operation ignores it.
        with suppress(apsw.Error):
            connection.file_control("main", operation, ctypes.addressof(number))
