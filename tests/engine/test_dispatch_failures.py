"""The embedded dispatcher when a turn, a read, a sweep or a recovery fails: it is retried, and ends nothing else."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from interlock.engine.dispatchers.embedded import CRASH_PAUSE_MICROSECONDS, MAX_CRASHES, EmbeddedDispatcher
from interlock.engine.held import FINISHED, Claim
from interlock.errors import Fatal, Unavailable
from interlock.rules.model import Execution, Ref
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from interlock.steps.attempt import Attempt, Items, Report
from interlock.steps.webhook import WebhookStep
from tests.clocks import SECOND, ManualClock, settle
from tests.engine.test_advance_operations import a_run, quiet
from tests.engine.turns import REF, Nothing, Turns, ended, running
from tests.engine.worlds import engine, webhook

pytestmark = pytest.mark.anyio


class Bristling(WebhookStep):
    """Fails when it is cancelled."""

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        try:
            return await super().perform(attempt, items)
        except asyncio.CancelledError:
            raise ZeroDivisionError from None


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


async def test_failed_turn_is_repeated_as_lost_and_given_up_the_third_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert (MAX_CRASHES, CRASH_PAUSE_MICROSECONDS) == (3, 1_000_000)
    turns = Turns(*[ZeroDivisionError()] * 5)
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
        # This resets the count.
        dispatcher.ready(REF, None)
        await clock.pass_time(2)
        assert (len(turns.claims), turns.given_up) == (6, [REF])
    await ended(task)


async def test_hint_during_a_failing_turn_does_not_hurry_the_next_one(caplog: pytest.LogCaptureFixture) -> None:
    turns = Turns(ZeroDivisionError())
    dispatcher, clock, task = await running(turns)
    with caplog.at_level(logging.CRITICAL, "interlock"):
        dispatcher.ready(REF, None)
        dispatcher.ready(REF, None)
        await clock.pass_time(0.9)
    assert turns.claims == [Claim(REF)]
    await clock.pass_time(0.1)
    assert turns.claims == [Claim(REF), Claim(REF, lost=True)]
    await ended(task)


async def test_a_lost_run_has_its_place_in_a_line_that_is_full(caplog: pytest.LogCaptureFixture) -> None:
    turns, other = Turns(ZeroDivisionError()), Ref(1, 9)
    dispatcher, clock, task = await running(turns, slots=1, near=1)
    with caplog.at_level(logging.CRITICAL, "interlock"):
        dispatcher.ready(REF, None)
        await settle()
    held = dispatcher.try_slot(Ref(1, 8))
    assert held is not None
    dispatcher.ready(other, None)
    await clock.pass_time(1)
    assert dispatcher.in_line == 2
    dispatcher.free_slot(held)
    await settle()
    assert turns.claims == [Claim(REF), Claim(other), Claim(REF, lost=True)]
    await ended(task)


async def test_unrequested_cancellation_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    turns = Turns(asyncio.CancelledError())
    dispatcher, clock, task = await running(turns)
    dispatcher.ready(REF, None)
    await settle()
    assert (turns.claims, dispatcher.busy) == ([Claim(REF)], 0)
    assert "failed; it will be retried" in caplog.text
    await clock.pass_time(1)
    assert turns.claims == [Claim(REF), Claim(REF, lost=True)]
    await ended(task)


async def test_a_breakdown_in_answer_to_an_interrupt_is_no_end_of_the_dispatcher(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with engine(webhook_step=Bristling) as world:
        ref = await world.start(await world.publish([webhook("a")]))
        with caplog.at_level(logging.CRITICAL, "interlock"):
            await world.terminate(ref)
        assert (world.state(ref), world.dispatcher.busy) == (State.TERMINATE, 0)
        assert world.outcomes(ref) == [Outcome.INTERRUPTED_OUTCOME_UNKNOWN]


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


async def test_run_with_a_good_turn_after_failures_is_not_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    turns = Turns(*[ZeroDivisionError()] * 3)
    dispatcher, clock, task = await running(turns)
    with caplog.at_level(logging.CRITICAL, "interlock"):
        dispatcher.ready(REF, None)
        await clock.pass_time(2.5)
        dispatcher.ready(REF, None)
        await clock.pass_time(1)
    assert (len(turns.claims), turns.given_up) == (5, [])
    await ended(task)


class Refusing(Nothing):
    """Executions whose reads fail a number of times."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error = error
        self.times = times

    async def due(self, *_: Any) -> list[Any]:
        if self.times:
            self.times -= 1
            raise self.error
        return [(REF, 0)]

    async def get(self, ref: Ref) -> None:
        await self.due()


@pytest.mark.parametrize("times", [1, 6])
@pytest.mark.parametrize("error", [Unavailable(), ZeroDivisionError()])
async def test_a_sweep_that_fails_is_repeated_and_ends_nothing(
    error: Exception, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "interlock")
    turns, clock = Turns(), ManualClock()
    dispatcher: Any = EmbeddedDispatcher(Refusing(error, times), turns, clock)  # type: ignore[arg-type]
    task = asyncio.ensure_future(dispatcher.run())
    await clock.pass_time(60)
    assert not task.done()
    assert Claim(REF) in turns.claims
    await ended(task)


@pytest.mark.parametrize("error", [Unavailable(), ZeroDivisionError()])
async def test_a_deadline_that_could_not_be_looked_at_is_looked_at_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "interlock")
    async with engine() as world:
        ref = await world.start(await world.publish([webhook("a")]))
        world.far.deaf = True
        await world.order(ref, deadline=SECOND)
        refused: list[Ref] = []
        real = world.store.executions.get

        async def failing(asked: Ref) -> Execution | None:
            if len(refused) < 3:
                refused.append(asked)
                raise error
            return await real(asked)

        world.dispatcher._executions.get = failing  # type: ignore[assignment,method-assign]
        await world.clock.pass_time(30)
        assert len(refused) == 3
        assert world.state(ref) is State.TERMINATE
        world.far.deaf = False


async def test_giving_up_on_a_run_that_fails_is_tried_until_it_is_done(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "interlock")

    class Stubborn(Turns):
        async def give_up(self, ref: Ref) -> None:
            self.given_up.append(ref)
            if len(self.given_up) < 4:
                raise ZeroDivisionError

    turns = Stubborn(*[ZeroDivisionError()] * 3)
    dispatcher, clock, task = await running(turns)
    dispatcher.ready(REF, None)
    await clock.pass_time(60)
    assert (len(turns.claims), turns.given_up) == (3, [REF] * 4)
    await ended(task)


async def test_recovery_that_the_store_refuses_at_the_start_is_retried() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PROCESS_STEP)
        real, refused = world.advance.recover, 0

        async def refusing(execution: Execution) -> Execution | None:
            nonlocal refused
            refused += 1
            if refused < 4:
                raise Unavailable
            return await real(execution)

        world.advance.recover = refusing  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            await world.dispatcher.recover()
        assert world.state(run.ref) is State.PROCESS_STEP
        task = asyncio.ensure_future(world.dispatcher.run())
        await world.clock.pass_time(10)
        assert (refused, world.row(run.ref).epoch > run.epoch) == (4, True)
        await ended(task)
