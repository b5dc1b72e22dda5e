"""The audit record in SQLite: rows in the commit of the change that they record, and seals that follow."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Sequence
from typing import Any

from interlock.ports import AuditEntry, AuditRow
from interlock.ports.signals import Signal, Signals
from interlock.rules.model import Actor
from interlock.store.rowset import AUDIT, audit_values
from interlock.store.sqlite.refusals import Refusals
from interlock.store.sqlite.writer import Writer
from interlock.store.tx import Queries, Tx

_START = (0, bytes(32))


async def append_audit(tx: Tx, tenant: int, at: int, entry: AuditEntry) -> None:
    """Write one row of the record, within the transaction of the change."""
    await tx.write([(AUDIT, audit_values(tenant, at, entry))])


async def append_audits(tx: Tx, tenant: int, at: int, entries: Sequence[AuditEntry]) -> None:
    """Write several rows, in their order."""
    await tx.many(AUDIT.name, AUDIT.columns, [audit_values(tenant, at, entry) for entry in entries])


class SqliteAudit:
    """`ports.AuditLog` on the writer and a reading connection."""

    def __init__(self, writer: Writer, reader: Queries, signals: Signals) -> None:
        self._writer = writer
        self._reader = reader
        self._refusals = Refusals()
        self._signals = signals
        writer.after_commit(self.look_again)

    def append(self, tenant: int, at: int, entry: AuditEntry) -> Future[None]:
        async def job(tx: Tx) -> None:
            await append_audit(tx, tenant, at, entry)

        return self._writer.submit(job)

    async def refuse(self, tenant: int, at: int, entry: AuditEntry) -> None:
        counted = self._refusals.take(tenant, at, entry)
        for row in counted:
            await self.append(row.tenant, at, row.entry)

    async def sum_up(self, at: int, *, every: bool = False) -> None:
        for row in self._refusals.over(at, every=every):
            await self.append(row.tenant, at, row.entry)

    def seal(self, tenant: int, head: tuple[int, bytes], seals: Sequence[tuple[int, bytes]]) -> Future[bool]:
        values = [(tenant, id_, digest) for id_, digest in seals]

        async def job(tx: Tx) -> bool:
            if await _head(tx, tenant) != head:
                return False
            await tx.many("audit_seal", ("tenant", "id", "hash"), values)
            return True

        return self._writer.submit(job)

    async def news(self) -> None:
        await self._signals.wait(Signal.AUDIT)

    def look_again(self) -> None:
        self._signals.send(Signal.AUDIT)

    async def unsealed(self, limit: int) -> list[AuditRow]:
        reader = self._reader
        return [
            _row(tenant, row)
            for (tenant,) in await reader.all("audit_tenants")
            for row in await reader.all("audit_unsealed", tenant=tenant, limit=limit)
        ]

    async def head(self, tenant: int) -> tuple[int, bytes]:
        return await _head(self._reader, tenant)

    async def rows(self, tenant: int, *, after: int = 0, limit: int = 1000) -> list[AuditRow]:
        return [
            _row(tenant, row) for row in await self._reader.all("audit_rows", tenant=tenant, after=after, limit=limit)
        ]


async def _head(queries: Queries, tenant: int) -> tuple[int, bytes]:
    found = await queries.one("audit_head", tenant=tenant)
    return _START if found is None else (found[0], found[1])


def _row(tenant: int, row: tuple[Any, ...]) -> AuditRow:
    id_, at, *texts, details, digest = row
    client, principal, address, action, target, outcome, reason = (
        text.decode("utf-8", "surrogateescape") for text in texts
    )
    entry = AuditEntry(
        actor=Actor(client, address, principal),
        action=action,
        target=target,
        outcome=outcome,
        reason=reason,
        details=details,
    )
    return AuditRow(tenant=tenant, id=id_, at=at, entry=entry, hash=digest)
