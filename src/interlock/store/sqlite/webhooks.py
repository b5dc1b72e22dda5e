"""Outbound webhooks in SQLite."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable

import apsw

from interlock.errors import AlreadyExists
from interlock.ports import AuditEntry, WebhookRow
from interlock.store import rows
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.kept import Kept
from interlock.store.sqlite.writer import Writer
from interlock.store.statements import Dialect, load

_SQL = load("webhooks", Dialect.SQLITE)
_GET = _SQL["webhook_get"]


class SqliteWebhooks:
    """`ports.Webhooks` on the writer and a reading connection."""

    def __init__(self, writer: Writer, reader: apsw.Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._kept: Kept[tuple[int, str], WebhookRow] = Kept(self._read)

    def create(self, row: WebhookRow, audit: AuditEntry) -> Future[None]:
        key = (row.tenant, row.id)

        def job(connection: apsw.Connection) -> None:
            self._writer.require_room()
            if connection.execute(_GET, key).fetchone() is not None:
                raise AlreadyExists(f"there is a webhook {row.id} already")
            rest = (row.document, row.url, row.callback_timeout, row.created_at, row.updated_at)
            connection.execute(_SQL["webhook_insert"], key + rest)
            append_audit(connection, row.tenant, row.created_at, audit)

        return self._writer.submit(job)

    def update(
        self, tenant: int, id: str, change: Callable[[WebhookRow], tuple[WebhookRow, AuditEntry]]
    ) -> Future[WebhookRow | None]:
        def job(connection: apsw.Connection) -> WebhookRow | None:
            self._writer.require_room()
            found = connection.execute(_GET, (tenant, id)).fetchone()
            if found is None:
                return None
            row, audit = change(_webhook(found))
            values = (row.document, row.url, row.callback_timeout, row.updated_at, tenant, id)
            connection.execute(_SQL["webhook_update"], values)
            append_audit(connection, tenant, row.updated_at, audit)
            return row

        return self._writer.submit(job, committed=self._changed((tenant, id)))

    def delete(self, tenant: int, id: str, at: int, audit: AuditEntry) -> Future[bool]:
        def job(connection: apsw.Connection) -> bool:
            connection.execute(_SQL["webhook_delete"], (tenant, id))
            if connection.changes() == 0:
                return False
            append_audit(connection, tenant, at, audit)
            return True

        return self._writer.submit(job, committed=self._changed((tenant, id)))

    async def get(self, tenant: int, id: str) -> WebhookRow | None:
        return self._kept.get((tenant, id))

    def _read(self, key: tuple[int, str]) -> WebhookRow | None:
        found = self._reader.execute(_GET, key).fetchone()
        return None if found is None else _webhook(found)

    def _changed(self, key: tuple[int, str]) -> Callable[[object], bool]:
        def committed(result: object) -> bool:
            self._kept.forget(key)
            return False

        return committed

    async def page(self, tenant: int, *, after: str | None = None, limit: int = 25) -> list[WebhookRow]:
        key = (tenant, after or "", limit)
        return [_webhook(row) for row in self._reader.execute(_SQL["webhooks_page"], key)]


def _webhook(row: rows.Row) -> WebhookRow:
    """From the columns of `webhook_get`, which every statement that reads webhooks has."""
    tenant, id_, document, url, callback_timeout, created_at, updated_at = row
    return WebhookRow(
        tenant=tenant,
        id=id_,
        document=document,
        url=url,
        callback_timeout=callback_timeout,
        created_at=created_at,
        updated_at=updated_at,
    )
