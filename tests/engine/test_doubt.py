"""Commits with an unknown outcome, and attempts that were cancelled although the run was not stopped."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from interlock.engine.commits import ActiveRun
from interlock.engine.context import RunContext
from interlock.engine.held import FINISHED, SUPERSEDED, Held, Turn
from interlock.ports import Phase
from interlock.rules.decide import OUTCOME_UNKNOWN
from interlock.rules.decision import Decision, Verdict
from interlock.rules.events import (
    Announce,
    Event,
    Fail,
    ItemSettled,
    Polled,
    Prepared,
    Recovered,
    Retry,
    Settled,
    Wait,
    Woken,
)
from interlock.rules.model import AttemptRef, Execution, Ref, Result
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from interlock.steps.webhook import WebhookStep
from tests.clocks import SECOND, settle
from tests.engine.mailing import answer, mailing
from tests.engine.test_advance_operations import HOLDER, INPUT, a_run, quiet, turn
from tests.engine.worlds import THREE_WEBHOOKS, Engine, FarEnd, engine
from tests.store.stores import on_connection, sqlite

pytestmark = pytest.mark.anyio

SUCCEEDED, ACCEPTED = Result(Outcome.SUCCEEDED), Result(None)


class Unrepeatable(WebhookStep):
    repeatable = False


# --- its own write ----------------------------------------------------------------------------------------------------


Write = Prepared | Settled | Woken | Polled
KINDS_OF_WRITES = ["announced", "waits", "settled", "accepted", "woken", "polled", "polled again"]


def event_for(run: Execution, kind: str) -> Write:
    now, attempt = run.updated_at, AttemptRef(0, 1, 2)
    announce, poll = Announce(1, INPUT), Wait(0, WaitingFor.POLL, now + SECOND)
    match kind:
        case "announced":
            return Prepared(now, run.epoch, Announce(0, INPUT), HOLDER)
        case "waits":
            return Prepared(now, run.epoch, Wait(0, WaitingFor.TASK, None), HOLDER)
        case "settled":
            return Settled(now, attempt, SUCCEEDED, announce, HOLDER)
        case "accepted":
            return Settled(now, attempt, ACCEPTED, Wait(0, WaitingFor.CALLBACK, now + SECOND), HOLDER)
        case "woken":
            assert run.wake_at is not None
            return Woken(run.wake_at, run.epoch, WaitingFor.TIMER, SUCCEEDED, announce, HOLDER)
        case "polled":
            return Polled(now, attempt, run.epoch, SUCCEEDED, announce, HOLDER)
        case _:
            return Polled(now, attempt, run.epoch, ACCEPTED, poll, HOLDER, run.wake_at)


async def run_for(world: Engine, kind: str) -> Execution:
    """A run that the write can change."""
    if kind == "woken":
        return await a_run(world, State.WAITING)
    run = await a_run(world, State.PENDING if kind in {"announced", "waits"} else State.PROCESS_STEP)
    if kind.startswith("polled"):
        now = world.clock.now()
        poll = Settled(now, AttemptRef(0, 1, 2), ACCEPTED, Wait(0, WaitingFor.POLL, now), HOLDER)
        await world.store.executions.apply(run.ref, poll)
    return world.row(run.ref)


@pytest.mark.parametrize("kind", KINDS_OF_WRITES)
async def test_a_commit_that_was_made_is_known_again_and_one_that_was_not_is_not(kind: str) -> None:
    async with quiet() as world:
        run = await run_for(world, kind)
        event = event_for(run, kind)
        if kind != "polled again":
            assert await world.advance._commits.own_write(run.ref, event) is None
        await world.store.executions.apply(run.ref, event)
        expected = Decision(Verdict.ACCEPTED, world.row(run.ref), moved=True)
        assert await world.advance._commits.own_write(run.ref, event) == expected
        assert await world.advance._commits.own_write(Ref(run.tenant, 99), event) is None


@pytest.mark.parametrize("kind", KINDS_OF_WRITES)
async def test_write_of_another_holder_is_not_taken_for_its_own(kind: str) -> None:
    async with quiet() as world:
        run = await run_for(world, kind)
        event = event_for(run, kind)
        await world.store.executions.apply(run.ref, event)
        others: list[Event] = [replace(event, at=event.at + 1), Recovered(event.at, run.epoch, repeatable=True)]
        if not isinstance(event, Settled) and kind != "polled":
            others += [replace(event, epoch=event.epoch - 1), replace(event, epoch=event.epoch + 1)]
        elif isinstance(event, Settled | Polled):
            others += [replace(event, attempt=replace(event.attempt, number=9))]
            others += [replace(event, attempt=replace(event.attempt, position=9))]
            others += [replace(event, result=Result(Outcome.FAILED))]
        for other in others:
            assert await world.advance._commits.own_write(run.ref, other) is None


async def test_result_of_a_poll_is_known_again_beside_the_rows_of_other_steps() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PROCESS_STEP)
        real, now = world.store.executions, world.clock.now()
        await real.apply(run.ref, Settled(now, AttemptRef(0, 1, 2), SUCCEEDED, Announce(1, INPUT), HOLDER))
        second = AttemptRef(1, 1, world.row(run.ref).attempt_epoch)
        await real.apply(run.ref, Settled(now, second, ACCEPTED, Wait(1, WaitingFor.POLL, now), HOLDER))
        event = Polled(now + 1, second, world.row(run.ref).epoch, SUCCEEDED, Announce(2, INPUT), HOLDER)
        await real.apply(run.ref, event)
        expected = Decision(Verdict.ACCEPTED, world.row(run.ref), moved=True)
        assert await world.advance._commits.own_write(run.ref, event) == expected


async def test_result_of_an_item_is_known_again_and_no_other_is() -> None:
    async with mailing() as (world, ref):
        for _ in range(2):
            await answer(world)
            await world.clock.pass_time(1)
        first, event = [each for each in world.executions.events if isinstance(each, ItemSettled)]
        commits, expected = world.advance._commits, Decision(Verdict.ACCEPTED, world.row(ref))
        assert await commits.own_write(ref, first) == expected
        assert await commits.own_write(ref, event) == expected
        assert await commits.own_write(Ref(ref.tenant, 99), event) is None
        for other in (
            replace(event, at=event.at + 1),
            replace(event, item=first.item),
            replace(event, item=9),
            replace(event, attempt=replace(event.attempt, number=9)),
            replace(event, attempt=replace(event.attempt, position=9)),
            replace(event, result=replace(event.result, outcome=Outcome.FAILED)),
        ):
            assert await commits.own_write(ref, other) is None


async def test_the_same_announcement_by_another_holder_is_not_ones_own() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PENDING)
        event = event_for(run, "announced")
        await world.store.executions.apply(run.ref, replace(event, holder="other"))
        assert await world.advance._commits.own_write(run.ref, event) is None


@pytest.mark.parametrize("kind", ["accepted", "polled again"])
@pytest.mark.parametrize("changed", ["epoch = epoch + 1", "state = 'PENDING'"])
async def test_accepted_work_whose_run_went_on_is_not_known_again(changed: str, kind: str) -> None:
    async with quiet() as world:
        run = await run_for(world, kind)
        event = event_for(run, kind)
        await world.store.executions.apply(run.ref, event)
        sql = f"UPDATE executions SET {changed}"
        await sqlite(world.store).writer.submit(on_connection(lambda connection: connection.execute(sql)))
        assert await world.advance._commits.own_write(run.ref, event) is None


async def test_a_run_that_is_gone_is_not_recovered() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PROCESS_STEP)
        assert await world.advance.recover(replace(run, id=99)) is None


async def test_a_commit_in_doubt_is_looked_at_once_a_second() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PENDING)
        world.executions.lose_orders = 2
        event = event_for(run, "announced")
        applying = asyncio.ensure_future(world.advance._commits.apply(run.ref, event))
        for tenths, tried in ((0, 1), (9, 1), (10, 2), (19, 2), (20, 3)):
            world.clock.set(run.updated_at + tenths * SECOND // 10)
            await settle()
            assert len(world.executions.events) == tried
        decision = await applying
        assert decision is not None
        assert decision.execution.state is State.PROCESS_STEP


@pytest.mark.parametrize("fault", ["lose_orders", "lose_replies"])
async def test_a_lost_run_whose_recovery_is_in_doubt_is_not_left_in_flight(fault: str) -> None:
    async with quiet() as world:
        run = await a_run(world, State.PROCESS_STEP)
        setattr(world.executions, fault, 1)
        ended = asyncio.ensure_future(turn(world, run.ref, lost=True))
        await world.clock.pass_time(1)
        made_again = fault == "lose_orders"
        assert world.outcomes(run.ref) == [Outcome.ABANDONED, None][: 1 + made_again]
        if made_again:
            world.far.calls[0].fail()
        await ended


@pytest.mark.parametrize("fault", ["lose_orders", "lose_replies"])
async def test_a_run_whose_giving_up_is_in_doubt_is_given_up(fault: str) -> None:
    async with quiet() as world:
        run = await a_run(world, State.PROCESS_STEP)
        setattr(world.executions, fault, 1)
        given_up = asyncio.ensure_future(world.advance.give_up(run.ref))
        await world.clock.pass_time(1)
        await given_up
        assert (world.state(run.ref), world.outcomes(run.ref)) == (State.ERROR, [Outcome.INTERRUPTED_OUTCOME_UNKNOWN])


# --- cancelled, not stopped-------------------------------------------------------------------------------------------


async def cut_without_a_stop(world: Engine) -> tuple[Ref, Settled]:
    ref = await world.start(await world.publish(THREE_WEBHOOKS))
    world.executions.events.clear()
    world.dispatcher.interrupt(ref, 99)
    await settle()
    first, second, *_ = world.executions.events
    assert isinstance(first, Settled)
    assert isinstance(second, Settled)
    assert (first.next, first.holder) == (None, HOLDER)
    return ref, second


async def test_repeatable_call_is_repeated_and_its_known_result_is_kept() -> None:
    async with engine(far=FarEnd(stays_at=Phase.READING)) as world:
        ref, event = await cut_without_a_stop(world)
        lost = Result(Outcome.ABANDONED, error=OUTCOME_UNKNOWN, status=200, phase=Phase.READING)
        assert event == Settled(world.clock.now(), AttemptRef(0, 1, 2), lost, Retry(0, world.clock.now()), HOLDER)
        assert (world.outcomes(ref), len(world.far.calls)) == ([Outcome.ABANDONED, None], 2)


@pytest.mark.parametrize("phase", [Phase.CONNECTING, Phase.WAITING])
async def test_unrepeatable_call_is_repeated_only_if_nothing_was_sent(phase: Phase) -> None:
    async with engine(webhook_step=Unrepeatable, far=FarEnd(stays_at=phase)) as world:
        ref, event = await cut_without_a_stop(world)
        sent = phase is Phase.WAITING
        assert event.next == (Fail(0) if sent else Retry(0, world.clock.now()))
        assert world.state(ref) is (State.ERROR if sent else State.PROCESS_STEP)
        assert len(world.far.calls) == (1 if sent else 2)


async def carried_on(world: Engine, run: Execution) -> Turn:
    """Run a turn of a run whose attempt is cancelled before it begins."""
    plan = await world.plans.get(world.tenant, run.definition)
    held = Held(run.ref)
    held.interrupt(run.epoch + 1)
    return await world.advance.carry(ActiveRun(run, plan, RunContext(plan, {}), INPUT), held)


async def test_an_attempt_that_was_stopped_before_it_began_sent_nothing() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PROCESS_STEP)
        await world.order(run.ref)
        assert await carried_on(world, run) is FINISHED
        assert (world.outcomes(run.ref), world.far.calls) == ([Outcome.INTERRUPTED_NOT_SENT], [])


@pytest.mark.parametrize("taken", [False, True], ids=["handed over", "taken on by another"])
async def test_an_attempt_that_was_taken_away_settles_nothing(taken: bool) -> None:
    async with quiet() as world:
        run = await a_run(world, State.PROCESS_STEP)
        now = world.clock.now()
        world.executions.meanwhile = [Recovered(now, run.epoch, repeatable=True)]
        if taken:
            world.executions.meanwhile.append(Prepared(now, run.epoch + 1, Announce(0, INPUT), "other"))
        assert await carried_on(world, run) is SUPERSEDED
        assert len(world.executions.events) == 1
        assert world.outcomes(run.ref) == [Outcome.ABANDONED, None][: 1 + taken]


async def test_a_cut_attempt_of_a_run_that_is_gone_settles_nothing() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PROCESS_STEP)
        assert await carried_on(world, replace(run, id=99)) is SUPERSEDED
        assert len(world.executions.events) == 1


async def test_cancellation_that_is_no_interrupt_settles_nothing() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PROCESS_STEP)
        plan, held = await world.plans.get(world.tenant, run.definition), Held(run.ref)
        active = ActiveRun(run, plan, RunContext(plan, {}), INPUT, key="key")
        turn = asyncio.ensure_future(world.advance.carry(active, held))
        await settle()
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert (world.far.calls[0].cut, world.executions.events) == (True, [])
        assert (world.row(run.ref), held.performing) == (run, 0)


async def test_result_of_a_run_that_is_gone_settles_nothing() -> None:
    async with quiet(far=FarEnd(lambda request: (200, b"{}"))) as world:
        run = await a_run(world, State.PROCESS_STEP)
        plan = await world.plans.get(world.tenant, run.definition)
        active = ActiveRun(replace(run, id=99), plan, RunContext(plan, {}), INPUT, key="key")
        assert await world.advance.carry(active, Held(run.ref)) is SUPERSEDED
        assert world.state(run.ref) is State.PROCESS_STEP


# --- whether to repeat ------------------------------------------------------------------------------------------------


async def recovered(world: Engine, run: Execution) -> bool:
    await world.advance.recover(world.row(run.ref))
    [event] = world.executions.events
    assert isinstance(event, Recovered)
    return event.repeatable


async def test_what_has_no_plan_is_not_repeated() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PROCESS_STEP, steps=[{"stepName": "m", "sendEmail": {"email": "a@b.example"}}])
        assert not await recovered(world, run)


async def test_losses_at_an_earlier_step_do_not_count() -> None:
    async with quiet() as world:
        run = await a_run(world, State.PROCESS_STEP)
        real, now = world.store.executions, world.clock.now()
        for _ in range(3):
            await real.apply(run.ref, Recovered(now, world.row(run.ref).epoch, repeatable=True))
            await real.apply(run.ref, Prepared(now, world.row(run.ref).epoch, Announce(0, INPUT), HOLDER))
        row = world.row(run.ref)
        settled = Settled(now, AttemptRef(0, 4, row.attempt_epoch), SUCCEEDED, Announce(1, INPUT), HOLDER)
        await real.apply(run.ref, settled)
        assert await recovered(world, run)
