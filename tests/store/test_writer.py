"""The writer: groups, their order, and failures of a job or of the disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from anyio.lowlevel import checkpoint

from interlock.errors import CommitUnknown, Fatal, NotFound, Unavailable
from interlock.rules.states import IllegalMove
from interlock.store.sqlite.tx import SqliteTx
from interlock.store.sqlite.writer import GROUP, Form, Writer

pytestmark = pytest.mark.anyio


@pytest.fixture(params=list(Form))
def form(request: pytest.FixtureRequest) -> Form:
    found: Form = request.param
    return found


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(tmp_path / "db"))
    connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    yield connection
    connection.close()


def note(text: str) -> Callable[[SqliteTx], Coroutine[Any, Any, str]]:
    async def job(tx: SqliteTx) -> str:
        tx.connection.execute("INSERT INTO notes (text) VALUES (?)", (text,))
        return text

    return job


def notes(connection: apsw.Connection) -> list[Any]:
    return [row[0] for row in connection.execute("SELECT text FROM notes ORDER BY id")]


async def test_jobs_submitted_together_share_one_commit(connection: apsw.Connection, form: Form) -> None:
    writer = Writer(connection, form)
    assert await asyncio.gather(*[writer.submit(note(str(n))) for n in range(10)]) == [str(n) for n in range(10)]
    assert writer.commits == 1
    await writer.close()
    assert len(notes(connection)) == 10


async def test_a_group_is_never_larger_than_its_limit(connection: apsw.Connection, form: Form) -> None:
    writer = Writer(connection, form)
    await asyncio.gather(*[writer.submit(note("x")) for _ in range(GROUP + 1)])
    assert writer.commits == 2
    await writer.close()


async def test_urgent_jobs_go_before_all_others(connection: apsw.Connection, form: Form) -> None:
    writer = Writer(connection, form)
    submitted = [writer.submit(note("first come"))]
    submitted.append(writer.submit(note("urgent"), urgent=True))
    await asyncio.gather(*submitted)
    assert notes(connection) == ["urgent", "first come"]
    await writer.close()


async def test_barrier_parts_what_came_before_from_what_comes_later(connection: apsw.Connection, form: Form) -> None:
    writer = Writer(connection, form)
    # One group is in progress, or about to begin, when the barrier is submitted.
    submitted = [writer.submit(note("first"))]
    await checkpoint()
    submitted += [writer.submit(note("heavy"), heavy=True), writer.submit(note("light"))]
    submitted += [writer.submit(note("urgent"), urgent=True), writer.submit(note("BARRIER"), heavy=True, barrier=True)]
    submitted += [writer.submit(note("later")), writer.submit(note("later urgent"), urgent=True)]
    assert writer.waiting >= 6
    await asyncio.gather(*submitted)
    found = notes(connection)
    middle = found.index("BARRIER")
    assert set(found[:middle]) == {"first", "heavy", "light", "urgent"}
    assert found[middle + 1 :] == ["later urgent", "later"]
    await writer.close()


async def test_other_jobs_have_a_turn_between_two_pieces_of_set_based_work(
    connection: apsw.Connection, form: Form
) -> None:
    writer, ordinary = Writer(connection, form), []

    async def order() -> None:
        for number in range(3):
            if number == 1:
                ordinary.append(writer.submit(note("result")))
            await writer.submit(note(f"batch {number}"), urgent=True, heavy=True)

    await order()
    await asyncio.gather(*ordinary)
    assert notes(connection) == ["batch 0", "result", "batch 1", "batch 2"]
    await writer.close()


@pytest.mark.parametrize("defect", [AssertionError, AttributeError, IllegalMove])
@pytest.mark.parametrize("heavy", [False, True], ids=["light", "heavy"])
async def test_a_defect_in_one_job_fails_its_caller_alone(
    connection: apsw.Connection, form: Form, defect: type[Exception], heavy: bool
) -> None:
    writer = Writer(connection, form)

    async def broken(tx: SqliteTx) -> None:
        tx.connection.execute("INSERT INTO notes (text) VALUES ('half')")
        raise defect

    jobs: list[asyncio.Future[Any]] = [writer.submit(note("before"))]
    jobs += [writer.submit(broken, heavy=heavy), writer.submit(note("after"))]
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*jobs, return_exceptions=True)
        assert [type(answer) for answer in answers] == [str, defect, str]
        await writer.close()
    assert notes(connection) == ["before", "after"]


async def test_failing_job_leaves_the_other_jobs_of_its_group(connection: apsw.Connection, form: Form) -> None:
    writer = Writer(connection, form)

    async def failing(tx: SqliteTx) -> None:
        tx.connection.execute("INSERT INTO notes (text) VALUES ('half')")
        raise NotFound

    results = await asyncio.gather(
        writer.submit(note("before")), writer.submit(failing), writer.submit(note("after")), return_exceptions=True
    )
    assert [type(result) for result in results] == [str, NotFound, str]
    assert notes(connection) == ["before", "after"]
    await writer.close()


async def test_after_a_commit_hooks_come_first_then_announcing_callers_then_the_rest(
    connection: apsw.Connection, form: Form
) -> None:
    order: list[str] = []

    async def caller(writer: Writer, text: str, announces: bool) -> None:
        def committed(result: str) -> bool:
            order.append(f"hook {result}")
            return announces

        await writer.submit(note(text), committed=committed)
        order.append(f"answer {text}")

    writer = Writer(connection, form)
    await asyncio.gather(caller(writer, "a", False), caller(writer, "b", True))
    assert order == ["hook a", "hook b", "answer b", "answer a"]
    await writer.close()


@pytest.mark.parametrize("heavy", [False, True], ids=["light", "heavy"])
async def test_defect_after_the_commit_is_logged_and_no_caller_is_left_waiting(
    connection: apsw.Connection, form: Form, heavy: bool, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer(connection, form)
    told: list[str] = []

    def broken(result: str) -> bool:
        raise ZeroDivisionError

    def heard(result: str) -> bool:
        told.append(result)
        return True

    jobs = [writer.submit(note("before"))]
    jobs += [
        writer.submit(note("broken"), heavy=heavy, committed=broken),
        writer.submit(note("after"), committed=heard),
    ]
    with caplog.at_level(logging.ERROR, "interlock"):
        async with asyncio.timeout(30):
            assert await asyncio.gather(*jobs) == ["before", "broken", "after"]
            await writer.close()
    assert told == ["after"]
    assert notes(connection) == ["before", "broken", "after"]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


async def test_a_heavy_job_has_a_commit_of_its_own(connection: apsw.Connection, form: Form) -> None:
    writer = Writer(connection, form)
    await asyncio.gather(writer.submit(note("a")), writer.submit(note("heavy"), heavy=True), writer.submit(note("b")))
    assert writer.commits == 3
    await writer.close()


async def test_what_was_submitted_before_closing_is_finished_and_nothing_after(
    connection: apsw.Connection, form: Form
) -> None:
    writer = Writer(connection, form)
    pending = writer.submit(note("in time"))
    await writer.close()
    assert await pending == "in time"
    with pytest.raises(Unavailable):
        await writer.submit(note("too late"))


async def test_on_a_full_disk_the_reserve_is_released_and_the_group_runs_again(
    connection: apsw.Connection, form: Form
) -> None:
    released: list[bool] = []
    writer = Writer(connection, form, on_full=lambda: released.append(True))
    tries: list[bool] = []

    async def refused_once(tx: SqliteTx) -> str:
        tries.append(writer.full)
        if not writer.full:
            raise apsw.FullError
        return await note("kept")(tx)

    assert await writer.submit(refused_once) == "kept"
    assert (tries, released) == ([False, True], [True])
    await writer.close()


async def test_failure_of_other_work_on_the_files_ends_acknowledgements(
    connection: apsw.Connection, form: Form
) -> None:
    told: list[Fatal] = []
    writer = Writer(connection, form, on_fatal=told.append)
    await writer.submit(note("a"))
    writer.distrust(apsw.IOError())
    writer.distrust(apsw.IOError())
    with pytest.raises(Unavailable):
        await writer.submit(note("b"))
    assert len(told) == 1


async def test_after_an_io_error_nothing_is_acknowledged_any_more(connection: apsw.Connection, form: Form) -> None:
    told: list[Fatal] = []
    writer = Writer(connection, form, on_fatal=told.append)

    async def failing(tx: SqliteTx) -> None:
        raise apsw.IOError

    results = await asyncio.gather(writer.submit(note("a")), writer.submit(failing), return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable, Unavailable]
    with pytest.raises(Unavailable):
        await writer.submit(note("b"))
    assert len(told) == 1
    assert isinstance(told[0].__cause__, apsw.IOError)


class Failing:
    """A connection on which one kind of statement always fails."""

    def __init__(self, connection: apsw.Connection, statement: str) -> None:
        self._connection = connection
        self._statement = statement
        self.in_transaction = False

    def execute(self, sql: str, *bindings: tuple[str]) -> apsw.Cursor:
        if sql.startswith(self._statement):
            raise apsw.IOError("disk I/O error")
        return self._connection.execute(sql, *bindings)


@pytest.mark.parametrize(("statement", "known"), [("COMMIT", False), ("INSERT", True), ("BEGIN", True)])
async def test_what_became_of_a_commit_that_failed_is_not_said_to_be_known(
    connection: apsw.Connection, form: Form, statement: str, known: bool
) -> None:
    failing: Any = Failing(connection, statement)
    writer = Writer(failing, form)

    async def job(tx: SqliteTx) -> None:
        failing.execute("INSERT INTO notes (text) VALUES ('a')")

    first, second = writer.submit(job, heavy=True), writer.submit(note("b"))
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    # The jobs after this group had no COMMIT.
    assert [type(outcome) for outcome in outcomes] == [Unavailable if known else CommitUnknown, Unavailable]
