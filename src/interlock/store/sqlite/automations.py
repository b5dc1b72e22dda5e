"""Automations and their definitions in SQLite."""

from __future__ import annotations

import hashlib
from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from interlock.errors import AlreadyExists, Conflict, NotFound
from interlock.ports import AuditEntry, AutomationRow, BulkAction, Definition, Schedule, ScheduledAutomation
from interlock.store import rows
from interlock.store.sqlite import breakers, bulk
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.executions import SqliteExecutions
from interlock.store.sqlite.kept import Kept
from interlock.store.sqlite.writer import Writer
from interlock.store.tx import Queries, Tx


class SqliteAutomations:
    """`ports.Automations` on the writer and a reading connection."""

    def __init__(
        self, writer: Writer, reader: Queries, decisions: bulk.SqliteBulk, executions: SqliteExecutions
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._bulk = decisions
        self._kept: Kept[tuple[int, str], AutomationRow] = Kept(self._read)
        executions.on_fire(self._kept.forget)

    def create(self, row: AutomationRow, published: Definition | None, audit: AuditEntry) -> Future[AutomationRow]:
        async def job(tx: Tx) -> AutomationRow:
            self._writer.require_room()
            if (await tx.one("automation_any", tenant=row.tenant, id=row.id)) is not None:
                raise AlreadyExists(f"there is an automation {row.id} already")
            new = await _publish(tx, replace(row, version=0, definition=None), published)
            await tx.run(
                "automation_insert",
                tenant=new.tenant,
                id=new.id,
                document=new.document,
                version=new.version,
                definition=new.definition,
                created_at=new.created_at,
                updated_at=new.updated_at,
                breaker_max=new.breaker_max,
                breaker_period=new.breaker_period,
                enabled=new.enabled,
                next_fire_at=new.next_fire_at,
            )
            await append_audit(tx, new.tenant, new.created_at, audit)
            return new

        return self._writer.submit(job)

    def update(
        self,
        row: AutomationRow,
        published: Definition | None,
        audit: AuditEntry,
        *,
        read_at: int,
        schedule: Schedule | None = None,
    ) -> Future[AutomationRow]:
        async def job(tx: Tx) -> AutomationRow:
            self._writer.require_room()
            found = await tx.one("automation_get", tenant=row.tenant, id=row.id)
            if found is None:
                raise NotFound
            stored = _automation(found)
            if stored.updated_at != read_at:
                raise Conflict("the automation was changed since it was read; read it again and repeat the change")
            # The time is strictly later, so that two changes within one microsecond differ.
            moved = replace(
                stored,
                document=row.document,
                updated_at=max(row.updated_at, stored.updated_at + 1),
                breaker_max=row.breaker_max,
                breaker_period=row.breaker_period,
                enabled=row.enabled,
                next_fire_at=stored.next_fire_at if schedule is None else schedule.next_fire_at,
            )
            new = await _publish(tx, moved, published)
            await tx.run(
                "automation_update",
                document=new.document,
                version=new.version,
                definition=new.definition,
                updated_at=new.updated_at,
                breaker_max=new.breaker_max,
                breaker_period=new.breaker_period,
                enabled=new.enabled,
                next_fire_at=new.next_fire_at,
                tenant=new.tenant,
                id=new.id,
            )
            if (new.breaker_max, new.breaker_period) != (stored.breaker_max, stored.breaker_period):
                await breakers.begin_anew(tx, new.tenant, new.id, new.updated_at)
            await append_audit(tx, new.tenant, new.updated_at, audit)
            return new

        return self._writer.submit(job, committed=self._changed((row.tenant, row.id)))

    async def delete(
        self, tenant: int, id: str, at: int, audit: AuditEntry, *, terminate: BulkAction | None = None
    ) -> bool:
        async def job(tx: Tx) -> bulk.Batch | None:
            if not await tx.run("automation_delete", at=at, tenant=tenant, id=id):
                return None
            await append_audit(tx, tenant, at, audit)
            return bulk.Batch() if terminate is None else await bulk.begin(tx, tenant, terminate, at)

        def committed(batch: bulk.Batch | None) -> bool:
            self._kept.forget((tenant, id))
            if batch is not None:
                self._bulk.first_batch(tenant, batch)
            return False

        stopping = terminate is not None
        return await self._writer.submit(job, urgent=stopping, heavy=stopping, committed=committed) is not None

    def draft(self, definition: Definition) -> Future[Definition]:
        draft = replace(definition, version=0)

        async def job(tx: Tx) -> Definition:
            found = await tx.one(
                "definition_of_draft", tenant=draft.tenant, automation=draft.automation, digest=_digest(draft)
            )
            if found is not None:
                return _definition(found)
            self._writer.require_room()
            return await _keep(tx, draft)

        return self._writer.submit(job)

    async def get(self, tenant: int, id: str) -> AutomationRow | None:
        return await self._kept.get((tenant, id))

    async def get_many(self, tenant: int, ids: Sequence[str]) -> Mapping[str, AutomationRow]:
        # Most rows are cached, and with this database the others cost no round trip.
        found = [(id_, await self._kept.get((tenant, id_))) for id_ in ids]
        return {id_: row for id_, row in found if row is not None}

    async def apps_of(self, tenant: int, ids: Sequence[str]) -> Mapping[str, str]:
        found = [(id_, await self._reader.one("automation_app", tenant=tenant, id=id_)) for id_ in ids]
        return {id_: row[0] for id_, row in found if row is not None}

    async def _read(self, key: tuple[int, str]) -> AutomationRow | None:
        found = await self._reader.one("automation_get", tenant=key[0], id=key[1])
        return None if found is None else _automation(found)

    def _changed(self, key: tuple[int, str]) -> Callable[[object], bool]:
        def committed(result: object) -> bool:
            self._kept.forget(key)
            return False

        return committed

    async def page(self, tenant: int, *, after: str | None = None, limit: int = 25) -> list[AutomationRow]:
        found = await self._reader.all("automations_page", tenant=tenant, after=after or "", limit=limit)
        return [_automation(row) for row in found]

    async def scheduled(
        self, *, after: ScheduledAutomation | None = None, limit: int = 100
    ) -> list[ScheduledAutomation]:
        at, tenant, id_ = (-1, -1, "") if after is None else (after.fires_at, after.tenant, after.automation)
        found = await self._reader.all(
            "automations_scheduled", after_at=at, after_tenant=tenant, after_id=id_, limit=limit
        )
        return [
            ScheduledAutomation(fires_at=at, tenant=tenant, automation=id_, definition=definition)
            for tenant, id_, definition, at in found
        ]

    async def definition(self, tenant: int, id: int) -> Definition | None:
        found = await self._reader.one("definition_get", tenant=tenant, id=id)
        return None if found is None else _definition(found)

    async def versions(
        self, tenant: int, automation: str, *, before: int | None = None, limit: int = 25
    ) -> list[Definition]:
        below = rows.LARGEST if before is None else before
        found = await self._reader.all(
            "definitions_page", tenant=tenant, automation=automation, before=below, limit=limit
        )
        return [_definition(row) for row in found]


def _automation(row: rows.Row) -> AutomationRow:
    """Return an automation from the columns of `automation_get`, as every statement that reads automations has them."""
    (
        tenant,
        id_,
        document,
        version,
        definition,
        created_at,
        updated_at,
        deleted_at,
        breaker_max,
        breaker_period,
        enabled,
        next_fire_at,
    ) = row
    return AutomationRow(
        tenant=tenant,
        id=id_,
        document=document,
        version=version,
        definition=definition,
        created_at=created_at,
        updated_at=updated_at,
        deleted_at=deleted_at,
        breaker_max=breaker_max,
        breaker_period=breaker_period,
        enabled=bool(enabled),
        next_fire_at=next_fire_at,
    )


def _definition(row: rows.Row) -> Definition:
    """Return a definition from the columns of `definition_get`, as every statement that reads definitions has them."""
    tenant, id_, automation, version, steps, triggers, context, created_at, apps, on_demand = row
    return Definition(
        tenant=tenant,
        id=id_,
        automation=automation,
        version=version,
        steps=steps,
        triggers=triggers,
        context=context,
        created_at=created_at,
        apps=apps,
        on_demand=bool(on_demand),
    )


async def _publish(tx: Tx, row: AutomationRow, published: Definition | None) -> AutomationRow:
    if published is None:
        return row
    version = row.version + 1
    kept = await _keep(tx, replace(published, tenant=row.tenant, automation=row.id, version=version))
    return replace(row, version=version, definition=kept.id)


async def _keep(tx: Tx, definition: Definition) -> Definition:
    (id_,) = await tx.only("definition_next", tenant=definition.tenant)
    new = replace(definition, id=id_)
    await tx.run(
        "definition_insert",
        tenant=new.tenant,
        id=new.id,
        automation=new.automation,
        version=new.version,
        digest=_digest(new),
        steps=new.steps,
        triggers=new.triggers,
        context=new.context,
        created_at=new.created_at,
        apps=new.apps,
        on_demand=new.on_demand,
    )
    return new


def _digest(definition: Definition) -> bytes:
    parts: tuple[bytes | None, ...] = (definition.steps, definition.triggers, definition.context)
    if definition.apps is not None:
        parts = (*parts, definition.apps.encode())
    # The lengths distinguish two splits of the same bytes; -1 distinguishes no context from an empty one.
    lengths = ",".join(str(-1 if part is None else len(part)) for part in parts)
    return hashlib.sha256(lengths.encode() + b":" + b"".join(part or b"" for part in parts)).digest()
