"""The embedded dispatcher from inside: hints, recovery, breakdowns, and what it leaves when it ends."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from interlock.engine.dispatchers.embedded import AFTER_CRASH, MOST_CRASHES, EmbeddedDispatcher
from interlock.engine.held import FINISHED, Claim, Held, Turn
from interlock.errors import Fatal, Unavailable
from interlock.rules.model import Execution, Mode, Ref
from interlock.rules.states import State
from tests.clocks import ManualClock, settle
from tests.engine.test_doors import a_run, quiet
from tests.engine.worlds import THREE_WEBHOOKS, Engine, engine, wait, webhook

pytestmark = pytest.mark.anyio


class Turns:
    """An `Advance` whose turns end as they are told, and that notes who got one."""

    holder = "me"

    def __init__(self, *ends: Turn | BaseException) -> None:
        self._ends = list(ends)
        self.claims: list[Claim] = []
        self.given_up: list[Ref] = []

    async def advance(self, claim: Claim, held: Held) -> Turn:
        self.claims.append(claim)
        end = self._ends.pop(0) if self._ends else FINISHED
        if isinstance(end, BaseException):
            raise end
        return end

    async def give_up(self, ref: Ref) -> None:
        self.given_up.append(ref)


class Nothing:
    """Executions of which none is due."""

    def due(self, *_: Any) -> list[Any]:
        return []

    def get(self, ref: Ref) -> None:
        return None


REF = Ref(1, 7)


async def running(turns: Any) -> tuple[EmbeddedDispatcher, ManualClock, asyncio.Task[None]]:
    clock = ManualClock()
    dispatcher: Any = EmbeddedDispatcher(Nothing(), turns, clock)  # type: ignore[arg-type]
    task = asyncio.ensure_future(dispatcher.run())
    await settle()
    return dispatcher, clock, task


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def test_a_hint_of_a_time_to_come_waits_for_it_and_one_of_now_does_not() -> None:
    turns = Turns()
    dispatcher, clock, task = await running(turns)
    dispatcher.ready(REF, clock.now() + 1_000_000)
    await settle()
    assert (turns.claims, dispatcher.timers) == ([], 1)
    await clock.pass_time(1)
    assert turns.claims == [Claim(REF)]
    for at in (None, clock.now(), clock.now() - 1):
        dispatcher.ready(REF, at)
        assert dispatcher.timers == 0
        await settle()
    assert len(turns.claims) == 4
    await ended(task)


async def test_a_hint_for_a_run_in_a_slot_is_noted_once() -> None:
    dispatcher, _, task = await running(Turns())
    held = dispatcher.try_slot(REF)
    assert held is not None
    dispatcher.ready(REF, None)
    assert held.noted == 1
    dispatcher._come_due(REF)
    assert (held.noted, dispatcher.in_line) == (2, 0)
    await ended(task)


async def test_there_is_no_slot_before_it_runs_nor_afterwards() -> None:
    dispatcher: Any = EmbeddedDispatcher(Nothing(), Turns(), ManualClock())  # type: ignore[arg-type]
    assert dispatcher.try_slot(REF) is None
    task = asyncio.ensure_future(dispatcher.run())
    await settle()
    assert dispatcher.try_slot(REF) is not None
    await ended(task)
    assert (dispatcher.try_slot(Ref(1, 8)), dispatcher.busy) == (None, 0)


async def test_a_turn_that_could_not_commit_is_made_again_after_a_second() -> None:
    turns = Turns(Unavailable())
    dispatcher, clock, task = await running(turns)
    dispatcher.ready(REF, None)
    await settle()
    assert (len(turns.claims), dispatcher.busy) == (1, 0)
    await clock.pass_time(0.9)
    assert len(turns.claims) == 1
    await clock.pass_time(0.1)
    assert turns.claims == [Claim(REF), Claim(REF)]
    await ended(task)


async def test_a_store_that_can_no_longer_be_vouched_for_ends_the_dispatcher() -> None:
    dispatcher, _, task = await running(Turns(Fatal("no sync")))
    dispatcher.ready(REF, None)
    await settle()
    assert task.done()
    with pytest.raises(Fatal, match="no sync"):
        await task


async def test_a_turn_that_breaks_off_is_made_again_as_lost_and_the_third_time_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert (MOST_CRASHES, AFTER_CRASH) == (3, 1_000_000)
    turns = Turns(*[ZeroDivisionError()] * 3, FINISHED, *[ZeroDivisionError()] * 2)
    dispatcher, clock, task = await running(turns)
    with caplog.at_level(logging.CRITICAL, "interlock"):
        dispatcher.ready(REF, None)
        await settle()
        assert turns.claims == [Claim(REF)]
        await clock.pass_time(0.9)
        assert turns.claims == [Claim(REF)]
        await clock.pass_time(1.1)
        assert turns.claims == [Claim(REF), Claim(REF, lost=True), Claim(REF, lost=True)]
        assert turns.given_up == []
        await clock.pass_time(1)
        assert (len(turns.claims), turns.given_up) == (3, [REF])
        # It was given up, and goes well: both begin the count anew.
        dispatcher.ready(REF, None)
        await settle()
        dispatcher.ready(REF, None)
        await clock.pass_time(2)
        assert (len(turns.claims), turns.given_up) == (7, [REF])
    await ended(task)


async def test_a_turn_that_goes_well_begins_the_count_of_breakdowns_anew(caplog: pytest.LogCaptureFixture) -> None:
    broken = ZeroDivisionError()
    turns = Turns(broken, broken, FINISHED, broken, broken)
    dispatcher, clock, task = await running(turns)
    with caplog.at_level(logging.CRITICAL, "interlock"):
        dispatcher.ready(REF, None)
        await clock.pass_time(5)
        dispatcher.ready(REF, None)
        await clock.pass_time(5)
    assert (len(turns.claims), turns.given_up) == (6, [])
    await ended(task)


async def test_recovery_counts_what_it_settled_and_does_not_go_round_for_ever() -> None:
    async with quiet() as world:
        for name in ("a", "b", "c"):
            await a_run(world, State.PROCESS_STEP, automation=name)
        assert await world.dispatcher.recover() == 3
        assert await world.dispatcher.recover() == 0
        await a_run(world, State.PROCESS_STEP)

        async def somebody_else_is_faster(execution: Execution) -> None:
            return None

        world.advance.recover = somebody_else_is_faster  # type: ignore[method-assign]
        with pytest.raises(Fatal, match="somebody else"):
            await world.dispatcher.recover()


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


async def test_what_comes_due_in_a_slot_is_looked_at_again_and_a_deadline_at_once() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([webhook("a"), wait("w", "1s")]))
        held = world.dispatcher._held[ref]
        world.dispatcher._come_due(ref)
        assert held.noted == 1
        await world.order(ref, mode=Mode.DRAIN, deadline=1)
        world.clock.set(world.clock.now() + 1)
        noted = held.noted
        world.dispatcher._come_due(ref)
        assert held.noted == noted
        await settle()
        assert world.state(ref) is State.TERMINATE
