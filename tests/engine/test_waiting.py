"""Waiting for an event or a time, and the places that start background work."""

from __future__ import annotations

import ast
import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

import interlock
from interlock.engine.waiting import set_by, wait_for
from tests.clocks import SECOND, ManualClock, settle

pytestmark = pytest.mark.anyio

SOURCE = Path(interlock.__file__).parent
STARTS_TASKS = {
    "api/app.py": 4,  # an answer or a piece of a stream, against the caller's disconnection
    "api/lanes.py": 1,  # a permit, against the caller's disconnection
    "assembly/assemble.py": 1,  # every background job, under the supervisor
    "cli/serve.py": 2,  # the message classes once the port is open; the end in order
    "engine/dispatchers/embedded.py": 2,  # the turn of a run; what is done beside it, under the supervisor
    "engine/start.py": 1,  # the commit of a run, which goes on if the caller is cancelled
    "engine/waiting.py": 3,  # an event and a time; the time alone
    "expressions/pool.py": 1,  # the start of an evaluator process
    "net/http.py": 2,  # certificate authorities and names, each shared by the calls that wait for it
}
"""The number of places of a file that start a task, and their purpose. Lasting work is a supervised job."""


async def test_news_ends_the_wait_before_its_time() -> None:
    clock, event = ManualClock(), asyncio.Event()
    wait = asyncio.ensure_future(wait_for(event.wait, clock, clock.now() + SECOND))
    await settle()
    assert not wait.done()
    event.set()
    await settle()
    assert wait.done()
    await wait
    assert clock.sleeping == 0


async def test_time_ends_the_wait_without_news() -> None:
    clock, event = ManualClock(), asyncio.Event()
    wait = asyncio.ensure_future(wait_for(event.wait, clock, clock.now() + SECOND))
    await settle()
    clock.advance(1)
    await settle()
    assert wait.done()
    await wait


async def test_failure_of_the_news_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("no news")

    clock = ManualClock()
    with pytest.raises(ValueError, match="no news"):
        await wait_for(fail, clock, clock.now() + SECOND)


async def test_event_is_set_at_its_time_at_the_latest() -> None:
    clock, event = ManualClock(), asyncio.Event()
    wait = asyncio.ensure_future(set_by(event, clock, clock.now() + SECOND))
    await clock.pass_time(1)
    await wait
    assert event.is_set()


@pytest.mark.parametrize("wait_for_event", [lambda event, *time: wait_for(event.wait, *time), set_by])
async def test_cancelled_wait_leaves_no_task(wait_for_event: Callable[..., Coroutine[object, object, None]]) -> None:
    clock, event = ManualClock(), asyncio.Event()
    before = asyncio.all_tasks()
    wait = asyncio.ensure_future(wait_for_event(event, clock, clock.now() + SECOND))
    await settle()
    wait.cancel()
    await asyncio.gather(wait, return_exceptions=True)
    await settle()
    assert asyncio.all_tasks() == before


def test_tasks_begin_only_where_the_table_says() -> None:
    found = Counter(path for path, name in calls() if name in {"create_task", "ensure_future"})
    assert found == STARTS_TASKS


def test_only_one_module_of_the_engine_waits_for_the_first_of_two() -> None:
    waiting = {path for path, name in calls() if name in {"wait", "wait_for"} and path.startswith("engine/")}
    users = {path for path in waiting if "asyncio.wait" in (SOURCE / path).read_text(encoding="utf-8")}
    assert users == {"engine/waiting.py"}


def calls() -> Iterator[tuple[str, str]]:
    """Yield file and name of each call of a method or function in the source."""
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
                yield file.relative_to(SOURCE).as_posix(), name
