"""Transactional steps: their change is committed with their outcome, also if a run is stopped or a server lost."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from interlock.rules.events import Event, Prepared, Settled, Terminated, Woken
from interlock.rules.model import Result, TerminationRequest
from interlock.rules.outcomes import Outcome, shown
from interlock.rules.states import State, WaitingFor
from interlock.steps.attempt import Attempt, Items, Report, Succeeded
from interlock.steps.webhook import WebhookStep
from interlock.store.sqlite.store import SqliteStore
from tests.clocks import SECOND, START, settle
from tests.engine.noting import DEFECT, noting
from tests.engine.worlds import ANN, Engine, engine, evaluate, restarted, webhook
from tests.store.notes import APPLIERS, make_table, notes

pytestmark = pytest.mark.anyio

STOP = TerminationRequest(ANN, "enough")
DONE, FAILED = Outcome.SUCCEEDED, Outcome.FAILED


def note(name: str, text: str = "a", **more: Any) -> dict[str, Any]:
    return {"stepName": name, "sendEmail": {"subject": text}, **more}


READS_IT = evaluate("e", got="ctx.n.text")


@asynccontextmanager
async def noting_engine(*, waits: bool = False, **options: Any) -> AsyncIterator[Engine]:
    store = SqliteStore(None, appliers=APPLIERS)
    async with engine(store=store, more_kinds=[noting(waits=waits)], **options) as world:
        await make_table(world.store)
        yield world


def of_the_change(event: Event) -> bool:
    return isinstance(event, Prepared | Settled | Woken) and type(event.next).__name__ == "Change"


async def test_the_steps_after_a_change_see_what_it_returned() -> None:
    async with noting_engine() as world:
        steps = [webhook("w"), {**evaluate("p", x="1"), "skipIfTrueCel": "true"}, note("n"), READS_IT]
        ref = await world.start(await world.publish(steps))
        world.far.calls[0].answer()
        await settle()
        assert (world.state(ref), world.outcomes(ref)) == (State.DONE, [DONE, Outcome.SKIPPED, DONE, DONE])
        assert (world.output(ref, 3), await notes(world.store)) == ({"got": "a"}, ["a"])


async def test_change_and_the_step_after_it_need_no_second_reading_of_the_run() -> None:
    async with noting_engine() as world:
        ref = await world.start(await world.publish([webhook("w"), note("n"), READS_IT]))
        before = world.executions.loads
        world.far.calls[0].answer()
        await settle()
        assert (world.state(ref), world.output(ref, 2)) == (State.DONE, {"got": "a"})
        assert world.executions.loads == before


class Dated(WebhookStep):
    """Returns the time at which its first attempt was announced."""

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        await super().perform(attempt, items)
        return Succeeded({"began": attempt.first_started_at})


async def test_step_after_a_change_begins_with_its_own_announcement() -> None:
    async with noting_engine(webhook_step=Dated) as world:
        ref = await world.start(await world.publish([webhook("w"), note("n"), webhook("v")]))
        await world.clock.pass_time(5)
        world.far.calls[0].answer()
        await world.clock.pass_time(5)
        world.far.calls[1].answer()
        await settle()
        assert [world.output(ref, 0), world.output(ref, 2)] == [{"began": START}, {"began": START + 5 * SECOND}]


async def test_a_refusal_ends_the_run_and_says_why() -> None:
    async with noting_engine() as world:
        ref = await world.start(await world.publish([note("n"), note("m", "b"), webhook("w")]))
        assert (world.state(ref), world.outcomes(ref)) == (State.ERROR, [DONE, FAILED])
        assert (world.error(ref)["code"], await notes(world.store)) == ("NOTE_REFUSED", ["a"])
        assert world.far.calls == []


async def test_a_stop_that_is_committed_while_the_change_is_prepared_wins() -> None:
    async with noting_engine() as world:
        definition = await world.publish([webhook("w"), note("n")])
        ref = await world.start(definition)
        world.executions.meanwhile.append(Terminated(world.clock.now(), STOP))
        world.far.calls[0].answer()
        await settle()
        assert (world.state(ref), world.outcomes(ref), await notes(world.store)) == (State.TERMINATE, [DONE], [])


@pytest.mark.parametrize("fault", ["lose_orders", "lose_replies"])
@pytest.mark.parametrize("before", [[], [webhook("w")]], ids=["first", "after a call"])
async def test_a_commit_in_doubt_makes_the_change_once(
    fault: str, before: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    async with noting_engine() as world:
        definition = await world.publish([*before, note("n"), READS_IT])
        if not before:
            setattr(world.executions, fault, 1)
        ref = await world.start(definition)
        if before:
            setattr(world.executions, fault, 1)
            world.far.calls[0].answer()
        await world.clock.pass_time(2)
        assert world.state(ref) is State.DONE
        assert (world.output(ref, len(before) + 1), await notes(world.store)) == ({"got": "a"}, ["a"])
        assert sum(of_the_change(event) for event in world.executions.events) == (2 if fault == "lose_orders" else 1)
        assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("fault", ["lose_orders", "lose_replies"])
async def test_a_wait_whose_commit_is_in_doubt_begins_once(fault: str) -> None:
    async with noting_engine(waits=True) as world:
        definition = await world.publish([note("n")])
        setattr(world.executions, fault, 1)
        ref = await world.start(definition)
        await world.clock.pass_time(2)
        row = world.row(ref)
        assert (row.state, row.waiting_for, await notes(world.store)) == (State.WAITING, WaitingFor.TASK, ["a"])


async def test_failed_write_of_a_change_keeps_earlier_results_and_is_retried() -> None:
    async with noting_engine() as world:
        ref = await world.start(await world.publish([webhook("w"), note("n"), READS_IT]))
        world.executions.refuses = lambda event: isinstance(event, Settled) and of_the_change(event)
        world.far.calls[0].answer()
        await settle()
        assert (world.state(ref), world.outcomes(ref)) == (State.DONE, [DONE, DONE, DONE])
        assert (len(world.far.calls), await notes(world.store)) == (1, ["a"])


async def test_defect_of_an_applier_ends_its_run_and_keeps_earlier_results() -> None:
    async with noting_engine() as world:
        ref = await world.start(await world.publish([webhook("w"), note("n", DEFECT), webhook("v")]))
        world.far.calls[0].answer()
        await world.clock.pass_time(60)
        assert (world.state(ref), world.outcomes(ref)) == (State.ERROR, [DONE, FAILED])
        assert (len(world.far.calls), await notes(world.store), world.dispatcher.busy) == (1, [], 0)
        # Other runs are not affected.
        other = await world.start(await world.publish([note("n")], "other"), automation="other")
        assert (world.state(other), await notes(world.store)) == (State.DONE, ["a"])


async def test_change_that_a_crash_prevented_is_made_after_the_restart() -> None:
    async with noting_engine() as world:
        ref = await world.start(await world.publish([webhook("w"), note("n"), READS_IT]))
        world.executions.refuses = of_the_change
        world.far.calls[0].answer()
        await settle()
        assert await notes(world.store) == []
        async with restarted(world, more_kinds=[noting()]) as again:
            await again.clock.pass_time(2)
            assert again.state(ref) is State.DONE
            assert await notes(again.store) == ["a"]


async def test_step_waits_for_its_task_over_a_restart_without_a_second_change() -> None:
    async with noting_engine(waits=True) as world:
        ref = await world.start(await world.publish([note("n"), evaluate("e", got="ctx.n.by")]))
        row = world.row(ref)
        assert (row.state, row.waiting_for, row.wake_at) == (
            State.WAITING,
            WaitingFor.TASK,
            row.updated_at + 60 * SECOND,
        )
        assert (world.dispatcher.busy, await notes(world.store)) == (0, ["a"])
        async with restarted(world, more_kinds=[noting(waits=True)]) as again:
            await again.clock.pass_time(30)
            assert (again.row(ref), await notes(again.store)) == (row, ["a"])
            done = Result(DONE, b'{"by":"ann"}')
            await again.store.executions.apply(ref, Woken(again.clock.now(), row.epoch, WaitingFor.TASK, done))
            await settle()
            assert (again.state(ref), again.output(ref, 1)) == (State.DONE, {"got": "ann"})
            assert await notes(again.store) == ["a"]


async def test_a_task_that_is_not_done_in_time_fails_the_step() -> None:
    async with noting_engine(waits=True) as world:
        ref = await world.start(await world.publish([note("n"), webhook("w")]))
        await world.clock.pass_time(61)
        assert (world.state(ref), world.outcomes(ref)) == (State.ERROR, [FAILED])
        assert (world.error(ref)["code"], await notes(world.store)) == ("TASK_EXPIRED", ["a"])


async def test_a_stop_ends_the_wait_for_a_task_at_once_and_the_change_stands() -> None:
    async with noting_engine(waits=True) as world:
        ref = await world.start(await world.publish([note("n"), webhook("w")]))
        await world.terminate(ref)
        assert (world.state(ref), await notes(world.store)) == (State.TERMINATE, ["a"])
        assert [shown(each, world.state(ref)) for each in world.outcomes(ref)] == [Outcome.INTERRUPTED_WAITING]
