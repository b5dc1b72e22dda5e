"""Tenants, clients, tokens and used assertions in SQLite."""

from __future__ import annotations

import json
from asyncio import Future
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import apsw

from interlock.errors import AlreadyExists, NotFound, TooManyRequests
from interlock.ports import AuditEntry, BulkAction, ClientRow, Role, TenantRow, TenantSettings, TokenRow
from interlock.rules.model import SYSTEM
from interlock.store.sqlite import bulk
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.writer import Writer
from interlock.store.statements import Dialect, load

ASSERTION_KEPT = 15 * 60 * 1_000_000
"""Microseconds for which a used assertion is remembered: longer than any assertion can be valid."""
ASSERTIONS_MOST = 100_000
"""Used assertions remembered for a tenant; beyond that new ones are refused, since forgetting one would let it in
again."""

_SQL = load("access", Dialect.SQLITE)
_TOKEN = _SQL["token_get"]
_CLIENT = _SQL["client_get"]


class SqliteAccess:
    """`ports.Access` on the writer and a reading connection."""

    def __init__(self, writer: Writer, reader: apsw.Connection, *, most_assertions: int = ASSERTIONS_MOST) -> None:
        self._writer = writer
        self._reader = reader
        self._most_assertions = most_assertions
        self.revocations = 0
        self.decisions: bulk.SqliteBulk
        """How the runs of a revoked tenant are terminated; the store sets it once both are there."""
        # Asked for each event of each run; this process alone writes it.
        self._disabled = {id_ for (id_,) in reader.execute(_SQL["tenants_disabled"])}

    # --- tenants --------------------------------------------------------------------------------------------------

    async def tenants(self) -> list[TenantRow]:
        return [self._tenant(row) for row in self._reader.execute(_SQL["tenants_all"])]

    def tenant_ids(self) -> list[int]:
        """The ids of all tenants."""
        return [id_ for (id_,) in self._reader.execute(_SQL["tenant_ids"])]

    def automations_disabled(self, tenant: int) -> bool:
        """Whether the tenant's switch "disable automations" is on."""
        return tenant in self._disabled

    async def tenant_of_host(self, host: str) -> TenantRow | None:
        found = self._reader.execute(_SQL["tenant_of_host"], (host,)).fetchone()
        return None if found is None else self._tenant(found)

    def create_tenant(
        self, name: str, hosts: tuple[str, ...], at: int, audit: AuditEntry, *, first: ClientRow | None = None
    ) -> Future[TenantRow]:
        def job(connection: apsw.Connection) -> TenantRow:
            self._writer.require_room()
            if connection.execute(_SQL["tenant_named"], (name,)).fetchone() is not None:
                raise AlreadyExists(f"there is a tenant named {name!r} already")
            (id_,) = next(connection.execute(_SQL["tenant_next"]))
            connection.execute(_SQL["tenant_insert"], (id_, name, at))
            _take_hosts(connection, id_, hosts)
            if first is not None:
                connection.execute(_SQL["client_insert"], _values(replace(first, tenant=id_)))
            append_audit(connection, id_, at, audit)
            return TenantRow(id=id_, name=name, hosts=tuple(sorted(set(hosts))), created_at=at)

        return self._writer.submit(job)

    def add_hosts(self, tenant: int, hosts: tuple[str, ...], at: int) -> Future[None]:
        def job(connection: apsw.Connection) -> None:
            if connection.execute(_SQL["tenant_get"], (tenant,)).fetchone() is None:
                raise NotFound(f"there is no tenant {tenant}")
            added = _take_hosts(connection, tenant, hosts)
            if added:
                entry = AuditEntry(
                    actor=SYSTEM, action="tenant.add_hosts", target=f"tenant:{tenant}", reason=", ".join(added)
                )
                append_audit(connection, tenant, at, entry)

        return self._writer.submit(job)

    async def revoke_tenant(self, tenant: int, at: int, audit: AuditEntry, terminate: BulkAction, *, now: int) -> bool:
        def job(connection: apsw.Connection) -> bulk.Batch | None:
            connection.execute(_SQL["tenant_revoke"], (at, tenant))
            if connection.changes() == 0:
                return None
            connection.execute(_SQL["hosts_release"], (tenant,))
            connection.execute(_SQL["clients_revoke"], (at, tenant))
            connection.execute(_SQL["tokens_revoke_all"], (tenant,))
            append_audit(connection, tenant, at, audit)
            return bulk.begin(connection, tenant, terminate, now)

        def committed(batch: bulk.Batch | None) -> bool:
            if batch is not None:
                self._disabled.add(tenant)
                self.decisions.first_batch(tenant, batch)
            return self._revoked(batch is not None)

        # By itself, so that no job of its group goes on as if the tenant were still let in.
        return await self._writer.submit(job, urgent=True, heavy=True, committed=committed) is not None

    async def settings(self, tenant: int) -> TenantSettings | None:
        return _settings(self._reader, tenant)

    def change_settings(
        self, tenant: int, change: Callable[[TenantSettings], tuple[TenantSettings, AuditEntry]], at: int
    ) -> Future[TenantSettings]:
        def job(connection: apsw.Connection) -> TenantSettings:
            before = _settings(connection, tenant)
            if before is None:
                raise NotFound(f"there is no tenant {tenant}")
            after, audit = change(before)
            values = (after.automations_disabled, after.executions_kept, after.payloads_kept)
            connection.execute(_SQL["tenant_set"], (*values, tenant))
            append_audit(connection, tenant, at, audit)
            return _settings(connection, tenant) or after

        def committed(result: TenantSettings) -> bool:
            self._disabled = {id_ for (id_,) in self._reader.execute(_SQL["tenants_disabled"])}
            return False

        # By itself: a run that goes on in the same group would not meet the switch.
        return self._writer.submit(job, urgent=True, heavy=True, committed=committed)

    def _tenant(self, row: tuple[Any, ...]) -> TenantRow:
        id_, name, created_at, disabled, revoked_at = row
        hosts = tuple(host for (host,) in self._reader.execute(_SQL["hosts_of"], (id_,)))
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
        return [_client(tenant, row) for row in self._reader.execute(_SQL["clients_of"], (tenant,))]

    async def client(self, tenant: int, id: str) -> ClientRow | None:
        return client_in(self._reader, tenant, id)

    def create_client(self, row: ClientRow, audit: AuditEntry) -> Future[None]:
        def job(connection: apsw.Connection) -> None:
            tenant = connection.execute(_SQL["tenant_get"], (row.tenant,)).fetchone()
            # A client that is made beside the revocation of its tenant would survive it.
            if tenant is None or tenant[-1] is not None:
                raise NotFound(f"there is no tenant {row.tenant}")
            if connection.execute(_CLIENT, (row.tenant, row.id)).fetchone() is not None:
                raise AlreadyExists(f"there is a client {row.id} already")
            connection.execute(_SQL["client_insert"], _values(row))
            append_audit(connection, row.tenant, row.created_at, audit)

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
        def job(connection: apsw.Connection) -> bool:
            check([_client(tenant, row) for row in connection.execute(_SQL["clients_of"], (tenant,))])
            connection.execute(_SQL["client_revoke"], (at, tenant, id))
            if connection.changes() == 0:
                return False
            connection.execute(_SQL["tokens_revoke"], (tenant, id))
            append_audit(connection, tenant, at, audit)
            return True

        return self._writer.submit(job, committed=self._revoked)

    def forget_tokens(self) -> None:
        """What was remembered of tokens is void."""
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
        def job(connection: apsw.Connection) -> bool:
            if assertion is not None and not self._use(connection, tenant, assertion, at):
                return False
            connection.execute(_SQL["tokens_forget"], (tenant, at))
            connection.execute(_SQL["token_insert"], (tenant, digest, client, _text(scope), expires_at))
            append_audit(connection, tenant, at, audit)
            return True

        return self._writer.submit(job)

    def _use(self, connection: apsw.Connection, tenant: int, assertion: bytes, at: int) -> bool:
        connection.execute(_SQL["assertions_forget"], (tenant, at))
        change = -connection.changes()
        connection.execute(_SQL["assertion_insert"], (tenant, assertion, at + ASSERTION_KEPT))
        fresh = connection.changes() == 1
        change += fresh
        if change:
            connection.execute(_SQL["assertions_count"], (change, tenant))
        if fresh:
            (kept,) = next(connection.execute(_SQL["assertions_kept"], (tenant,)))
            if kept > self._most_assertions:
                raise TooManyRequests("too many tokens were asked for lately; use one until it expires", retry_after=30)
        return fresh

    async def token(self, tenant: int, digest: bytes) -> TokenRow | None:
        found = self._reader.execute(_TOKEN, (tenant, digest)).fetchone()
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
        found = self._reader.execute(_SQL["setting_get"], (name,)).fetchone()
        return None if found is None else found[0]

    def keep_setting(self, name: str, value: bytes) -> Future[bytes]:
        def job(connection: apsw.Connection) -> bytes:
            connection.execute(_SQL["setting_keep"], (name, value))
            (kept,) = next(connection.execute(_SQL["setting_get"], (name,)))
            return bytes(kept)

        return self._writer.submit(job)


