"""What is recorded of accepted work is what is known of it, whatever the poll, the clock or the store does."""

from __future__ import annotations

import pytest

from interlock.ports import AuditEntry
from interlock.ports.clocks import ClockMark
from interlock.rules.events import Event, Settled
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.states import State, WaitingFor
from interlock.steps.attempt import Accepted, Attempt, Failed, Items, Report
from interlock.steps.documents import error_document
from tests.clocks import SECOND, settle
from tests.engine.polling import (
    PAUSE_SECONDS,
    RUNNING,
    WAIT_SECONDS,
    PollingStep,
    accepted_job,
    answer,
    due,
    job,
    requested,
    waits,
)
from tests.engine.worlds import ANN, Engine

pytestmark = pytest.mark.anyio


async def moved_times(world: Engine, seconds: int) -> None:
    """Commit the move of the stored times, which follows that of engine time."""
    mark = ClockMark(boot="boot", uptime=world.clock.uptime(), now=world.clock.now())
    audit = AuditEntry(actor=ANN, action="clock.move", target="")
    clocks, told = world.store.clocks, world.dispatcher.clock_moved
    await clocks.move(seconds * SECOND, world.clock.now(), mark, None, audit, told)


@pytest.mark.parametrize("seconds", [3600, -3600])
@pytest.mark.parametrize("committed", ["before the answer", "after the answer"])
async def test_correction_of_the_clock_during_a_poll_changes_no_wait(committed: str, seconds: int) -> None:
    async with accepted_job() as (world, ref):
        await due(world)
        world.clock.move(seconds * SECOND)
        if committed == "before the answer":
            await moved_times(world, seconds)
        else:
            world.executions.first = lambda: moved_times(world, seconds)
        await answer(world, body=RUNNING)
        # The poll is repeated, because the times that its answer was judged by were those before the correction.
        await answer(world, body=RUNNING)
        assert waits(world, ref) == (State.WAITING, WaitingFor.POLL, PAUSE_SECONDS)
        assert world.steps(ref)[0].wait_left == (WAIT_SECONDS - 2 * PAUSE_SECONDS) * SECOND


async def test_poll_that_begins_between_the_two_moves_of_a_correction_ends_no_wait() -> None:
    async with accepted_job() as (world, ref):
        world.clock.move(3600 * SECOND)
        world.dispatcher.ready(ref, None)
        await settle()
        world.executions.first = lambda: moved_times(world, 3600)
        await answer(world, body=RUNNING)
        assert waits(world, ref) == (State.WAITING, WaitingFor.POLL, PAUSE_SECONDS)
        await due(world)
        await answer(world, body=RUNNING)
        assert world.steps(ref)[0].wait_left == (WAIT_SECONDS - 2 * PAUSE_SECONDS) * SECOND


@pytest.mark.parametrize(("status", "state"), [(200, State.DONE), (410, State.ERROR)])
async def test_result_of_a_poll_counts_although_the_clock_was_corrected(status: int, state: State) -> None:
    async with accepted_job() as (world, ref):
        await due(world)
        world.clock.move(3600 * SECOND)
        world.executions.first = lambda: moved_times(world, 3600)
        await answer(world, status)
        assert (world.state(ref), len(requested(world))) == (state, 2)


class CallbackStep(PollingStep):
    """Waits for a callback after the receiver has taken the work."""

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        report = await super().perform(attempt, items)
        assert isinstance(report, Accepted)
        return Accepted(report.until, report.status)


@pytest.mark.parametrize("step", [PollingStep, CallbackStep])
async def test_wait_that_cannot_be_stored_leaves_the_accepted_work_in_doubt(step: type[PollingStep]) -> None:
    def refuses(event: Event) -> bool:
        return isinstance(event, Settled) and event.result.outcome is None

    async with job(step) as (world, ref):
        world.executions.refuses = refuses
        await answer(world, 202, b"job-1")
        [row] = world.steps(ref)
        assert (world.state(ref), row.outcome, row.reached) == (State.ERROR, Outcome.FAILED, Reached.UNKNOWN)
        assert (row.status, world.error(ref)["code"]) == (202, "WAIT_NOT_KEPT")


class UnreachedStep(PollingStep):
    async def poll(self, attempt: Attempt, handle: bytes, until: int) -> Report:
        return Failed(error_document("UNREACHED", "no connection"), Reached.NOT_SENT)


async def test_poll_that_was_not_sent_does_not_say_that_the_work_was_not() -> None:
    async with accepted_job(UnreachedStep) as (world, ref):
        await world.clock.pass_time(PAUSE_SECONDS)
        [row] = world.steps(ref)
        assert (row.outcome, row.reached) == (Outcome.FAILED, Reached.UNKNOWN)
