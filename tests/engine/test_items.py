"""Steps with items: each is recorded before the next begins, and only those that are open are performed again."""

from __future__ import annotations

import pytest

from interlock.ports import HttpFailureKind
from interlock.rules.events import ItemSettled
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from interlock.steps.attempt import MAX_STEP_ITEMS, Accepted, Attempt, Items, Report, Succeeded
from tests.clocks import settle
from tests.engine.mailing import (
    DONE,
    FAILED,
    TWO_ATTEMPTS,
    Broken,
    answer,
    mailing,
    output,
    recorded,
    rows,
    told,
)
from tests.engine.recipients import MAILS, NAMES, RecipientsStep, TolerantStep, recipients
from tests.engine.worlds import THREE_WEBHOOKS, FarEnd, engine

pytestmark = pytest.mark.anyio


async def test_each_item_is_recorded_before_the_next_one_begins() -> None:
    async with mailing() as (world, ref):
        for number in range(3):
            assert told(world.far) == list(NAMES[: number + 1])
            assert recorded(world, ref) == [[DONE] * number + [None] * (3 - number)]
            await answer(world)
        assert world.state(ref) is State.DONE
        assert output(world, ref) == {"SUCCEEDED": list(NAMES), "FAILED": []}
        keys = [call.request.headers["Idempotency-Key"] for call in world.far.calls]
        assert keys == [f"inst:{ref.id}:mail:1:{number}" for number in range(3)]


@pytest.mark.parametrize("fault", ["lose_orders", "lose_replies"])
async def test_no_item_begins_while_the_commit_of_the_one_before_is_in_doubt(fault: str) -> None:
    async with mailing() as (world, ref):
        setattr(world.executions, fault, 1)
        await answer(world)
        assert told(world.far) == ["ann"]
        await world.clock.pass_time(1)
        assert told(world.far) == ["ann", "bob"]
        await answer(world)
        await answer(world)
        assert (world.state(ref), recorded(world, ref)) == (State.DONE, [[DONE] * 3])


async def test_retry_announces_the_open_items_with_their_numbers_and_keys() -> None:
    async with mailing(TWO_ATTEMPTS) as (world, ref):
        for status in (200, 503, 200):
            await answer(world, status)
        assert world.state(ref) is State.WAITING
        await world.clock.pass_time(1)
        assert told(world.far) == ["ann", "bob", "eve", "bob"]
        assert [(row.item, row.name) for row in rows(world, ref) if row.attempt == 2] == [(1, "bob")]
        keys = [call.request.headers["Idempotency-Key"] for call in world.far.calls]
        assert keys[3] == keys[1]
        await answer(world)
        assert output(world, ref) == {"SUCCEEDED": list(NAMES), "FAILED": []}
        assert recorded(world, ref) == [[DONE, FAILED, DONE], [DONE]]


async def test_item_that_fails_for_good_ends_the_step_before_the_next_begins() -> None:
    async with mailing() as (world, ref):
        await answer(world)
        await answer(world, 400)
        assert told(world.far) == ["ann", "bob"]
        assert (world.state(ref), recorded(world, ref)) == (State.ERROR, [[DONE, FAILED, None]])
        assert world.error(ref) == {"code": "REFUSED", "message": "answered 400"}


async def test_tolerated_failure_of_an_item_leaves_the_step_to_succeed() -> None:
    async with mailing(step=TolerantStep) as (world, ref):
        for status in (200, 400, 200):
            await answer(world, status)
        assert (world.state(ref), recorded(world, ref)) == (State.DONE, [[DONE, FAILED, DONE]])
        assert output(world, ref) == {"SUCCEEDED": ["ann", "eve"], "FAILED": ["bob"]}


async def test_last_failure_of_a_retried_item_ends_the_step() -> None:
    async with mailing(TWO_ATTEMPTS) as (world, ref):
        for status in (503, 200, 200):
            await answer(world, status)
        await world.clock.pass_time(1)
        await answer(world, 503)
        assert (world.state(ref), recorded(world, ref)) == (State.ERROR, [[FAILED, DONE, DONE], [FAILED]])


