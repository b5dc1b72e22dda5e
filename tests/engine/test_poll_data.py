"""What a step is given to poll with: the data of the attempt that was accepted, and the end of its wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import pytest

from interlock.engine.commits import ActiveRun
from interlock.engine.context import RunContext
from interlock.engine.held import Held
from interlock.ports import SecretUnreadable
from interlock.rules.events import Announce, Polled, Wait
from interlock.rules.model import Ref
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.retry import RetryPolicy
from interlock.rules.states import State, WaitingFor
from interlock.secrets.vault import AesVault
from interlock.steps.attempt import Accepted, Attempt, Report, Succeeded
from interlock.steps.kind import PrepareContext, Ready
from tests.clocks import SECOND, START, ManualClock, SequentialIds, settle
from tests.engine.polling import (
    JOB,
    PAUSE_SECONDS,
    WAIT_SECONDS,
    PollingStep,
    accepted_job,
    answer,
    job,
    polling,
    requested,
    waits,
)
from tests.engine.test_attempt_data import publish
from tests.engine.worlds import Engine, FarEnd, engine, restarted, wait, webhook

pytestmark = pytest.mark.anyio

TWICE = RetryPolicy(attempts=2, min_gap=SECOND, max_gap=SECOND)


class ReportingStep(PollingStep):
    """Has an input with a secret, fails at the first poll, and then returns what it was given."""

    retries = TWICE
    hosts_of: ClassVar[list[bytes]] = []
    """The inputs whose host was asked for."""

    async def prepare(self, context: PrepareContext) -> Ready:
        ready = await super().prepare(context)
        assert isinstance(ready, Announce)
        return replace(ready, input=b'{"pw":"[secret]"}', sealed=context.seal_input(b'{"pw":"hunter2"}'))

    async def destination(self, tenant: int, input: bytes) -> str | None:
        self.hosts_of.append(input)
        return await super().destination(tenant, input)

    async def poll(self, attempt: Attempt, handle: bytes, until: int) -> Report:
        if attempt.attempt.number == 1:
            return self._refused(503)
        return Succeeded(
            {
                "run": attempt.ref.id,
                "automation": attempt.automation,
                "attempt": [attempt.attempt.position, attempt.attempt.number, attempt.attempt.epoch],
                "input": json.loads(attempt.input),
                "secret_length": len(json.loads(attempt.reveal())["pw"]),
                "first_started_at": attempt.first_started_at,
                "key": attempt.key,
                "apps": None if attempt.apps is None else sorted(attempt.apps),
                "handle": handle.decode(),
                "until": until,
            }
        )


@pytest.mark.parametrize("apps", [None, frozenset({"crm", "hr"})])
async def test_every_poll_is_given_the_data_of_its_attempt(apps: frozenset[str] | None) -> None:
    far, clock = FarEnd(), ManualClock()
    ReportingStep.hosts_of.clear()
    async with engine(far=far, clock=clock, more_kinds=[polling(far, clock, ReportingStep)]) as world:
        ref = await world.start(await publish(world, apps, [wait("first", "5s"), JOB]), automation="confined")
        await clock.pass_time(5)
        await answer(world, 202, b"job-1")
        await clock.pass_time(PAUSE_SECONDS + 1)
        epoch = world.row(ref).attempt_epoch
        await answer(world, 202, b"job-2")
        # The poll is two seconds late, and the wait ends when it would have ended.
        await clock.jump(PAUSE_SECONDS + 2)
        assert world.state(ref) is State.DONE
        assert json.loads(world.steps(ref)[-1].output or b"null") == {
            "run": ref.id,
            "automation": "confined",
            "attempt": [1, 2, epoch],
            "input": {"pw": "[secret]"},
            "secret_length": 7,
            "first_started_at": START + 5 * SECOND,
            "key": f"inst:{ref.id}:job:1",
            "apps": None if apps is None else ["crm", "hr"],
            "handle": "job-2",
            "until": START + (5 + PAUSE_SECONDS + 1 + WAIT_SECONDS) * SECOND,
        }
        assert set(ReportingStep.hosts_of) == {b'{"pw":"hunter2"}'}


async def test_attempt_whose_secret_cannot_be_read_fails_before_it_is_sent() -> None:
    async with job(ReportingStep) as (world, ref):
        await answer(world, 503)
        more, other = [polling(world.far, world.clock, ReportingStep)], AesVault([b"o" * 32], SequentialIds())
        async with restarted(world, more_kinds=more, vault=other) as again:
            await again.clock.pass_time(1)
            assert (again.state(ref), again.error(ref)["code"]) == (State.ERROR, "SECRET_UNREADABLE")
            assert (again.steps(ref)[-1].reached, requested(again)) == (Reached.NOT_SENT, ["POST"])


class TellingStep(PollingStep):
    """Returns when its wait ends."""

    async def poll(self, attempt: Attempt, handle: bytes, until: int) -> Report:
        return Succeeded({"until": until})


class LastPollStep(TellingStep):
    pause_seconds = WAIT_SECONDS


async def test_last_poll_is_told_that_the_wait_ends_now() -> None:
    async with accepted_job(LastPollStep) as (world, ref):
        await world.clock.jump(WAIT_SECONDS)
        assert world.output(ref, 0) == {"until": START + WAIT_SECONDS * SECOND}


class ShorterStep(PollingStep):
    """Reports at the first poll that the wait has ended."""

    async def poll(self, attempt: Attempt, handle: bytes, until: int) -> Report:
        return Accepted(self._clock.now())


async def test_poll_can_end_the_wait_before_its_time() -> None:
    async with accepted_job(ShorterStep) as (world, ref):
        await world.clock.jump(PAUSE_SECONDS)
        [row] = world.steps(ref)
        assert (world.state(ref), world.error(ref)["code"]) == (State.ERROR, "JOB_TIMEOUT")
        assert (row.outcome, row.reached) == (Outcome.FAILED, Reached.UNKNOWN)


class VerboseStep(PollingStep):
    async def poll(self, attempt: Attempt, handle: bytes, until: int) -> Report:
        return Succeeded({"text": "x" * 300_000})


async def test_output_of_a_poll_that_cannot_be_kept_ends_the_run_before_the_next_step() -> None:
    async with accepted_job(VerboseStep, steps=[JOB, webhook("b")]) as (world, ref):
        await world.clock.jump(PAUSE_SECONDS)
        assert (world.state(ref), world.outcomes(ref)) == (State.ERROR, [Outcome.SUCCEEDED])
        assert requested(world) == ["POST"]


async def test_result_of_a_poll_and_the_next_step_are_one_commit_of_the_node_that_polled() -> None:
    async with accepted_job(steps=[JOB, webhook("b")]) as (world, ref):
        await world.clock.jump(PAUSE_SECONDS)
        await answer(world)
        row = world.row(ref)
        assert (row.state, row.step, row.holder) == (State.PROCESS_STEP, 1, "holder-one")
        assert isinstance(poll_event(world).next, Announce)


async def test_wait_after_a_poll_begins_with_its_result() -> None:
    async with accepted_job(TellingStep, steps=[JOB, wait("w", "10s")]) as (world, ref):
        await world.clock.jump(PAUSE_SECONDS)
        event = poll_event(world)
        assert isinstance(event.next, Wait)
        assert waits(world, ref) == (State.WAITING, WaitingFor.TIMER, 10)
        assert event.next.until == event.at + 10 * SECOND


# --- a poll in the hands of the test ----------------------------------------------------------------------------------


async def due_to(world: Engine, ref: Ref) -> ActiveRun:
    """The run at the time of its poll, which the dispatcher leaves to the test."""
    world.dispatcher.take_no_more()
    await world.clock.jump(PAUSE_SECONDS)
    row = world.row(ref)
    plan = await world.plans.get(world.tenant, row.definition)
    return ActiveRun(row, plan, RunContext(plan, {}))


def poll_event(world: Engine) -> Polled:
    [event] = [each for each in world.executions.events if isinstance(each, Polled)]
    return event


async def test_removed_run_is_not_polled() -> None:
    async with accepted_job() as (world, ref):
        active = await due_to(world, ref)
        active.execution = replace(active.execution, id=99)
        assert not await world.advance._polls.poll(active, Held(ref))
        assert requested(world) == ["POST"]


async def test_poll_of_a_run_with_losses_is_recorded_before_the_next_step_is_evaluated() -> None:
    async with accepted_job(TellingStep, steps=[JOB, webhook("b")]) as (world, ref):
        active, held, begun = await due_to(world, ref), Held(ref), list[bool]()
        held.cautious = lambda: begun.append(held.evaluating)
        assert await world.advance._polls.poll(active, held)
        assert (begun, active.stale, poll_event(world).next) == ([False], True, None)
        assert (world.state(ref), world.row(ref).step) == (State.PENDING, 1)


async def test_result_that_comes_while_the_server_stops_announces_no_other_step() -> None:
    held = Held(Ref(0, 0))

    class StoppingStep(TellingStep):
        async def poll(self, attempt: Attempt, handle: bytes, until: int) -> Report:
            held.closing = True
            return await super().poll(attempt, handle, until)

    async with accepted_job(StoppingStep, steps=[JOB, webhook("b")]) as (world, ref):
        assert await world.advance._polls.poll(await due_to(world, ref), held)
        assert poll_event(world).next is None
        assert (world.state(ref), world.row(ref).step) == (State.PENDING, 1)


async def test_cancellation_that_no_termination_caused_ends_the_caller_of_a_poll() -> None:
    async with accepted_job() as (world, ref):
        active, held = await due_to(world, ref), Held(ref)
        polled = asyncio.ensure_future(world.advance._polls.poll(active, held))
        await settle()
        assert held.evaluating
        polled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await polled
        assert (held.evaluating, world.far.calls[-1].cut) == (False, True)
        assert world.state(ref) is State.WAITING


async def test_cancellation_that_comes_with_the_report_drops_it() -> None:
    cancel: list[Callable[[], object]] = []

    class CancelledStep(TellingStep):
        async def poll(self, attempt: Attempt, handle: bytes, until: int) -> Report:
            cancel[0]()
            return await super().poll(attempt, handle, until)

    async with accepted_job(CancelledStep) as (world, ref):
        polled = asyncio.ensure_future(world.advance._polls.poll(await due_to(world, ref), Held(ref)))
        cancel.append(polled.cancel)
        with pytest.raises(asyncio.CancelledError):
            await polled
        assert world.state(ref) is State.WAITING


class KeylessStep(PollingStep):
    async def poll(self, attempt: Attempt, handle: bytes, until: int) -> Report:
        raise SecretUnreadable


async def test_termination_does_not_cut_the_commit_of_a_poll_without_its_key() -> None:
    async with accepted_job(KeylessStep) as (world, ref):
        active, held, evaluating = await due_to(world, ref), Held(ref), list[bool]()

        async def note() -> None:
            evaluating.append(held.evaluating)

        world.executions.first = note
        assert await world.advance._polls.poll(active, held)
        assert (evaluating, world.state(ref), world.error(ref)["code"]) == ([False], State.ERROR, "SECRET_UNREADABLE")
