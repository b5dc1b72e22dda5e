"""Accepted work that is polled: the same attempt goes on, and nothing is requested again."""

from __future__ import annotations

import pytest

from interlock.engine.dispatchers.embedded import MAX_CRASHES
from interlock.engine.reports import MAX_POLL_HANDLE_BYTES, MAX_POLL_WAIT_SECONDS, MIN_POLL_INTERVAL_SECONDS
from interlock.ports import HttpFailureKind, Phase
from interlock.ports.clocks import ClockMark
from interlock.rules.events import Announce
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.retry import RetryPolicy
from interlock.rules.states import State, WaitingFor
from interlock.steps.attempt import Attempt, Report
from interlock.steps.kind import PrepareContext, Ready
from tests.clocks import SECOND, settle
from tests.engine.polling import (
    JOB,
    PAUSE_SECONDS,
    RUNNING,
    WAIT_SECONDS,
    PollingStep,
    TaskStep,
    accepted_job,
    answer,
    due,
    job,
    requested,
    waits,
)
from tests.engine.worlds import AUDIT, webhook

pytestmark = pytest.mark.anyio

TWO_STEPS = [JOB, webhook("b", {"job": "{{ ctx.job.job }}"})]


# --- a poll and its result --------------------------------------------------------------------------------------------


async def test_accepted_work_waits_for_its_next_poll_without_a_slot() -> None:
    async with accepted_job() as (world, ref):
        assert waits(world, ref) == (State.WAITING, WaitingFor.POLL, PAUSE_SECONDS)
        assert world.dispatcher.busy == 0
        [row] = world.steps(ref)
        assert (row.outcome, row.waiting_for, row.status) == (None, WaitingFor.POLL, 202)
        assert row.handle is not None
        assert row.handle.find(b"job-1") == -1
        await world.clock.pass_time(PAUSE_SECONDS - 1)
        assert requested(world) == ["POST"]


async def test_poll_continues_the_same_attempt_until_it_succeeds() -> None:
    async with accepted_job(steps=TWO_STEPS) as (world, ref):
        for _ in range(2):
            await due(world)
            assert world.state(ref) is State.WAITING
            await answer(world, body=RUNNING)
            assert waits(world, ref) == (State.WAITING, WaitingFor.POLL, PAUSE_SECONDS)
        await due(world)
        await answer(world)
        assert requested(world)[:4] == ["POST", "GET /job-1", "GET /job-1+", "GET /job-1++"]
        assert world.far.calls[4].body["payload"]["context"] == {"job": "job-1++"}
        [row] = [row for row in world.steps(ref) if row.position == 0]
        assert (row.attempt, row.outcome, row.status, row.handle) == (1, Outcome.SUCCEEDED, 200, None)
        assert row.phase == Phase.DONE, "the phase is that of the call, not of a poll"
        assert world.output(ref, 0) == {"job": "job-1++", "input": '{"to":"hr"}'}


async def test_poll_that_reports_a_failure_ends_the_run() -> None:
    async with accepted_job() as (world, ref):
        await due(world)
        await answer(world, 410)
        [row] = world.steps(ref)
        assert (world.state(ref), row.outcome, row.reached) == (State.ERROR, Outcome.FAILED, Reached.ANSWERED)


class RetriedStep(PollingStep):
    retries = RetryPolicy(attempts=2, min_gap=SECOND, max_gap=SECOND)


async def test_failure_that_a_poll_reports_is_retried_within_the_attempts_of_the_step() -> None:
    async with accepted_job(RetriedStep) as (world, ref):
        await due(world)
        await answer(world, 500)
        assert waits(world, ref) == (State.WAITING, WaitingFor.RETRY, 1)
        await world.clock.pass_time(1)
        await answer(world, 202, b"job-2")
        await due(world)
        await answer(world, 500)
        assert requested(world) == ["POST", "GET /job-1", "POST", "GET /job-2"]
        assert len({call.request.headers["Idempotency-Key"] for call in world.far.calls[::2]}) == 1
        assert (world.state(ref), world.outcomes(ref)) == (State.ERROR, [Outcome.FAILED] * 2)


async def test_poll_without_an_answer_is_repeated_and_nothing_else_is() -> None:
    async with accepted_job() as (world, ref):
        (await due(world)).fail(HttpFailureKind.RESET)
        await settle()
        assert waits(world, ref) == (State.WAITING, WaitingFor.POLL, PAUSE_SECONDS)
        await due(world)
        await answer(world)
        assert (world.state(ref), requested(world)) == (State.DONE, ["POST", "GET /job-1", "GET /job-1"])


async def test_step_without_an_input_is_polled_like_any_other() -> None:
    class BareStep(PollingStep):
        async def prepare(self, context: PrepareContext) -> Ready:
            return Announce(context.position, key="key")

    async with accepted_job(BareStep) as (world, ref):
        await due(world)
        await answer(world)
        assert (world.state(ref), world.output(ref, 0)["input"]) == (State.DONE, "{}")


async def test_accepted_work_may_wait_for_a_task() -> None:
    async with accepted_job(TaskStep) as (world, ref):
        assert waits(world, ref) == (State.WAITING, WaitingFor.TASK, WAIT_SECONDS)
        await world.clock.pass_time(WAIT_SECONDS)
        assert (world.state(ref), world.error(ref)["code"]) == (State.ERROR, "JOB_TIMEOUT")


# --- limits -----------------------------------------------------------------------------------------------------------


class EagerStep(PollingStep):
    pause_seconds = 0
    wait_seconds = 3


