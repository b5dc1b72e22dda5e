"""Virtual time, and processes that die in it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextvars import copy_context
from dataclasses import dataclass
from warnings import catch_warnings, simplefilter

import pytest

from simulation.loop import PROCESS, NothingEver, SimulatedLoop


@dataclass
class Process:
    dead: bool = False


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    made = SimulatedLoop()
    yield made
    made.close()


async def passed(loop: SimulatedLoop, seconds: float) -> None:
    future = loop.create_future()
    loop.call_later(seconds, future.set_result, None)
    await future


def test_time_passes_only_when_nothing_is_left_to_do(loop: SimulatedLoop) -> None:
    seen = []

    async def two_days() -> None:
        seen.append(loop.microseconds)
        await passed(loop, 2 * 86_400)
        seen.append(loop.microseconds)

    loop.run_until_complete(two_days())
    assert seen == [0, 2 * 86_400 * 1_000_000]


def test_nothing_of_a_dead_process_runs_not_even_its_end(loop: SimulatedLoop) -> None:
    process, done, tasks = Process(), [], []

    async def work() -> None:
        try:
            await passed(loop, 1)
            done.append("woken")
        finally:
            done.append("cleaned up")

    async def live() -> None:
        context = copy_context()
        context.run(PROCESS.set, process)
        tasks.append(loop.create_task(work(), context=context))
        await passed(loop, 0.5)
        process.dead = True
        tasks[0].cancel()
        await passed(loop, 5)

    loop.run_until_complete(live())
    assert done == []


def test_waiting_for_an_event_that_cannot_come_fails(loop: SimulatedLoop) -> None:
    async def forever() -> None:
        await loop.create_future()

    with pytest.raises(NothingEver):
        loop.run_until_complete(forever())


def test_coroutine_that_a_dead_process_never_began_leaves_no_warning() -> None:
    loop, process = SimulatedLoop(), Process()
    began = []

    async def work() -> None:
        began.append(True)

    async def live() -> None:
        context = copy_context()
        context.run(PROCESS.set, process)
        loop.create_task(work(), context=context)
        process.dead = True
        await passed(loop, 1)

    loop.run_until_complete(live())
    with catch_warnings(record=True) as warned:
        simplefilter("always")
        loop.close()
        gc.collect()
    assert (began, [str(warning.message) for warning in warned]) == ([], [])
