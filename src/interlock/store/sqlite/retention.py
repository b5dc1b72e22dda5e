"""Retention in SQLite: removes first the payloads of a run, and later the run."""

from __future__ import annotations

from typing import Any, Final

from interlock.ports.system import last_execution_id
from interlock.store.sqlite.writer import Writer
from interlock.store.tx import TenantIds, Tx

BATCH: Final = 250
"""Runs that one commit removes or examines."""
REMOVED: Final = b'{"code":"PAYLOAD_REMOVED","message":"what the step reported was kept for its time, and is removed"}'

_WHOLE: Final = (
    "retention_items",
    "retention_steps",
    "retention_termination",
    "retention_input",
    "retention_addenda",
)


class SqliteRetention:
    """`ports.Retention`."""

    def __init__(self, writer: Writer, tenants: TenantIds) -> None:
        self._writer = writer
        self._tenants = tenants

    async def remove(self, at: int) -> int:
        dealt_with = 0
        for tenant in await self._tenants():

            async def job(tx: Tx, tenant: int = tenant) -> int:
                return await _remove(tx, tenant, at)

            dealt_with += await self._writer.submit(job, heavy=True)
        return dealt_with


async def _remove(tx: Tx, tenant: int, at: int) -> int:
    found: tuple[Any, ...] = await tx.only("retention_of", id=tenant)
    executions_kept, payloads_kept, reached = found
    return await _executions(tx, tenant, at - executions_kept) or (
        await _payloads_later(tx, tenant, at - payloads_kept)
        or await _payloads(tx, tenant, at - payloads_kept, reached)
    )


async def _executions(tx: Tx, tenant: int, limit: int) -> int:
    up_to = last_execution_id(limit)
    expired = await tx.all("retention_expired", tenant=tenant, up_to=up_to, until=limit, limit=BATCH)
    for (id_,) in expired:
        for statement in _WHOLE:
            await tx.run(statement, tenant=tenant, execution=id_)
        await tx.run("retention_execution", tenant=tenant, id=id_)
    return len(expired)


async def _payloads_later(tx: Tx, tenant: int, limit: int) -> int:
    due = await tx.all("retention_due_later", tenant=tenant, until=limit, limit=BATCH)
    for (id_,) in due:
        await _forget_payloads(tx, tenant, id_)
        await tx.run("retention_not_later", tenant=tenant, execution=id_)
    return len(due)


async def _payloads(tx: Tx, tenant: int, limit: int, reached: int) -> int:
    up_to = last_execution_id(limit)
    found = await tx.all("retention_walk", tenant=tenant, after=reached, up_to=up_to, limit=BATCH)
    for id_, completed_at in found:
        if completed_at is not None and completed_at <= limit:
            await _forget_payloads(tx, tenant, id_)
        else:
            await tx.run("retention_later", tenant=tenant, execution=id_)
    if found:
        await tx.run("retention_reached", payloads_removed_to=found[-1][0], id=tenant)
    return len(found)


async def _forget_payloads(tx: Tx, tenant: int, id_: int) -> None:
    await tx.run("retention_input", tenant=tenant, execution=id_)
    await tx.run("retention_subject", tenant=tenant, id=id_)
    await tx.run("retention_step_payloads", error=REMOVED, tenant=tenant, execution=id_)
    await tx.run("retention_item_payloads", error=REMOVED, tenant=tenant, execution=id_)
