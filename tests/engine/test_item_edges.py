"""Steps with items at the edges of their contract: kinds that go on, runs that moved, and defects between items."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from interlock.errors import Fatal
from interlock.ports import HttpFailureKind, Phase, Progress
from interlock.rules.events import Announce, Event, ItemSettled, Recovered
from interlock.rules.model import AttemptRef, Result
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.retry import RetryPolicy
from interlock.rules.states import State
from interlock.steps.attempt import Accepted, Attempt, Failed, Items, ItemsEnded, Report, Skipped, Succeeded
from interlock.steps.documents import MAX_OUTPUT, error_document
from interlock.steps.kind import PrepareContext, Ready
from tests.clocks import SECOND, START, settle
from tests.engine.mailing import DONE, FAILED, Broken, answer, last_item, mailing, output, recorded, rows, told
from tests.engine.recipients import MAILS, NAMES, RecipientsStep, TolerantStep, recipients
from tests.engine.worlds import FarEnd, engine, restarted

pytestmark = pytest.mark.anyio


class Keyless(RecipientsStep):
    """Sends no keys, and reports those that it is given."""

    async def prepare(self, context: PrepareContext) -> Ready:
        ready = await super().prepare(context)
        assert isinstance(ready, Announce)
        return replace(ready, key=None)

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        keys = [items.key(item.number) for item in items.open]
        for item in items.open:
            await items.settle(item.number, Succeeded({}))
        return Succeeded({"keys": keys})


async def test_items_of_a_kind_without_keys_have_none() -> None:
    async with mailing(step=Keyless) as (world, ref):
        assert (world.state(ref), output(world, ref)) == (State.DONE, {"keys": [None, None, None]})


class Stubborn(RecipientsStep):
    """Settles the next item although it was told that the attempt has ended."""

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        with suppress(ItemsEnded):
            return await super().perform(attempt, items)
        await items.settle(1, Succeeded({}))
        return Succeeded({})


async def test_step_that_goes_on_after_its_items_have_ended_records_nothing_more() -> None:
    async with mailing(step=Stubborn) as (world, ref):
        await answer(world, 400)
        assert (world.state(ref), recorded(world, ref)) == (State.ERROR, [[FAILED, None, None]])
        assert (world.error(ref)["code"], told(world.far)) == ("REFUSED", ["ann"])
        assert world.outcomes(ref) == [FAILED]


class Overeager(RecipientsStep):
    """Settles items that it has not got, and goes on when that is refused."""

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        for item in items.open:
            with suppress(ValueError):
                await items.settle(item.number + 1, Succeeded({}))
            await items.settle(item.number, Succeeded({}))
        with suppress(ValueError):
            await items.settle(2, Succeeded({}))
        return Succeeded({"open": [each.name for each in items.open]})


async def test_item_that_is_not_performed_now_cannot_be_settled() -> None:
    async with mailing(step=Overeager) as (world, ref):
        assert (world.state(ref), recorded(world, ref)) == (State.DONE, [[DONE] * 3])
        assert output(world, ref) == {"open": []}


class Selective(RecipientsStep):
    async def perform(self, attempt: Attempt, items: Items) -> Report:
        for item in items.open:
            await items.settle(item.number, Skipped() if item.number == 1 else Succeeded({"n": item.number}))
        return Succeeded({"outcomes": [str(each.outcome) for each in items.settled.values()]})


async def test_skipped_item_is_recorded_and_the_next_one_begins() -> None:
    async with mailing(step=Selective) as (world, ref):
        assert (world.state(ref), recorded(world, ref)) == (State.DONE, [[DONE, Outcome.SKIPPED, DONE]])
        assert output(world, ref) == {"outcomes": ["SUCCEEDED", "SKIPPED", "SUCCEEDED"]}


async def test_item_has_the_time_at_which_it_settled() -> None:
    async with mailing() as (world, ref):
        await world.clock.pass_time(3)
        first = world.clock.now()
        await answer(world)
        await world.clock.pass_time(3)
        assert [row.settled_at for row in rows(world, ref)] == [first, None, None]


@pytest.mark.parametrize(("status", "outcome"), [(200, DONE), (400, FAILED)])
async def test_run_that_another_process_has_moved_starts_no_other_item(status: int, outcome: Outcome) -> None:
    async with mailing() as (world, ref):
        world.executions.meanwhile = [Recovered(world.clock.now(), world.row(ref).epoch, repeatable=False)]
        await answer(world, status)
        assert (world.state(ref), told(world.far)) == (State.ERROR, ["ann"])
        settled = [event for event in world.executions.events if isinstance(event, ItemSettled)]
        assert [(event.item, event.result.outcome) for event in settled] == [
            (0, outcome),
            (1, Outcome.INTERRUPTED_NOT_SENT),
        ]


async def test_defect_after_a_restart_leaves_items_on_record_as_done() -> None:
    far = FarEnd()
    async with engine(far=far, more_kinds=[recipients(far)]) as first:
        ref = await first.start(await first.publish([MAILS]))
        await answer(first)
        await answer(first)
        await first.store.executions.apply(ref, last_item(first, ref))
        async with restarted(first, more_kinds=[recipients(far, step=Broken)]) as second:
            assert (second.state(ref), second.outcomes(ref)) == (State.ERROR, [Outcome.ABANDONED, DONE])
            assert second.error(ref)["code"] == "OUTPUT_NOT_KEPT"
            assert told(far) == list(NAMES)


class BreaksBetween(RecipientsStep):
    """Meets a defect after its first item, or before it."""

    after = 1

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        for item in items.open[: self.after]:
            await items.settle(item.number, Succeeded({}))
        raise RuntimeError


class BreaksAtOnce(BreaksBetween):
    after = 0


@pytest.mark.parametrize(("step", "done"), [(BreaksBetween, 1), (BreaksAtOnce, 0)])
async def test_defect_between_items_fails_the_step_and_leaves_the_rest_not_started(
    step: type[RecipientsStep], done: int
) -> None:
    async with mailing(step=step) as (world, ref):
        assert (world.state(ref), world.outcomes(ref)) == (State.ERROR, [FAILED])
        assert recorded(world, ref) == [[DONE] * done + [None] * (3 - done)]
        assert world.error(ref)["code"] == "INTERNAL"
        assert [row.reached for row in world.steps(ref)] == ["answered" if done else "not_sent"]


# --- what is put to the rules of an item ------------------------------------------------------------------------------


async def test_item_is_recorded_with_all_that_its_report_and_its_progress_say() -> None:
    retries = RetryPolicy(attempts=2, min_gap=SECOND, max_gap=SECOND)
    async with mailing(retries, step=TolerantStep) as (world, ref):
        await answer(world, 200)
        await answer(world, 503)
        world.far.open[0].fail(HttpFailureKind.RESET)
        await settle()
        settled = [event for event in world.executions.events if isinstance(event, ItemSettled)]
        refused = b'{"code":"REFUSED","message":"answered 503"}'
        lost = b'{"code":"LOST","message":"no answer"}'
        attempt = AttemptRef(0, 1, world.steps(ref)[0].epoch)
        assert settled == [
            ItemSettled(START, attempt, 0, Result(DONE, b'{"status":200}', None, 200, "done")),
            ItemSettled(START, attempt, 1, Result(FAILED, None, refused, 503, "done", Reached.ANSWERED), again=True),
            ItemSettled(START, attempt, 2, Result(FAILED, None, lost, None, "waiting", Reached.UNKNOWN), again=True),
        ]


class Oversized(RecipientsStep):
    async def perform(self, attempt: Attempt, items: Items) -> Report:
        for item in items.open:
            await items.settle(item.number, Succeeded({"text": "x" * MAX_OUTPUT} if item.number == 1 else {}))
        return Succeeded({"outputs": [each.output for each in items.settled.values()]})


async def test_item_whose_output_is_too_large_is_done_and_says_why_it_has_none() -> None:
    async with mailing(step=Oversized) as (world, ref):
        assert (world.state(ref), recorded(world, ref)) == (State.DONE, [[DONE] * 3])
        assert [row.output is None for row in rows(world, ref)] == [False, True, False]
        assert b"OUTPUT_TOO_LARGE" in (rows(world, ref)[1].error or b"")
        assert output(world, ref) == {"outputs": [{}, None, {}]}


class Limited(RecipientsStep):
    """Reports failures that may be retried until a time."""

    last_start = START

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        error = error_document("REFUSED", "no")
        for item in items.open:
            await items.settle(item.number, Failed(error, Reached.ANSWERED, 503, self._retries, self.last_start))
        return Succeeded({})


class LongerLimited(Limited):
    last_start = START + SECOND


@pytest.mark.parametrize(("step", "state"), [(Limited, State.ERROR), (LongerLimited, State.WAITING)])
async def test_item_is_not_retried_after_the_time_that_its_failure_gives(
    step: type[RecipientsStep], state: State
) -> None:
    async with mailing(RetryPolicy(attempts=2, min_gap=SECOND, max_gap=SECOND), step=step) as (world, ref):
        assert world.state(ref) is state


async def test_item_is_not_recorded_again_in_a_store_that_has_failed() -> None:
    async with mailing() as (world, _):

        def fail(event: Event) -> bool:
            if isinstance(event, ItemSettled):
                raise Fatal("no sync")
            return False

        world.executions.refuses = fail
        await answer(world)
        assert [event for event in world.executions.events if isinstance(event, ItemSettled)] == [
            world.executions.events[-1]
        ]
        assert told(world.far) == ["ann"]


class AcceptedAtTheEnd(RecipientsStep):
    async def perform(self, attempt: Attempt, items: Items) -> Report:
        for item in items.open:
            await items.settle(item.number, Succeeded({}))
        return Accepted(START + SECOND)


async def test_step_with_items_never_waits_for_a_later_answer() -> None:
    async with mailing(step=AcceptedAtTheEnd) as (world, ref):
        assert (world.state(ref), world.outcomes(ref), recorded(world, ref)) == (State.ERROR, [DONE], [[DONE] * 3])
        assert world.error(ref)["code"] == "OUTPUT_NOT_KEPT"


class GivesUp(RecipientsStep):
    async def perform(self, attempt: Attempt, items: Items) -> Report:
        return Failed(error_document("GAVE_UP", "no recipient is known"), Reached.NOT_SENT)


async def test_step_may_fail_as_a_whole_with_items_open() -> None:
    async with mailing(step=GivesUp) as (world, ref):
        assert (world.state(ref), world.outcomes(ref), recorded(world, ref)) == (State.ERROR, [FAILED], [[None] * 3])
        assert world.error(ref)["code"] == "GAVE_UP"


class ThreeGaps(RecipientsStep):
    """Each item fails with a gap of its own before the retry."""

    seconds = (3, 1, 1)

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        for item in items.open:
            gap = self.seconds[item.number] * SECOND
            error = error_document(f"AFTER_{self.seconds[item.number]}", item.name)
            retries = RetryPolicy(attempts=2, min_gap=gap, max_gap=gap)
            await items.settle(item.number, Failed(error, Reached.ANSWERED, 503, retries))
        return Succeeded({})


async def test_attempt_is_retried_as_soon_as_the_first_of_its_items_may_be() -> None:
    async with mailing(step=ThreeGaps) as (world, ref):
        row = world.row(ref)
        assert (row.state, row.wake_at) == (State.WAITING, START + SECOND)
        assert world.outcomes(ref) == [FAILED]
        assert b"AFTER_1" in (world.steps(ref)[0].error or b"")


class Doubtful(RecipientsStep):
    """A kind that is never sure that nothing was sent."""

    def interruption(self, progress: Progress) -> Outcome:
        return Outcome.INTERRUPTED_OUTCOME_UNKNOWN


async def test_item_that_never_began_is_not_sent_whatever_its_kind_says_of_an_interrupt() -> None:
    async with mailing(step=Doubtful) as (world, ref):
        world.executions.lose_orders = 1
        await answer(world)
        await world.terminate(ref)
        await world.clock.pass_time(1)
        assert (world.state(ref), recorded(world, ref)) == (
            State.TERMINATE,
            [[DONE, Outcome.INTERRUPTED_NOT_SENT, None]],
        )


async def test_item_that_is_cut_is_recorded_with_its_progress() -> None:
    async with mailing() as (world, ref):
        progress = world.far.open[0].progress
        progress.status, progress.phase = 200, Phase.READING
        await world.terminate(ref)
        [cut] = [event for event in world.executions.events if isinstance(event, ItemSettled)]
        assert (cut.at, cut.item) == (START, 0)
        assert cut.result == Result(Outcome.INTERRUPTED_RESPONSE, status=200, phase="reading")


class TolerantBroken(TolerantStep):
    async def perform(self, attempt: Attempt, items: Items) -> Report:
        await super().perform(attempt, items)
        raise RuntimeError


async def test_defect_after_a_failed_item_does_not_make_the_step_succeed() -> None:
    async with mailing(step=TolerantBroken) as (world, ref):
        await answer(world, 200)
        await answer(world, 400)
        await answer(world, 200)
        assert (world.state(ref), world.outcomes(ref), recorded(world, ref)) == (
            State.ERROR,
            [FAILED],
            [[DONE, FAILED, DONE]],
        )
        assert world.error(ref)["code"] == "INTERNAL"
