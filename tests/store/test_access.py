"""Contract of tenants, clients, tokens and used assertions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.errors import AlreadyExists, NotFound, TooManyRequests
from interlock.ports import Access, AuditEntry, BulkAction, BulkKind, ClientRow, Role, Store, TenantSettings
from interlock.ports.bulk import EVERY_AUTOMATION
from interlock.store.sqlite.access import ASSERTION_KEPT, SqliteAccess
from tests.store.stores import AUDIT, opened, sqlite

pytestmark = pytest.mark.anyio

KEY = bytes(range(32))
TOKEN = b"\1" * 32
ENDED = BulkAction(id="b", automation=EVERY_AUTOMATION, kind=BulkKind.TERMINATE_ACTIVE, actor=AUDIT.actor)
USED = b"\2" * 32


def client(tenant: int, id: str = "quiet-otter-12345@localhost/spc") -> ClientRow:
    return ClientRow(
        tenant=tenant,
        id=id,
        display_name="CI",
        public_key=KEY,
        roles=(Role.SUPER_ADMIN, Role.READ_ONLY),
        created_at=5,
        expires_at=900,
    )


class AccessContract:
    """The contract of the port: every store passes it."""

    async def test_a_tenant_is_found_by_each_of_its_hosts_and_by_no_other(self, access: Access) -> None:
        made = await access.create_tenant("acme", ("b.example", "a.example"), 7, AUDIT)
        assert made.hosts == ("a.example", "b.example")
        assert await access.tenant_of_host("a.example") == await access.tenant_of_host("b.example") == made
        assert await access.tenant_of_host("c.example") is None
        assert await access.tenants() == [made]

    async def test_a_name_or_a_host_belongs_to_one_tenant(self, access: Access) -> None:
        await access.create_tenant("acme", ("a.example",), 7, AUDIT)
        with pytest.raises(AlreadyExists, match="named 'acme'"):
            await access.create_tenant("acme", ("b.example",), 7, AUDIT)
        with pytest.raises(AlreadyExists, match=r"a\.example"):
            await access.create_tenant("other", ("b.example", "a.example"), 7, AUDIT)
        assert [tenant.name for tenant in await access.tenants()] == ["acme"]
        assert await access.tenant_of_host("b.example") is None

    async def test_hosts_can_be_added_again_and_again(self, access: Access) -> None:
        made = await access.create_tenant("acme", ("a.example",), 7, AUDIT)
        for _ in range(2):
            await access.add_hosts(made.id, ("a.example", "b.example"), 8)
        assert (await access.tenants())[0].hosts == ("a.example", "b.example")
        with pytest.raises(NotFound):
            await access.add_hosts(99, ("c.example",), 8)

    async def test_a_tenant_and_its_first_client_come_in_one_commit(self, access: Access) -> None:
        made = await access.create_tenant("acme", ("a.example",), 7, AUDIT, first=client(0))
        assert await access.clients(made.id) == [client(made.id)]
        with pytest.raises(AlreadyExists):
            await access.create_tenant("other", ("a.example",), 7, AUDIT, first=client(0))
        assert [tenant.name for tenant in await access.tenants()] == ["acme"]

    async def test_revoking_a_tenant_removes_hosts_clients_and_tokens_once(self, access: Access) -> None:
        one = (await access.create_tenant("one", ("a.example",), 7, AUDIT, first=client(0))).id
        other = (await access.create_tenant("other", ("b.example",), 7, AUDIT, first=client(0))).id
        for tenant in (one, other):
            await access.issue(tenant, client(0).id, TOKEN, 10, 20, None, AUDIT)
        assert await access.revoke_tenant(one, 15, AUDIT, ENDED, now=15)
        assert not await access.revoke_tenant(one, 16, AUDIT, ENDED, now=16)
        assert await access.tenant_of_host("a.example") is None
        assert await access.client(one, client(0).id) == replace(client(one), revoked_at=15)
        assert await access.token(one, TOKEN) is None
        assert [(row.name, row.revoked_at, row.automations_disabled) for row in await access.tenants()] == [
            ("one", 15, True),
            ("other", None, False),
        ]
        assert await access.client(other, client(0).id) == client(other)
        assert await access.token(other, TOKEN) is not None
        assert (await access.create_tenant("heir", ("a.example",), 17, AUDIT)).hosts == ("a.example",)

    async def test_a_client_comes_back_as_it_was_stored_and_only_to_its_tenant(self, access: Access) -> None:
        one, other = [(await access.create_tenant(name, (), 1, AUDIT)).id for name in ("one", "other")]
        row = client(one)
        await access.create_client(row, AUDIT)
        assert await access.client(one, row.id) == row
        assert await access.clients(one) == [row]
        assert await access.client(other, row.id) is None
        assert await access.clients(other) == []
        with pytest.raises(AlreadyExists):
            await access.create_client(row, AUDIT)
        await access.create_client(replace(row, tenant=other), AUDIT)
        with pytest.raises(NotFound):
            await access.create_client(client(99), AUDIT)

    async def test_a_token_is_found_with_its_client_as_it_stands_now(self, access: Access, tenant: int) -> None:
        row = client(tenant)
        await access.create_client(row, AUDIT)
        assert await access.issue(tenant, row.id, TOKEN, 10, 20, None, AUDIT, scope=(Role.READ_ONLY,))
        found = await access.token(tenant, TOKEN)
        assert found is not None
        assert (found.client, found.expires_at, found.scope) == (row, 20, (Role.READ_ONLY,))
        assert await access.token(tenant + 1, TOKEN) is None
        assert await access.token(tenant, USED) is None

    async def test_revoking_a_client_takes_its_tokens_and_happens_once(self, access: Access, tenant: int) -> None:
        row, other = client(tenant), client(tenant, "brave-hare-54321@localhost/spc")
        for which, digest in ((row, TOKEN), (other, USED)):
            await access.create_client(which, AUDIT)
            await access.issue(tenant, which.id, digest, 10, 20, None, AUDIT)
        assert await access.revoke_client(tenant, row.id, 15, AUDIT)
        assert not await access.revoke_client(tenant, row.id, 16, AUDIT)
        assert not await access.revoke_client(tenant, "unknown", 16, AUDIT)
        assert await access.token(tenant, TOKEN) is None
        assert await access.token(tenant, USED) is not None
        assert await access.client(tenant, row.id) == replace(row, revoked_at=15)

    async def test_of_many_who_present_one_assertion_at_once_one_gets_a_token(
        self, access: Access, tenant: int
    ) -> None:
        row = client(tenant)
        await access.create_client(row, AUDIT)
        attempts = [access.issue(tenant, row.id, bytes([n]) * 32, 10, 20, USED, AUDIT) for n in range(32)]
        assert sorted(await asyncio.gather(*attempts)) == [False] * 31 + [True]
        tokens = [await access.token(tenant, bytes([n]) * 32) for n in range(32)]
        assert sum(token is not None for token in tokens) == 1

    async def test_the_same_assertion_is_another_one_in_another_tenant(self, access: Access, tenant: int) -> None:
        other = (await access.create_tenant("other", (), 1, AUDIT)).id
        assert await access.issue(tenant, "a", TOKEN, 10, 20, USED, AUDIT)
        assert await access.issue(other, "a", TOKEN, 10, 20, USED, AUDIT)

    async def test_used_assertion_is_stored_until_it_is_refused_for_its_age(self, access: Access, tenant: int) -> None:
        last = 10 + ASSERTION_KEPT - 1
        assert await access.issue(tenant, "a", TOKEN, 10, 20, USED, AUDIT)
        assert not await access.issue(tenant, "a", b"\3" * 32, last, 20, USED, AUDIT)
        assert await access.issue(tenant, "a", b"\3" * 32, last + 1, last + 20, USED, AUDIT)

    async def test_expired_tokens_go_as_new_ones_come(self, access: Access, tenant: int) -> None:
        await access.create_client(client(tenant), AUDIT)
        await access.issue(tenant, client(tenant).id, TOKEN, 10, 20, None, AUDIT)
        await access.issue(tenant, client(tenant).id, USED, 20, 30, None, AUDIT)
        assert await access.token(tenant, TOKEN) is None
        assert await access.token(tenant, USED) is not None

    async def test_a_setting_is_kept_as_it_first_was(self, access: Access) -> None:
        assert await access.setting("installation.id") is None
        assert await access.keep_setting("installation.id", b"one") == b"one"
        assert await access.keep_setting("installation.id", b"two") == b"one"
        assert await access.setting("installation.id") == b"one"

    @pytest.fixture
    async def tenant(self, access: Access) -> int:
        return (await access.create_tenant("acme", ("localhost",), 1, AUDIT)).id

    async def test_what_is_set_for_a_tenant_is_changed_from_what_is_set(self, access: Access) -> None:
        tenant = await access.create_tenant("set", ("set.example",), 1, AUDIT)
        before = await access.settings(tenant.id)
        assert before is not None
        wanted = replace(before, executions_kept=before.executions_kept + 1)
        seen = []

        def change(found: TenantSettings) -> tuple[TenantSettings, AuditEntry]:
            seen.append(found)
            return wanted, AUDIT

        assert await access.change_settings(tenant.id, change, 2) == wanted
        assert (seen, await access.settings(tenant.id)) == ([before], wanted)
        assert await access.settings(tenant.id + 1) is None


class TestOnDisk(AccessContract):
    @pytest.fixture
    async def access(self, tmp_path: Path) -> AsyncIterator[Access]:
        async with opened(tmp_path) as store:
            yield store.access

    async def test_a_used_assertion_is_remembered_over_a_restart(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as store:
            tenant = (await store.access.create_tenant("acme", (), 1, AUDIT)).id
            assert await store.access.issue(tenant, "a", TOKEN, 10, 20, USED, AUDIT)
        async with opened(tmp_path) as store:
            assert not await store.access.issue(tenant, "a", b"\3" * 32, 11, 20, USED, AUDIT)


class TestInMemory(AccessContract):
    @pytest.fixture
    async def access(self) -> AsyncIterator[Access]:
        async with opened(None) as store:
            yield store.access


async def test_new_assertions_are_refused_when_no_more_can_be_stored() -> None:
    async with opened(None) as store:
        access = _small(store)
        tenant = (await access.create_tenant("acme", (), 1, AUDIT)).id
        for n in range(2):
            assert await access.issue(tenant, "a", bytes([n]) * 32, 10, 20, bytes([n]) * 32, AUDIT)
        with pytest.raises(TooManyRequests):
            await access.issue(tenant, "a", b"\7" * 32, 11, 20, b"\7" * 32, AUDIT)
        assert await access.token(tenant, b"\7" * 32) is None
        assert not await access.issue(tenant, "a", b"\7" * 32, 12, 20, bytes(32), AUDIT)
        later = 10 + ASSERTION_KEPT
        assert await access.issue(tenant, "a", b"\7" * 32, later, later + 1, b"\7" * 32, AUDIT)


def _small(store: Store) -> SqliteAccess:
    return SqliteAccess(sqlite(store).writer, sqlite(store).access._reader, most_assertions=2)
