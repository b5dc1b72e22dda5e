"""Outbound webhooks in SQLite."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable

from interlock.errors import AlreadyExists
from interlock.ports import AuditEntry, WebhookRow
from interlock.store import rows
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.kept import Kept
from interlock.store.sqlite.writer import Writer
from interlock.store.tx import Queries, Tx


class SqliteWebhooks:
    """`ports.Webhooks` on the writer and a reading connection."""

    def __init__(self, writer: Writer, reader: Queries) -> None:
        self._writer = writer
        self._reader = reader
        self._kept: Kept[tuple[int, str], WebhookRow] = Kept(self._read)

    def create(self, row: WebhookRow, audit: AuditEntry) -> Future[None]:
        async def job(tx: Tx) -> None:
            self._writer.require_room()
            if await tx.one("webhook_get", tenant=row.tenant, id=row.id) is not None:
                raise AlreadyExists(f"there is a webhook {row.id} already")
            await tx.run(
                "webhook_insert",
                tenant=row.tenant,
                id=row.id,
                document=row.document,
                url=row.url,
                callback_timeout=row.callback_timeout,
                created_at=row.created_at,
                updated_at=row.updated_at,
            )
            await append_audit(tx, row.tenant, row.created_at, audit)

        return self._writer.submit(job)

    def update(
        self, tenant: int, id: str, change: Callable[[WebhookRow], tuple[WebhookRow, AuditEntry]]
    ) -> Future[WebhookRow | None]:
        async def job(tx: Tx) -> WebhookRow | None:
            self._writer.require_room()
            found = await tx.one("webhook_get", tenant=tenant, id=id)
            if found is None:
                return None
            row, audit = change(_webhook(found))
            await tx.run(
                "webhook_update",
                document=row.document,
                url=row.url,
                callback_timeout=row.callback_timeout,
                updated_at=row.updated_at,
                tenant=tenant,
                id=id,
            )
            await append_audit(tx, tenant, row.updated_at, audit)
            return row

        return self._writer.submit(job, committed=self._changed((tenant, id)))

    def delete(self, tenant: int, id: str, at: int, audit: AuditEntry) -> Future[bool]:
        async def job(tx: Tx) -> bool:
            if not await tx.run("webhook_delete", tenant=tenant, id=id):
                return False
            await append_audit(tx, tenant, at, audit)
            return True

        return self._writer.submit(job, committed=self._changed((tenant, id)))

    async def get(self, tenant: int, id: str) -> WebhookRow | None:
        return await self._kept.get((tenant, id))

    async def _read(self, key: tuple[int, str]) -> WebhookRow | None:
        found = await self._reader.one("webhook_get", tenant=key[0], id=key[1])
        return None if found is None else _webhook(found)

    def _changed(self, key: tuple[int, str]) -> Callable[[object], bool]:
        def committed(result: object) -> bool:
            self._kept.forget(key)
            return False

        return committed

    async def page(self, tenant: int, *, after: str | None = None, limit: int = 25) -> list[WebhookRow]:
        found = await self._reader.all("webhooks_page", tenant=tenant, after=after or "", limit=limit)
        return [_webhook(row) for row in found]


def _webhook(row: rows.Row) -> WebhookRow:
    """Return a webhook from the columns of `webhook_get`, as every statement that reads webhooks has them."""
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
