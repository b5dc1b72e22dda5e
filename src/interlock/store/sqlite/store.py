"""The embedded store: connects its parts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import apsw

from interlock.errors import Fatal
from interlock.ports import ChangeListener, CommitListener, Counters, Reads
from interlock.rules.decide import decide
from interlock.store.signals import LocalSignals
from interlock.store.sqlite import backup
from interlock.store.sqlite.access import SqliteAccess
from interlock.store.sqlite.addenda import SqliteAddenda
from interlock.store.sqlite.appliers import RELEASED
from interlock.store.sqlite.audit import SqliteAudit
from interlock.store.sqlite.automations import SqliteAutomations
from interlock.store.sqlite.breakers import SqliteBreakers
from interlock.store.sqlite.bulk import SqliteBulk
from interlock.store.sqlite.bulk_terminations import SqliteBulkTerminations
from interlock.store.sqlite.clocks import SqliteClocks
from interlock.store.sqlite.connection import MEMORY, open_reader, open_writer, opening
from interlock.store.sqlite.disk import (
    CHECKPOINT_PAGES,
    CHECKPOINT_PAGES_BUSY,
    CHECKPOINT_PAGES_FULL,
    Checkpointer,
    DataDirectory,
    abandon,
    checkpoint,
    free_bytes,
)
from interlock.store.sqlite.executions import Rules, SqliteExecutions
from interlock.store.sqlite.leases import SqliteLeases
from interlock.store.sqlite.mutations import Applier
from interlock.store.sqlite.offload import Offload
from interlock.store.sqlite.retention import SqliteRetention
from interlock.store.sqlite.room import SIZES, Allocate, Room, Sizes, allocate, keep_files
from interlock.store.sqlite.tx import SqliteQueries, SqliteTx
from interlock.store.sqlite.webhooks import SqliteWebhooks
from interlock.store.sqlite.writer import Form, Writer

_log = logging.getLogger(__name__)


class SqliteStore:
    """`ports.Store` on one SQLite file, or in memory.

    Args:
        directory: The data directory, or None for a store in memory.
        form: Where statements and commits run; in memory always inline.
        on_fatal: Called once when the data on the disk can no longer be trusted; the process must stop.
        vfs: Name of an apsw VFS to open the file with, for tests of faults.
        offload: Makes the commits; None for a thread.
        checkpoint_offload: Makes the checkpoints; None for a thread.
        checkpoint_pages: Pages in the WAL from which on an idle store makes a checkpoint.
        free: Returns the free bytes of the disk of a directory.
        room: The room that the store reserves in its own files for terminations and results.
        allocate: Allocates room on the disk for a file.
        rules: Decides an event; the tests of the tests pass a wrong one.
        appliers: The appliers of the mutations, by their types; a test adds its own to those of the release.

    Raises:
        Unavailable: Another process uses the directory.
        Fatal: The database cannot be used.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        form: Form = Form.COMMIT_IN_THREAD,
        on_fatal: Callable[[Fatal], None] = lambda error: None,
        vfs: str | None = None,
        offload: Offload | None = None,
        checkpoint_offload: Offload | None = None,
        checkpoint_pages: int = CHECKPOINT_PAGES,
        free: Callable[[Path], int] = free_bytes,
        room: Sizes = SIZES,
        allocate: Allocate = allocate,
        rules: Rules = decide,
        appliers: Mapping[type, Applier] = RELEASED,
    ) -> None:
        self._directory = DataDirectory(directory, free) if directory is not None else None
        path = self._directory.database if self._directory is not None else MEMORY
        self._room: Room | None = None
        try:
            locked = None
            if self._directory is not None:
                backup.finish_restore(self._directory.path)
                locked = self._directory.lock_database()
            self._connection = open_writer(path, vfs=vfs)
            self._reader = self._connection if path == MEMORY else open_reader(path, vfs=vfs)
            if locked is not None:
                self._room = Room(path, locked, room, allocate)
        except BaseException:
            self._release()
            raise
        self._checkpointer: Checkpointer | None = None
        self._checkpoint_pages = checkpoint_pages
        self._log_pages = 0
        self._refilling = False
        self._connection.set_wal_hook(self._written)
        self.writer = Writer(
            self._connection,
            Form.INLINE if path == MEMORY else form,
            offload=offload,
            before_commit=self._before_commit,
            on_full=self._full,
            on_fatal=on_fatal,
        )
        if self._directory is not None:
            with opening():
                self._checkpointer = Checkpointer(path, self.writer.distrust, vfs=vfs, offload=checkpoint_offload)
            self.writer.after_commit(self._tend_log)
        if self._room is not None:
            self._keep_room(self._room, room)
        signals, reads = LocalSignals(), SqliteQueries(self._reader)
        self.access = SqliteAccess(self.writer, reads)
        self.clocks = SqliteClocks(self.writer, reads, self.access.tenant_ids, self.access.forget_tokens)
        self.webhooks = SqliteWebhooks(self.writer, reads)
        self.audit = SqliteAudit(self.writer, reads, signals)
        self.executions = SqliteExecutions(
            self.writer,
            reads,
            self.access.tenant_ids,
            self.access.automations_disabled,
            signals,
            rules,
            appliers,
        )
        self.executions.frozen = directory is not None and backup.frozen(directory)
        self.bulk = SqliteBulk(
            self.writer, self.access.tenant_ids, self.executions.tell_moved, self.executions.tell_stopped, signals
        )
        self.access.decisions = self.bulk
        self.bulk_terminations = SqliteBulkTerminations(
            self.writer, reads, self.access.tenant_ids, self.executions, signals
        )
        self.automations = SqliteAutomations(self.writer, reads, self.bulk, self.executions)
        self.leases = SqliteLeases(self.writer, reads, self.access.tenant_ids, self.executions, signals)
        self.addenda = SqliteAddenda(self.writer, reads, self.executions)
        self.retention = SqliteRetention(self.writer, self.access.tenant_ids)
        self.breakers = SqliteBreakers(self.writer, reads, self.bulk)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Reads]:
        """Return a handle whose reads all show the state after one commit. Await nothing else within it."""
        # A thread makes the commits, so one can come between two reads; in memory there is no other connection.
        with self._reader if self._reader is not self._connection else nullcontext():
            yield self

    def listen(self, listener: CommitListener) -> None:
        """Tell `listener` after each commit which runs it interrupts and which are due."""
        self.executions.listen(listener)

    def follow(self, listener: ChangeListener) -> None:
        """Tell `listener` after each commit which runs it moved."""
        self.executions.follow(listener)

    @property
    def frozen(self) -> bool:
        """Whether the store was restored from a backup and is not released: no run may move."""
        return self.executions.frozen

    @property
    def full(self) -> bool:
        """Whether the disk has refused a write and has had no room since."""
        return self.writer.full

    def counters(self) -> Counters:
        """The counters of this store since it was opened."""
        return Counters(commits=self.writer.commits)

    def maintain(self) -> None:
        """Check that the files are in place, and whether the disk has room.

        Raises:
            Fatal: The database was removed or replaced.
        """
        self.require_own_files()
        self.look_for_room()

    def require_own_files(self) -> None:
        """Check that the database is still the file that was opened.

        Raises:
            Fatal: It was removed or replaced, so no later process would find what is committed.
        """
        if self._directory is not None and not self._directory.is_in_place():
            raise Fatal(f"the database {self._directory.database} was removed or replaced while the server was running")

    def look_for_room(self) -> bool:
        """Refuse new runs while the disk is full, and accept them again when it has room; return whether it has.

        Call this regularly, because other processes fill the disk and free it.
        """
        if self._room is not None and self._directory is not None and not self._directory.has_some():
            self._room.short = True
            if not self.writer.full:
                # The connection may be in use now; after the next commit it is not.
                self.writer.submit(_nothing, urgent=True)
        elif self.writer.full and not self._refilling and self._directory is not None and self._directory.has_room():
            self._refilling = True
            self._refill().add_done_callback(self._refilled)
        return not self.writer.full

    async def close(self) -> None:
        """Finish all submitted jobs, and release the directory."""
        await self.writer.close()
        if self._checkpointer is not None:
            self._checkpointer.close()
        if self._reader is not self._connection:
            self._reader.close()
        self._connection.close()
        self._release()

    def abandon(self) -> None:
        """Release the files as they are, as the end of the process would; the simulator uses it."""
        self._connection.set_wal_hook(None)
        if self._checkpointer is not None:
            self._checkpointer.abandon()
        for connection in (self._reader, self._connection):
            abandon(connection)
        self._release()

    def _release(self) -> None:
        # After the connections: SQLite loses its locks with the first descriptor of a file that is closed.
        room, self._room = self._room, None
        if room is not None:
            room.close()
        directory, self._directory = self._directory, None
        if directory is not None:
            directory.release()

    def _keep_room(self, room: Room, sizes: Sizes) -> None:
        """Reserve room before the first job. Without free room it is reserved later."""
        for connection in (self._connection, self._reader):
            keep_files(connection, sizes)
        if self._checkpointer is not None:
            self._checkpointer.keep_room(room, sizes)
        room.prepare(self._connection)
        if not room.short:
            with opening():
                try:
                    with self._connection:
                        if room.keep(self._connection):
                            self._before_commit(self._connection)
                except apsw.FullError:
                    room.short = True
        self._look_whether_short()
        self.writer.after_commit(self._look_whether_short)

    def _refill(self) -> asyncio.Future[bool]:
        room = self._room
        assert room is not None

        async def job(tx: SqliteTx) -> bool:
            return room.keep(tx.connection)

        return self.writer.submit(job, heavy=True)

    def _refilled(self, kept: asyncio.Future[bool]) -> None:
        self._refilling = False
        if not kept.cancelled() and kept.exception() is None and self._room is not None:
            self.writer.full = self._room.short

    def _before_commit(self, connection: apsw.Connection) -> None:
        if self._room is not None:
            self._room.before_commit(connection, full=self.writer.full)

    def _look_whether_short(self) -> None:
        """Regard the disk as full when there is no room ahead, before it refuses a write."""
        if self._room is not None and self._room.short and not self.writer.full:
            self.writer.full = True
            self._full()

    def _full(self) -> None:
        """Restart the log and free the reserved pages, between two commits."""
        if self._room is None:
            return
        self._empty_log(self._connection)
        try:
            with self._connection:
                self._room.give_up(self._connection)
        except apsw.FullError:
            _log.warning("the disk is full, and the pages that are kept for stops could not be freed")

    def _written(self, connection: apsw.Connection, database: str, pages: int) -> int:
        """Reserve room after a commit, in the thread that made it."""
        self._log_pages = pages
        if self._room is not None:
            self._room.after_commit(connection, pages, full=self.writer.full)
        if self.writer.full and pages >= CHECKPOINT_PAGES_FULL:
            self._empty_log(connection)
        return apsw.SQLITE_OK

    def _tend_log(self) -> None:
        assert self._checkpointer is not None
        pages = self._log_pages
        if pages >= CHECKPOINT_PAGES_BUSY or (pages >= self._checkpoint_pages and self.writer.waiting == 0):
            self._checkpointer.ask()

    def _empty_log(self, connection: apsw.Connection) -> None:
        """Move the whole log into the database on a full disk, so that SQLite writes it from its start again.

        Otherwise a few hundred terminations would use the reserve for the log. The writing connection does it between
        two commits, because a checkpoint beside commits may never catch up.
        """
        if self._room is not None and self._room.covered(connection):
            error = checkpoint(connection)
            if error is not None:
                raise error


async def _nothing(tx: SqliteTx) -> None:
    """A job without changes, for a commit that is needed for its hooks."""
