"""Stops, crashes and commits in doubt while accepted work is polled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from interlock.rules.events import Event, Polled, Terminated
from interlock.rules.model import Mode, TerminationRequest
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.states import State, WaitingFor
from interlock.secrets.vault import AesVault
from interlock.steps.attempt import Attempt, Report, Succeeded
from tests.clocks import SequentialIds, settle
from tests.engine.polling import (
    DONE,
    JOB,
    PAUSE_SECONDS,
    RUNNING,
    PollingStep,
    accepted_job,
    answer,
    due,
    job,
    late,
    polling,
    requested,
    waits,
)
from tests.engine.worlds import ANN, AUDIT, FarEnd, restarted, webhook

pytestmark = pytest.mark.anyio

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
        assert not [event for event in world.executions.events if isinstance(event, Polled)]
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


@pytest.mark.parametrize("ends", ["stopped", "take_no_more"])
async def test_poll_does_not_begin_when_the_run_or_the_server_ends_meanwhile(ends: str) -> None:
    told: list[Callable[[], None]] = []

    class ToldStep(PollingStep):
        async def destination(self, tenant: int, input: bytes) -> str | None:
            for tell in told:
                tell()
            return await super().destination(tenant, input)

    async with accepted_job(ToldStep) as (world, ref):
        dispatcher = world.dispatcher
        told.append(dispatcher.take_no_more if ends == "take_no_more" else lambda: dispatcher.stopped(ref))
        await world.clock.pass_time(PAUSE_SECONDS)
        assert (requested(world), world.dispatcher.busy) == (["POST"], 0)
        assert waits(world, ref)[:2] == (State.WAITING, WaitingFor.POLL)


@pytest.mark.parametrize("body", [RUNNING, DONE])
async def test_poll_ends_the_run_of_a_tenant_that_has_disabled_automations(body: bytes) -> None:
    async with accepted_job(steps=[JOB, webhook("b")]) as (world, ref):
        await world.store.access.change_settings(
            world.tenant, lambda settings: (replace(settings, automations_disabled=True), AUDIT), world.clock.now()
        )
        await due(world)
        await answer(world, body=body)
        outcome = None if body == RUNNING else Outcome.SUCCEEDED
        assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [outcome])
        assert len(requested(world)) == 2


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
