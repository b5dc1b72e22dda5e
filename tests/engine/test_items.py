"""Steps with items: each is recorded before the next begins, and only those that are open are performed again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from interlock.ports import Http, HttpFailureKind, ItemRow
from interlock.rules.events import Event, ItemSettled
from interlock.rules.model import AttemptRef, Mode, Ref, Result
from interlock.rules.outcomes import Outcome, shown_items
from interlock.rules.retry import NO_RETRIES, RetryPolicy
from interlock.rules.states import State
from interlock.steps.attempt import MAX_STEP_ITEMS, Accepted, Attempt, Items, Report, Succeeded
from simulation.reads import finished
from tests.clocks import SECOND, settle
from tests.engine.recipients import MAILS, NAMES, RecipientsStep, TolerantStep, recipients
from tests.engine.worlds import THREE_WEBHOOKS, Engine, FarEnd, SteppingFarEnd, engine, restarted

pytestmark = pytest.mark.anyio

TWO_ATTEMPTS = RetryPolicy(attempts=2, min_gap=SECOND, max_gap=SECOND)
NOT_SENT = Outcome.INTERRUPTED_NOT_SENT
DONE, FAILED, UNKNOWN = Outcome.SUCCEEDED, Outcome.FAILED, Outcome.INTERRUPTED_OUTCOME_UNKNOWN


def rows(world: Engine, ref: Ref) -> list[ItemRow]:
    return finished(world.store.executions.items(ref))


def recorded(world: Engine, ref: Ref) -> list[list[Outcome | None]]:
    """The outcomes of the items, by attempt."""
    found: dict[int, list[Outcome | None]] = {}
    for row in rows(world, ref):
        found.setdefault(row.attempt, []).append(row.outcome)
    return list(found.values())


def output(world: Engine, ref: Ref) -> Any:
    """What the step returned, in its last attempt."""
    [(_, text)] = finished(world.store.executions.outputs(ref))
    return json.loads(text)


def told(far: FarEnd) -> list[str]:
    """Who was called, in order."""
    return [call.body["to"] for call in far.calls]


@asynccontextmanager
async def mailing(
    retries: RetryPolicy = NO_RETRIES,
    step: Callable[[Http, Sequence[str], RetryPolicy], RecipientsStep] = RecipientsStep,
    far: FarEnd | None = None,
) -> AsyncIterator[tuple[Engine, Ref]]:
    """A run of one step with three items, at the first of them."""
    far = far or FarEnd()
    async with engine(far=far, more_kinds=[recipients(far, retries=retries, step=step)]) as world:
        yield world, await world.start(await world.publish([MAILS]))


async def answer(world: Engine, status: int = 200) -> None:
    [call] = world.far.open
    call.answer(status)
    await settle()


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


# --- stops ------------------------------------------------------------------------------------------------------------


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


# --- crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settled", [0, 1, 2, 3])
async def test_restarted_server_performs_only_the_items_that_are_open(settled: int) -> None:
    far = FarEnd()
    kinds = [recipients(far)]
    async with engine(far=far, more_kinds=kinds) as first:
        ref = await first.start(await first.publish([MAILS]))
        for _ in range(min(settled, 2)):
            await answer(first)
        if settled == 3:
            # The server ends when all items are recorded, and the attempt as a whole is not.
            await first.store.executions.apply(ref, last_item(first, ref))
        sent = len(far.calls)
        async with restarted(first, more_kinds=kinds) as second:
            for _ in range(settled, 3):
                await answer(second)
            assert told(far)[sent:] == list(NAMES[settled:])
            assert output(second, ref) == {"SUCCEEDED": list(NAMES), "FAILED": []}
            assert second.outcomes(ref) == [Outcome.ABANDONED, DONE]


@given(turns=st.integers(0, 45))
async def test_crash_at_any_point_leaves_settled_items_alone(turns: int) -> None:
    far = SteppingFarEnd()
    kinds = [recipients(far)]
    async with engine(far=far, more_kinds=kinds) as first:
        ref = await first.begin(await first.publish([MAILS]))
        for _ in range(turns):
            await checkpoint()
        await first.down()
        settled = [row.name for row in rows(first, ref) if row.outcome is DONE]
        sent = len(far.calls)
        async with restarted(first, more_kinds=kinds) as second:
            await settle()
            assert second.state(ref) is State.DONE
            assert [*settled, *told(far)[sent:]] == list(NAMES)
            assert output(second, ref) == {"SUCCEEDED": list(NAMES), "FAILED": []}


def last_item(world: Engine, ref: Ref) -> Event:
    row = world.row(ref)
    attempt = AttemptRef(row.step, row.attempt, row.attempt_epoch)
    return ItemSettled(world.clock.now(), attempt, 2, Result(DONE, output=b'{"status":200}'))


async def test_restarted_server_ends_a_step_whose_item_had_failed() -> None:
    far = FarEnd()
    kinds = [recipients(far)]
    async with engine(far=far, more_kinds=kinds) as first:
        ref = await first.start(await first.publish([MAILS]))
        row = first.row(ref)
        refused = Result(FAILED, error=b'{"code":"REFUSED","message":"no"}')
        event = ItemSettled(first.clock.now(), AttemptRef(0, 1, row.attempt_epoch), 0, refused)
        await first.store.executions.apply(ref, event)
        async with restarted(first, more_kinds=kinds) as second:
            assert (second.state(ref), told(far)) == (State.ERROR, ["ann"])
            assert second.error(ref)["code"] == "REFUSED"


class Unrepeatable(RecipientsStep):
    repeatable = False


async def test_lost_attempt_of_a_kind_that_may_not_be_repeated_ends_the_run() -> None:
    far = FarEnd()

    def kinds() -> Any:
        kind = recipients(far, step=Unrepeatable)
        return [type(kind)(Unrepeatable, kind.compile)]

    async with engine(far=far, more_kinds=kinds()) as first:
        ref = await first.start(await first.publish([MAILS]))
        await answer(first)
        async with restarted(first, more_kinds=kinds()) as second:
            assert (second.state(ref), told(far)) == (State.ERROR, ["ann", "bob"])
            assert second.outcomes(ref) == [Outcome.INTERRUPTED_PARTLY]


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


class Broken(RecipientsStep):
    """Meets a defect when all its items are settled."""

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        await super().perform(attempt, items)
        raise RuntimeError


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
