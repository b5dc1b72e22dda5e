"""The embedded dispatcher: the contract, its bounds, recovery, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from interlock.engine.commits import ActiveRun
from interlock.engine.context import RunContext
from interlock.engine.dispatchers.embedded import EmbeddedDispatcher
from interlock.engine.suspects import MAX_LOSSES
from interlock.rules.model import Mode, Ref
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from interlock.steps.attempt import Attempt, Items, Report
from interlock.steps.webhook import WebhookStep
from tests.clocks import SECOND, ManualClock, settle
from tests.engine.dispatcher_contract import DispatcherContract
from tests.engine.worlds import THREE_WEBHOOKS, Engine, FarEnd, engine, evaluate, restarted, wait, webhook

pytestmark = pytest.mark.anyio


class Unrepeatable(WebhookStep):
    repeatable = False


class Broken(WebhookStep):
    async def perform(self, attempt: Attempt, items: Items) -> Report:
        raise ZeroDivisionError


class TestEmbedded(DispatcherContract):
    def engine(self, **options: Any) -> AbstractAsyncContextManager[Engine]:
        return engine(**options)


async def test_run_interrupted_before_its_creator_continues_sends_nothing() -> None:
    async with engine() as world:
        definition = await world.publish(THREE_WEBHOOKS)
        plan = await world.plans.get(world.tenant, definition)
        ref = await world.start(definition)
        row = world.row(ref)
        # The same row, held by its creator; a stop was committed before the creator continued.
        other = Ref(world.tenant, ref.id + 500)
        held = world.dispatcher.try_slot(other)
        assert held is not None
        world.dispatcher.interrupt(other, row.epoch + 1)
        world.dispatcher.took(held, ActiveRun(row, plan, RunContext(plan, {})))
        await settle()
        assert len(world.far.calls) == 1


# --- time -------------------------------------------------------------------------------------------------------------


async def test_ten_thousand_waits_need_one_sleeper_and_few_timers() -> None:
    async with engine(near=50) as world:
        definition = await world.publish([wait("w", "12s"), evaluate("e", x="1")])
        refs = [await world.begin(definition) for _ in range(300)]
        await settle()
        assert world.dispatcher.timers <= 50
        assert world.clock.sleeping == 1
        assert world.dispatcher.busy == 0
        await world.clock.pass_time(11.9)
        assert {world.state(ref) for ref in refs} == {State.WAITING}
        await world.clock.pass_time(2)
        assert {world.state(ref) for ref in refs} == {State.DONE}


async def test_each_wait_ends_at_its_own_time_and_never_early() -> None:
    async with engine() as world:
        lengths = [1, 3, 7, 19, 21, 45]
        refs = {}
        for seconds in lengths:
            definition = await world.publish([wait("w", f"{seconds}s")], id=f"a{seconds}")
            refs[seconds] = await world.start(definition, automation=f"a{seconds}")
        began = world.clock.now()
        await world.clock.pass_time(60)
        for seconds, ref in refs.items():
            assert world.row(ref).completed_at == began + seconds * SECOND


async def test_timers_missed_while_the_server_was_down_fire_at_its_start() -> None:
    async with engine() as before:
        ref = await before.start(await before.publish([wait("w", "60s"), webhook("a")]))
        before.clock.advance(3600)
        async with restarted(before) as world:
            assert world.state(ref) is State.PROCESS_STEP
            assert len(world.far.calls) == 1


# --- slots ------------------------------------------------------------------------------------------------------------


async def test_no_more_attempts_than_slots_and_every_run_gets_a_slot() -> None:
    async with engine(slots=4) as world:
        definition = await world.publish([webhook("a")])
        refs = [await world.begin(definition) for _ in range(20)]
        await settle()
        most = 0
        while world.far.open:
            most = max(most, len(world.far.open))
            world.far.open[0].answer()
            await settle()
        # One slot is left for a host that is called later.
        assert most == 3
        assert {world.state(ref) for ref in refs} == {State.DONE}


async def test_a_line_longer_than_is_kept_in_memory_is_worked_off() -> None:
    async with engine(slots=2, near=10, far=FarEnd(lambda request: (200, b"{}"))) as world:
        definition = await world.publish([webhook("a")])
        refs = [await world.begin(definition) for _ in range(100)]
        await settle(2_000)
        assert {world.state(ref) for ref in refs} == {State.DONE}


# --- recovery ---------------------------------------------------------------------------------------------------------


async def test_after_a_crash_a_webhook_is_called_again_with_the_same_key() -> None:
    async with engine() as before:
        ref = await before.start(await before.publish(THREE_WEBHOOKS))
        async with restarted(before) as world:
            first, second = world.far.calls
            assert first.request.headers["Idempotency-Key"] == second.request.headers["Idempotency-Key"]
            assert first.request.body == second.request.body
            for _ in range(3):
                world.far.calls[-1].answer()
                await settle()
            assert world.state(ref) is State.DONE
            assert world.outcomes(ref) == [Outcome.ABANDONED, *[Outcome.SUCCEEDED] * 3]


async def test_unrepeatable_step_ends_its_run_as_unknown_after_a_crash() -> None:
    async with engine(webhook_step=Unrepeatable) as before:
        ref = await before.start(await before.publish(THREE_WEBHOOKS))
        async with restarted(before, webhook_step=Unrepeatable) as world:
            assert world.state(ref) is State.ERROR
            assert world.outcomes(ref) == [Outcome.INTERRUPTED_OUTCOME_UNKNOWN]
            assert world.error(ref)["code"] == "OUTCOME_UNKNOWN"


async def a_restart_settles_what_was_stopping(**options: Any) -> None:
    async with engine(**options) as before:
        ref = await before.start(await before.publish(THREE_WEBHOOKS))
        await before.order(ref, mode=Mode.DRAIN)
        async with restarted(before, **options) as world:
            assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [Outcome.ABANDONED])
            assert len(world.far.calls) == 1


async def test_after_a_crash_a_stopping_run_is_terminated_before_anything_else() -> None:
    await a_restart_settles_what_was_stopping()


class RecoversNothing(EmbeddedDispatcher):
    """Leaves the attempts in flight of an ended process to the next sweep."""

    async def recover(self) -> int:
        return 0


async def test_a_restart_that_leaves_a_stopping_run_to_its_deadline_is_found_out() -> None:
    with pytest.raises(AssertionError):
        await a_restart_settles_what_was_stopping(dispatching=RecoversNothing)


async def test_step_of_three_crashes_is_not_tried_a_fourth_time() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([webhook("a")]))
        for _ in range(MAX_LOSSES):
            async with restarted(world):
                assert world.state(ref) is State.PROCESS_STEP
        async with restarted(world):
            assert world.state(ref) is State.ERROR
            assert len(world.far.calls) == 1 + MAX_LOSSES


async def test_a_retry_that_was_pending_at_the_crash_is_made_at_its_time() -> None:
    async with engine() as before:
        ref = await before.start(await before.publish([webhook("a")]))
        before.far.calls[0].answer(500)
        await settle()
        async with restarted(before) as world:
            await world.clock.pass_time(2)
            assert len(world.far.calls) == 1
            await world.clock.pass_time(1)
            assert len(world.far.calls) == 2
            assert world.state(ref) is State.PROCESS_STEP


# --- the end of the process -------------------------------------------------------------------------------------------


async def test_draining_records_what_ends_in_time_and_announces_nothing_more() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        draining = asyncio.ensure_future(world.dispatcher.drain(5))
        await settle()
        world.far.calls[0].answer()
        await draining
        row = world.row(ref)
        assert (row.state, row.step, world.outcomes(ref)) == (State.PENDING, 1, [Outcome.SUCCEEDED])
        async with restarted(world):
            assert (world.state(ref), len(world.far.calls)) == (State.PROCESS_STEP, 2)


async def test_attempt_that_outlasts_the_grace_is_left_to_recovery() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        draining = asyncio.ensure_future(world.dispatcher.drain(5))
        await world.clock.pass_time(5)
        await draining
        assert world.far.calls[0].cut
        assert (world.state(ref), world.outcomes(ref)) == (State.PROCESS_STEP, [None])


async def test_a_stop_works_while_draining() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        draining = asyncio.ensure_future(world.dispatcher.drain(60))
        await settle()
        await world.terminate(ref)
        await draining
        assert world.outcomes(ref) == [Outcome.INTERRUPTED_OUTCOME_UNKNOWN]
        assert world.state(ref) is State.TERMINATE


async def test_while_draining_new_runs_rest() -> None:
    async with engine() as world:
        definition = await world.publish([webhook("a")])
        await world.dispatcher.drain(0)
        ref = await world.start(definition)
        assert world.state(ref) is State.PENDING


# --- defects ----------------------------------------------------------------------------------------------------------


async def test_turn_that_fails_by_a_defect_ends_its_own_run_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with engine(webhook_step=Broken) as world:
        bad = await world.start(await world.publish([webhook("a")]))
        good = await world.start(await world.publish([wait("w", "1s")], id="good"), automation="good")
        with caplog.at_level(logging.CRITICAL, "interlock"):
            await world.clock.pass_time(10)
        assert (world.state(bad), world.state(good)) == (State.ERROR, State.DONE)
        assert world.dispatcher.busy == 0


async def test_the_manual_clock_keeps_order() -> None:
    clock = ManualClock(0)
    woken: list[int] = []

    async def sleeper(at: int) -> None:
        await clock.sleep_until(at)
        woken.append(at)

    tasks = [asyncio.ensure_future(sleeper(at)) for at in (30, 10, 20)]
    await settle()
    clock.set(30)
    await asyncio.gather(*tasks)
    assert woken == [10, 20, 30]
