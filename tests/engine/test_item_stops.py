"""A stop in the middle of a step with items: no other item begins, and what each did is on record."""

from __future__ import annotations

import json

import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from interlock.rules.model import Mode
from interlock.rules.outcomes import Outcome, shown_items
from interlock.rules.states import State
from tests.clocks import SECOND, settle
from tests.engine.mailing import (
    DONE,
    NOT_SENT,
    TWO_ATTEMPTS,
    UNKNOWN,
    answer,
    mailing,
    output,
    recorded,
    told,
)
from tests.engine.recipients import MAILS, NAMES, recipients
from tests.engine.worlds import FarEnd, SteppingFarEnd, engine

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("settled", [0, 1, 2])
async def test_stop_cuts_the_item_in_flight_and_starts_no_other(settled: int) -> None:
    async with mailing() as (world, ref):
        for _ in range(settled):
            await answer(world)
        await world.terminate(ref)
        assert told(world.far) == list(NAMES[: settled + 1])
        assert recorded(world, ref) == [[DONE] * settled + [UNKNOWN] + [None] * (2 - settled)]
        whole = Outcome.INTERRUPTED_PARTLY if settled else UNKNOWN
        assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [whole])


@pytest.mark.parametrize("settled", [1, 2])
async def test_stop_between_two_items_starts_no_other(settled: int) -> None:
    async with mailing() as (world, ref):
        for _ in range(settled - 1):
            await answer(world)
        world.executions.lose_orders = 1
        await answer(world)
        await world.terminate(ref)
        assert world.state(ref) is State.STOPPING
        await world.clock.pass_time(1)
        assert told(world.far) == list(NAMES[:settled])
        assert recorded(world, ref) == [[DONE] * settled + [NOT_SENT] + [None] * (2 - settled)]
        assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [Outcome.INTERRUPTED_PARTLY])


async def test_stop_after_the_last_item_leaves_the_step_as_it_ended() -> None:
    async with mailing() as (world, ref):
        await answer(world)
        await answer(world)
        world.executions.lose_orders = 1
        await answer(world)
        await world.terminate(ref)
        await world.clock.pass_time(1)
        assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [DONE])
        assert recorded(world, ref) == [[DONE] * 3]
        assert output(world, ref) == {"SUCCEEDED": list(NAMES), "FAILED": []}


async def test_answer_that_comes_although_its_item_was_cut_is_recorded_and_no_other_begins() -> None:
    async with mailing(far=FarEnd(deaf=True)) as (world, ref):
        [call] = world.far.calls
        await world.terminate(ref)
        call.answer()
        await settle()
        assert (world.state(ref), told(world.far), recorded(world, ref)) == (
            State.TERMINATE,
            ["ann"],
            [[DONE, NOT_SENT, None]],
        )


async def test_drain_lets_all_items_end() -> None:
    async with mailing() as (world, ref):
        await world.terminate(ref, mode=Mode.DRAIN)
        for _ in range(3):
            await answer(world)
        assert (world.state(ref), recorded(world, ref)) == (State.TERMINATE, [[DONE] * 3])


async def test_deadline_in_the_middle_starts_no_other_item() -> None:
    async with mailing(far=FarEnd(deaf=True)) as (world, ref):
        await world.terminate(ref, deadline=SECOND)
        await world.clock.pass_time(1)
        assert world.state(ref) is State.TERMINATE
        world.far.calls[0].answer()
        await settle()
        assert (told(world.far), recorded(world, ref)) == (["ann"], [[None] * 3])
        [step] = world.steps(ref)
        assert step.late is not None
        [evidence] = json.loads(step.late)
        assert (evidence["outcome"], evidence["item"]) == (Outcome.LATE_SUCCEEDED, 0)


async def test_stop_before_the_first_item_sends_nothing() -> None:
    async with mailing(TWO_ATTEMPTS) as (world, ref):
        for status in (200, 503, 200):
            await answer(world, status)
        await world.terminate(ref)
        await world.clock.pass_time(60)
        assert (world.state(ref), told(world.far)) == (State.TERMINATE, list(NAMES))


@given(turns=st.integers(0, 45))
async def test_stop_at_any_point_starts_no_item_and_tells_the_truth_of_each(turns: int) -> None:
    far = SteppingFarEnd()
    async with engine(far=far, more_kinds=[recipients(far)]) as world:
        ref = await world.begin(await world.publish([MAILS]))
        for _ in range(turns):
            await checkpoint()
        await world.order(ref)
        started = len(far.calls)
        await settle()
        assert len(far.calls) == started
        state, outcomes = world.state(ref), recorded(world, ref)
        assert state is State.TERMINATE or (state, outcomes) == (State.DONE, [[DONE] * 3])
        if not outcomes:
            assert not far.calls
            return
        [step] = world.steps(ref)
        for number, outcome in enumerate(shown_items(outcomes[0], step.outcome, step.reached, state)):
            call = far.calls[number] if number < started else None
            sent = call is not None and call.progress.bytes_written > 0
            status = None if call is None else call.progress.status
            if outcome is DONE:
                assert call is not None
                assert not call.cut
            elif outcome in {Outcome.NOT_STARTED, Outcome.INTERRUPTED_NOT_SENT}:
                assert not sent
            else:
                assert outcome is (UNKNOWN if status is None else Outcome.INTERRUPTED_RESPONSE)
                assert sent
