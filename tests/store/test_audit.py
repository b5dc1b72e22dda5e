"""Contract of the audit record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from interlock.errors import AlreadyExists
from interlock.ports import AuditEntry, AuditLog, Store
from interlock.rules.model import Actor
from interlock.store.sqlite.refusals import REFUSALS_RECORDED, REFUSALS_WINDOW_MICROSECONDS
from tests.store.stores import AUDIT, opened

pytestmark = pytest.mark.anyio

ENTRY = AuditEntry(
    actor=Actor("c", "::1", "p"),
    action="execution.terminate",
    target="execution:7",
    outcome="denied",
    reason="no",
    details=b'{"a":1}',
)
OTHER = replace(ENTRY, actor=Actor("another", "::1", "q"))


class AuditContract:
    """The contract of the port: every store passes it."""

    async def test_a_row_comes_back_as_it_was_written(self, audit: AuditLog) -> None:
        await audit.append(1, 42, ENTRY)
        [row] = await audit.rows(1)
        assert (row.tenant, row.at, row.entry, row.hash) == (1, 42, ENTRY, None)

    async def test_ids_ascend_in_the_order_of_the_commits(self, audit: AuditLog) -> None:
        await asyncio.gather(*(audit.append(1, at, ENTRY) for at in range(5)))
        await audit.append(1, 5, ENTRY)
        rows = await audit.rows(1)
        assert [row.at for row in rows] == [0, 1, 2, 3, 4, 5]
        assert sorted({row.id for row in rows}) == [row.id for row in rows]
        assert await audit.rows(1, after=rows[1].id, limit=2) == rows[2:4]

    async def test_tenants_have_records_of_their_own(self, audit: AuditLog) -> None:
        await audit.append(1, 1, ENTRY)
        await audit.append(2, 2, AUDIT)
        assert [row.entry for row in await audit.rows(1)] == [ENTRY]
        assert [row.entry for row in await audit.rows(2)] == [AUDIT]
        assert await audit.rows(3) == []

    async def test_rows_after_the_newest_seal_are_unsealed(self, store: Store) -> None:
        audit = store.audit
        tenants = [(await store.access.create_tenant(name, (), 0, ENTRY)).id for name in ("one", "two")]
        one, two = tenants
        for tenant in (one, two, one):
            await audit.append(tenant, 1, ENTRY)
        assert await audit.head(one) == (0, bytes(32))
        assert [row.tenant for row in await audit.unsealed(10)] == [one, one, one, two, two]
        assert [row.tenant for row in await audit.unsealed(1)] == [one, two]
        first, second, third = await audit.rows(one)
        seals = [(first.id, b"\1" * 32), (second.id, b"\2" * 32)]
        assert await audit.seal(one, await audit.head(one), seals)
        assert not await audit.seal(one, (0, bytes(32)), seals)
        assert await audit.head(one) == (second.id, b"\2" * 32)
        assert [row.hash for row in await audit.rows(one)] == [b"\1" * 32, b"\2" * 32, None]
        assert [row.id for row in await audit.unsealed(10) if row.tenant == one] == [third.id]

    async def test_news_comes_once_for_all_that_was_committed_before(self, audit: AuditLog) -> None:
        await audit.news()
        with anyio.move_on_after(0) as scope:
            await audit.news()
        assert scope.cancelled_caught
        await audit.append(1, 1, ENTRY)
        await audit.append(1, 1, ENTRY)
        await audit.news()
        with anyio.move_on_after(0) as scope:
            await audit.news()
        assert scope.cancelled_caught
        audit.look_again()
        await audit.news()

    async def test_first_refusals_of_a_caller_have_rows_and_later_ones_are_counted(self, audit: AuditLog) -> None:
        for at in range(REFUSALS_RECORDED + 3):
            await audit.refuse(1, at, ENTRY)
        await audit.refuse(1, 9, OTHER)
        assert [row.entry for row in await audit.rows(1)] == [ENTRY] * REFUSALS_RECORDED + [OTHER]
        await audit.sum_up(REFUSALS_WINDOW_MICROSECONDS - 1)
        assert len(await audit.rows(1)) == REFUSALS_RECORDED + 1
        await audit.sum_up(REFUSALS_WINDOW_MICROSECONDS)
        await audit.sum_up(REFUSALS_WINDOW_MICROSECONDS)
        *_, counted = await audit.rows(1)
        assert len(await audit.rows(1)) == REFUSALS_RECORDED + 2
        assert (counted.at, counted.entry.actor, counted.entry.outcome) == (
            REFUSALS_WINDOW_MICROSECONDS,
            ENTRY.actor,
            "denied",
        )
        assert json.loads(counted.entry.details or b"") == {"count": 3, "since": 0, "actions": {ENTRY.action: 3}}

    async def test_refusal_after_a_window_writes_its_count_and_a_row_of_its_own(self, audit: AuditLog) -> None:
        for _ in range(REFUSALS_RECORDED + 1):
            await audit.refuse(1, 0, ENTRY)
        await audit.refuse(1, REFUSALS_WINDOW_MICROSECONDS, ENTRY)
        *_, counted, own = await audit.rows(1)
        assert (json.loads(counted.entry.details or b"")["count"], own.entry) == (1, ENTRY)

    async def test_every_count_of_refusals_is_written_at_the_end(self, audit: AuditLog) -> None:
        for tenant in (1, 2):
            for _ in range(REFUSALS_RECORDED + 1):
                await audit.refuse(tenant, 0, ENTRY)
        await audit.sum_up(1)
        assert [len(await audit.rows(tenant)) for tenant in (1, 2)] == [REFUSALS_RECORDED] * 2
        await audit.sum_up(1, every=True)
        assert [len(await audit.rows(tenant)) for tenant in (1, 2)] == [REFUSALS_RECORDED + 1] * 2

    async def test_a_change_that_fails_leaves_no_row(self, store: Store) -> None:
        tenant = (await store.access.create_tenant("acme", (), 0, ENTRY)).id
        with pytest.raises(AlreadyExists):
            await store.access.create_tenant("acme", (), 0, ENTRY)
        assert len(await store.audit.rows(tenant)) == 1
        assert await store.audit.rows(tenant + 1) == []

    @pytest.fixture
    def audit(self, store: Store) -> AuditLog:
        return store.audit


class TestOnDisk(AuditContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        async with opened(tmp_path) as store:
            yield store


class TestInMemory(AuditContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        async with opened(None) as store:
            yield store
