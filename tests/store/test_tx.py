"""The port of a transaction: jobs run to their end, suspended jobs are refused, and statements are known."""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from anyio.lowlevel import checkpoint

import interlock.store
from interlock.store.rowset import MOVE
from interlock.store.statements import Dialect, Statement, load, statements, subjects
from interlock.store.tx import JobSuspended, Tx, drive
from tests.store.stores import FORMS, World, named, opened_as, sqlite, world

pytestmark = pytest.mark.anyio

STORE: Final = Path(interlock.store.__file__).parent
SQL: Final = statements(Dialect.SQLITE)
ADAPTER: Final = frozenset(
    f"sqlite/{name}.py" for name in ("tx", "writer", "store", "connection", "disk", "room", "backup", "examination")
)
"""The modules that use the driver."""
VERBS: Final = frozenset({"one", "only", "all", "run"})


@pytest.fixture(params=FORMS, ids=named)
async def here(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with opened_as(request.param, tmp_path) as store:
        yield await world(store)


async def write(tx: Tx, value: bytes) -> None:
    await tx.run("clock_keep", name="note", value=value)


async def read(tx: Tx) -> bytes | None:
    found = await tx.one("clock_kept", name="note")
    return None if found is None else bytes(found[0])


# --- the contract -----------------------------------------------------------------------------------------------------


async def test_transaction_reads_what_it_has_written(here: World) -> None:
    async def job(tx: Tx) -> tuple[object, ...]:
        before = tx.rows_written
        await write(tx, b"a")
        rows = await tx.all("clock_kept", name="note")
        (value,) = await tx.only("clock_kept", name="note")
        return await read(tx), rows, value, tx.rows_written - before

    assert await sqlite(here.store).writer.submit(job) == (b"a", [(b"a",)], b"a", 1)


async def test_run_returns_how_many_rows_it_has_written(here: World) -> None:
    async def job(tx: Tx) -> list[int]:
        counts = [await tx.run("clock_drop", name="note")]
        await write(tx, b"a")
        return [*counts, await tx.run("clock_drop", name="note")]

    assert await sqlite(here.store).writer.submit(job) == [0, 1]


async def test_only_refuses_a_statement_without_a_row(here: World) -> None:
    async def job(tx: Tx) -> None:
        await tx.only("clock_kept", name="note")

    with pytest.raises(LookupError, match="clock_kept has returned no row"):
        await sqlite(here.store).writer.submit(job)


async def test_many_takes_the_columns_in_any_order(here: World) -> None:
    async def job(tx: Tx) -> list[tuple[Any, ...]]:
        await tx.many("planned_put", ("execution", "plan", "tenant"), [(2, "p", 1), (1, "p", 1)])
        return await tx.all("planned_next", tenant=1, plan="p", limit=9)

    assert await sqlite(here.store).writer.submit(job) == [(1,), (2,)]


@pytest.mark.parametrize("given", [{}, {"nom": "note"}], ids=["missing", "misspelled"])
async def test_missing_parameter_fails_the_job(here: World, given: dict[str, str]) -> None:
    async def job(tx: Tx) -> None:
        await write(tx, b"a")
        await tx.one("clock_kept", **given)

    with pytest.raises(KeyError):
        await sqlite(here.store).writer.submit(job)
    assert await sqlite(here.store).writer.submit(read) is None


# --- jobs that suspend ------------------------------------------------------------------------------------------------


class Turn:
    """An awaitable that suspends once, without an event loop."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def takes_a_turn() -> None:
    await Turn()


async def waits_for_a_future() -> None:
    await asyncio.Future(loop=_LOOP[0])


async def waits_for_what_was_cancelled() -> None:
    future: asyncio.Future[None] = asyncio.Future(loop=_LOOP[0])
    future.cancel()
    await future


async def waits_again_when_it_is_closed() -> None:
    try:
        await Turn()
    finally:
        await Turn()


async def is_cancelled_when_it_is_closed() -> None:
    try:
        await Turn()
    finally:
        await waits_for_what_was_cancelled()


async def raises_a_cancellation() -> None:
    raise asyncio.CancelledError


async def raises_the_exit_of_a_generator() -> None:
    raise GeneratorExit


async def swallows_its_end() -> None:
    with suppress(GeneratorExit):
        await Turn()


_LOOP: list[asyncio.AbstractEventLoop] = []
SUSPENSIONS: Final = [
    takes_a_turn,
    waits_for_a_future,
    waits_for_what_was_cancelled,
    waits_again_when_it_is_closed,
    is_cancelled_when_it_is_closed,
    raises_a_cancellation,
    raises_the_exit_of_a_generator,
    swallows_its_end,
]


@pytest.mark.parametrize("heavy", [False, True], ids=["light", "heavy"])
@pytest.mark.parametrize("suspends", SUSPENSIONS, ids=lambda suspends: str(suspends.__name__))
async def test_job_that_suspends_fails_alone_and_is_rolled_back(
    here: World, suspends: Callable[[], Awaitable[None]], heavy: bool
) -> None:
    _LOOP[:] = [asyncio.get_running_loop()]
    writer = sqlite(here.store).writer

    async def suspended(tx: Tx) -> None:
        await write(tx, b"half")
        await suspends()
        await write(tx, b"whole")

    async def kept(tx: Tx) -> bytes | None:
        await tx.run("clock_keep", name="other", value=b"kept")
        return await read(tx)

    first, second, third = writer.submit(kept), writer.submit(suspended, heavy=heavy), writer.submit(kept)
    assert (await first, await third) == (None, None)
    with pytest.raises(JobSuspended):
        await second
    assert await writer.submit(read) is None


CANCELLED: Final = "a job awaited something that was cancelled"
SUSPENDED: Final = "a job awaited something besides its transaction"
REASONS: Final = {
    takes_a_turn: SUSPENDED,
    swallows_its_end: SUSPENDED,
    waits_again_when_it_is_closed: f"{SUSPENDED}, and again when it was closed",
    waits_for_what_was_cancelled: CANCELLED,
    raises_a_cancellation: CANCELLED,
    raises_the_exit_of_a_generator: CANCELLED,
    is_cancelled_when_it_is_closed: f"{CANCELLED}, when it was closed",
}


@pytest.mark.parametrize("suspends", REASONS, ids=lambda suspends: str(suspends.__name__))
async def test_job_that_suspends_is_told_what_is_wrong_with_it(
    suspends: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    _LOOP[:] = [asyncio.get_running_loop()]
    with pytest.raises(JobSuspended) as refused:
        drive(suspends())
    assert str(refused.value) == REASONS[suspends]


async def test_job_that_suspends_is_closed_before_its_caller_is_told() -> None:
    closed: list[bool] = []

    async def job() -> None:
        try:
            await Turn()
        finally:
            closed.append(True)

    with pytest.raises(JobSuspended):
        drive(suspended := job())
    assert closed == [True]
    assert inspect.getcoroutinestate(suspended) == inspect.CORO_CLOSED


async def test_transaction_that_is_kept_after_its_job_refuses_statements(here: World) -> None:
    kept: list[Tx] = []

    async def job(tx: Tx) -> None:
        kept.append(tx)

    await sqlite(here.store).writer.submit(job)
    for use in (
        kept[0].one("clock_kept", name="note"),
        kept[0].run("clock_drop", name="note"),
        kept[0].write([(MOVE, (0,) * len(MOVE.columns))]),
    ):
        with pytest.raises(RuntimeError, match="the transaction has ended"):
            await use
    # The rest would need the connection, which such a job has no more.
    with pytest.raises(AttributeError):
        await kept[0].many("planned_put", ("execution", "plan", "tenant"), [(1, "p", 1)])
    assert not hasattr(kept[0], "rows_written")


async def test_cancelled_caller_does_not_cancel_its_job(here: World) -> None:
    writer = sqlite(here.store).writer
    told: list[bytes] = []

    async def job(tx: Tx) -> bytes:
        await write(tx, b"a")
        return b"a"

    def committed(result: bytes) -> bool:
        told.append(result)
        return False

    async def caller() -> None:
        await writer.submit(job, committed=committed)

    task = asyncio.create_task(caller())
    await checkpoint()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await writer.settle()
    assert told == [b"a"]
    assert await writer.submit(read) == b"a"


async def test_whole_group_of_jobs_is_one_commit(here: World) -> None:
    writer = sqlite(here.store).writer
    before = here.store.counters().commits
    await asyncio.gather(*[writer.submit(read) for _ in range(20)])
    assert here.store.counters().commits == before + 1


# --- how the store uses it --------------------------------------------------------------------------------------------


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Yield each call of a named statement in the store: the file, the name of the statement, and the call."""
    for path in sorted(STORE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in VERBS
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and isinstance(node.args[0].value, str)
            ):
                yield f"{path.relative_to(STORE)}:{node.lineno}", node.args[0].value, node


def test_each_call_gives_its_statement_exactly_its_parameters() -> None:
    checked = 0
    for place, name, call in calls():
        assert name in SQL, f"{place}: there is no statement {name}"
        given = [keyword.arg for keyword in call.keywords]
        if None not in given:
            assert sorted(map(str, given)) == sorted(SQL[name].parameters), f"{place}: {name}"
            checked += 1
    assert checked > 100


def test_call_that_reads_names_a_statement_that_reads() -> None:
    for place, name, call in calls():
        assert isinstance(call.func, ast.Attribute)
        reads = SQL[name].lstrip().upper().startswith(("SELECT", "WITH RECURSIVE RUN_OF", "WITH RECURSIVE ABOVE"))
        assert reads == (call.func.attr != "run"), f"{place}: {name}"


def test_only_the_adapter_knows_the_driver() -> None:
    found = {
        str(path.relative_to(STORE))
        for path in STORE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(alias.name == "apsw" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "apsw")
    }
    assert found == ADAPTER


def test_no_two_subjects_have_a_statement_of_the_same_name() -> None:
    assert len(SQL) == sum(len(load(subject, Dialect.SQLITE)) for subject in subjects(Dialect.SQLITE))


def test_statement_takes_its_values_by_name_whatever_their_number() -> None:
    for text, values in (("SELECT 1", ()), ("SELECT :a", (1,)), ("SELECT :b, :a, :b", (2, 1))):
        assert Statement.of("x", text, Dialect.SQLITE).values({"a": 1, "b": 2, "c": 3}) == values
