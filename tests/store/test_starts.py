"""The commit of a start checks and advances schedules and events, so that one cause starts one run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from interlock.errors import AlreadyExists, Conflict, Unavailable
from interlock.ports import AutomationRow, Schedule, ScheduledFire, Started, StartRecords
from interlock.ports.clocks import ClockMark
from interlock.rules.admit import Newcomer
from interlock.rules.events import Created
from interlock.rules.model import Ref
from interlock.store.sqlite.connection import migrate
from interlock.store.sqlite.execution_reads import EVENTS_KEPT
from tests.store.stores import AUDIT, FORMS, World, make_schema, named, on_connection, opened_as, sqlite, world

pytestmark = pytest.mark.anyio


@pytest.fixture(params=FORMS, ids=named)
async def here(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with opened_as(request.param, tmp_path) as store:
        yield await world(store)


async def automation(here: World) -> AutomationRow:
    found = await here.store.automations.get(here.tenant, here.automation)
    assert found is not None
    return found


async def schedule(here: World, next_fire_at: int | None, *, enabled: bool = True) -> None:
    row = await automation(here)
    await here.store.automations.update(
        replace(row, enabled=enabled), None, AUDIT, read_at=row.updated_at, schedule=Schedule(next_fire_at=next_fire_at)
    )


async def start(here: World, id: int, *, at: int = 100, **records: ScheduledFire | str) -> Started:
    newcomer = Newcomer(here.tenant, id, here.automation, here.definition)
    event, fire = records.get("event"), records.get("fire")
    assert event is None or isinstance(event, str)
    assert fire is None or isinstance(fire, ScheduledFire)
    return await here.store.executions.create(
        newcomer, Created(at), b"{}", StartRecords(audit=AUDIT, event=event, fire=fire)
    )


async def is_there(here: World, id: int) -> bool:
    return await here.store.executions.get(Ref(here.tenant, id)) is not None


BEFORE = 21
FIRE = ScheduledFire(due_at=70, next_at=90)


# --- schedules --------------------------------------------------------------------------------------------------------


async def test_a_time_of_a_schedule_starts_one_run_and_moves_it_on(here: World) -> None:
    await schedule(here, 70)
    before = here.store.counters().commits
    await start(here, 1, fire=FIRE)
    assert here.store.counters().commits == before + 1
    assert (await automation(here)).next_fire_at == 90
    with pytest.raises(Conflict):
        await start(here, 2, fire=FIRE)
    assert (await is_there(here, 2), (await automation(here)).next_fire_at) == (False, 90)
    await start(here, 3, fire=ScheduledFire(due_at=90, next_at=None))
    assert (await automation(here)).next_fire_at is None


async def test_of_two_who_fire_at_once_one_starts_a_run(here: World) -> None:
    await schedule(here, 70)
    found = await asyncio.gather(start(here, 1, fire=FIRE), start(here, 2, fire=FIRE), return_exceptions=True)
    assert [type(each) for each in found] == [Started, Conflict]
    assert [await is_there(here, id_) for id_ in (1, 2)] == [True, False]


async def test_a_disabled_or_rescheduled_automation_does_not_fire(here: World) -> None:
    for next_fire_at, enabled in ((70, False), (80, True), (None, True)):
        await schedule(here, next_fire_at, enabled=enabled)
        with pytest.raises(Conflict):
            await start(here, 1, fire=FIRE)
        assert not await is_there(here, 1)
        assert (await automation(here)).next_fire_at == next_fire_at


async def test_an_update_that_was_read_before_the_fire_does_not_take_it_back(here: World) -> None:
    await schedule(here, 70)
    read = await automation(here)
    await start(here, 1, fire=FIRE)
    await here.store.automations.update(replace(read, document=b"{}"), None, AUDIT, read_at=read.updated_at)
    found = await automation(here)
    assert (found.document, found.next_fire_at) == (b"{}", 90)


async def test_a_start_that_is_refused_leaves_the_schedule(here: World) -> None:
    await schedule(here, 70)
    sqlite(here.store).writer.full = True
    with pytest.raises(Unavailable):
        await start(here, 1, fire=FIRE)
    sqlite(here.store).writer.full = False
    assert (await automation(here)).next_fire_at == 70
    # A clash of ids fails after the schedule was moved: the commit is one.
    await start(here, 2)
    with pytest.raises(Exception, match="refused a statement"):
        await start(here, 2, fire=FIRE)
    row = await automation(here)
    assert row.next_fire_at == 70


async def test_a_deleted_automation_has_no_next_time(here: World) -> None:
    await schedule(here, 70)
    await here.store.automations.delete(here.tenant, here.automation, 80, AUDIT)

    def job(connection: apsw.Connection) -> object:
        return connection.execute("SELECT next_fire_at FROM automations").fetchall()

    assert await sqlite(here.store).writer.submit(on_connection(job)) == [(None,)]


# --- events -----------------------------------------------------------------------------------------------------------


async def test_an_event_starts_an_automation_once(here: World) -> None:
    first, again = await asyncio.gather(start(here, 1, event="e"), start(here, 2, event="e"))
    assert (first.repeated, again.repeated, again.execution.id, again.decision) == (False, True, 1, None)
    assert not await is_there(here, 2)
    assert not (await start(here, 3, event="f")).repeated


async def test_an_event_starts_each_automation_that_it_concerns(here: World) -> None:
    other = await here.store.automations.create(replace(await automation(here), id="other"), None, AUDIT)
    await start(here, 1, event="e")
    here.automation = other.id
    assert not (await start(here, 2, event="e")).repeated


async def test_an_event_is_known_to_its_tenant_alone(here: World) -> None:
    await start(here, 1, event="e")
    tenant = await here.store.access.create_tenant("two", ("two.example",), 1, AUDIT)
    await here.store.automations.create(replace(await automation(here), tenant=tenant.id), None, AUDIT)
    here.tenant = tenant.id
    assert not (await start(here, 2, event="e")).repeated


async def test_an_event_whose_start_failed_is_not_known(here: World) -> None:
    sqlite(here.store).writer.full = True
    with pytest.raises(Unavailable):
        await start(here, 1, event="e")
    sqlite(here.store).writer.full = False
    assert not (await start(here, 1, event="e")).repeated


async def test_events_are_forgotten_with_the_keys_after_a_week(here: World) -> None:
    await start(here, 1, event="e", at=100)
    await here.store.executions.forget_keys(100 + EVENTS_KEPT - 1)
    assert (await start(here, 2, event="e", at=100 + EVENTS_KEPT - 1)).repeated
    await here.store.executions.forget_keys(100 + EVENTS_KEPT)
    assert await events(here) == []
    assert not (await start(here, 2, event="e", at=100 + EVENTS_KEPT - 1)).repeated


async def test_an_old_event_is_not_known_even_before_it_is_forgotten(here: World) -> None:
    await start(here, 1, event="e", at=100)
    assert not (await start(here, 2, event="e", at=100 + EVENTS_KEPT)).repeated
    assert await events(here) == [("e", 2)]


async def test_events_keep_their_age_and_schedules_their_date_over_a_move(here: World) -> None:
    await schedule(here, 70)
    await start(here, 1, event="e", at=100)
    mark = ClockMark(boot="b", uptime=0, now=1_100)
    await here.store.clocks.move(1_000, 1_100, mark, None, AUDIT, lambda: None)
    assert (await start(here, 2, event="e", at=1_100 + EVENTS_KEPT - 1)).repeated
    assert not (await start(here, 2, event="e", at=1_100 + EVENTS_KEPT)).repeated
    assert (await automation(here)).next_fire_at == 70


async def test_an_event_whose_run_was_removed_starts_no_other(here: World) -> None:
    await start(here, 1, event="e")

    def job(connection: apsw.Connection) -> None:
        connection.execute("DELETE FROM executions")

    await sqlite(here.store).writer.submit(on_connection(job))
    with pytest.raises(AlreadyExists):
        await start(here, 2, event="e")


async def events(here: World) -> list[tuple[str, int]]:
    def job(connection: apsw.Connection) -> list[tuple[str, int]]:
        return [(event, id_) for event, id_ in connection.execute("SELECT event, execution FROM trigger_events")]

    return await sqlite(here.store).writer.submit(on_connection(job))


# --- older stores -----------------------------------------------------------------------------------------------------


def test_automations_of_an_earlier_release_are_enabled_by_their_documents() -> None:
    connection = apsw.Connection(":memory:")
    make_schema(connection, BEFORE)
    for id_, document in (("on", b'{"enabled":true}'), ("off", b'{"enabled":false}'), ("unset", b"{}")):
        connection.execute(
            "INSERT INTO automations (tenant, id, document, version, created_at, updated_at) VALUES (1, ?, ?, 0, 1, 1)",
            (id_, document),
        )
    migrate(connection)
    found = connection.execute("SELECT id, enabled, next_fire_at FROM automations ORDER BY id").fetchall()
    assert found == [("off", 0, None), ("on", 1, None), ("unset", 0, None)]
