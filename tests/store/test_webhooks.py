"""Contract of outbound webhooks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.errors import AlreadyExists
from interlock.ports import Store, WebhookRow
from tests.store.stores import AUDIT, opened

pytestmark = pytest.mark.anyio

ROW = WebhookRow(
    tenant=1,
    id="w",
    document=b'{"displayName":"W"}',
    url="https://far.example/hook",
    callback_timeout=3_600,
    created_at=5,
    updated_at=5,
)


class WebhooksContract:
    """The contract of the port: every store passes it."""

    async def test_a_webhook_comes_back_as_it_was_stored_and_only_to_its_tenant(self, store: Store) -> None:
        await store.webhooks.create(ROW, AUDIT)
        assert await store.webhooks.get(1, "w") == ROW
        assert await store.webhooks.get(2, "w") is None
        with pytest.raises(AlreadyExists):
            await store.webhooks.create(ROW, AUDIT)

    async def test_an_update_replaces_what_its_owner_can_set(self, store: Store) -> None:
        await store.webhooks.create(ROW, AUDIT)
        new = replace(ROW, document=b"{}", url="https://other.example/", callback_timeout=60, updated_at=9)
        assert await store.webhooks.update(1, "w", lambda row: (new, AUDIT)) == new
        assert await store.webhooks.get(1, "w") == new
        assert await store.webhooks.update(2, "w", lambda row: (new, AUDIT)) is None

    async def test_a_deleted_webhook_is_gone(self, store: Store) -> None:
        await store.webhooks.create(ROW, AUDIT)
        assert not await store.webhooks.delete(2, "w", 9, AUDIT)
        assert await store.webhooks.delete(1, "w", 9, AUDIT)
        assert not await store.webhooks.delete(1, "w", 9, AUDIT)
        assert await store.webhooks.get(1, "w") is None
        assert [(row.at, row.entry) for row in await store.audit.rows(1)] == [(5, AUDIT), (9, AUDIT)]

    @pytest.mark.parametrize("document", [b"{}", b"x" * 100_000], ids=["small", "large"])
    async def test_a_change_is_seen_at_once(self, store: Store, document: bytes) -> None:
        await store.webhooks.create(replace(ROW, document=document), AUDIT)
        before = await store.webhooks.get(1, "w")
        await store.webhooks.update(1, "w", lambda row: (replace(row, url="https://other.example/"), AUDIT))
        after = await store.webhooks.get(1, "w")
        await store.webhooks.delete(1, "w", 9, AUDIT)
        assert [None if row is None else row.url for row in (before, after, await store.webhooks.get(1, "w"))] == [
            ROW.url,
            "https://other.example/",
            None,
        ]

    async def test_pages_follow_each_other(self, store: Store) -> None:
        for id_ in ("c", "a", "b"):
            await store.webhooks.create(replace(ROW, id=id_), AUDIT)
        assert [row.id for row in await store.webhooks.page(1, limit=2)] == ["a", "b"]
        assert [row.id for row in await store.webhooks.page(1, after="b", limit=2)] == ["c"]


class TestOnDisk(WebhooksContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        async with opened(tmp_path) as store:
            yield store


class TestInMemory(WebhooksContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        async with opened(None) as store:
            yield store
