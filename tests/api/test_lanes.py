"""Permits under load: stops are served, work and reads wait or are refused, and a caller that left keeps no place."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from interlock.api.app import LARGE_BODY_BYTES
from interlock.api.lanes import (
    LATE_MICROSECONDS,
    MAX_WAITING_REQUESTS,
    READING_PERMITS,
    STALLED_MICROSECONDS,
    WORK_PERMITS,
    Buffer,
    Permits,
)
from interlock.errors import TooManyRequests, Unavailable
from interlock.operations.operation import Answer, Call, Lane, NoContent
from interlock.operations.services import Services
from interlock.operations.table import OPERATIONS
from simulation.asgi import Caller
from tests.api.app_client import AppClient, app_client
from tests.clocks import ManualClock, Turns, expect_apart, settle
from tests.operations.operations_client import WAIT

pytestmark = pytest.mark.anyio


def permits(clock: ManualClock, count: int = 1) -> Permits:
    return Permits(count, clock.now, lambda: TooManyRequests("full"))


async def test_permits_are_given_in_the_order_of_arrival() -> None:
    lane, order = permits(ManualClock()), list[int]()

    async def use(number: int) -> None:
        await lane.acquire(Caller([]).receive)
        order.append(number)

    tasks = [asyncio.ensure_future(use(number)) for number in range(3)]
    for seen in ([0], [0, 1], [0, 1, 2]):
        await settle()
        assert order == seen
        lane.release()
    await asyncio.gather(*tasks)
    assert lane.waiting == 0


async def test_who_leaves_gives_up_its_place() -> None:
    lane, caller = permits(ManualClock()), Caller([])
    await lane.acquire(caller.receive)
    waiting = asyncio.ensure_future(lane.acquire(caller.receive))
    await settle()
    assert lane.waiting == 1
    caller.gone.set()
    with pytest.raises(BaseException):  # noqa: B017  # whichever way it learns: it has no place any more
        await waiting
    assert lane.waiting == 0
    lane.release()
    await lane.acquire(Caller([]).receive)


async def test_newcomers_are_turned_away_once_the_oldest_has_waited_too_long() -> None:
    clock = ManualClock()
    lane = permits(clock)
    await lane.acquire(Caller([]).receive)
    waiting = asyncio.ensure_future(lane.acquire(Caller([]).receive))
    await settle()
    lane.check()
    clock.advance(LATE_MICROSECONDS / 1_000_000 + 0.001)
    with pytest.raises(TooManyRequests):
        lane.check()
    assert lane.shed == 1
    lane.release()
    await waiting
    lane.check()


def late(clock: ManualClock) -> None:
    clock.advance((LATE_MICROSECONDS + 1) / 1_000_000)


async def queue(lane: Permits, count: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.ensure_future(lane.acquire(Caller([]).receive)) for _ in range(count)]
    await settle()
    return tasks


def refused(tasks: list[asyncio.Task[None]]) -> list[bool]:
    return [isinstance(task.exception(), TooManyRequests) for task in tasks if task.done()]


async def test_who_is_late_gives_way_and_is_turned_away_at_the_pace_at_which_others_are_let_in() -> None:
    clock = ManualClock()
    lane = Permits(1, clock.now, lambda: TooManyRequests("full"), refuse_after=STALLED_MICROSECONDS)
    await lane.acquire(Caller([]).receive)
    too_late = await queue(lane, 3)
    late(clock)
    in_time = await queue(lane, 2)
    for let_in in (1, 2):
        lane.release()
        await settle()
        assert refused(in_time) == [False] * let_in
        assert refused(too_late) == [True] * let_in
        assert lane.shed == let_in
    lane.release()
    await settle()
    assert refused(too_late) == [True, True, False]
    assert lane.waiting == 0


async def test_if_all_are_late_the_oldest_is_served_and_none_is_refused() -> None:
    clock = ManualClock()
    lane = permits(clock)
    await lane.acquire(Caller([]).receive)
    waiting = await queue(lane, 2)
    late(clock)
    lane.release()
    await settle()
    assert [task.done() for task in waiting] == [True, False]
    lane.release()
    await settle()
    assert refused(waiting) == [False, False]
    lane.release()
    await lane.acquire(Caller([]).receive)


async def test_newcomers_wait_while_work_goes_on_and_are_turned_away_when_it_stalls() -> None:
    clock = ManualClock()
    lane = Permits(1, clock.now, lambda: TooManyRequests("full"), refuse_after=STALLED_MICROSECONDS)
    await lane.acquire(Caller([]).receive)
    (waiting,) = await queue(lane, 1)
    late(clock)
    lane.check()
    clock.advance(STALLED_MICROSECONDS / 1_000_000)
    with pytest.raises(TooManyRequests):
        lane.check()
    lane.release()
    await waiting


async def test_a_permit_given_to_one_who_is_cancelled_goes_to_the_next() -> None:
    lane = permits(ManualClock())
    await lane.acquire(Caller([]).receive)
    first, second = await queue(lane, 2)
    lane.release()
    first.cancel()
    await settle()
    assert first.cancelled()
    assert second.done()
    assert lane.waiting == 0


async def test_no_more_than_so_many_wait() -> None:
    lane = permits(ManualClock())
    await lane.acquire(Caller([]).receive)
    waiting = [asyncio.ensure_future(lane.acquire(Caller([]).receive)) for _ in range(MAX_WAITING_REQUESTS)]
    await settle()
    with pytest.raises(TooManyRequests):
        lane.check()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert lane.waiting == 0


def test_the_memory_of_large_bodies_is_bounded() -> None:
    buffer = Buffer(100)
    buffer.take(60)
    with pytest.raises(Unavailable):
        buffer.take(41)
    buffer.release(60)
    buffer.take(100)


async def test_large_bodies_that_come_together_are_read_turns_apart() -> None:
    turns, at = Turns(), list[int]()

    async def note(services: Services, call: Call, body: object) -> Answer:
        at.append(turns.count)
        return Answer(NoContent())

    path = "/api/v1/automations/{id}/execute"
    rows = [replace(row, handler=note) if row.path == path else row for row in OPERATIONS]
    body = {"context": {"context": {"text": "a" * LARGE_BODY_BYTES}}}
    async with app_client(rows) as admin:
        with turns.counted():
            asked = [admin.ask("POST", path.format(id="some"), body) for _ in range(8)]
            answers = await asyncio.gather(*asked)
    assert [answer.status for answer in answers] == [204] * 8
    expect_apart(at)


async def the_stop_goes_past_the_readers(admin: AppClient) -> None:
    execution = await admin.operations_client.start(await admin.operations_client.make(WAIT))
    reading = admin.api._reading
    for _ in range(READING_PERMITS):
        await reading.acquire(Caller([]).receive)
    callers = [Caller([b""]) for _ in range(3)]
    readers = [asyncio.ensure_future(admin.ask("GET", "/api/v1/automations", caller=caller)) for caller in callers]
    await settle()
    assert reading.waiting == 3
    path = f"/api/v1/automation_executions/{execution}/actions/terminate"
    stopping = asyncio.ensure_future(admin.ask("POST", path))
    try:
        await settle()
        assert stopping.done()
        assert (await stopping).headers["interlock-termination"] == "accepted; state=TERMINATE"
        admin.operations_client.engine.clock.advance(1)
        refused = await admin.ask("GET", "/api/v1/automations")
        assert (refused.status, refused.tree["code"], refused.headers["retry-after"]) == (429, 8, "1")
    finally:
        for _ in range(READING_PERMITS):
            reading.release()
        await stopping
    assert [answer.status for answer in await asyncio.gather(*readers)] == [200, 200, 200]


async def test_a_stop_goes_through_while_the_readers_have_all_there_is(admin: AppClient) -> None:
    await the_stop_goes_past_the_readers(admin)


async def test_a_stop_that_queues_with_the_readers_is_found_out() -> None:
    rows = [replace(row, lane=Lane.READING) if row.lane is Lane.STOP else row for row in OPERATIONS]
    async with app_client(rows) as admin:
        with pytest.raises(AssertionError):
            await the_stop_goes_past_the_readers(admin)


async def test_answers_that_are_held_back_take_no_permit_and_end_when_their_callers_leave() -> None:
    async with app_client() as admin:
        path = f"/api/v1/automations/{await admin.operations_client.make(WAIT)}/execute"
        callers = [Caller([b""]) for _ in range(WORK_PERMITS + 1)]
        held = [
            asyncio.create_task(admin.ask("POST", path, headers=[("Prefer", "wait=30")], caller=caller))
            for caller in callers
        ]
        await settle()
        feed = admin.operations_client.services.feed
        assert (feed.watches, any(task.done() for task in held)) == (len(callers), False)
        assert (await admin.ask("POST", path)).status == 200
        for caller in callers:
            caller.gone.set()
        await settle()
        assert feed.watches == 0
        await asyncio.gather(*held, return_exceptions=True)
        waiting = [
            run["state"]
            for run in (await admin.operations_client.ask("ListAutomationExecutions")).body["automationExecutions"]
        ]
        assert set(waiting) == {"AUTOMATION_EXECUTION_STATE_WAITING"}
