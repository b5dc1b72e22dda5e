"""Room inside of the store's own files, for stops and results on a full disk. No other process can take it.

A commit needs room in three places, and each is there before it is needed:

- the log is preallocated ahead of what is written, kept when the store is closed, and never shortened. SQLite writes it
  from its start again once a checkpoint has moved all of it into the database;
- the database file is as long as its pages need before the commit that adds them, so a checkpoint takes no new room.
  A checkpoint beside a commit cuts the file to the pages of before it: the file is made longer again at once;
- new pages come from the free list: a row of the table `room` keeps pages, and deleting it frees them.

A file that is removed to make room, as a reserve file is, makes room for every process on the disk.
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
"""Frames of the log that one block of the shared index is for; the first block holds a few less."""
STOPS_PAGES: Final = 256
"""Free pages that a commit of more than `SMALL_COMMIT_PAGES` leaves to those that stop something."""
SMALL_COMMIT_PAGES: Final = 8

_SQL = load("room", Dialect.SQLITE)

Allocate = Callable[[int, int], None]
"""Give the file of a descriptor so many bytes on the disk. Raises OSError where the disk has no room for them."""


def allocate(descriptor: int, size: int) -> None:
    """Make a file so long, with room on the disk that outlives a power failure; a longer file stays as it is."""
    standing = os.fstat(descriptor).st_size
    if standing >= size:
        return
    try:
        os.posix_fallocate(descriptor, standing, size - standing)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        # Such a file system makes no promise of room: a full disk is noticed by the write that it refuses.
        os.ftruncate(descriptor, size)
    # After a power failure on a full disk the room is needed as much as before it.
    os.fdatasync(descriptor)


_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


@value(frozen=True, slots=True)
class Sizes:
    """How much room is kept, in bytes."""

    log: int = 2 * 1024 * 1024
    """Ahead of what is written to the log."""
    pages: int = 4 * 1024 * 1024
    """In pages of the database."""
    chunk: int = 1024 * 1024
    """Steps by which the database file grows."""


SIZES: Final = Sizes()


class Room:
    """The room that a store keeps.

    Args:
        path: of the database, opened by SQLite already and in WAL mode.
        database: a descriptor of the database file, which outlives this.
        sizes: how much is kept.
        allocate: gives a file room on the disk.
    """

    def __init__(self, path: str, database: int, sizes: Sizes, allocate: Allocate = allocate) -> None:
        self._database = database
        self._sizes = sizes
        self._allocate = allocate
        # SQLite holds POSIX locks on the index: they would be lost if any descriptor of it were closed before.
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        self._log, self._index = (os.open(f"{path}{suffix}", flags) for suffix in ("-wal", "-shm"))
        self._log_ahead = 0
        self._index_bytes = 0
        self._page_bytes = 0
        self._free_pages = 0
        self._pages = 0
        self._growing = threading.Lock()
        self.short = False
        """There was no room ahead of what was written last."""

    def prepare(self, connection: apsw.Connection) -> None:
        """Begin to keep room, as far as there is any; to be called once, before the first commit."""
        self._page_bytes = connection.pragma("page_size")
        self._pages = connection.pragma("page_count")
        try:
            self._cover(connection)
            frames, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
            self._go_ahead_of(max(frames, 0))
        except OSError:
            self.short = True

    def before_commit(self, connection: apsw.Connection, *, full: bool) -> None:
        """Make the database file as long as the pages that the transaction has added need.

        Raises:
            apsw.FullError: the disk has no room for them, or what is left is for stops.
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
        """Keep room ahead of a log of so many frames. In the thread that made the commit."""
        self._pages = connection.pragma("page_count")
        if full:
            self._free_pages = connection.pragma("freelist_count")
        try:
            self._cover(connection)
            self._go_ahead_of(frames)
        except OSError:
            self.short = True

    def keep(self, connection: apsw.Connection) -> bool:
        """Keep pages, in a transaction of the caller's; False if as many are kept already."""
        self.short = False
        found = connection.execute(_SQL["room_kept"]).fetchone()
        if found is not None and found[0] >= self._sizes.pages:
            return False
        connection.execute(_SQL["room_keep"], (self._sizes.pages,))
        # These are the pages that other commits have to leave.
        self._free_pages = 0
        return True

    def give_up(self, connection: apsw.Connection) -> bool:
        """Free the pages that are kept, in a transaction of the caller's; False if there are none."""
        connection.execute(_SQL["room_give_up"])
        return connection.changes() > 0

    def covered(self, connection: apsw.Connection) -> bool:
        """Make the database file as long as its pages need, in any thread; whether it is.

        A checkpoint then takes no room that the file has not got.
        """
        try:
            self._cover(connection)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of the files; to be called after the last connection was closed."""
        os.close(self._log)
        os.close(self._index)

    def _cover(self, connection: apsw.Connection) -> None:
        needed = connection.pragma("page_count") * self._page_bytes
        # Where the file system makes no promise of room, a file that grew meanwhile would be cut.
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
    """Let a connection neither remove the log when it is closed nor cut the database file to the page."""
    for operation, argument in (
        (apsw.SQLITE_FCNTL_PERSIST_WAL, 1),
        (apsw.SQLITE_FCNTL_CHUNK_SIZE, sizes.chunk),
    ):
        number = ctypes.c_int(argument)
        # A VFS that does not know the operation keeps its own ways.
        with suppress(apsw.Error):
            connection.file_control("main", operation, ctypes.addressof(number))
