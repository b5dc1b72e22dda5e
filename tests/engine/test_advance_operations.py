"""Each operation of `advance`: the event that it applies, and its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from interlock.engine.commits import ActiveRun
from interlock.engine.context import RunContext
from interlock.engine.held import FINISHED, SUPERSEDED, Again, Claim, Held, Turn
from interlock.rules.events import (
    Announce,
    DeadlinePassed,
    Fail,
    Finish,
    Prepared,
    Recovered,
    Retry,
    Settled,
    Terminated,
    Wait,
    Woken,
)
from interlock.rules.model import Actor, AttemptRef, Execution, Mode, Ref, Result, TerminationRequest
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from interlock.steps.attempt import Attempt, Items, Report
from interlock.steps.webhook import WebhookStep
from tests.clocks import SECOND, settle
from tests.engine.worlds import THREE_WEBHOOKS, Engine, FarEnd, engine, run_automation, wait, webhook
from tests.store.stores import on_connection, sqlite

pytestmark = pytest.mark.anyio

STOP = TerminationRequest(Actor("ann"), "enough", Mode.DRAIN)
HOLDER = "holder-one"
INPUT = b'{"webhookId":"hook","payload":{}}'


@asynccontextmanager
async def quiet(**options: Any) -> AsyncIterator[Engine]:
    """Run an engine whose dispatcher starts no turn; only the test does."""
    async with engine(**options) as world:
        world.dispatcher.take_no_more()
        yield world


async def a_run(world: Engine, state: State, *, steps: Any = THREE_WEBHOOKS, automation: str = "auto") -> Execution:
    """Start a run in a state, without a holder; a WAITING one waits ten seconds for a timer."""
    ref = await world.begin(await world.publish(steps, id=automation), automation=automation)
    now, real = world.clock.now(), world.store.executions
    if state is State.WAITING:
        await real.apply(ref, Prepared(now, 1, Wait(0, WaitingFor.TIMER, now + 10 * SECOND), "gone"))
    elif state is not State.PENDING:
        await real.apply(ref, Prepared(now, 1, Announce(0, INPUT, key="key"), "gone"))
    if state in {State.DONE, State.ERROR}:
        following = Finish(1) if state is State.DONE else Fail(0)
        outcome = Outcome.SUCCEEDED if state is State.DONE else Outcome.FAILED
        await real.apply(ref, Settled(now, AttemptRef(0, 1, 2), Result(outcome), following))
    if state in {State.STOPPING, State.TERMINATE}:
        await real.apply(ref, Terminated(now, STOP if state is State.STOPPING else replace(STOP, deadline=0)))
    assert world.state(ref) is state
    world.executions.events.clear()
    return world.row(ref)


async def turn(world: Engine, ref: Ref, *, lost: bool = False) -> Turn:
    return await world.advance.advance(Claim(ref, lost), Held(ref))


# --- a turn -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("state", [State.DONE, State.ERROR, State.TERMINATE])
async def test_a_run_that_is_over_is_left_alone(state: State, lost: bool) -> None:
    async with quiet() as world:
        run = await a_run(world, state)
        assert await turn(world, run.ref, lost=lost) is FINISHED
        assert await turn(world, Ref(run.tenant, 99), lost=lost) is FINISHED
        assert world.executions.events == []


async def test_a_run_that_is_held_back_is_left_alone() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PENDING)
        await sqlite(world.store).writer.submit(
            on_connection(
                lambda connection: connection.execute("UPDATE executions SET state = 'PAUSED_BY_CIRCUIT_BREAKER'")
            )
        )
        assert await turn(world, run.ref) is FINISHED
        await world.advance.give_up(run.ref)
        assert world.executions.events == []


async def test_what_is_in_flight_is_left_to_its_holder() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PROCESS_STEP)
        assert await turn(world, run.ref) is SUPERSEDED
        assert world.executions.events == []


@pytest.mark.parametrize("state", [State.WAITING, State.STOPPING])
async def test_what_waits_is_looked_at_again_at_its_time(state: State) -> None:
    async with quiet() as world:
        run = await a_run(world, state)
        assert await turn(world, run.ref) == Again(world.clock.now() + 10 * SECOND)
        assert world.executions.events == []


async def test_a_deadline_that_has_passed_ends_the_run() -> None:
    async with quiet() as world:
        run = await a_run(world, State.STOPPING)
        world.clock.advance(10)
        assert await turn(world, run.ref) is FINISHED
        assert world.executions.events == [DeadlinePassed(world.clock.now(), run.epoch)]
        assert world.state(run.ref) is State.TERMINATE


async def test_a_lost_run_that_was_stopping_is_over() -> None:
    async with quiet() as world:
        run = await a_run(world, State.STOPPING)
        assert await turn(world, run.ref, lost=True) is FINISHED
        assert world.executions.events == [Recovered(world.clock.now(), run.epoch, repeatable=False)]
        assert world.outcomes(run.ref) == [Outcome.ABANDONED]


async def test_a_lost_run_is_recovered_and_goes_on() -> None:
    async with quiet(far=FarEnd(lambda request: (200, b"{}"))) as world:
        run = await a_run(world, State.PROCESS_STEP, steps=[webhook("a")])
        assert await turn(world, run.ref, lost=True) is FINISHED
        assert world.executions.events[0] == Recovered(world.clock.now(), run.epoch, repeatable=True)
        assert world.outcomes(run.ref) == [Outcome.ABANDONED, Outcome.SUCCEEDED]


async def test_lost_run_that_moved_meanwhile_belongs_to_another_holder() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PROCESS_STEP)
        world.executions.meanwhile = [Terminated(world.clock.now(), STOP)]
        assert await turn(world, run.ref, lost=True) is SUPERSEDED
        assert await world.advance.recover(replace(run, id=99)) is None
        assert world.state(run.ref) is State.STOPPING


async def test_ready_run_that_was_resumed_meanwhile_belongs_to_another_holder() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PENDING)
        world.executions.meanwhile = [Terminated(world.clock.now(), STOP)]
        assert await turn(world, run.ref) is SUPERSEDED
        assert world.far.calls == []


# --- giving up --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.DONE, State.ERROR, State.TERMINATE])
async def test_nothing_is_given_up_that_is_over(state: State) -> None:
    async with quiet() as world:
        run = await a_run(world, state)
        await world.advance.give_up(run.ref)
        await world.advance.give_up(Ref(run.tenant, 99))
        assert world.executions.events == []


@pytest.mark.parametrize("state", [State.PROCESS_STEP, State.STOPPING])
async def test_a_run_in_flight_is_given_up_as_lost_and_not_repeated(state: State) -> None:
    async with quiet() as world:
        run = await a_run(world, state)
        await world.advance.give_up(run.ref)
        assert world.executions.events == [Recovered(world.clock.now(), run.epoch, repeatable=False)]
        assert world.state(run.ref) is (State.ERROR if state is State.PROCESS_STEP else State.TERMINATE)


async def test_a_ready_run_is_given_up_with_the_reason() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PENDING)
        await world.advance.give_up(run.ref)
        [event] = world.executions.events
        assert isinstance(event, Prepared)
        assert isinstance(event.next, Fail)
        assert (event.at, event.epoch, event.next.position, event.holder) == (world.clock.now(), run.epoch, 0, HOLDER)
        assert (world.state(run.ref), world.error(run.ref)["code"]) == (State.ERROR, "INTERNAL")


async def test_a_run_that_waits_is_given_up_with_the_reason_on_its_step() -> None:
    async with quiet() as world:
        run = await a_run(world, State.WAITING)
        world.clock.advance(10)
        await world.advance.give_up(run.ref)
        [event] = world.executions.events
        assert isinstance(event, Woken)
        assert (event.at, event.epoch, event.by) == (world.clock.now(), run.epoch, WaitingFor.TIMER)
        assert (event.next, event.holder) == (Fail(0), HOLDER)
        assert (world.outcomes(run.ref), world.error(run.ref)["code"]) == ([Outcome.FAILED], "INTERNAL")


async def test_run_between_two_attempts_is_given_up_with_a_reason_of_its_own() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PROCESS_STEP)
        until = world.clock.now() + SECOND
        failed = Settled(until - 1, AttemptRef(0, 1, 2), Result(Outcome.FAILED), Retry(0, until))
        await world.store.executions.apply(run.ref, failed)
        world.clock.advance(1)
        await world.advance.give_up(run.ref)
        [event] = world.executions.events
        assert isinstance(event, Woken)
        assert isinstance(event.next, Fail)
        assert (event.at, event.epoch, event.by, event.result) == (until, run.epoch + 1, WaitingFor.RETRY, None)
        assert (event.next.position, event.holder) == (0, HOLDER)
        assert (world.outcomes(run.ref), world.error(run.ref)["code"]) == ([Outcome.FAILED] * 2, "INTERNAL")


# --- a deadline -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(set(State) - {State.PAUSED_BY_CIRCUIT_BREAKER}))
async def test_only_a_stopping_run_is_overdue_and_not_before_its_time(state: State) -> None:
    async with quiet() as world:
        run = await a_run(world, state)
        await world.advance.overdue(Ref(run.tenant, 99))
        if state is State.STOPPING:
            world.clock.advance(9.999999)
            await world.advance.overdue(run.ref)
        else:
            world.clock.advance(60)
            await world.advance.overdue(run.ref)
        assert world.executions.events == []
        world.clock.advance(0.000001)
        await world.advance.overdue(run.ref)
        late = [DeadlinePassed(world.clock.now(), run.epoch)] if state is State.STOPPING else []
        assert world.executions.events == late


# --- carrying on ------------------------------------------------------------------------------------------------------


class Noting(WebhookStep):
    """Records each attempt."""

    attempts: list[Attempt]

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        self.attempts.append(attempt)
        return await super().perform(attempt, items)


async def test_resumed_attempt_has_all_the_data_of_its_announcement() -> None:
    noted: list[Attempt] = []
    Noting.attempts = noted
    async with quiet(webhook_step=Noting, far=FarEnd(lambda request: (200, b"{}"))) as world:
        run = await a_run(world, State.PROCESS_STEP, steps=[webhook("a"), webhook("b")])
        began = world.clock.now()
        world.clock.advance(5)
        await turn(world, run.ref, lost=True)
        told = [(attempt.ref, attempt.automation, attempt.first_started_at) for attempt in noted]
        assert told == [(run.ref, "auto", began), (run.ref, "auto", began + 5 * SECOND)]
        assert [attempt.attempt for attempt in noted] == [AttemptRef(0, 2, 4), AttemptRef(1, 1, 5)]
        assert noted[0].input == INPUT
        holders = [event.holder for event in world.executions.events if isinstance(event, Prepared | Settled)]
        assert holders == [HOLDER] * 3


async def test_a_created_attempt_taken_over_without_its_beginning_asks_the_store() -> None:
    noted: list[Attempt] = []
    Noting.attempts = noted
    async with quiet(webhook_step=Noting, far=FarEnd(lambda request: (200, b"{}"))) as world:
        run = await a_run(world, State.PROCESS_STEP, steps=[webhook("a")])
        began = run.updated_at
        world.clock.advance(5)
        await world.store.executions.apply(run.ref, Recovered(world.clock.now(), run.epoch, repeatable=True))
        prepared = Prepared(world.clock.now(), run.epoch + 1, Announce(0, INPUT, key="key"), HOLDER)
        await world.store.executions.apply(run.ref, prepared)
        row = world.row(run.ref)
        plan = await world.plans.get(world.tenant, row.definition)
        held = Held(run.ref)
        assert await world.advance.carry(ActiveRun(row, plan, RunContext(plan, {}), INPUT), held) is FINISHED
        assert [attempt.first_started_at for attempt in noted] == [began]


@pytest.mark.parametrize(("noted", "left"), [(0, 0), (1, 0), (3, 2)])
async def test_a_hint_that_the_turn_itself_gave_makes_no_other_turn(noted: int, left: int) -> None:
    async with quiet(far=FarEnd(lambda request: (200, b"{}"))) as world:
        await world.publish([webhook("a")], id="child")
        ref = await world.begin(await world.publish([run_automation("go", "child"), webhook("b")]))
        held = Held(ref)
        held.ready_notifications = noted
        assert await world.advance.advance(Claim(ref), held) is FINISHED
        assert held.ready_notifications == left


async def test_while_the_server_stops_nothing_more_is_announced() -> None:
    async with quiet() as world:
        await world.publish([webhook("a")], id="child")
        ref = await world.begin(await world.publish([run_automation("go", "child"), webhook("b")]))
        held = Held(ref)
        held.closing = True
        assert await world.advance.advance(Claim(ref), held) == Again(world.clock.now())
        assert (world.state(ref), world.row(ref).step) == (State.PENDING, 1)


async def test_what_follows_an_attempt_that_was_stopped_is_not_even_evaluated() -> None:
    async with engine(far=FarEnd(deaf=True)) as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        await world.terminate(ref)
        world.far.calls[0].answer()
        await settle()
        settled = world.executions.events[-1]
        assert isinstance(settled, Settled)
        assert (settled.result.outcome, settled.next) == (Outcome.SUCCEEDED, None)


async def test_what_follows_an_attempt_that_was_interrupted_alone_is_not_evaluated_either() -> None:
    async with engine(far=FarEnd(deaf=True)) as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        world.dispatcher.interrupt(ref, world.row(ref).attempt_epoch + 1)
        await settle()
        world.executions.events.clear()
        world.far.deaf = False
        world.far.calls[0].answer()
        await settle()
        first, *_ = world.executions.events
        assert isinstance(first, Settled)
        assert (first.result.outcome, first.next) == (Outcome.SUCCEEDED, None)


async def test_an_interrupt_of_an_earlier_epoch_does_not_cost_a_commit() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        world.dispatcher.interrupt(ref, world.row(ref).attempt_epoch)
        world.far.calls[0].answer()
        await settle()
        settled = world.executions.events[-1]
        assert isinstance(settled, Settled)
        assert isinstance(settled.next, Announce)


@pytest.mark.parametrize("state", [State.WAITING, State.STOPPING])
async def test_a_run_in_hand_that_rests_is_looked_at_again(state: State) -> None:
    async with quiet() as world:
        run = await a_run(world, state, steps=[wait("w", "10s")])
        plan = await world.plans.get(world.tenant, run.definition)
        turned = await world.advance.carry(ActiveRun(run, plan, RunContext(plan, {})), Held(run.ref))
        assert turned == Again(world.clock.now() + 10 * SECOND)


async def test_a_ready_run_in_hand_whose_time_has_not_come_is_not_taken_on() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PENDING)
        at = world.clock.now() + SECOND
        plan = await world.plans.get(world.tenant, run.definition)
        active = ActiveRun(replace(run, wake_at=at), plan, RunContext(plan, {}))
        assert await world.advance.carry(active, Held(run.ref)) == Again(at)
        assert world.executions.events == []


async def test_ready_run_that_was_stopped_meanwhile_is_left_alone() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PENDING)
        world.executions.meanwhile = [Terminated(world.clock.now(), STOP)]
        plan = await world.plans.get(world.tenant, run.definition)
        assert await world.advance.carry(ActiveRun(run, plan, RunContext(plan, {})), Held(run.ref)) is SUPERSEDED
