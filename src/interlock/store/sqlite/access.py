"""Tenants, clients, tokens and used assertions in SQLite."""

from __future__ import annotations

import json
from asyncio import Future
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from interlock.errors import AlreadyExists, NotFound, TooManyRequests
from interlock.ports import AuditEntry, BulkAction, ClientRow, Role, TenantRow, TenantSettings, TokenRow
from interlock.rules.model import SYSTEM
from interlock.store.sqlite import bulk
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.writer import Writer
from interlock.store.tx import Queries, Tx, drive

ASSERTION_KEPT = 15 * 60 * 1_000_000
"""Microseconds for which a used assertion is stored: longer than any assertion can be valid."""
ASSERTIONS_MOST = 100_000
"""Maximum number of used assertions that are stored for a tenant. Beyond it new ones are refused, because a deleted one
could be used again."""


class SqliteAccess:
    """`ports.Access` on the writer and a reading connection."""

    def __init__(self, writer: Writer, reader: Queries, *, most_assertions: int = ASSERTIONS_MOST) -> None:
        self._writer = writer
        self._reader = reader
        self._most_assertions = most_assertions
        self.revocations = 0
        self.decisions: bulk.SqliteBulk
        """Terminates the runs of a revoked tenant; the store sets it after it has made both parts."""
        # Each event of each run reads this, and only this process writes it.
        self._disabled = {id_ for (id_,) in drive(reader.all("tenants_disabled"))}

    # --- tenants --------------------------------------------------------------------------------------------------

    async def tenants(self) -> list[TenantRow]:
        return [await self._tenant(row) for row in await self._reader.all("tenants_all")]

    async def tenant_ids(self) -> list[int]:
        """Return the ids of all tenants."""
        return [id_ for (id_,) in await self._reader.all("tenant_ids")]

    def automations_disabled(self, tenant: int) -> bool:
        """Return whether the tenant's switch "disable automations" is on."""
        return tenant in self._disabled

    async def tenant_of_host(self, host: str) -> TenantRow | None:
        found = await self._reader.one("tenant_of_host", host=host)
        return None if found is None else await self._tenant(found)

    def create_tenant(
        self, name: str, hosts: tuple[str, ...], at: int, audit: AuditEntry, *, first: ClientRow | None = None
    ) -> Future[TenantRow]:
        async def job(tx: Tx) -> TenantRow:
            self._writer.require_room()
            if (await tx.one("tenant_named", name=name)) is not None:
                raise AlreadyExists(f"there is a tenant named {name!r} already")
            (id_,) = await tx.only("tenant_next")
            await tx.run("tenant_insert", id=id_, name=name, created_at=at)
            await _take_hosts(tx, id_, hosts)
            if first is not None:
                await tx.run("client_insert", **_values(replace(first, tenant=id_)))
            await append_audit(tx, id_, at, audit)
            return TenantRow(id=id_, name=name, hosts=tuple(sorted(set(hosts))), created_at=at)

        return self._writer.submit(job)

    def add_hosts(self, tenant: int, hosts: tuple[str, ...], at: int) -> Future[None]:
        async def job(tx: Tx) -> None:
            if (await tx.one("tenant_get", id=tenant)) is None:
                raise NotFound(f"there is no tenant {tenant}")
            added = await _take_hosts(tx, tenant, hosts)
            if added:
                entry = AuditEntry(
                    actor=SYSTEM, action="tenant.add_hosts", target=f"tenant:{tenant}", reason=", ".join(added)
                )
                await append_audit(tx, tenant, at, entry)

        return self._writer.submit(job)

    async def revoke_tenant(self, tenant: int, at: int, audit: AuditEntry, terminate: BulkAction, *, now: int) -> bool:
        async def job(tx: Tx) -> bulk.Batch | None:
            if not await tx.run("tenant_revoke", revoked_at=at, id=tenant):
                return None
            await tx.run("hosts_release", tenant=tenant)
            await tx.run("clients_revoke", revoked_at=at, tenant=tenant)
            await tx.run("tokens_revoke_all", tenant=tenant)
            await append_audit(tx, tenant, at, audit)
            return await bulk.begin(tx, tenant, terminate, now)

        def committed(batch: bulk.Batch | None) -> bool:
            if batch is not None:
                self._disabled.add(tenant)
                self.decisions.first_batch(tenant, batch)
            return self._revoked(batch is not None)

        # The job has a group of its own, so that no other job of its group still accepts the tenant.
        return await self._writer.submit(job, urgent=True, heavy=True, committed=committed) is not None

    async def settings(self, tenant: int) -> TenantSettings | None:
        return await _settings(self._reader, tenant)

    def change_settings(
        self, tenant: int, change: Callable[[TenantSettings], tuple[TenantSettings, AuditEntry]], at: int
    ) -> Future[TenantSettings]:
        async def job(tx: Tx) -> TenantSettings:
            before = await _settings(tx, tenant)
            if before is None:
                raise NotFound(f"there is no tenant {tenant}")
            after, audit = change(before)
            await tx.run(
                "tenant_set",
                automations_disabled=after.automations_disabled,
                executions_kept=after.executions_kept,
                payloads_kept=after.payloads_kept,
                id=tenant,
            )
            await append_audit(tx, tenant, at, audit)
            return await _settings(tx, tenant) or after

        def committed(result: TenantSettings) -> bool:
            (self._disabled.add if result.automations_disabled else self._disabled.discard)(tenant)
            return False

        # The job has a group of its own: a run that moves in the same group would not read the switch.
        return self._writer.submit(job, urgent=True, heavy=True, committed=committed)

    async def _tenant(self, row: tuple[Any, ...]) -> TenantRow:
        id_, name, created_at, disabled, revoked_at = row
        hosts = tuple(host for (host,) in await self._reader.all("hosts_of", tenant=id_))
        return TenantRow(
            id=id_,
            name=name,
            hosts=hosts,
            created_at=created_at,
            automations_disabled=bool(disabled),
            revoked_at=revoked_at,
        )

    # --- clients --------------------------------------------------------------------------------------------------

    async def clients(self, tenant: int) -> list[ClientRow]:
        return [_client(tenant, row) for row in await self._reader.all("clients_of", tenant=tenant)]

    async def client(self, tenant: int, id: str) -> ClientRow | None:
        return await client_in(self._reader, tenant, id)

    def create_client(self, row: ClientRow, audit: AuditEntry) -> Future[None]:
        async def job(tx: Tx) -> None:
            tenant = await tx.one("tenant_get", id=row.tenant)
            # A client that was created during the revocation of its tenant would stay valid.
            if tenant is None or tenant[-1] is not None:
                raise NotFound(f"there is no tenant {row.tenant}")
            if (await tx.one("client_get", tenant=row.tenant, id=row.id)) is not None:
                raise AlreadyExists(f"there is a client {row.id} already")
            await tx.run("client_insert", **_values(row))
            await append_audit(tx, row.tenant, row.created_at, audit)

        return self._writer.submit(job)

    def revoke_client(
        self,
        tenant: int,
        id: str,
        at: int,
        audit: AuditEntry,
        *,
        check: Callable[[Sequence[ClientRow]], None] = lambda clients: None,
    ) -> Future[bool]:
        async def job(tx: Tx) -> bool:
            check([_client(tenant, row) for row in await tx.all("clients_of", tenant=tenant)])
            if not await tx.run("client_revoke", revoked_at=at, tenant=tenant, id=id):
                return False
            await tx.run("tokens_revoke", tenant=tenant, client=id)
            await append_audit(tx, tenant, at, audit)
            return True

        return self._writer.submit(job, committed=self._revoked)

    def forget_tokens(self) -> None:
        """Remove all cached tokens."""
        self.revocations += 1

    def _revoked(self, done: bool) -> bool:
        self.revocations += 1
        return False

    # --- tokens ---------------------------------------------------------------------------------------------------

    def issue(
        self,
        tenant: int,
        client: str,
        digest: bytes,
        at: int,
        expires_at: int,
        assertion: bytes | None,
        audit: AuditEntry,
        *,
        scope: tuple[Role, ...] = (),
    ) -> Future[bool]:
        async def job(tx: Tx) -> bool:
            if assertion is not None and not await self._use(tx, tenant, assertion, at):
                return False
            await tx.run("tokens_forget", tenant=tenant, until=at)
            await tx.run(
                "token_insert", tenant=tenant, digest=digest, client=client, scope=_text(scope), expires_at=expires_at
            )
            await append_audit(tx, tenant, at, audit)
            return True

        return self._writer.submit(job)

    async def _use(self, tx: Tx, tenant: int, assertion: bytes, at: int) -> bool:
        change = -await tx.run("assertions_forget", tenant=tenant, until=at)
        fresh = await tx.run("assertion_insert", tenant=tenant, digest=assertion, forget_at=at + ASSERTION_KEPT) == 1
        change += fresh
        if change:
            await tx.run("assertions_count", change=change, id=tenant)
        if fresh:
            (kept,) = await tx.only("assertions_kept", id=tenant)
            if kept > self._most_assertions:
                raise TooManyRequests("too many tokens were asked for lately; use one until it expires", retry_after=30)
        return fresh

    async def token(self, tenant: int, digest: bytes) -> TokenRow | None:
        found = await self._reader.one("token_get", tenant=tenant, digest=digest)
        if found is None:
            return None
        id_, scope, expires_at = found
        client = await self.client(tenant, id_)
        return (
            None
            if client is None
            else TokenRow(digest=digest, client=client, expires_at=expires_at, scope=_roles(scope))
        )

    # --- the installation -----------------------------------------------------------------------------------------

    async def setting(self, name: str) -> bytes | None:
        found = await self._reader.one("setting_get", name=name)
        return None if found is None else found[0]

    def keep_setting(self, name: str, value: bytes) -> Future[bytes]:
        async def job(tx: Tx) -> bytes:
            await tx.run("setting_keep", name=name, value=value)
            (kept,) = await tx.only("setting_get", name=name)
            return bytes(kept)

        return self._writer.submit(job)


