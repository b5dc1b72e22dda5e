"""Changes of a transactional step: made once, in the commit of the step's outcome, or not at all."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.errors import InterlockError
from interlock.ports import Started
from interlock.rules.children import StartChild
from interlock.rules.decision import Decision, Verdict
from interlock.rules.events import Change, Finish, Passed, Prepared, Settled, Terminated, Wait, Woken
from interlock.rules.model import AttemptRef, Result, TerminationRequest
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from interlock.store.sqlite.mutations import WroteAndRefused
from tests.store.notes import APPLIERS, REFUSAL, WriteNote, make_table, notes
from tests.store.stores import ANN, AUDIT, FORMS, World, named, opened, opened_as, sqlite, world

pytestmark = pytest.mark.anyio

STOP = TerminationRequest(ANN, "enough")
TASK = Wait(0, WaitingFor.TASK, 9_000)


@pytest.fixture(params=FORMS, ids=named)
async def here(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with opened_as(request.param, tmp_path, APPLIERS) as store:
        await make_table(store)
        yield await world(store)


async def change(here: World, started: Started, mutation: WriteNote, then: Wait | None = None) -> Decision:
    """Move a ready run to a step that makes the change."""
    row = started.execution
    event = Prepared(2_000, row.epoch, Change(0, mutation, b'{"in":1}', then=then), "me")
    decision = await here.store.executions.apply(row.ref, event)
    assert decision is not None
    return decision


async def test_a_change_and_the_outcome_of_its_step_are_one_commit(here: World) -> None:
    started = await here.start()
    before = here.store.counters().commits
    decision = await change(here, started, WriteNote("a"))
    assert here.store.counters().commits == before + 1
    row = decision.execution
    assert row == await here.store.executions.get(row.ref)
    assert (row.state, row.step, row.epoch) == (State.PENDING, 1, started.execution.epoch + 1)
    [step] = await here.store.executions.steps(row.ref)
    assert (step.outcome, step.input, step.output) == (Outcome.SUCCEEDED, b'{"in":1}', b'{"note":1}')
    assert await notes(here.store) == ["a"]
    assert (row.ref, 2_000) in here.listener.woken


async def test_a_change_may_follow_a_result_and_the_end_of_a_wait(here: World) -> None:
    flying = (await here.in_flight()).execution
    result = Result(Outcome.SUCCEEDED, b"{}")
    attempt = AttemptRef(0, 1, flying.attempt_epoch)
    await here.store.executions.apply(flying.ref, Settled(2_000, attempt, result, Change(1, WriteNote("a")), "me"))
    waiting = (await here.start(Wait(0, WaitingFor.TIMER, 1_500))).execution
    woken = Woken(2_000, waiting.epoch, WaitingFor.TIMER, None, Change(1, WriteNote("b")), "me")
    await here.store.executions.apply(waiting.ref, woken)
    assert await notes(here.store) == ["a", "b"]
    for ref in (flying.ref, waiting.ref):
        assert [step.outcome for step in await here.store.executions.steps(ref)] == [Outcome.SUCCEEDED] * 2


async def test_a_change_that_is_refused_fails_the_step_and_writes_nothing(here: World) -> None:
    started = await here.start()
    row = (await change(here, started, WriteNote("a"))).execution
    again = Change(2, WriteNote("b"), passed=(Passed(1, Outcome.SKIPPED),))
    await here.store.executions.apply(row.ref, Prepared(3_000, row.epoch, again, "me"))
    found = await here.store.executions.get(row.ref)
    assert found is not None
    assert (found.state, found.step, found.completed_at) == (State.ERROR, 2, 3_000)
    steps = await here.store.executions.steps(row.ref)
    assert [step.outcome for step in steps] == [Outcome.SUCCEEDED, Outcome.SKIPPED, Outcome.FAILED]
    assert steps[2].error == REFUSAL
    assert await notes(here.store) == ["a"]


async def test_a_change_and_the_wait_that_it_begins_are_one_commit(here: World) -> None:
    started = await here.start()
    before = here.store.counters().commits
    row = (await change(here, started, WriteNote("a", None), TASK)).execution
    assert here.store.counters().commits == before + 1
    assert (row.state, row.waiting_for, row.wake_at, row.step) == (State.WAITING, WaitingFor.TASK, 9_000, 0)
    [step] = await here.store.executions.steps(row.ref)
    assert (step.outcome, step.waiting_for, step.input) == (None, WaitingFor.TASK, b'{"in":1}')
    assert await notes(here.store) == ["a"]
    assert (row.ref, 9_000) in here.listener.woken
    done = Result(Outcome.SUCCEEDED, b'{"done":1}')
    await here.store.executions.apply(row.ref, Woken(3_000, row.epoch, WaitingFor.TASK, done, Finish(1), "me"))
    [step] = await here.store.executions.steps(row.ref)
    assert (step.outcome, step.output) == (Outcome.SUCCEEDED, b'{"done":1}')


async def test_a_stop_that_came_first_leaves_the_change_unmade(here: World) -> None:
    started = await here.start()
    await here.store.executions.apply(started.execution.ref, Terminated(1_500, STOP))
    decision = await change(here, started, WriteNote("a"))
    assert (decision.verdict, decision.records, decision.mutation) == (Verdict.SUPERSEDED, (), None)
    assert await notes(here.store) == []


async def test_a_stop_in_the_same_group_goes_before_the_change(here: World) -> None:
    started = await here.start()
    ref = started.execution.ref
    await asyncio.gather(
        change(here, started, WriteNote("a")), here.store.executions.apply(ref, Terminated(1_500, STOP))
    )
    found = await here.store.executions.get(ref)
    assert found is not None
    assert found.state is State.TERMINATE
    assert (await here.store.executions.steps(ref), await notes(here.store)) == ([], [])


async def test_stop_of_a_run_that_waits_for_its_task_keeps_the_change(here: World) -> None:
    started = await here.start()
    row = (await change(here, started, WriteNote("a", None), TASK)).execution
    await here.store.executions.apply(row.ref, Terminated(2_500, STOP))
    found = await here.store.executions.get(row.ref)
    assert found is not None
    assert (found.state, found.completed_at) == (State.TERMINATE, 2_500)
    assert await notes(here.store) == ["a"]


async def test_the_switch_of_the_tenant_leaves_the_change_unmade(here: World) -> None:
    started = await here.start()
    await here.store.access.change_settings(
        here.tenant, lambda settings: (replace(settings, automations_disabled=True), AUDIT), 1_500
    )
    decision = await change(here, started, WriteNote("a"))
    assert decision.execution.state is State.TERMINATE
    assert await notes(here.store) == []


async def test_a_full_disk_leaves_the_change_unmade_and_the_run_ready(here: World) -> None:
    started = await here.start()
    sqlite(here.store).writer.full = True
    decision = await change(here, started, WriteNote("a"))
    sqlite(here.store).writer.full = False
    assert (decision.execution.state, decision.execution.step) == (State.PENDING, 0)
    assert await notes(here.store) == []


@pytest.mark.parametrize(
    ("wrong", "error"),
    [(WriteNote("b", writes_first=True), WroteAndRefused), (WriteNote("b", fails=True), InterlockError)],
    ids=["refuses after it wrote", "raises after it wrote"],
)
async def test_nothing_is_committed_of_an_applier_that_is_wrong(
    here: World, wrong: WriteNote, error: type[Exception]
) -> None:
    row = (await change(here, await here.start(), WriteNote("a"))).execution
    other = await here.start()
    event = Prepared(3_000, row.epoch, Change(1, wrong), "me")
    # The other jobs of its group are committed.
    failed, _ = await asyncio.gather(
        here.store.executions.apply(row.ref, event), change(here, other, WriteNote("c")), return_exceptions=True
    )
    assert isinstance(failed, error)
    assert await here.store.executions.get(row.ref) == row
    assert await notes(here.store) == ["a", "c"]


async def test_a_mutation_without_an_applier_changes_nothing() -> None:
    async with opened(None) as store:
        here = await world(store)
        started = await here.start()
        with pytest.raises(LookupError, match="write_note"):
            await change(here, started, WriteNote("a"))
        assert await store.executions.get(started.execution.ref) == started.execution


async def test_a_group_that_runs_again_tells_of_the_child_once(here: World) -> None:
    row, other = (await here.start()).execution, await here.start()
    child = StartChild(77, here.automation, b"{}", b"{}")
    started = Prepared(2_000, row.epoch, Change(0, child), "me")
    wrong = change(here, other, WriteNote("b", fails=True))
    decision, failed = await asyncio.gather(
        here.store.executions.apply(row.ref, started), wrong, return_exceptions=True
    )
    assert isinstance(failed, InterlockError)
    assert isinstance(decision, Decision)
    assert [ref.id for ref, _ in here.listener.woken].count(77) == 1
    assert [found.id for found in await here.store.executions.children(row.ref)] == [77]


@pytest.mark.parametrize("then", [None, TASK], ids=["ends", "waits"])
async def test_a_crash_after_the_commit_loses_neither_the_change_nor_the_step(
    tmp_path: Path, then: Wait | None
) -> None:
    mutation = WriteNote("a", None if then else b"{}")
    async with opened(tmp_path / "before", appliers=APPLIERS) as store:
        await make_table(store)
        here = await world(store)
        kept = (await change(here, await here.start(), mutation, then)).execution
        # A crash would leave what is on the disk now.
        shutil.copytree(tmp_path / "before", tmp_path / "after")
    async with opened(tmp_path / "after", appliers=APPLIERS) as again:
        assert await again.executions.get(kept.ref) == kept
        assert await notes(again) == ["a"]
        # An event that was answered before the crash changes nothing when it is repeated.
        repeated = Prepared(2_000, kept.epoch - 1, Change(0, mutation, then=then), "me")
        decision = await again.executions.apply(kept.ref, repeated)
        assert decision is not None
        assert decision.verdict is Verdict.SUPERSEDED
        assert await notes(again) == ["a"]
