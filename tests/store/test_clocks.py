"""Contract of the clocks: the newest mark, and whether retention waits for an operator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.ports import Store
from interlock.ports.clocks import ClockMark
from tests.store.stores import AUDIT, FORMS, named, opened_as, world

pytestmark = pytest.mark.anyio

MARK = ClockMark(boot="b", uptime=10, now=1_000)


class ClocksContract:
    """The contract of the port: every store passes it."""

    async def test_newest_mark_is_kept(self, store: Store) -> None:
        assert await store.clocks.mark() is None
        await store.clocks.keep_mark(MARK, None)
        later = replace(MARK, uptime=20, now=1_010)
        await store.clocks.keep_mark(later, None)
        assert await store.clocks.mark() == later

    async def test_held_is_stored_with_the_mark_until_it_is_confirmed(self, store: Store) -> None:
        await store.clocks.keep_mark(MARK, 900)
        assert await store.clocks.held() == 900
        assert await store.clocks.confirm(1_000, AUDIT)
        assert await store.clocks.held() is None
        assert not await store.clocks.confirm(1_001, AUDIT)

    async def test_newest_is_the_time_of_the_newest_audit_row(self, store: Store) -> None:
        await world(store)
        before = await store.clocks.newest()
        tenant = (await store.access.tenants())[0].id
        await store.audit.append(tenant, 5_000_000, AUDIT)
        assert before is None or before < 5_000_000
        assert await store.clocks.newest() == 5_000_000

    async def test_move_keeps_its_mark_and_reports_after_the_commit(self, store: Store) -> None:
        await world(store)
        assert store.clocks.may_move()
        told: list[str] = []
        await store.clocks.move(100, 1_100, replace(MARK, now=1_100), 7, AUDIT, lambda: told.append("moved"))
        assert told == ["moved"]
        assert await store.clocks.mark() == replace(MARK, now=1_100)
        assert await store.clocks.held() == 7


class TestClocks(ClocksContract):
    """SQLite, in a file and in memory."""

    @pytest.fixture(params=FORMS, ids=named)
    async def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
        async with opened_as(request.param, tmp_path) as store:
            yield store