async def test_item_whose_answer_is_lost_says_how_far_it_had_got() -> None:
    async with mailing(step=TolerantStep) as (world, ref):
        world.far.open[0].fail(HttpFailureKind.RESET)
        await settle()
        await answer(world)
        await answer(world)
        assert [row.reached for row in rows(world, ref)] == ["unknown", None, None]


# --- cuts without a stop, and defects ---------------------------------------------------------------------------------


async def test_item_that_was_cut_although_nothing_was_stopped_is_performed_again() -> None:
    async with mailing() as (world, ref):
        await answer(world)
        world.dispatcher.interrupt(ref, 2**40)
        await settle()
        await answer(world)
        await answer(world)
        assert told(world.far) == ["ann", "bob", "bob", "eve"]
        assert (world.state(ref), recorded(world, ref)) == (State.DONE, [[DONE, None, None], [DONE, DONE]])


class Forgetful(RecipientsStep):
    """Reports success with an item open."""

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        await items.settle(0, Succeeded({}))
        return Succeeded({})


class Disorderly(RecipientsStep):
    async def perform(self, attempt: Attempt, items: Items) -> Report:
        await items.settle(2, Succeeded({}))
        return Succeeded({})


class Patient(RecipientsStep):
    async def perform(self, attempt: Attempt, items: Items) -> Report:
        return Accepted(2**50)


@pytest.mark.parametrize(
    ("step", "items"), [(Forgetful, [DONE, None, None]), (Disorderly, [None] * 3), (Patient, [None] * 3)]
)
async def test_report_that_is_not_true_of_the_items_fails_the_step(
    step: type[RecipientsStep], items: list[Outcome | None]
) -> None:
    async with mailing(step=step) as (world, ref):
        assert (world.state(ref), world.outcomes(ref), recorded(world, ref)) == (State.ERROR, [FAILED], [items])
        assert world.error(ref)["code"] == "INTERNAL"


async def test_defect_after_the_last_item_leaves_what_was_done_as_done() -> None:
    async with mailing(step=Broken) as (world, ref):
        for _ in range(3):
            await answer(world)
        assert (world.state(ref), world.outcomes(ref), recorded(world, ref)) == (State.ERROR, [DONE], [[DONE] * 3])
        assert world.error(ref)["code"] == "OUTPUT_NOT_KEPT"


async def test_item_whose_output_cannot_be_written_is_recorded_without_it() -> None:
    async with mailing() as (world, ref):
        world.executions.refuses = lambda event: isinstance(event, ItemSettled) and event.result.output is not None
        for _ in range(3):
            await answer(world)
        assert (world.state(ref), recorded(world, ref)) == (State.DONE, [[DONE] * 3])
        assert b"OUTPUT_NOT_KEPT" in (rows(world, ref)[0].error or b"")


@pytest.mark.parametrize("over", [0, 1])
async def test_step_has_at_most_so_many_items(over: int) -> None:
    far = FarEnd(always=lambda request: (200, b"{}"))
    names = [f"r{number}" for number in range(MAX_STEP_ITEMS + over)]
    async with engine(far=far, more_kinds=[recipients(far, names)]) as world:
        ref = await world.start(await world.publish([MAILS]))
        if over:
            assert (world.error(ref)["code"], far.calls) == ("TOO_MANY_ITEMS", [])
            return
        for _ in names:
            # Each item is a commit, and so a few turns of the loop.
            await settle()
        assert (world.state(ref), told(far)) == (State.DONE, names)


async def test_step_without_items_writes_no_item() -> None:
    async with engine(far=FarEnd(always=lambda request: (200, b"{}"))) as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        assert (world.state(ref), rows(world, ref)) == (State.DONE, [])
