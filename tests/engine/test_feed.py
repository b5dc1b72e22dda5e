"""The watch of a run: it misses no change, and ends at its time."""

from __future__ import annotations

import asyncio

import pytest

from interlock.engine.feed import Feed, Watch
from interlock.rules.model import Ref
from tests.clocks import SECOND, ManualClock, settle

pytestmark = pytest.mark.anyio
REF = Ref(1, 7)


def waiting(watch: Watch, clock: ManualClock, seconds: int) -> asyncio.Task[bool]:
    return asyncio.get_running_loop().create_task(watch.change(clock, clock.now() + seconds * SECOND))


async def test_a_change_ends_the_wait_and_is_told_once() -> None:
    feed, clock = Feed(), ManualClock()
    with feed.watch(REF) as watch:
        wait = waiting(watch, clock, 10)
        await settle()
        feed.changed(REF.tenant, REF.id + 1)
        await settle()
        assert not wait.done()
        feed.changed(REF.tenant, REF.id)
        assert await wait
        assert clock.sleeping == 0
        again = waiting(watch, clock, 10)
        await settle()
        assert not again.done()
        clock.advance(10)
        assert not await again


async def test_a_change_before_the_wait_is_not_missed() -> None:
    feed, clock = Feed(), ManualClock()
    with feed.watch(REF) as watch:
        feed.changed(REF.tenant, REF.id)
        assert await watch.change(clock, clock.now())
        assert not await watch.change(clock, clock.now())


async def test_a_change_continues_the_caller_in_the_turn_of_the_commit() -> None:
    feed, clock = Feed(), ManualClock()
    with feed.watch(REF) as watch:
        wait = waiting(watch, clock, 10)
        await settle()
        feed.changed(REF.tenant, REF.id)
        await settle(1)
        assert wait.done()


async def test_the_timer_of_a_wait_that_is_over_does_not_end_the_next_one() -> None:
    feed, clock = Feed(), ManualClock()
    with feed.watch(REF) as watch:

        async def two_waits() -> tuple[bool, bool]:
            # The second wait begins before the timer of the first one is cancelled.
            until = clock.now() + 10 * SECOND
            return await watch.change(clock, until), await watch.change(clock, until)

        waits = asyncio.get_running_loop().create_task(two_waits())
        await settle()
        feed.changed(REF.tenant, REF.id)
        await settle()
        assert not waits.done()
        clock.advance(10)
        assert await waits == (True, False)


async def test_a_cancelled_wait_leaves_no_timer_and_no_change() -> None:
    feed, clock = Feed(), ManualClock()
    with feed.watch(REF) as watch:
        wait = waiting(watch, clock, 10)
        await settle()
        wait.cancel()
        await settle()
        assert (wait.cancelled(), clock.sleeping) == (True, 0)
    assert feed.watches == 0
