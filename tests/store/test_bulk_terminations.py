"""Contract of plans and bulk terminations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.ports import BulkTermination, PlanRow
from interlock.rules.model import TerminationRequest
from interlock.rules.states import State
from interlock.store.sqlite.writer import Form
from tests.store.stores import ANN, AUDIT, FORMS, World, named, opened_as, world

pytestmark = pytest.mark.anyio

AT = 5_000
UNTIL = 9_000
PLAN = PlanRow(id="p", client=ANN.client, expires_at=UNTIL, total=3)


async def planned(here: World, *, unknown: int = 0) -> list[int]:
    """Start three runs, and store a plan with them."""
    runs = [(await here.in_flight()).execution.id for _ in range(3)]
    await here.store.bulk_terminations.plan(here.tenant, PLAN, AT, [*runs, *range(900, 900 + unknown)])
    return runs


def order(here: World) -> BulkTermination:
    request = TerminationRequest(ANN, "all of them")
    return BulkTermination(tenant=here.tenant, id=PLAN.id, request=request, paused=(), at=AT + 1, total=3)


async def begun(here: World) -> BulkTermination:
    assert await here.store.bulk_terminations.begin(order(here), AUDIT)
    found = await here.store.bulk_terminations.next()
    assert found is not None
    return found


async def states(here: World) -> list[State]:
    return [row.state for row in reversed(await here.store.executions.page(here.tenant))]


class BulkTerminationsContract:
    """The contract of the port: every store passes it."""

    async def test_a_plan_comes_back_to_its_tenant(self, here: World) -> None:
        await planned(here)
        assert await here.store.bulk_terminations.find_plan(here.tenant, "p") == PLAN
        assert await here.store.bulk_terminations.find_plan(here.tenant + 1, "p") is None

    async def test_a_plan_is_carried_out_by_its_client_in_time_and_once(self, here: World) -> None:
        await planned(here)
        made, port = order(here), here.store.bulk_terminations
        stranger = replace(made, request=replace(made.request, actor=replace(ANN, client="bob@localhost/pcc")))
        assert not await port.begin(stranger, AUDIT)
        assert not await port.begin(replace(made, at=UNTIL), AUDIT)
        assert not await port.begin(replace(made, tenant=here.tenant + 1), AUDIT)
        assert await port.begin(made, AUDIT)
        assert not await port.begin(made, AUDIT)
        assert await port.find_plan(here.tenant, "p") == replace(PLAN, used=True)

    async def test_an_order_stops_what_it_names_batch_by_batch_and_counts_all(self, here: World) -> None:
        runs = await planned(here, unknown=1)
        found, port = await begun(here), here.store.bulk_terminations
        assert await port.batch(found, 2) == runs[:2]
        await port.carry_out(found, runs[:2], lambda client: None, AT + 2)
        assert await states(here) == [State.STOPPING, State.STOPPING, State.PROCESS_STEP]
        rest = await port.batch(found, 10)
        assert rest == [runs[2], 900]
        await port.carry_out(found, rest, lambda client: None, AT + 3)
        assert await port.next() is None
        done = await port.get(here.tenant, "p")
        assert done is not None
        assert (done.accepted, done.not_found, done.denied, done.finished_at) == (3, 1, 0, AT + 3)
        assert [row.id for row in await port.page(here.tenant)] == ["p"]

    async def test_what_the_client_may_not_stop_is_counted_and_goes_on(self, here: World) -> None:
        runs = await planned(here)
        found, port = await begun(here), here.store.bulk_terminations
        await port.carry_out(found, runs, lambda client: frozenset({"another app"}), AT + 2)
        done = await port.get(here.tenant, "p")
        assert done is not None
        assert (done.accepted, done.denied) == (0, 3)
        assert await states(here) == [State.PROCESS_STEP] * 3

    async def test_aborted_bulk_termination_stops_no_further_run(self, here: World) -> None:
        runs = await planned(here)
        found, port = await begun(here), here.store.bulk_terminations
        assert await port.abort(here.tenant, "p", AT + 2, AUDIT)
        assert not await port.abort(here.tenant, "p", AT + 2, AUDIT)
        await port.carry_out(found, runs, lambda client: None, AT + 3)
        assert await states(here) == [State.PROCESS_STEP] * 3
        assert await port.next() is None

    async def test_what_is_held_back_is_from_that_commit_on(self, here: World) -> None:
        await here.store.bulk_terminations.hold_back(here.tenant, (here.automation,), AT, AUDIT)
        await here.in_flight()
        assert await states(here) == [State.PAUSED_BY_CIRCUIT_BREAKER]

    async def test_who_waits_for_orders_is_told_of_one_and_once_at_first(self, here: World) -> None:
        port = here.store.bulk_terminations
        await port.unfinished()
        await planned(here)
        waits = asyncio.ensure_future(port.unfinished())
        await begun(here)
        await waits

    async def test_plans_that_expired_are_forgotten_and_others_stay(self, here: World) -> None:
        await planned(here)
        port = here.store.bulk_terminations
        await port.plan(here.tenant, replace(PLAN, id="q", expires_at=UNTIL + 1), AT, [])
        await port.forget_plans(UNTIL)
        assert await port.find_plan(here.tenant, "p") is None
        assert await port.find_plan(here.tenant, "q") is not None


class TestBulkTerminations(BulkTerminationsContract):
    @pytest.fixture(params=FORMS, ids=named)
    async def here(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
        form: Form | None = request.param
        async with opened_as(form, tmp_path) as store:
            yield await world(store)
