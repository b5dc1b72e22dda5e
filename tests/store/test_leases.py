"""Contract of leases: they are stored with their runs and renewed, and an expired one terminates its run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interlock.ports import StartRecords
from interlock.rules.admit import Newcomer
from interlock.rules.events import Announce, Created, Terminated
from interlock.rules.model import SECOND, Cause, Ref, TerminationRequest
from interlock.rules.states import State
from interlock.store.sqlite.writer import Form
from tests.store.stores import ANN, AUDIT, FORMS, World, named, opened_as, world

pytestmark = pytest.mark.anyio

AT = 1_000 * SECOND
LENGTH = 60 * SECOND


async def leased(here: World, length: int | None = LENGTH, at: int = AT) -> Ref:
    """Start a run in flight with a lease."""
    newcomer = Newcomer(here.tenant, here.next_id, here.automation, here.definition, False)
    here.next_id += 1
    created = Created(at, Announce(0, b"{}"), "me")
    started = await here.store.executions.create(
        newcomer, created, b"{}", StartRecords(audit=AUDIT, lease_microseconds=length)
    )
    return started.execution.ref


async def state(here: World, ref: Ref) -> State:
    found = await here.store.executions.get(ref)
    assert found is not None
    return found.state


class LeasesContract:
    """The contract of the port: every store passes it."""

    async def test_a_lease_is_made_with_its_run_and_told_of(self, here: World) -> None:
        news = asyncio.ensure_future(here.store.leases.news())
        ref = await leased(here)
        assert await here.store.leases.expires_at(ref) == AT + LENGTH
        assert await here.store.leases.next() == AT + LENGTH
        await news

    async def test_a_run_without_one_has_none(self, here: World) -> None:
        ref = await leased(here, None)
        assert await here.store.leases.expires_at(ref) is None
        assert await here.store.leases.next() is None
        assert await here.store.leases.renew(ref, AT, LENGTH) is None

    async def test_renewal_counts_from_its_own_time_with_the_same_or_a_new_length(self, here: World) -> None:
        ref = await leased(here)
        assert await here.store.leases.renew(ref, AT + 5, None) == AT + 5 + LENGTH
        assert await here.store.leases.renew(ref, AT + 6, 2 * LENGTH) == AT + 6 + 2 * LENGTH
        assert await here.store.leases.renew(ref, AT + 7, None) == AT + 7 + 2 * LENGTH
        assert await here.store.leases.expires_at(ref) == AT + 7 + 2 * LENGTH

    async def test_the_next_to_expire_is_the_soonest(self, here: World) -> None:
        for length in (3 * LENGTH, LENGTH, 2 * LENGTH):
            await leased(here, length)
        assert await here.store.leases.next() == AT + LENGTH

    async def test_what_has_expired_ends_and_its_run_is_terminated_with_the_cause(self, here: World) -> None:
        ref, later = await leased(here), await leased(here, 2 * LENGTH)
        assert await here.store.leases.expire(AT + LENGTH - 1) == 0
        assert await here.store.leases.expire(AT + LENGTH) == 1
        assert [await state(here, each) for each in (ref, later)] == [State.STOPPING, State.PROCESS_STEP]
        order = await here.store.executions.termination(ref)
        assert order is not None
        assert order.request.cause is Cause.LEASE_EXPIRED
        assert await here.store.leases.expires_at(ref) is None
        assert [each for each, _ in here.listener.interrupts] == [ref]

    async def test_lease_of_a_stopping_run_is_not_renewed_and_ends_alone(self, here: World) -> None:
        ref = await leased(here)
        await here.store.executions.apply(ref, Terminated(AT + 1, TerminationRequest(ANN, "mine")))
        assert await here.store.leases.renew(ref, AT + 2, None) is None
        assert await here.store.leases.expire(AT + LENGTH) == 1
        order = await here.store.executions.termination(ref)
        assert order is not None
        assert order.request.reason == "mine"


class TestLeases(LeasesContract):
    @pytest.fixture(params=FORMS, ids=named)
    async def here(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
        form: Form | None = request.param
        async with opened_as(form, tmp_path) as store:
            yield await world(store)
