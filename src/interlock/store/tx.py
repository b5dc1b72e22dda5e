"""The port of a transaction: each job of the store is written once against it, and each database has an adapter.

A job is `async def job(tx)`. A database in this process runs it to its end without a turn of the event loop; a database
behind a connection suspends it at each statement. So a job awaits its transaction and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeVar

from interlock.store.rows import Row
from interlock.store.rowset import RowSet, Values

T = TypeVar("T")


TenantIds = Callable[[], Awaitable[Sequence[int]]]
"""Reads the ids of all tenants."""


class GuardFailed(AssertionError):
    """A row was not where the same transaction had read it: another writer exists. A defect."""


class JobSuspended(AssertionError):
    """A job awaited something besides its transaction: a defect, and nothing of the job is committed."""


class Queries(Protocol):
    """Named statements that read; the parameters of each are given by name."""

    async def one(self, name: str, /, **values: Any) -> Row | None:
        """Return the first row; None if there is none."""
        ...

    async def only(self, name: str, /, **values: Any) -> Row:
        """Return the row of a statement that always has one, such as a count.

        Raises:
            LookupError: there is none.
        """
        ...

    async def all(self, name: str, /, **values: Any) -> list[Row]:
        """Return every row."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[None]:
        """Show every statement within the data as one commit has left them."""
        ...


class Tx(Queries, Protocol):
    """A transaction. It reads what it has written itself, and ends with the job that it was given to."""

    @property
    def rows_written(self) -> int:
        """A number that every written row raises; only differences mean something."""
        ...

    async def run(self, name: str, /, **values: Any) -> int:
        """Run a statement that writes.

        Returns:
            How many rows it has written.
        """
        ...

    async def many(self, name: str, columns: tuple[str, ...], rows: Sequence[Values]) -> None:
        """Run a statement that writes, once for each row.

        Args:
            name: of the statement.
            columns: the parameters of the statement, in the order of the values.
            rows: the values.
        """
        ...

    async def write(self, rows: RowSet) -> None:
        """Write rows in their order.

        Raises:
            GuardFailed: a guarded change has found no row.
        """
        ...


Job = Callable[[Tx], Coroutine[Any, Any, T]]

_PASSED_ON: Final = (asyncio.CancelledError, GeneratorExit)
"""Exceptions that `except Exception` lets through: raised by a job, one would end the thread of the writer, or leave
its transaction open, and every later caller would wait."""


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end without a turn of the event loop.

    Raises:
        JobSuspended: it awaits something that is not ready, or is cancelled.
    """
    try:
        work.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    except _PASSED_ON as error:
        raise JobSuspended("a job awaited something that was cancelled") from error
    try:
        work.close()
    except asyncio.CancelledError as error:
        raise JobSuspended("a job awaited something that was cancelled, when it was closed") from error
    except RuntimeError as error:
        raise JobSuspended("a job awaited something besides its transaction, and again when it was closed") from error
    raise JobSuspended("a job awaited something besides its transaction")
