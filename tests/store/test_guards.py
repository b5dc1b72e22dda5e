"""The guard of each write: a row that was changed since it was read is not written, and its group is rolled back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from interlock.rules.decide import decide
from interlock.rules.events import Announce, Event, Settled, Terminated
from interlock.rules.model import AttemptRef, Execution, Result, Situation, TerminationRequest
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from interlock.store.rowset import CALLBACK_TAKEN, rowset_of
from interlock.store.tx import GuardFailed, Tx
from tests.store.stores import ANN, World, on_connection, opened, sqlite, world

pytestmark = pytest.mark.anyio

STOP = Terminated(5_000, TerminationRequest(ANN))
ON = Settled(5_000, AttemptRef(0, 1, 2), Result(Outcome.SUCCEEDED), Announce(1), "me")


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with opened(None) as store:
        yield await world(store)


async def written(here: World, was: Execution, event: Event) -> None:
    decision = decide(Situation(was), event)
    assert decision.moved

    async def job(tx: Tx) -> None:
        await tx.write(rowset_of(was, decision, 5_000))

    await sqlite(here.store).writer.submit(job)


@pytest.mark.parametrize("event", [STOP, ON], ids=["another state", "the next attempt"])
@pytest.mark.parametrize(
    "elsewhere",
    [{"epoch": 7}, {"state": State.PROCESS_STEP, "epoch": 7}, {"id": 99}, {"tenant": 99}],
    ids=" and ".join,
)
async def test_a_row_that_stands_elsewhere_is_not_written(here: World, event: Event, elsewhere: dict[str, Any]) -> None:
    runs = [(await here.in_flight()).execution for _ in range(2)]
    with pytest.raises(GuardFailed):
        await written(here, replace(runs[0], **elsewhere), event)
    assert [await here.store.executions.get(run.ref) for run in runs] == runs


@pytest.mark.parametrize("event", [STOP, ON], ids=["another state", "the next attempt"])
async def test_a_row_whose_state_is_another_one_at_the_same_epoch_is_not_written(here: World, event: Event) -> None:
    run = (await here.in_flight()).execution
    await sqlite(here.store).writer.submit(
        on_connection(lambda connection: connection.execute("UPDATE executions SET state = 'WAITING'"))
    )
    with pytest.raises(GuardFailed):
        await written(here, run, event)


@pytest.mark.parametrize("event", [STOP, ON], ids=["another state", "the next attempt"])
async def test_of_many_rows_that_look_alike_the_one_is_written(here: World, event: Event) -> None:
    runs = [(await here.in_flight()).execution for _ in range(3)]
    await written(here, runs[1], event)
    assert [await here.store.executions.get(run.ref) == run for run in runs] == [True, False, True]


async def test_a_change_without_a_guard_may_find_no_row(here: World) -> None:
    run = (await here.in_flight()).execution

    async def job(tx: Tx) -> None:
        await tx.write([(CALLBACK_TAKEN, (run.tenant, run.id, 9))])

    await sqlite(here.store).writer.submit(job)
    assert await here.store.executions.get(run.ref) == run
