"""Contract of automations and their definitions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.errors import AlreadyExists, Conflict, NotFound
from interlock.ports import AutomationRow, Definition, Schedule, Store
from tests.store.stores import AUDIT, PLAN, opened

pytestmark = pytest.mark.anyio


def row(tenant: int = 1, id: str = "a", at: int = 5) -> AutomationRow:
    return AutomationRow(
        tenant=tenant, id=id, document=b'{"displayName":"A"}', version=0, definition=None, created_at=at, updated_at=at
    )


def plan(steps: bytes = PLAN, context: bytes | None = None) -> Definition:
    return Definition(
        tenant=1, id=0, automation="a", version=1, steps=steps, triggers=b"[]", context=context, created_at=5
    )


class AutomationsContract:
    """The contract of the port: every store passes it."""

    async def test_creating_with_a_plan_publishes_version_1(self, store: Store) -> None:
        made = await store.automations.create(row(), plan(), AUDIT)
        assert made.version == 1
        assert made.definition is not None
        assert await store.automations.get(1, "a") == made
        kept = await store.automations.definition(1, made.definition)
        assert kept == replace(plan(), id=made.definition, version=1)

    async def test_apps_of_many_are_told_deleted_ones_too(self, store: Store) -> None:
        for id_, document in (("a", b'{"appId":"x"}'), ("b", b"{}"), ("c", b'{"appId":"y"}')):
            await store.automations.create(replace(row(), id=id_, document=document), None, AUDIT)
        await store.automations.delete(1, "c", 5, AUDIT)
        assert await store.automations.apps_of(1, ("c", "unknown", "a", "b")) == {"a": "x", "b": "", "c": "y"}
        assert await store.automations.apps_of(2, ("a",)) == {}

    async def test_schedules_are_read_in_the_order_of_their_times(self, store: Store) -> None:
        for id_, at in (("a", 30), ("b", 10), ("c", 20), ("d", None)):
            await store.automations.create(replace(row(), id=id_, enabled=True, next_fire_at=at), None, AUDIT)
        await store.automations.create(replace(row(), id="disabled", next_fire_at=5), None, AUDIT)
        await store.automations.create(replace(row(), id="deleted", enabled=True, next_fire_at=5), None, AUDIT)
        await store.automations.delete(1, "deleted", 6, AUDIT)
        found = await store.automations.scheduled(limit=2)
        assert [(each.automation, each.fires_at, each.tenant) for each in found] == [("b", 10, 1), ("c", 20, 1)]
        rest = await store.automations.scheduled(after=found[-1], limit=2)
        assert [each.automation for each in rest] == ["a"]
        assert await store.automations.scheduled(after=rest[-1]) == []

    async def test_on_demand_is_stored_with_the_definition(self, store: Store) -> None:
        made = await store.automations.create(row(), replace(plan(), on_demand=False), AUDIT)
        kept = await store.automations.definition(1, made.definition or 0)
        assert kept is not None
        assert not kept.on_demand

    async def test_creating_without_a_plan_publishes_nothing(self, store: Store) -> None:
        made = await store.automations.create(row(), None, AUDIT)
        assert (made.version, made.definition) == (0, None)

    async def test_an_id_is_used_once_even_after_deletion(self, store: Store) -> None:
        await store.automations.create(row(), None, AUDIT)
        await store.automations.delete(1, "a", 6, AUDIT)
        with pytest.raises(AlreadyExists):
            await store.automations.create(row(), None, AUDIT)

    async def test_an_update_publishes_the_next_version_and_keeps_the_old_one(self, store: Store) -> None:
        made = await store.automations.create(row(), plan(), AUDIT)
        new = replace(made, document=b"{}", updated_at=9)
        updated = await store.automations.update(new, plan(b"[1]"), AUDIT, read_at=made.updated_at)
        assert (updated.version, updated.document, updated.updated_at) == (2, b"{}", 9)
        assert made.definition is not None
        assert updated.definition is not None
        old, fresh = [await store.automations.definition(1, id_) for id_ in (made.definition, updated.definition)]
        assert old is not None
        assert fresh is not None
        assert [(d.version, d.steps) for d in (old, fresh)] == [(1, PLAN), (2, b"[1]")]

    async def test_an_automation_says_whether_it_is_enabled_and_when_it_fires(self, store: Store) -> None:
        made = await store.automations.create(replace(row(), enabled=True, next_fire_at=70), plan(), AUDIT)
        assert (made.enabled, made.next_fire_at) == (True, 70)
        assert await store.automations.get(1, "a") == made
        off = replace(made, enabled=False, next_fire_at=None, updated_at=9)
        off = await store.automations.update(off, None, AUDIT, read_at=made.updated_at)
        # Only a new schedule changes the next time, because the caller may have read an old one.
        assert (off.enabled, off.next_fire_at) == (False, 70)
        for schedule in (Schedule(next_fire_at=90), Schedule(next_fire_at=None)):
            found = await store.automations.get(1, "a")
            assert found is not None
            new = await store.automations.update(
                replace(found, updated_at=10), plan(), AUDIT, read_at=found.updated_at, schedule=schedule
            )
            assert new.next_fire_at == schedule.next_fire_at
            assert await store.automations.get(1, "a") == new

    async def test_many_are_read_at_once_and_what_is_not_there_is_left_out(self, store: Store) -> None:
        made = [await store.automations.create(row(), None, AUDIT)]
        assert await store.automations.get_many(1, ("a", "unknown")) == {"a": made[0]}
        assert await store.automations.get_many(2, ("a",)) == {}
        await store.automations.delete(1, "a", 9, AUDIT)
        assert await store.automations.get_many(1, ("a",)) == {}

    async def test_published_versions_are_told_newest_first(self, store: Store) -> None:
        made = await store.automations.create(row(), plan(), AUDIT)
        await store.automations.update(replace(made, updated_at=9), plan(b"[1]"), AUDIT, read_at=made.updated_at)
        assert [found.version for found in await store.automations.versions(1, made.id)] == [2, 1]
        assert await store.automations.versions(2, made.id) == []

    async def test_a_change_is_seen_at_once(self, store: Store) -> None:
        made = await store.automations.create(row(), None, AUDIT)
        assert await store.automations.get(1, "a") == made
        updated = await store.automations.update(replace(made, document=b"{}"), None, AUDIT, read_at=5)
        assert await store.automations.get(1, "a") == updated
        await store.automations.delete(1, "a", 9, AUDIT)
        assert await store.automations.get(1, "a") is None

    async def test_an_update_without_a_plan_leaves_the_version(self, store: Store) -> None:
        made = await store.automations.create(row(), plan(), AUDIT)
        updated = await store.automations.update(replace(made, updated_at=9), None, AUDIT, read_at=5)
        assert (updated.version, updated.definition) == (made.version, made.definition)

    async def test_of_two_updates_of_one_reading_one_wins(self, store: Store) -> None:
        made = await store.automations.create(row(), None, AUDIT)
        updates = [
            store.automations.update(replace(made, document=text), None, AUDIT, read_at=made.updated_at)
            for text in (b"1", b"2")
        ]
        answers = await asyncio.gather(*updates, return_exceptions=True)
        assert [type(answer) for answer in answers] == [AutomationRow, Conflict]
        assert isinstance(answers[0], AutomationRow)
        assert answers[0].updated_at > made.updated_at
        assert await store.automations.get(1, "a") == answers[0]

    async def test_a_deleted_automation_is_not_found_and_its_definitions_stay(self, store: Store) -> None:
        made = await store.automations.create(row(), plan(), AUDIT)
        assert await store.automations.delete(1, "a", 6, AUDIT)
        assert not await store.automations.delete(1, "a", 7, AUDIT)
        assert await store.automations.get(1, "a") is None
        assert await store.automations.page(1) == []
        with pytest.raises(NotFound):
            await store.automations.update(made, None, AUDIT, read_at=5)
        assert made.definition is not None
        assert await store.automations.definition(1, made.definition) is not None

    async def test_the_same_draft_is_kept_once(self, store: Store) -> None:
        await store.automations.create(row(), plan(), AUDIT)
        first = await store.automations.draft(plan())
        assert first.version == 0
        assert await store.automations.draft(replace(plan(), created_at=99)) == first
        others = [plan(b"[1]"), plan(context=b""), plan(context=b"{}"), replace(plan(), automation="b")]
        ids = {(await store.automations.draft(other)).id for other in others}
        assert len(ids | {first.id}) == 5

    async def test_pages_follow_each_other_without_gap_or_repetition(self, store: Store) -> None:
        for id_ in ("c", "a", "d", "b"):
            await store.automations.create(row(id=id_), None, AUDIT)
        await store.automations.create(row(2, "e"), None, AUDIT)
        first = await store.automations.page(1, limit=3)
        rest = await store.automations.page(1, after=first[-1].id, limit=3)
        assert [[r.id for r in page] for page in (first, rest)] == [["a", "b", "c"], ["d"]]

    async def test_another_tenants_automation_is_not_there(self, store: Store) -> None:
        made = await store.automations.create(row(), plan(), AUDIT)
        assert await store.automations.get(2, "a") is None
        assert made.definition is not None
        assert await store.automations.definition(2, made.definition) is None
        assert not await store.automations.delete(2, "a", 6, AUDIT)

    async def test_every_change_leaves_one_audit_row(self, store: Store) -> None:
        made = await store.automations.create(row(), None, AUDIT)
        await store.automations.update(made, None, AUDIT, read_at=5)
        await store.automations.delete(1, "a", 9, AUDIT)
        assert [audited.entry for audited in await store.audit.rows(1)] == [AUDIT] * 3


class TestOnDisk(AutomationsContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        async with opened(tmp_path) as store:
            yield store


class TestInMemory(AutomationsContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        async with opened(None) as store:
            yield store
