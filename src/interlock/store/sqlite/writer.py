"""The writer: the only writing connection, and commits in groups.

Jobs that arrive during a commit form the next group. The jobs of a group share one transaction and one COMMIT. If one
of them fails, the group is rolled back, and each of its jobs runs again in a transaction of its own. Savepoints would
have a cost for every group. So a job must return the same answer when it runs again, and may use only its transaction.

A job is a coroutine function (`store.tx`). The writer runs it to its end within the transaction, so a cancelled caller
does not cancel its job. A job that suspends is a defect: it fails alone, and nothing of it is committed.

Within a group terminations are first. After its commit the writer calls the `committed` hook of every job, so that
interrupts are delivered first; then it answers the callers that announced an attempt; then all other callers.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import apsw

from interlock.errors import CommitUnknown, Fatal, InterlockError, Unavailable
from interlock.store.sqlite.offload import Offload, ThreadOffload
from interlock.store.sqlite.tx import SqliteTx
from interlock.store.tx import drive

T = TypeVar("T")

GROUP = 256
"""Maximum number of jobs in one transaction."""

_log = logging.getLogger(__name__)


class Form(StrEnum):
    """Where statements and commits run."""

    COMMIT_IN_THREAD = "commit-in-thread"
    """Statements on the event loop, the COMMIT with its sync in a thread: the default, and the quickest."""
    THREAD = "thread"
    """Statements and COMMIT in a thread."""
    INLINE = "inline"
    """Statements and COMMIT on the event loop: for tests, and for a store in memory."""


@dataclass(slots=True)
class _Job:
    run: Callable[[SqliteTx], Coroutine[Any, Any, Any]]
    committed: Callable[[Any], bool] | None
    future: asyncio.Future[Any]
    heavy: bool
    result: Any = None


class Writer:
    """Runs jobs on the writing connection.

    Args:
        connection: The writing connection; only the writer may write with it.
        form: Where statements and commits run.
        offload: The thread, or its double where a schedule has to be replayed exactly.
        before_commit: Called in the transaction of a group after its jobs; an error of SQLite rolls the group back.
        on_full: Called when the disk refuses a write, before the group runs again.
        on_fatal: Called once with the error when the data on the disk can no longer be trusted; no job is acknowledged
            after that.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        form: Form = Form.COMMIT_IN_THREAD,
        *,
        offload: Offload | None = None,
        before_commit: Callable[[apsw.Connection], None] = lambda connection: None,
        on_full: Callable[[], None] = lambda: None,
        on_fatal: Callable[[Fatal], None] = lambda error: None,
    ) -> None:
        self._connection = connection
        self._form = form
        self._before_commit = before_commit
        self._on_full = on_full
        self._on_fatal = on_fatal
        self._urgent: deque[_Job] = deque()
        self._normal: deque[_Job] = deque()
        self._alone: deque[_Job] = deque()
        self._ahead: deque[_Job] = deque()
        """The jobs that were submitted before a barrier, and the barrier."""
        self._busy = False
        self._committing = False
        """Whether the last COMMIT has not returned, or has failed."""
        self._was_heavy = False
        """Whether the last group was set-based work."""
        self._scheduled = False
        self._closing = False
        self._failed: Fatal | None = None
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()
        self._offload = offload if offload is not None else ThreadOffload("interlock-writer")
        self._loop: asyncio.AbstractEventLoop | None = None
        self.full = False
        """Whether the disk refused a write: jobs that start something new have to refuse or pause it."""
        self.commits = 0
        self._hooks: tuple[Callable[[], None], ...] = ()

    def submit(
        self,
        job: Callable[[SqliteTx], Coroutine[Any, Any, T]],
        *,
        urgent: bool = False,
        heavy: bool = False,
        barrier: bool = False,
        committed: Callable[[T], bool] | None = None,
    ) -> asyncio.Future[T]:
        """Run the job in the next group; the future has its answer once the commit is on the disk.

        Args:
            job: The job.
            urgent: Whether it runs before all jobs that are not urgent (terminations).
            heavy: Whether it is set-based work, which runs alone in the thread, so that the loop continues.
            barrier: Whether it runs after all jobs that were submitted before it, and before all later ones, urgent or
                not.
            committed: Called right after the commit; returns whether the answer announces an attempt. Its errors are
                logged: the work is on the disk, and the caller has its answer.

        The future fails with `Unavailable` if nothing of the job was committed, with `CommitUnknown` if the COMMIT
        failed so that it is unknown whether it was made, or with the error that the job raised.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._failed is not None or self._closing:
            future.set_exception(Unavailable("the store is closed"))
            return future
        added = _Job(job, committed, future, heavy)
        if barrier:
            self._ahead.extend((*self._urgent, *self._normal, added))
            self._urgent.clear()
            self._normal.clear()
        else:
            (self._urgent if urgent else self._normal).append(added)
        if not self._busy and not self._scheduled:
            # Deferred by one turn of the loop, so that all jobs that are submitted in this turn share one commit.
            self._scheduled = True
            self._idle.clear()
            loop.call_soon(self._pump)
        return future

    def require_room(self) -> None:
        """Check that the disk has room, in a job whose data no run needs in order to be terminated or to end.

        Raises:
            Unavailable: The disk is full.
        """
        if self.full:
            raise Unavailable("the disk is full: runs can be stopped, and nothing can be added", retry_after=30)

    def distrust(self, error: apsw.Error) -> None:
        """Acknowledge nothing from now on, because other work on the files failed. Call it on the loop."""
        self._fail([], error, committing=False)

    def after_commit(self, hook: Callable[[], None]) -> None:
        """Call a function on the loop after each commit, when its callers have their answers."""
        self._hooks += (hook,)

    @property
    def waiting(self) -> int:
        """The number of jobs that wait for their group."""
        return sum(map(len, (self._alone, self._ahead, self._urgent, self._normal)))

    async def settle(self) -> None:
        """Return once no job waits and no commit is in progress."""
        await self._idle.wait()

    async def close(self) -> None:
        """Finish the submitted jobs, accept no more, and end the thread."""
        self._closing = True
        await self.settle()
        self._offload.close()

    # --- groups ---------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        self._scheduled = False
        if self._busy:
            return
        group = self._next_group()
        if not group:
            self._idle.set()
            return
        if self._form is Form.INLINE:
            self._finish(group, self._transact(group))
        elif self._form is Form.THREAD or group[0].heavy:
            self._busy = True
            self._elsewhere(group, lambda: self._transact(group))
        else:
            error = self._execute(group)
            if error is not None:
                self._finish(group, error)
            else:
                self._busy = True
                self._elsewhere(group, self._commit)

    def _elsewhere(self, group: list[_Job], work: Callable[[], BaseException | None]) -> None:
        self._offload.run(work, lambda error: self._finish(group, error))

    def _next_group(self) -> list[_Job]:
        if self._alone:
            return [self._alone.popleft()]
        group: list[_Job] = []
        lines = (self._ahead,) if self._ahead else (self._urgent, self._normal)
        if self._was_heavy and not self._ahead:
            self._was_heavy = False
            # Between two pieces of set-based work, all other jobs have a turn.
            for line in (self._urgent, self._normal):
                group += _take_light(line, GROUP - len(group))
            if group:
                return group
        for line in lines:
            while line and len(group) < GROUP:
                if line[0].heavy:
                    if not group:
                        group.append(line.popleft())
                        self._was_heavy = True
                    return group
                group.append(line.popleft())
        return group

    def _execute(self, group: list[_Job]) -> BaseException | None:
        tx = SqliteTx(self._connection)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            drive(_run_all(group, tx))
        except Exception as error:  # noqa: BLE001 - a defect met by one job must leave neither its caller nor others waiting
            return error
        finally:
            tx.end()
        return None

    def _commit(self) -> BaseException | None:
        try:
            self._before_commit(self._connection)
            self._committing = True
            self._connection.execute("COMMIT")
            self._committing = False
        except apsw.Error as error:
            return error
        return None

    def _transact(self, group: list[_Job]) -> BaseException | None:
        return self._execute(group) or self._commit()

    def _finish(self, group: list[_Job], error: BaseException | None) -> None:
        """Finish a group on the loop, after the commit or its failure."""
        self._busy = False
        if error is None:
            self.commits += 1
            self._answer(group)
            for hook in self._hooks:
                hook()
        else:
            self._failed_group(group, error)
        if self._failed is None and (self._urgent or self._normal or self._ahead or self._alone):
            if not self._scheduled:
                self._scheduled = True
                assert self._loop is not None
                self._loop.call_soon(self._pump)
        else:
            self._idle.set()

    def _answer(self, group: list[_Job]) -> None:
        first: list[_Job] = []
        rest: list[_Job] = []
        for job in group:
            (first if _told(job) else rest).append(job)
        for line in (first, rest):
            for job in line:
                if not job.future.done():
                    job.future.set_result(job.result)

    def _failed_group(self, group: list[_Job], error: BaseException) -> None:
        committing, self._committing = self._committing, False
        if isinstance(error, _UNTRUSTED):
            self._fail(group, error, committing=committing)
            return
        self._rollback()
        if isinstance(error, apsw.FullError) and not self.full:
            self.full = True
            self._on_full()
            self._alone.extendleft(reversed(group))
        elif len(group) > 1:
            self._alone.extendleft(reversed(group))
        else:
            if isinstance(error, apsw.FullError):
                error = Unavailable("the disk is full", retry_after=30)
            elif isinstance(error, apsw.Error):
                # A statement that SQLite refuses is a defect of this program. No error of the driver leaves the store.
                error = InterlockError(f"the store refused a statement: {error}")
            if not group[0].future.done():
                group[0].future.set_exception(error)

    def _rollback(self) -> None:
        # After some errors SQLite has rolled the transaction back itself.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _fail(self, group: list[_Job], error: BaseException, *, committing: bool) -> None:
        failed = Fatal(f"the store failed: {_named(error)}; restart to recover from what is on disk")
        known, self._failed = self._failed, failed
        self._failed.__cause__ = error
        for job in (*group, *self._alone, *self._ahead, *self._urgent, *self._normal):
            if not job.future.done():
                # Nothing of a job without a COMMIT can be on the disk.
                unknown = committing and any(job is each for each in group)
                job.future.set_exception(CommitUnknown() if unknown else Unavailable("the store failed"))
        for line in (self._alone, self._ahead, self._urgent, self._normal):
            line.clear()
        if known is None:
            self._on_fatal(self._failed)


def _named(error: BaseException) -> str:
    """Return the message of an error with the code of SQLite, which names the operation that failed."""
    name = apsw.mapping_extended_result_codes.get(getattr(error, "extendedresult", 0))
    return f"{error} ({name})" if name else str(error)


async def _run_all(group: list[_Job], tx: SqliteTx) -> None:
    # One coroutine for the group: a job costs one await, and not a `send` of its own.
    for job in group:
        job.result = await job.run(tx)


def _told(job: _Job) -> bool:
    """Call the hook of a job; return whether its answer announces an attempt."""
    if job.committed is None:
        return False
    try:
        return job.committed(job.result)
    except Exception:  # noqa: BLE001 - the last line: the work is on disk, and its callers wait for the answer
        _log.exception("post-commit hook failed")
        return False


def _take_light(line: deque[_Job], most: int) -> list[_Job]:
    """Take the jobs that are not set-based work out of the queue, in its order."""
    taken = [job for job in line if not job.heavy][:most]
    for job in taken:
        line.remove(job)
    return taken


_UNTRUSTED = (apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError, apsw.ReadOnlyError)
"""After one of these errors nothing is acknowledged: a failed sync cannot be repeated, only recovered from."""
