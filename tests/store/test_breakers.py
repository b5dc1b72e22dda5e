"""Contract of circuit breakers: they count, trip and pause runs, and decisions about paused runs are carried out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.errors import NotFound
from interlock.ports import BulkAction, BulkKind
from interlock.ports.bulk import EVERY_AUTOMATION
from interlock.rules.breaker import PERIOD_MICROSECONDS, Period, Trip
from interlock.rules.events import Announce, Terminated
from interlock.rules.model import Cause, TerminationRequest
from interlock.rules.states import State
from interlock.store.sqlite import bulk
from interlock.store.sqlite.bulk import BATCH
from interlock.store.tx import Tx
from simulation.reads import finished
from tests.store.stores import ANN, AUDIT, World, opened, sqlite, world

pytestmark = pytest.mark.anyio

HOUR = PERIOD_MICROSECONDS[Period.HOUR]
AT = 10 * HOUR
PAUSED = State.PAUSED_BY_CIRCUIT_BREAKER


async def set_breaker(here: World, maximum: int, period: str = Period.HOUR, at: int = AT) -> None:
    row = await here.store.automations.get(here.tenant, here.automation)
    assert row is not None
    new = replace(row, breaker_max=maximum, breaker_period=period if maximum else "", updated_at=at)
    await here.store.automations.update(new, None, AUDIT, read_at=row.updated_at)


async def starts(here: World, *moments: int) -> list[State]:
    return [(await here.start(Announce(0, b"{}"), at=at)).execution.state for at in moments]


async def settle(
    here: World, kind: BulkKind | None, *, at: int = AT + 100, reset: bool = False, id: str = "b", reason: str = ""
) -> str:
    decided = (
        None if kind is None else BulkAction(id=id, automation=here.automation, kind=kind, actor=ANN, reason=reason)
    )
    return await here.store.breakers.settle(here.tenant, here.automation, at, AUDIT, reset=reset, decided=decided)


async def carry_out(here: World, at: int = AT + 200) -> None:
    while await here.store.bulk.proceed(at):
        pass


def states(here: World) -> list[State]:
    return [row.state for row in reversed(finished(here.store.executions.page(here.tenant, limit=1_000)))]


async def trips(here: World) -> Mapping[str, Trip]:
    return await here.store.breakers.trips(here.tenant, (here.automation, "unknown"))


class BreakersContract:
    """The contract of the port: every store passes it."""

    async def test_one_start_too_many_trips_it_and_all_that_follow_are_held_back(self, here: World) -> None:
        await set_breaker(here, 2)
        assert await starts(here, AT + 1, AT + 2, AT + 3, AT + 4) == [*[State.PROCESS_STEP] * 2, PAUSED, PAUSED]
        assert await trips(here) == {here.automation: Trip(AT + 3, 2, Period.HOUR, 3)}
        tripped = [row.entry for row in await here.store.audit.rows(here.tenant) if row.entry.action.endswith(".trip")]
        assert [(entry.actor.client, entry.target) for entry in tripped] == [("system", here.automation)]

    async def test_what_lies_behind_the_window_does_not_count(self, here: World) -> None:
        await set_breaker(here, 2)
        assert PAUSED not in await starts(here, AT + 1, AT + 2, AT + HOUR + 1, AT + HOUR + 2)
        assert await starts(here, AT + HOUR + 3) == [PAUSED]

    async def test_drafts_neither_count_nor_are_held_back(self, here: World) -> None:
        await set_breaker(here, 1)
        for at in range(AT, AT + 3):
            assert (await here.start(Announce(0, b"{}"), at=at, is_draft=True)).execution.state is State.PROCESS_STEP
        assert await starts(here, AT + 5, AT + 6) == [State.PROCESS_STEP, PAUSED]
        assert (await here.start(at=AT + 7, is_draft=True)).execution.state is State.PENDING

    async def test_setting_it_counts_what_was_started_before(self, here: World) -> None:
        await starts(here, AT - HOUR - 5, AT - 3, AT - 2)
        await set_breaker(here, 2)
        assert await starts(here, AT + 1) == [PAUSED]

    async def test_without_one_nothing_is_held_back_even_if_it_had_tripped(self, here: World) -> None:
        await set_breaker(here, 1)
        await starts(here, AT + 1, AT + 2)
        await set_breaker(here, 0, at=AT + 3)
        assert await trips(here) == {}
        assert await starts(here, AT + 4, AT + 5) == [State.PROCESS_STEP] * 2

    async def test_reset_begins_a_new_window_and_leaves_paused_runs_paused(self, here: World) -> None:
        await set_breaker(here, 1)
        await starts(here, AT + 1, AT + 2)
        assert await settle(here, None, reset=True) == ""
        assert await trips(here) == {}
        assert await starts(here, AT + 101, AT + 102) == [State.PROCESS_STEP, PAUSED]
        assert states(here) == [State.PROCESS_STEP, PAUSED, State.PROCESS_STEP, PAUSED]

    async def test_runs_are_let_go_oldest_first_and_do_not_count_again(self, here: World) -> None:
        await set_breaker(here, 1)
        await starts(here, *range(AT + 1, AT + 5))
        here.listener.woken.clear()
        assert await settle(here, BulkKind.RUN_PAUSED, reset=True) == "b"
        await carry_out(here)
        assert states(here) == [State.PROCESS_STEP, *[State.PENDING] * 3]
        assert [ref.id for ref, _ in here.listener.woken] == [2, 3, 4]
        assert await starts(here, AT + 300) == [State.PROCESS_STEP]
        let_go = [
            row.entry for row in await here.store.audit.rows(here.tenant) if row.entry.action.endswith(".paused_run")
        ]
        assert [(entry.actor, entry.target) for entry in let_go] == [(ANN, str(id_)) for id_ in (2, 3, 4)]

    async def test_cancelled_runs_are_terminated_with_the_reason(self, here: World) -> None:
        await set_breaker(here, 1)
        await starts(here, AT + 1, AT + 2)
        await settle(here, BulkKind.CANCEL_PAUSED, reason="a flood")
        await carry_out(here)
        assert states(here) == [State.PROCESS_STEP, State.TERMINATE]
        order = await here.store.executions.termination((await here.store.executions.page(here.tenant))[0].ref)
        assert order is not None
        assert (order.request.cause, order.request.reason, order.found) == (Cause.BREAKER_CANCEL, "a flood", PAUSED)
        assert here.automation in await trips(here)

    async def test_a_decision_is_about_the_runs_held_back_until_then(self, here: World) -> None:
        await set_breaker(here, 1)
        await starts(here, AT + 1, AT + 2)
        await settle(here, BulkKind.CANCEL_PAUSED)
        await starts(here, AT + 101)
        await carry_out(here)
        assert states(here) == [State.PROCESS_STEP, State.TERMINATE, PAUSED]

    async def test_the_same_decision_is_one_and_another_takes_its_place(self, here: World) -> None:
        await set_breaker(here, 1)
        assert await settle(here, BulkKind.RUN_PAUSED, id="nothing held back") == ""
        await starts(here, AT + 1, AT + 2)
        assert await settle(here, BulkKind.RUN_PAUSED, id="first") == "first"
        assert await settle(here, BulkKind.RUN_PAUSED, id="again") == "first"
        assert await settle(here, BulkKind.CANCEL_PAUSED, id="after all") == "after all"
        await carry_out(here)
        assert states(here) == [State.PROCESS_STEP, State.TERMINATE]

    async def test_a_paused_run_can_be_stopped_by_itself(self, here: World) -> None:
        await set_breaker(here, 1)
        await starts(here, AT + 1, AT + 2)
        held_back = (await here.store.executions.page(here.tenant))[0].ref
        await here.store.executions.apply(held_back, Terminated(AT + 3, TerminationRequest(ANN, "not this one")))
        await settle(here, BulkKind.RUN_PAUSED)
        await carry_out(here)
        assert states(here) == [State.PROCESS_STEP, State.TERMINATE]

    async def test_many_take_several_commits(self, here: World) -> None:
        await set_breaker(here, 1)
        await starts(here, *range(AT, AT + BATCH + 3))
        await settle(here, BulkKind.CANCEL_PAUSED)
        assert await here.store.bulk.proceed(AT + 200) == 1
        assert states(here).count(PAUSED) == 2
        await carry_out(here)
        assert states(here).count(PAUSED) == 0

    async def test_an_unknown_automation_has_none(self, here: World) -> None:
        assert await trips(here) == {}
        with pytest.raises(NotFound):
            await here.store.breakers.settle(here.tenant, "unknown", AT, AUDIT, reset=True, decided=None)

    async def test_deleting_terminates_what_is_active_in_the_same_commit(self, here: World) -> None:
        await set_breaker(here, 2)
        await starts(here, AT + 1, AT + 2, AT + 3)
        action = BulkAction(
            id="b", automation=here.automation, kind=BulkKind.TERMINATE_ACTIVE, actor=ANN, reason="deleted"
        )
        assert await here.store.automations.delete(here.tenant, here.automation, AT + 9, AUDIT, terminate=action)
        assert states(here) == [State.STOPPING, State.STOPPING, State.TERMINATE]
        assert [ref.id for ref, _ in here.listener.interrupts] == [1, 2]
        order = await here.store.executions.termination((await here.store.executions.page(here.tenant))[0].ref)
        assert order is not None
        assert order.request.cause is Cause.DELETE

    async def test_revoking_a_tenant_terminates_all_its_runs_in_batches(self, here: World) -> None:
        await starts(here, *range(AT, AT + 5))
        action = BulkAction(
            id="b", automation=EVERY_AUTOMATION, kind=BulkKind.TERMINATE_ACTIVE, actor=ANN, reason="revoked"
        )

        async def revoked(tx: Tx) -> bulk.Batch:
            return await bulk.begin(tx, here.tenant, action, AT + 9, most=2)

        batch = await sqlite(here.store).writer.submit(revoked)
        assert (batch.more, states(here).count(State.STOPPING)) == (True, 2)
        sqlite(here.store).bulk.first_batch(here.tenant, batch)
        await carry_out(here)
        assert states(here) == [State.STOPPING] * 5
        order = await here.store.executions.termination((await here.store.executions.page(here.tenant))[0].ref)
        assert order is not None
        assert (order.request.cause, order.request.actor) == (Cause.TENANT_REVOKED, ANN)


class TestOnDisk(BreakersContract):
    @pytest.fixture
    async def here(self, tmp_path: Path) -> AsyncIterator[World]:
        async with opened(tmp_path) as store:
            yield await world(store)

    async def test_a_decision_outlives_a_restart(self, tmp_path: Path) -> None:
        async with opened(tmp_path / "again") as store:
            here = await world(store)
            await set_breaker(here, 1)
            await starts(here, AT + 1, AT + 2)
            await settle(here, BulkKind.CANCEL_PAUSED)
        async with opened(tmp_path / "again") as store:
            here = replace(here, store=store)
            await store.bulk.left()
            await carry_out(here)
            assert states(here) == [State.PROCESS_STEP, State.TERMINATE]


class TestInMemory(BreakersContract):
    @pytest.fixture
    async def here(self) -> AsyncIterator[World]:
        async with opened(None) as store:
            yield await world(store)