def client_in(connection: apsw.Connection, tenant: int, id: str) -> ClientRow | None:
    """The client as the transaction sees it."""
    found = connection.execute(_CLIENT, (tenant, id)).fetchone()
    return None if found is None else _client(tenant, found)


def _settings(connection: apsw.Connection, tenant: int) -> TenantSettings | None:
    found = connection.execute(_SQL["tenant_settings"], (tenant,)).fetchone()
    return (
        None
        if found is None
        else TenantSettings(automations_disabled=bool(found[0]), executions_kept=found[1], payloads_kept=found[2])
    )


def _take_hosts(connection: apsw.Connection, tenant: int, hosts: Iterable[str]) -> list[str]:
    added = []
    for host in sorted(set(hosts)):
        owner = connection.execute(_SQL["host_owner"], (host,)).fetchone()
        if owner is None:
            connection.execute(_SQL["host_insert"], (host, tenant))
            added.append(host)
        elif owner[0] != tenant:
            raise AlreadyExists(f"the host {host} belongs to another tenant")
    return added


def _values(row: ClientRow) -> tuple[Any, ...]:
    return (
        row.tenant,
        row.id,
        row.display_name,
        row.public_key,
        _text(row.roles),
        row.created_at,
        row.expires_at,
        row.revoked_at,
        json.dumps(row.apps),
    )


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
