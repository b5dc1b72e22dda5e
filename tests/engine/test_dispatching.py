"""The embedded dispatcher from inside: hints, slots, deadlines and recovery."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from interlock.engine.dispatchers.embedded import EmbeddedDispatcher
from interlock.engine.held import Claim
from interlock.errors import Fatal
from interlock.rules.model import Execution, Mode, Ref
from interlock.rules.states import State
from tests.clocks import ManualClock, settle
from tests.engine.test_advance_operations import a_run, quiet
from tests.engine.turns import REF, Nothing, Turns, ended, running
from tests.engine.worlds import engine, wait, webhook

pytestmark = pytest.mark.anyio


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
    assert held.ready_notifications == 1
    await dispatcher._come_due(REF)
    assert (held.ready_notifications, dispatcher.in_line) == (2, 0)
    await ended(task)


async def test_there_is_no_slot_before_it_runs_nor_afterwards() -> None:
    dispatcher: Any = EmbeddedDispatcher(Nothing(), Turns(), ManualClock())  # type: ignore[arg-type]
    assert dispatcher.try_slot(REF) is None
    task = asyncio.ensure_future(dispatcher.run())
    await settle()
    assert dispatcher.try_slot(REF) is not None
    await ended(task)
    assert (dispatcher.try_slot(Ref(1, 8)), dispatcher.busy) == (None, 0)


async def test_new_run_does_not_overtake_queued_runs() -> None:
    async with engine(slots=1) as world:
        definition = await world.publish([webhook("a")])
        await world.start(definition)
        await world.start(definition)
        world.far.calls[0].answer()
        for _ in range(40):
            assert world.dispatcher.try_slot(Ref(world.tenant, 99)) is None
            await settle(1)
        assert (len(world.far.calls), world.dispatcher.in_line) == (2, 0)


async def test_recovery_counts_what_it_settled_and_does_not_go_round_for_ever() -> None:
    async with quiet() as world:
        for name in ("a", "b", "c"):
            await a_run(world, State.PROCESS_STEP, automation=name)
        assert await world.dispatcher.recover() == 3
        assert await world.dispatcher.recover() == 0
        await a_run(world, State.PROCESS_STEP)

        async def another_holder_is_faster(execution: Execution) -> None:
            return None

        world.advance.recover = another_holder_is_faster  # type: ignore[method-assign]
        with pytest.raises(Fatal, match="another process"):
            await world.dispatcher.recover()


async def test_recovery_continues_if_another_holder_was_faster_with_one_run() -> None:
    async with quiet() as world:
        first = await a_run(world, State.PROCESS_STEP, automation="a")
        await a_run(world, State.PROCESS_STEP, automation="b")
        real = world.advance.recover

        async def slower_with_the_first(execution: Execution) -> Execution | None:
            settled = await real(execution)
            return None if execution.ref == first.ref else settled

        world.advance.recover = slower_with_the_first  # type: ignore[method-assign]
        assert await world.dispatcher.recover() == 2


async def test_due_run_in_a_slot_is_examined_later_and_a_deadline_at_once() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([webhook("a"), wait("w", "1s")]))
        held = world.dispatcher._held[ref]
        await world.dispatcher._come_due(ref)
        assert held.ready_notifications == 1
        await world.order(ref, mode=Mode.DRAIN, deadline=1)
        world.clock.set(world.clock.now() + 1)
        noted = held.ready_notifications
        await world.dispatcher._come_due(ref)
        assert held.ready_notifications == noted
        await settle()
        assert world.state(ref) is State.TERMINATE


class Slow:
    """Executions whose reads suspend until the test releases them."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.let_go = asyncio.Event()
        self.let_go.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def get(self, ref: Ref) -> Execution | None:
        await self.let_go.wait()
        row: Execution | None = await self._real.get(ref)
        return row

    async def due(self, *arguments: Any) -> list[tuple[Ref, int]]:
        found: list[tuple[Ref, int]] = await self._real.due(*arguments)
        await self.let_go.wait()
        return found


async def test_run_whose_turn_ends_while_it_is_looked_at_is_taken_on_again() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([webhook("a"), wait("w", "1h")]))
        slow = Slow(world.store.executions)
        world.dispatcher._executions = slow
        slow.let_go.clear()
        looking = asyncio.ensure_future(world.dispatcher._come_due(ref))
        await settle()
        world.far.calls[0].answer()
        await settle()
        assert (world.dispatcher.busy, world.dispatcher.in_line) == (0, 0)
        slow.let_go.set()
        assert await looking
        assert world.dispatcher.in_line == 1


async def test_times_read_before_the_clock_moved_are_not_noted_after_it() -> None:
    async with engine() as world:
        await world.start(await world.publish([wait("w", "10s")]))
        slow = Slow(world.store.executions)
        backlog: Any = world.dispatcher._backlog
        backlog._executions = slow
        world.dispatcher.clock_moved()
        slow.let_go.clear()
        await settle()
        # The first sweep waits for its read, and the clock is moved meanwhile.
        world.dispatcher.clock_moved()
        slow.let_go.set()
        before = backlog._timers
        assert world.dispatcher.timers == 0
        await settle()
        assert backlog._timers is before
        assert world.dispatcher.timers == 1