async def test_polls_are_a_minimal_interval_apart_and_end_with_the_wait() -> None:
    async with accepted_job(EagerStep) as (world, ref):
        for polls in range(1, 4):
            assert waits(world, ref) == (State.WAITING, WaitingFor.POLL, MIN_POLL_INTERVAL_SECONDS)
            await due(world, MIN_POLL_INTERVAL_SECONDS)
            await answer(world, body=RUNNING)
            assert len(requested(world)) == polls + 1
        [row] = world.steps(ref)
        assert (world.state(ref), world.error(ref)["code"]) == (State.ERROR, "JOB_TIMEOUT")
        assert (row.outcome, row.reached) == (Outcome.FAILED, Reached.UNKNOWN)


async def test_last_poll_is_at_the_end_of_the_wait_and_its_result_counts() -> None:
    class RareStep(PollingStep):
        pause_seconds = 10 * WAIT_SECONDS

    async with accepted_job(RareStep) as (world, ref):
        assert waits(world, ref) == (State.WAITING, WaitingFor.POLL, WAIT_SECONDS)
        await due(world, WAIT_SECONDS)
        await answer(world)
        assert world.state(ref) is State.DONE


class EndlessStep(PollingStep):
    pause_seconds = MAX_POLL_WAIT_SECONDS // 2 - 1
    wait_seconds = 100 * MAX_POLL_WAIT_SECONDS


async def test_wait_that_each_poll_prolongs_ends_at_the_limit() -> None:
    async with accepted_job(EndlessStep) as (world, ref):
        for left in (EndlessStep.pause_seconds, EndlessStep.pause_seconds, 2):
            assert waits(world, ref) == (State.WAITING, WaitingFor.POLL, left)
            await world.clock.jump(left)
            await answer(world, body=RUNNING)
        assert (world.state(ref), world.error(ref)["code"]) == (State.ERROR, "JOB_TIMEOUT")


@pytest.mark.parametrize("during_poll", [False, True])
async def test_wait_keeps_what_is_left_of_it_when_engine_time_moves(during_poll: bool) -> None:
    async with accepted_job() as (world, ref):
        if during_poll:
            await due(world)
        by = 10 * WAIT_SECONDS * SECOND
        mark = ClockMark(boot=world.clock.boot(), uptime=0, now=world.clock.now() + by)
        await world.store.clocks.move(by, world.clock.wall(), mark, None, AUDIT, lambda: world.clock.move(by))
        world.dispatcher.clock_moved()
        await settle()
        if not during_poll:
            assert waits(world, ref) == (State.WAITING, WaitingFor.POLL, PAUSE_SECONDS)
            await due(world)
        else:
            # What the poll says of the wait is void, and the poll is repeated.
            await answer(world, body=RUNNING)
        await answer(world, body=RUNNING)
        assert waits(world, ref) == (State.WAITING, WaitingFor.POLL, PAUSE_SECONDS)
        assert world.steps(ref)[0].wait_left == (WAIT_SECONDS - 2 * PAUSE_SECONDS) * SECOND


async def test_poll_that_does_not_end_is_cut_and_repeated() -> None:
    async with accepted_job(EndlessStep) as (world, ref):
        await world.clock.jump(EndlessStep.pause_seconds)
        await world.clock.pass_time(29)
        assert [call.cut for call in world.far.calls] == [False, False]
        await world.clock.pass_time(1)
        assert [call.cut for call in world.far.calls] == [False, True]
        assert waits(world, ref) == (State.WAITING, WaitingFor.POLL, 60)
        assert world.dispatcher.busy == 0
        await due(world, 60)
        await answer(world)
        assert (world.state(ref), requested(world)) == (State.DONE, ["POST", "GET /job-1", "GET /job-1"])


@pytest.mark.parametrize("length", [MAX_POLL_HANDLE_BYTES, MAX_POLL_HANDLE_BYTES + 1])
async def test_handle_is_kept_up_to_its_limit(length: int) -> None:
    async with job() as (world, ref):
        await answer(world, 202, b"h" * length)
        if length <= MAX_POLL_HANDLE_BYTES:
            assert world.row(ref).waiting_for is WaitingFor.POLL
            return
        [row] = world.steps(ref)
        assert (world.state(ref), world.error(ref)["code"]) == (State.ERROR, "POLL_HANDLE_NOT_KEPT")
        assert (row.outcome, row.reached, row.status) == (Outcome.FAILED, Reached.UNKNOWN, 202)


class BrokenStep(PollingStep):
    async def poll(self, attempt: Attempt, handle: bytes, until: int) -> Report:
        raise RuntimeError("a defect of the kind")


async def test_defect_in_a_poll_is_retried_and_then_leaves_the_work_in_doubt() -> None:
    async with accepted_job(BrokenStep) as (world, ref):
        await world.clock.pass_time(PAUSE_SECONDS + MAX_CRASHES)
        [row] = world.steps(ref)
        assert (world.state(ref), world.error(ref)["code"]) == (State.ERROR, "INTERNAL")
        assert (row.outcome, row.reached) == (Outcome.FAILED, Reached.UNKNOWN)
        assert requested(world) == ["POST"]


async def test_poll_waits_for_a_slot_of_its_host() -> None:
    async with accepted_job(slots=2) as (world, first):
        second = await world.start(await world.publish([webhook("a")], "other"), automation="other")
        await world.clock.pass_time(PAUSE_SECONDS)
        # One host may not take every slot: the poll waits, and the run stays as it is.
        assert requested(world) == ["POST", "POST"]
        assert (world.state(first), world.dispatcher.busy) == (State.WAITING, 1)
        await answer(world)
        assert world.state(second) is State.DONE
        await answer(world)
        assert (world.state(first), requested(world)[2]) == (State.DONE, "GET /job-1")


async def test_host_of_a_poll_is_known_before_it_has_a_slot() -> None:
    async with accepted_job() as (world, ref):
        assert await world.advance.destination(ref) == "far.example"
