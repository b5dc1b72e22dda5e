"""The end of the embedded dispatcher: the turns that may end, those that are cancelled, and those that are left."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import anyio
import pytest

from interlock.engine.dispatchers.embedded import EmbeddedDispatcher
from interlock.engine.held import Claim
from interlock.rules.model import Ref
from interlock.rules.states import State
from tests.clocks import ManualClock, settle
from tests.engine.turns import REF, Lingering, Nothing, Turns, ended, running
from tests.engine.worlds import THREE_WEBHOOKS, Engine, engine, webhook

pytestmark = pytest.mark.anyio


async def drained(world: Engine, grace: float) -> asyncio.Task[None]:
    task = asyncio.ensure_future(world.dispatcher.drain(grace))
    await settle()
    return task


async def test_nothing_to_wait_for_and_no_grace_are_no_wait() -> None:
    async with engine() as world:
        await world.publish(THREE_WEBHOOKS)
        assert (await drained(world, 60)).done()
    async with engine() as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        assert (await drained(world, 0)).done()
        assert world.far.calls[0].cut
        assert world.state(ref) is State.PROCESS_STEP


async def test_half_a_second_of_grace_is_half_a_second() -> None:
    async with engine() as world:
        await world.start(await world.publish(THREE_WEBHOOKS))
        sleeping = world.clock.sleeping
        draining = await drained(world, 0.5)
        assert not draining.done()
        await world.clock.pass_time(0.4)
        assert not draining.done()
        await world.clock.pass_time(0.1)
        assert draining.done()
        assert world.clock.sleeping == sleeping


async def test_a_drain_that_ends_early_leaves_no_sleeper() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([webhook("a")]))
        draining = await drained(world, 60)
        sleeping = world.clock.sleeping
        world.far.calls[0].answer()
        await draining
        await settle()
        assert (world.state(ref), world.clock.sleeping) == (State.PENDING, sleeping - 1)


async def test_when_the_dispatcher_ends_what_it_held_is_let_go() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        held = world.dispatcher._held[ref]
        await world.down()
        assert world.far.calls[0].cut
        assert held.task is not None
        assert held.task.cancelled()
        assert (world.dispatcher.busy, world.state(ref)) == (0, State.PROCESS_STEP)


async def test_a_dispatcher_whose_scope_is_cancelled_ends_when_all_have_let_go() -> None:
    turns = Lingering()
    dispatcher: Any = EmbeddedDispatcher(Nothing(), turns, ManualClock())  # type: ignore[arg-type]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dispatcher.run)
        await settle()
        for ref in (REF, Ref(1, 8)):
            dispatcher.ready(ref, None)
        await settle()
        tasks.cancel_scope.cancel()
    assert turns.let_go == turns.claims == [Claim(REF), Claim(Ref(1, 8))]


async def test_a_drain_is_over_when_all_have_let_go() -> None:
    turns = Lingering()
    dispatcher, _, task = await running(turns)
    for ref in (REF, Ref(1, 8)):
        dispatcher.ready(ref, None)
    await settle()
    await dispatcher.drain(0)
    assert turns.let_go == turns.claims == [Claim(REF), Claim(Ref(1, 8))]
    assert dispatcher.busy == 0
    await ended(task)


async def test_end_of_the_dispatcher_ends_the_pauses_after_failed_turns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dispatcher, clock, task = await running(Turns(ZeroDivisionError()))
    with caplog.at_level(logging.CRITICAL, "interlock"):
        dispatcher.ready(REF, None)
        await settle()
    assert clock.sleeping == 2
    await ended(task)
    assert clock.sleeping == 0


async def test_a_run_that_is_created_only_after_the_end_is_left_to_recovery() -> None:
    turns = Turns()
    dispatcher, _, task = await running(turns)
    in_time, too_late = dispatcher.try_slot(REF), dispatcher.try_slot(Ref(1, 8))
    assert in_time is not None
    assert too_late is not None
    active: Any = None
    dispatcher.took(in_time, active)
    await settle()
    await dispatcher.drain(0)
    assert dispatcher.busy == 0
    dispatcher.took(too_late, active)
    await settle()
    assert turns.claims == [Claim(REF)]
    await ended(task)