async def client_in(queries: Queries, tenant: int, id: str) -> ClientRow | None:
    """Return the client as the transaction reads it."""
    found = await queries.one("client_get", tenant=tenant, id=id)
    return None if found is None else _client(tenant, found)


async def _settings(queries: Queries, tenant: int) -> TenantSettings | None:
    found = await queries.one("tenant_settings", id=tenant)
    return (
        None
        if found is None
        else TenantSettings(automations_disabled=bool(found[0]), executions_kept=found[1], payloads_kept=found[2])
    )


async def _take_hosts(tx: Tx, tenant: int, hosts: Iterable[str]) -> list[str]:
    added = []
    for host in sorted(set(hosts)):
        owner = await tx.one("host_owner", host=host)
        if owner is None:
            await tx.run("host_insert", host=host, tenant=tenant)
            added.append(host)
        elif owner[0] != tenant:
            raise AlreadyExists(f"the host {host} belongs to another tenant")
    return added


def _values(row: ClientRow) -> dict[str, Any]:
    return {
        "tenant": row.tenant,
        "id": row.id,
        "display_name": row.display_name,
        "public_key": row.public_key,
        "roles": _text(row.roles),
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "revoked_at": row.revoked_at,
        "apps": json.dumps(row.apps),
    }


def _client(tenant: int, row: Iterable[Any]) -> ClientRow:
    id_, display_name, public_key, roles, created_at, expires_at, revoked_at, apps = row
    return ClientRow(
        tenant=tenant,
        id=id_,
        display_name=display_name,
        public_key=public_key,
        roles=_roles(roles),
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
        apps=tuple(json.loads(apps)),
    )


def _text(roles: Iterable[Role]) -> str:
    return " ".join(roles)


@lru_cache(maxsize=64)
def _roles(text: str) -> tuple[Role, ...]:
    return tuple(Role(name) for name in text.split())
