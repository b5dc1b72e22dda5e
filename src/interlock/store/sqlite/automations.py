"""Automations and their definitions in SQLite."""

from __future__ import annotations

import hashlib
from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import apsw

from interlock.errors import AlreadyExists, Conflict, NotFound
from interlock.ports import AuditEntry, AutomationRow, BulkAction, Definition, Schedule
from interlock.store import rows
from interlock.store.sqlite import breakers, bulk
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.executions import SqliteExecutions
from interlock.store.sqlite.kept import Kept
from interlock.store.sqlite.writer import Writer
from interlock.store.statements import Dialect, load

_SQL = load("automations", Dialect.SQLITE)
_GET = _SQL["automation_get"]
_DEFINITION = _SQL["definition_get"]


class SqliteAutomations:
    """`ports.Automations` on the writer and a reading connection."""

    def __init__(
        self, writer: Writer, reader: apsw.Connection, decisions: bulk.SqliteBulk, executions: SqliteExecutions
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._bulk = decisions
        self._kept: Kept[tuple[int, str], AutomationRow] = Kept(self._read)
        executions.on_fire(self._kept.forget)

    def create(self, row: AutomationRow, published: Definition | None, audit: AuditEntry) -> Future[AutomationRow]:
        def job(connection: apsw.Connection) -> AutomationRow:
            self._writer.require_room()
            if connection.execute(_SQL["automation_any"], (row.tenant, row.id)).fetchone() is not None:
                raise AlreadyExists(f"there is an automation {row.id} already")
            new = _publish(connection, replace(row, version=0, definition=None), published)
            connection.execute(
                _SQL["automation_insert"],
                (
                    new.tenant,
                    new.id,
                    new.document,
                    new.version,
                    new.definition,
                    new.created_at,
                    new.updated_at,
                    new.breaker_max,
                    new.breaker_period,
                    new.enabled,
                    new.next_fire_at,
                ),
            )
            append_audit(connection, new.tenant, new.created_at, audit)
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
        def job(connection: apsw.Connection) -> AutomationRow:
            self._writer.require_room()
            found = connection.execute(_GET, (row.tenant, row.id)).fetchone()
            if found is None:
                raise NotFound
            stored = _automation(found)
            if stored.updated_at != read_at:
                raise Conflict("the automation was changed since it was read; read it again and repeat the change")
            # Strictly later, so that two changes in one microsecond are told apart.
            moved = replace(
                stored,
                document=row.document,
                updated_at=max(row.updated_at, stored.updated_at + 1),
                breaker_max=row.breaker_max,
                breaker_period=row.breaker_period,
                enabled=row.enabled,
                next_fire_at=stored.next_fire_at if schedule is None else schedule.next_fire_at,
            )
            new = _publish(connection, moved, published)
            connection.execute(
                _SQL["automation_update"],
                (
                    new.document,
                    new.version,
                    new.definition,
                    new.updated_at,
                    new.breaker_max,
                    new.breaker_period,
                    new.enabled,
                    new.next_fire_at,
                    new.tenant,
                    new.id,
                ),
            )
            if (new.breaker_max, new.breaker_period) != (stored.breaker_max, stored.breaker_period):
                breakers.begin_anew(connection, new.tenant, new.id, new.updated_at)
            append_audit(connection, new.tenant, new.updated_at, audit)
            return new

        return self._writer.submit(job, committed=self._changed((row.tenant, row.id)))

    async def delete(
        self, tenant: int, id: str, at: int, audit: AuditEntry, *, terminate: BulkAction | None = None
    ) -> bool:
        def job(connection: apsw.Connection) -> bulk.Batch | None:
            connection.execute(_SQL["automation_delete"], (at, tenant, id))
            if connection.changes() == 0:
                return None
            append_audit(connection, tenant, at, audit)
            return bulk.Batch() if terminate is None else bulk.begin(connection, tenant, terminate, at)

        def committed(batch: bulk.Batch | None) -> bool:
            self._kept.forget((tenant, id))
            if batch is not None:
                self._bulk.first_batch(tenant, batch)
            return False

        stopping = terminate is not None
        return await self._writer.submit(job, urgent=stopping, heavy=stopping, committed=committed) is not None

    def draft(self, definition: Definition) -> Future[Definition]:
        draft = replace(definition, version=0)

        def job(connection: apsw.Connection) -> Definition:
            key = (draft.tenant, draft.automation, _digest(draft))
            found = connection.execute(_SQL["definition_of_draft"], key).fetchone()
            if found is not None:
                return _definition(found)
            self._writer.require_room()
            return _keep(connection, draft)

        return self._writer.submit(job)

    async def get(self, tenant: int, id: str) -> AutomationRow | None:
        return self._kept.get((tenant, id))

    async def get_many(self, tenant: int, ids: Sequence[str]) -> Mapping[str, AutomationRow]:
        # Most are kept, and on this database the others cost no round trip.
        found = ((id_, self._kept.get((tenant, id_))) for id_ in ids)
        return {id_: row for id_, row in found if row is not None}

    async def apps_of(self, tenant: int, ids: Sequence[str]) -> Mapping[str, str]:
        found = ((id_, self._reader.execute(_SQL["automation_app"], (tenant, id_)).fetchone()) for id_ in ids)
        return {id_: row[0] for id_, row in found if row is not None}

    def _read(self, key: tuple[int, str]) -> AutomationRow | None:
        found = self._reader.execute(_GET, key).fetchone()
        return None if found is None else _automation(found)

    def _changed(self, key: tuple[int, str]) -> Callable[[object], bool]:
        def committed(result: object) -> bool:
            self._kept.forget(key)
            return False

        return committed

    async def page(self, tenant: int, *, after: str | None = None, limit: int = 25) -> list[AutomationRow]:
        key = (tenant, after or "", limit)
        return [_automation(row) for row in self._reader.execute(_SQL["automations_page"], key)]

    async def definition(self, tenant: int, id: int) -> Definition | None:
        found = self._reader.execute(_DEFINITION, (tenant, id)).fetchone()
        return None if found is None else _definition(found)

    async def versions(
        self, tenant: int, automation: str, *, before: int | None = None, limit: int = 25
    ) -> list[Definition]:
        key = (tenant, automation, rows.LARGEST if before is None else before, limit)
        return [_definition(row) for row in self._reader.execute(_SQL["definitions_page"], key)]


def _automation(row: rows.Row) -> AutomationRow:
    """From the columns of `automation_get`, which every statement that reads automations has."""
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
    """From the columns of `definition_get`, which every statement that reads definitions has."""
    tenant, id_, automation, version, steps, triggers, context, created_at, apps = row
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
    )


