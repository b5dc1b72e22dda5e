"""The result of a settled attempt is recorded, whatever fails afterwards."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from interlock.engine.commits import ActiveRun
from interlock.engine.context import RunContext
from interlock.engine.held import Again, Held
from interlock.errors import Fatal, InterlockError, Unavailable
from interlock.ports import Phase, WebhookRow
from interlock.rules.events import Announce, Event, Fail, Next, Settled
from interlock.rules.model import Mode, Ref
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from interlock.steps.attempt import Attempt, Items, Report, Succeeded
from interlock.steps.webhook import WebhookAddresses, WebhookStep
from tests.clocks import settle
from tests.engine.test_advance_operations import INPUT, a_run, quiet
from tests.engine.worlds import Engine, FarEnd, engine, restarted, wait, webhook

pytestmark = pytest.mark.anyio

TWO_WEBHOOKS = [webhook("a"), webhook("b")]


@pytest.fixture(autouse=True)
def quiet_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "interlock")


def preparer_breaks(world: Engine) -> None:
    real = world.preparer.following

    async def following(ref: Ref, plan: Any, position: int, *rest: Any, **named: Any) -> Next | None:
        if position == 1:
            raise RecursionError
        return await real(ref, plan, position, *rest, **named)

    world.preparer.following = following  # type: ignore[method-assign]


def announcement_is_refused(world: Engine) -> None:
    world.executions.refuses = announces_the_second


def announces_the_second(event: Event) -> bool:
    following = getattr(event, "next", None)
    return isinstance(following, Announce) and following.position == 1


BREAKS: dict[str, Callable[[Engine], None]] = {
    "a later expression": preparer_breaks,
    "the next announcement": announcement_is_refused,
}


@pytest.mark.parametrize("breaks", BREAKS)
@pytest.mark.parametrize("crash", [False, True])
async def test_settled_step_keeps_its_outcome_and_the_next_one_fails(breaks: str, crash: bool) -> None:
    async with engine() as world:
        BREAKS[breaks](world)
        ref = await world.start(await world.publish(TWO_WEBHOOKS))
        world.far.calls[0].answer()
        await settle()
        first = world.steps(ref)[0]
        assert first.outcome is Outcome.SUCCEEDED
        if crash:
            async with restarted(world) as after:
                BREAKS[breaks](after)
                await after.clock.pass_time(20)
        else:
            await world.clock.pass_time(20)
        assert len(world.far.calls) == 1 or crash
        assert world.steps(ref)[0] == first
        if not crash:
            assert world.state(ref) is State.ERROR
            assert [row.outcome for row in world.steps(ref)] == [Outcome.SUCCEEDED, Outcome.FAILED]
            assert world.error(ref)["code"] == "INTERNAL"


class Refusing:
    """Webhooks that cannot be read until the test says so."""

    def __init__(self, real: WebhookAddresses) -> None:
        self._real = real
        self.broken = False

    async def get(self, tenant: int, id: str) -> WebhookRow | None:
        if self.broken:
            raise Unavailable
        return await self._real.get(tenant, id)


async def test_settled_step_is_recorded_though_the_next_host_cannot_be_read() -> None:
    async with engine(addressing=Refusing) as world:
        ref = await world.start(await world.publish(TWO_WEBHOOKS))
        webhooks = world.addresses
        assert isinstance(webhooks, Refusing)
        webhooks.broken = True
        world.far.calls[0].answer()
        await settle()
        assert [row.outcome for row in world.steps(ref)] == [Outcome.SUCCEEDED]
        assert world.state(ref) is State.PENDING
        webhooks.broken = False
        await world.clock.pass_time(2)
        assert len(world.far.calls) == 2
        world.far.calls[1].answer()
        await settle()
        assert world.state(ref) is State.DONE


class Verbose(WebhookStep):
    """Returns more than can be stored."""

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        await super().perform(attempt, items)
        return Succeeded({"text": "x" * 300_000}, 200)


class Strange(WebhookStep):
    """Returns a value that is not JSON."""

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        await super().perform(attempt, items)
        return Succeeded({"text": object()}, 200)


@pytest.mark.parametrize("kind", [Verbose, Strange])
async def test_step_whose_output_cannot_be_kept_has_succeeded_and_ends_the_run(kind: type[WebhookStep]) -> None:
    async with engine(webhook_step=kind) as world:
        ref = await world.start(await world.publish(TWO_WEBHOOKS))
        world.far.calls[0].answer()
        await world.clock.pass_time(20)
        assert (world.state(ref), world.outcomes(ref)) == (State.ERROR, [Outcome.SUCCEEDED])
        assert len(world.far.calls) == 1
        assert world.error(ref)["message"]


async def test_result_that_the_store_refuses_is_recorded_without_its_output() -> None:
    async with engine() as world:
        world.executions.refuses = lambda event: isinstance(event, Settled) and event.result.output is not None
        ref = await world.start(await world.publish(TWO_WEBHOOKS))
        world.far.calls[0].answer()
        await world.clock.pass_time(20)
        assert (world.state(ref), world.outcomes(ref)) == (State.ERROR, [Outcome.SUCCEEDED])
        assert (world.error(ref)["code"], len(world.far.calls)) == ("OUTPUT_NOT_KEPT", 1)


async def test_output_that_expressions_cannot_read_fails_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(self: RunContext, name: str, output: object) -> None:
        raise RecursionError

    async with engine() as world:
        ref = await world.start(await world.publish(TWO_WEBHOOKS))
        monkeypatch.setattr(RunContext, "add", unreadable)
        world.far.calls[0].answer()
        await world.clock.pass_time(20)
        assert (world.state(ref), world.outcomes(ref)) == (State.ERROR, [Outcome.SUCCEEDED, Outcome.FAILED])
        assert len(world.far.calls) == 1


async def test_last_step_whose_output_expressions_cannot_read_finishes_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreadable(self: RunContext, name: str, output: object) -> None:
        raise RecursionError

    async with engine() as world:
        ref = await world.start(await world.publish([webhook("a")]))
        monkeypatch.setattr(RunContext, "add", unreadable)
        world.far.calls[0].answer()
        await world.clock.pass_time(20)
        assert (world.state(ref), world.outcomes(ref)) == (State.DONE, [Outcome.SUCCEEDED])


async def test_wait_that_is_over_succeeded_though_what_follows_breaks() -> None:
    async with engine() as world:
        preparer_breaks(world)
        ref = await world.start(await world.publish([wait("w", "5s"), webhook("a")]))
        await world.clock.pass_time(30)
        assert (world.state(ref), world.outcomes(ref)) == (State.ERROR, [Outcome.SUCCEEDED, Outcome.FAILED])


class Clumsy(WebhookStep):
    """Fails with a defect after the call."""

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        await super().perform(attempt, items)
        raise ZeroDivisionError


class Early(WebhookStep):
    """Fails before anything is sent."""

    error: type[Exception] = ZeroDivisionError

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        raise self.error


class Closed(Early):
    error = Unavailable


@pytest.mark.parametrize(
    ("kind", "status", "outcome"),
    [
        (Clumsy, 200, Outcome.SUCCEEDED),
        (Clumsy, 204, Outcome.SUCCEEDED),
        (Clumsy, 410, Outcome.FAILED),
        (Early, None, Outcome.FAILED),
        (Closed, None, Outcome.FAILED),
    ],
)
async def test_defect_of_a_step_changes_nothing_of_what_is_proven(
    kind: type[WebhookStep], status: int | None, outcome: Outcome
) -> None:
    async with engine(webhook_step=kind) as world:
        ref = await world.start(await world.publish(TWO_WEBHOOKS))
        if status is not None:
            world.far.calls[0].answer(status)
        await world.clock.pass_time(20)
        assert (world.state(ref), world.outcomes(ref)) == (State.ERROR, [outcome])
        assert (world.steps(ref)[0].status, len(world.far.calls)) == (status, status is not None)


@pytest.mark.parametrize("phase", [Phase.WRITING, Phase.WAITING, Phase.READING])
async def test_defect_of_a_step_in_the_middle_of_a_call_leaves_it_in_doubt(phase: Phase) -> None:
    class Halfway(WebhookStep):
        async def perform(self, attempt: Attempt, items: Items) -> Report:
            attempt.progress.phase, attempt.progress.bytes_written = phase, 1
            raise ZeroDivisionError

    async with engine(webhook_step=Halfway) as world:
        ref = await world.start(await world.publish([webhook("a")]))
        await world.clock.pass_time(20)
        assert world.state(ref) is State.ERROR
        assert set(world.outcomes(ref)) <= {Outcome.ABANDONED, Outcome.INTERRUPTED_OUTCOME_UNKNOWN}


async def test_termination_of_a_step_that_breaks_when_cut_is_settled_at_once() -> None:
    async with engine(webhook_step=Clumsy) as world:
        ref = await world.start(await world.publish([webhook("a")]))
        await world.order(ref, mode=Mode.DRAIN)
        world.far.calls[0].answer()
        await settle()
        assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [Outcome.SUCCEEDED])


@pytest.mark.parametrize(
    ("phase", "outcome"),
    [
        (Phase.CONNECTING, Outcome.INTERRUPTED_NOT_SENT),
        (Phase.WAITING, Outcome.INTERRUPTED_OUTCOME_UNKNOWN),
    ],
)
async def test_defect_of_a_step_that_is_cut_does_not_change_what_the_interrupt_says(
    phase: Phase, outcome: Outcome
) -> None:
    class Untidy(WebhookStep):
        async def perform(self, attempt: Attempt, items: Items) -> Report:
            try:
                return await super().perform(attempt, items)
            finally:
                raise ZeroDivisionError

    async with engine(webhook_step=Untidy, far=FarEnd(stays_at=phase)) as world:
        ref = await world.start(await world.publish([webhook("a")]))
        await world.terminate(ref)
        assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [outcome])


# --- what is tried, in order ------------------------------------------------------------------------------------------


def tried(world: Engine) -> list[tuple[Outcome | None, bool, Next | None]]:
    """Each commit of a result: the outcome, whether it has an output, and what follows."""
    settled = [event for event in world.executions.events if isinstance(event, Settled)]
    return [(event.result.outcome, event.result.output is not None, event.next) for event in settled]


async def test_result_that_nothing_follows_is_not_tried_twice_with_its_output() -> None:
    async with engine() as world:
        preparer_breaks(world)
        world.executions.refuses = lambda event: isinstance(event, Settled) and event.result.output is not None
        ref = await world.start(await world.publish(TWO_WEBHOOKS))
        world.far.calls[0].answer()
        await settle()
        assert tried(world) == [(Outcome.SUCCEEDED, True, None), (Outcome.SUCCEEDED, False, Fail(0))]
        assert world.state(ref) is State.ERROR


async def test_failure_that_the_store_refuses_is_recorded_with_its_end_at_once() -> None:
    async with engine() as world:
        refusals = [True]
        world.executions.refuses = lambda event: isinstance(event, Settled) and bool(refusals and refusals.pop())
        ref = await world.start(await world.publish(TWO_WEBHOOKS))
        world.far.calls[0].answer(410)
        await settle()
        assert tried(world) == [(Outcome.FAILED, False, Fail(0))] * 2
        assert (world.state(ref), world.error(ref)["code"]) == (State.ERROR, "OUTPUT_NOT_KEPT")


@pytest.mark.parametrize("refusals", [0, 1])
async def test_store_that_fails_for_good_is_not_asked_again(refusals: int) -> None:
    left = [InterlockError("the store refused a statement")] * refusals

    def refuses(event: Event) -> bool:
        raise left.pop() if left else Fatal("no sync")

    async with quiet(far=FarEnd(lambda request: (200, b"{}"))) as world:
        run = await a_run(world, State.PROCESS_STEP)
        plan = await world.plans.get(world.tenant, run.definition)
        world.executions.refuses = refuses
        with pytest.raises(Fatal, match="no sync"):
            await world.advance.carry(ActiveRun(run, plan, RunContext(plan, {}), INPUT, key="key"), Held(run.ref))
        assert [outcome for outcome, _, _ in tried(world)] == [Outcome.SUCCEEDED] * (1 + refusals)


async def test_termination_does_not_cut_the_commit_after_an_evaluation_that_failed() -> None:
    evaluating: list[bool] = []
    async with quiet(far=FarEnd(lambda request: (200, b"{}"))) as world:
        preparer_breaks(world)
        run = await a_run(world, State.PROCESS_STEP)
        plan, held = await world.plans.get(world.tenant, run.definition), Held(run.ref)

        async def note() -> None:
            evaluating.append(held.evaluating)

        world.executions.first = note
        await world.advance.carry(ActiveRun(run, plan, RunContext(plan, {}), INPUT, key="key"), held)
        assert (evaluating, tried(world)) == ([False], [(Outcome.SUCCEEDED, True, None)])


@pytest.mark.parametrize("why", ["losses", "the server stops"])
async def test_result_is_recorded_alone_before_what_may_end_the_server(why: str) -> None:
    async with quiet(far=FarEnd(lambda request: (200, b"{}"))) as world:
        run = await a_run(world, State.PROCESS_STEP)
        plan, held = await world.plans.get(world.tenant, run.definition), Held(run.ref)
        held.cautious, held.closing = (lambda: None) if why == "losses" else None, why != "losses"
        active = ActiveRun(run, plan, RunContext(plan, {}), INPUT, key="key")
        assert await world.advance.carry(active, held) == Again(world.clock.now())
        assert tried(world) == [(Outcome.SUCCEEDED, True, None)]
        assert (world.state(run.ref), world.row(run.ref).step) == (State.PENDING, 1)
