"""Accepted work that is polled: the same attempt goes on, nothing is requested again, and a stop is immediate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from interlock.engine.dispatchers.embedded import MAX_CRASHES
from interlock.engine.polls import MAX_POLL_SECONDS, UNANSWERED_POLL_PAUSE_SECONDS
from interlock.engine.reports import MAX_POLL_HANDLE_BYTES, MAX_POLL_WAIT_SECONDS, MIN_POLL_INTERVAL_SECONDS
from interlock.ports import Clock, Http, HttpFailureKind
from interlock.ports.clocks import ClockMark
from interlock.rules.events import Event, Polled, Terminated
from interlock.rules.model import Mode, Ref, TerminationRequest
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.retry import RetryPolicy
from interlock.rules.states import State, WaitingFor
from interlock.secrets.vault import AesVault
from interlock.steps.kind import Attempt, Report, Succeeded
from tests.clocks import SECOND, ManualClock, SequentialIds, settle
from tests.engine.polling import DONE, JOB, PAUSE_SECONDS, RUNNING, URL, WAIT_SECONDS, PollingStep, TaskStep, polling
from tests.engine.worlds import ANN, AUDIT, Call, Engine, FarEnd, engine, restarted, webhook

pytestmark = pytest.mark.anyio

TWO_STEPS = [JOB, webhook("b", {"job": "{{ ctx.job.job }}"})]


@asynccontextmanager
async def job(
    step: Callable[[Http, Clock], PollingStep] = PollingStep, *, steps: Any = (JOB,), **options: Any
) -> AsyncIterator[tuple[Engine, Ref]]:
    """A run whose first step has given its job to the receiver, which has not answered yet."""
    far, clock = options.pop("far", None) or FarEnd(), ManualClock()
    async with engine(far=far, clock=clock, more_kinds=[polling(far, clock, step)], **options) as world:
        yield world, await world.start(await world.publish(steps))


@asynccontextmanager
async def accepted_job(
    step: Callable[[Http, Clock], PollingStep] = PollingStep, *, steps: Any = (JOB,), **options: Any
) -> AsyncIterator[tuple[Engine, Ref]]:
    """The same, and the receiver has accepted it."""
    async with job(step, steps=steps, **options) as (world, ref):
        await answer(world, 202, b"job-1")
        yield world, ref


async def answer(world: Engine, status: int = 200, body: bytes = DONE) -> None:
    [call] = world.far.open
    call.answer(status, body)
    await settle()


async def due(world: Engine, seconds: float = PAUSE_SECONDS) -> Call:
    """Let the time of the next poll come, and return the poll."""
    await world.clock.pass_time(seconds)
    [call] = world.far.open
    return call


def requested(world: Engine) -> list[str]:
    return [f"{call.request.method} {call.request.url.removeprefix(URL)}".strip() for call in world.far.calls]


def waits(world: Engine, ref: Ref) -> tuple[State, WaitingFor | None, float | None]:
    """The state of the run, what it waits for, and the seconds until then."""
    row = world.row(ref)
    left = None if row.wake_at is None else (row.wake_at - world.clock.now()) / SECOND
    return row.state, row.waiting_for, left


def late(world: Engine, ref: Ref) -> list[str]:
    [row] = world.steps(ref)
    return [each["outcome"] for each in json.loads(row.late or b"[]")]


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
        await answer(world, body=RUNNING)
        assert waits(world, ref) == (State.WAITING, WaitingFor.POLL, PAUSE_SECONDS)
        assert world.steps(ref)[0].wait_left == (WAIT_SECONDS - 2 * PAUSE_SECONDS) * SECOND


async def test_poll_that_does_not_end_is_cut_and_repeated() -> None:
    async with accepted_job(EndlessStep) as (world, ref):
        await world.clock.jump(EndlessStep.pause_seconds)
        [call] = world.far.open
        await world.clock.pass_time(MAX_POLL_SECONDS)
        assert call.cut
        assert waits(world, ref) == (State.WAITING, WaitingFor.POLL, UNANSWERED_POLL_PAUSE_SECONDS)
        assert world.dispatcher.busy == 0
        await due(world, UNANSWERED_POLL_PAUSE_SECONDS)
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


# --- stops ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", Mode)
async def test_stop_before_the_poll_is_immediate_and_no_poll_follows(mode: Mode) -> None:
    async with accepted_job() as (world, ref):
        await world.order(ref, mode=mode)
        assert world.state(ref) is State.TERMINATE
        await world.clock.pass_time(10 * PAUSE_SECONDS)
        assert (requested(world), world.outcomes(ref), late(world, ref)) == (["POST"], [None], [])


@pytest.mark.parametrize("mode", Mode)
async def test_stop_during_the_poll_is_immediate_and_cuts_it(mode: Mode) -> None:
    async with accepted_job() as (world, ref):
        call = await due(world)
        await world.order(ref, mode=mode)
        assert world.state(ref) is State.TERMINATE
        await settle()
        assert call.cut
        assert (world.dispatcher.busy, late(world, ref)) == (0, [])
        await world.clock.pass_time(10 * PAUSE_SECONDS)
        assert len(requested(world)) == 2


async def test_stop_that_is_committed_when_the_poll_is_due_prevents_it() -> None:
    async with accepted_job() as (world, ref):
        world.clock.advance(PAUSE_SECONDS)
        await world.order(ref)
        await settle()
        assert (world.state(ref), requested(world)) == (State.TERMINATE, ["POST"])


@pytest.mark.parametrize(("status", "evidence"), [(200, ["LATE_SUCCEEDED"]), (410, ["LATE_FAILED"])])
async def test_result_that_comes_after_the_stop_is_late_evidence(status: int, evidence: list[str]) -> None:
    async with accepted_job(steps=[JOB, webhook("b")]) as (world, ref):
        await due(world)
        request = TerminationRequest(ANN, "enough")
        world.executions.meanwhile.append(Terminated(world.clock.now(), request))
        await answer(world, status)
        assert (world.state(ref), late(world, ref)) == (State.TERMINATE, evidence)
        assert (world.outcomes(ref), len(requested(world))) == ([None], 2)


async def test_stop_that_is_told_as_the_report_comes_does_not_drop_it() -> None:
    told: list[Callable[[], None]] = []

    class ToldStep(PollingStep):
        async def poll(self, attempt: Attempt, handle: bytes, until: int) -> Report:
            told[0]()
            return Succeeded({})

    async with accepted_job(ToldStep) as (world, ref):
        told.append(lambda: world.dispatcher.stopped(ref))
        world.executions.meanwhile.append(Terminated(world.clock.now(), TerminationRequest(ANN, "enough")))
        await world.clock.pass_time(PAUSE_SECONDS)
        assert (world.state(ref), late(world, ref)) == (State.TERMINATE, ["LATE_SUCCEEDED"])
        assert world.dispatcher.busy == 0


async def test_next_time_that_cannot_be_recorded_is_found_by_another_poll() -> None:
    async with accepted_job() as (world, ref):
        await due(world)
        left = [1]
        world.executions.refuses = lambda event: isinstance(event, Polled) and bool(left and left.pop())
        await answer(world, body=RUNNING)
        await due(world, 1)
        await answer(world)
        assert (world.state(ref), requested(world)) == (State.DONE, ["POST", "GET /job-1", "GET /job-1"])


async def test_poll_that_is_still_running_when_the_stop_comes_is_no_evidence() -> None:
    async with accepted_job() as (world, ref):
        await due(world)
        world.executions.meanwhile.append(Terminated(world.clock.now(), TerminationRequest(ANN, "enough")))
        await answer(world, body=RUNNING)
        assert (world.state(ref), late(world, ref)) == (State.TERMINATE, [])


async def test_stop_of_the_attempt_that_is_accepted_afterwards_waits_for_no_poll() -> None:
    async with job() as (world, ref):
        await world.terminate(ref, mode=Mode.DRAIN)
        await answer(world, 202, b"job-1")
        assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [Outcome.INTERRUPTED_WAITING])
        await world.clock.pass_time(10 * PAUSE_SECONDS)
        assert requested(world) == ["POST"]


@pytest.mark.parametrize("turns", range(12))
async def test_stop_at_every_turn_of_a_poll_starts_nothing_more(turns: int) -> None:
    def always(request: Any) -> tuple[int, bytes]:
        return (202, b"job-1") if request.method == "POST" else (200, DONE)

    async with job(far=FarEnd(always=always), steps=[JOB, webhook("b")]) as (world, ref):
        world.clock.advance(PAUSE_SECONDS)
        await settle(turns)
        await world.order(ref)
        calls = len(requested(world))
        await settle()
        await world.clock.pass_time(10 * PAUSE_SECONDS)
        started = [row for row in world.steps(ref) if row.position == 1]
        assert world.state(ref) in {State.TERMINATE, State.WAITING}
        assert len(requested(world)) <= max(calls, 2 + len(started))
        if world.state(ref) is State.TERMINATE and not started:
            assert world.outcomes(ref) in ([None], [Outcome.SUCCEEDED])


# --- crashes and commits in doubt -------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["before the poll", "while the poll is due", "during the poll", "after a poll"])
async def test_crash_at_every_point_goes_on_with_the_same_attempt(point: str) -> None:
    async with accepted_job() as (world, ref):
        if point == "while the poll is due":
            world.clock.advance(PAUSE_SECONDS)
        elif point != "before the poll":
            await due(world)
        if point == "after a poll":
            await answer(world, body=RUNNING)
        more = [polling(world.far, world.clock)]
        async with restarted(world, more_kinds=more) as again:
            if point in {"before the poll", "after a poll"}:
                await again.clock.pass_time(PAUSE_SECONDS)
            await answer(again)
            assert (again.state(ref), again.outcomes(ref)) == (State.DONE, [Outcome.SUCCEEDED])
            assert [line for line in requested(again) if line == "POST"] == ["POST"]


@pytest.mark.parametrize("fault", ["lose_orders", "lose_replies"])
@pytest.mark.parametrize("body", [RUNNING, DONE])
async def test_result_of_a_poll_survives_a_commit_in_doubt(fault: str, body: bytes) -> None:
    async with accepted_job() as (world, ref):
        await due(world)
        setattr(world.executions, fault, 1)
        await answer(world, body=body)
        await world.clock.pass_time(1)
        if body == DONE:
            assert (world.state(ref), world.outcomes(ref)) == (State.DONE, [Outcome.SUCCEEDED])
        else:
            assert world.row(ref).waiting_for is WaitingFor.POLL
        assert len(requested(world)) == 2


async def test_result_that_cannot_be_stored_with_its_output_keeps_its_outcome() -> None:
    def refuses(event: Event) -> bool:
        return isinstance(event, Polled) and event.result.output is not None

    async with accepted_job() as (world, ref):
        world.executions.refuses = refuses
        await due(world)
        await answer(world)
        assert (world.state(ref), world.outcomes(ref)) == (State.ERROR, [Outcome.SUCCEEDED])
        assert world.error(ref)["code"] == "OUTPUT_NOT_KEPT"


async def test_superseded_poll_changes_nothing_while_the_wait_goes_on() -> None:
    async with accepted_job() as (world, ref):
        await due(world)
        [poll] = [world.row(ref)]
        await answer(world, body=RUNNING)
        event = next(each for each in world.executions.events if isinstance(each, Polled))
        before = world.row(ref)
        assert event.epoch == poll.epoch
        await world.store.executions.apply(ref, event)
        assert (world.row(ref), late(world, ref)) == (before, [])


async def test_missing_key_of_the_handle_leaves_the_work_in_doubt() -> None:
    async with accepted_job() as (world, ref):
        other = AesVault([b"o" * 32], SequentialIds())
        more = [polling(world.far, world.clock)]
        async with restarted(world, more_kinds=more, vault=other) as again:
            await again.clock.pass_time(PAUSE_SECONDS)
            [row] = again.steps(ref)
            assert (again.state(ref), again.error(ref)["code"]) == (State.ERROR, "SECRET_UNREADABLE")
            assert (row.reached, requested(again)) == (Reached.UNKNOWN, ["POST"])


async def test_server_that_stops_cuts_the_poll_and_the_next_one_repeats_it() -> None:
    async with accepted_job() as (world, ref):
        await due(world)
        draining = asyncio.get_running_loop().create_task(world.dispatcher.drain(1))
        await world.clock.pass_time(1)
        await draining
        assert waits(world, ref)[:2] == (State.WAITING, WaitingFor.POLL)
        async with restarted(world, more_kinds=[polling(world.far, world.clock)]) as again:
            await answer(again)
            assert again.state(ref) is State.DONE
