"""Starts by a schedule or an event: one cause starts one run, and a start without a run loses no slot."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from interlock.engine.start import StartRequest
from interlock.errors import Conflict
from interlock.ports import Schedule, ScheduledFire
from interlock.rules.model import SYSTEM
from interlock.rules.states import State
from tests.clocks import settle
from tests.engine.worlds import AUDIT, THREE_WEBHOOKS, Engine, engine

pytestmark = pytest.mark.anyio


def request(world: Engine, definition: int) -> StartRequest:
    return StartRequest(world.tenant, "auto", definition, SYSTEM, {})


async def test_time_of_a_schedule_starts_one_run_and_loses_no_slot() -> None:
    async with engine() as world:
        definition = await world.publish(THREE_WEBHOOKS)
        row = await world.store.automations.get(world.tenant, "auto")
        assert row is not None
        await world.store.automations.update(
            replace(row, enabled=True), None, AUDIT, read_at=row.updated_at, schedule=Schedule(next_fire_at=70)
        )
        fired = replace(request(world, definition), fire=ScheduledFire(due_at=70, next_at=90))
        first, other = await asyncio.gather(
            world.starter.start(fired), world.starter.start(fired), return_exceptions=True
        )
        await settle()
        assert isinstance(other, Conflict)
        assert not isinstance(first, BaseException)
        assert (first.execution.state, len(world.far.calls), world.dispatcher.busy) == (State.PROCESS_STEP, 1, 1)
        after = await world.store.automations.get(world.tenant, "auto")
        assert after is not None
        assert after.next_fire_at == 90


async def test_an_event_that_comes_twice_makes_its_calls_once() -> None:
    async with engine() as world:
        told = replace(request(world, await world.publish(THREE_WEBHOOKS)), event="e1")
        first, again = await asyncio.gather(world.starter.start(told), world.starter.start(told))
        await settle()
        assert (first.repeated, again.repeated, again.execution.id) == (False, True, first.execution.id)
        assert (len(world.far.calls), world.dispatcher.busy) == (1, 1)
        other = await world.starter.start(replace(told, event="e2"))
        await settle()
        assert (other.repeated, len(world.far.calls)) == (False, 2)