def _publish(connection: apsw.Connection, row: AutomationRow, published: Definition | None) -> AutomationRow:
    if published is None:
        return row
    version = row.version + 1
    kept = _keep(connection, replace(published, tenant=row.tenant, automation=row.id, version=version))
    return replace(row, version=version, definition=kept.id)


def _keep(connection: apsw.Connection, definition: Definition) -> Definition:
    (id_,) = next(connection.execute(_SQL["definition_next"], (definition.tenant,)))
    new = replace(definition, id=id_)
    connection.execute(
        _SQL["definition_insert"],
        (
            new.tenant,
            new.id,
            new.automation,
            new.version,
            _digest(new),
            new.steps,
            new.triggers,
            new.context,
            new.created_at,
            new.apps,
        ),
    )
    return new


def _digest(definition: Definition) -> bytes:
    parts: tuple[bytes | None, ...] = (definition.steps, definition.triggers, definition.context)
    if definition.apps is not None:
        parts = (*parts, definition.apps.encode())
    # The lengths keep two splits of the same bytes apart; -1 keeps no context apart from an empty one.
    lengths = ",".join(str(-1 if part is None else len(part)) for part in parts)
    return hashlib.sha256(lengths.encode() + b":" + b"".join(part or b"" for part in parts)).digest()
