"""The stored readings of the clock in SQLite, and the one commit that moves all times that runs wait for."""

from __future__ import annotations

import json
from asyncio import Future
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from interlock.ports import AuditEntry
from interlock.ports.clocks import ClockMark
from interlock.store import rows
from interlock.store.sqlite.access import ASSERTION_KEPT
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.writer import Writer
from interlock.store.tx import Queries, TenantIds, Tx

MARK: Final = "clock"
HELD: Final = "removal_held"

_MOVED: Final = (
    "clock_move_runs",
    "clock_move_deadlines",
    "clock_move_leases",
    "clock_move_plans",
    "clock_move_keys",
    "clock_move_events",
    "clock_move_starts",
    "clock_move_breakers",
    "clock_move_tokens",
)


class SqliteClocks:
    """`ports.Clocks`.

    Args:
        changed: Called by each commit after which cached tokens are void.
    """

    def __init__(self, writer: Writer, reader: Queries, tenants: TenantIds, changed: Callable[[], None]) -> None:
        self._writer = writer
        self._reader = reader
        self._tenants = tenants
        self._changed = changed

    async def mark(self) -> ClockMark | None:
        found = await self._kept(MARK)
        try:
            return ClockMark(**json.loads(found)) if found else None
        except (ValueError, TypeError):
            return None

    def keep_mark(self, mark: ClockMark, held: int | None) -> Future[None]:
        async def job(tx: Tx) -> None:
            await _keep_both(tx, mark, held)

        return self._writer.submit(job)

    async def newest(self) -> int | None:
        found = [await self._reader.one("clock_newest", tenant=tenant) for tenant in await self._tenants()]
        return max((row[0] for row in found if row is not None), default=None)

    async def held(self) -> int | None:
        found = await self._kept(HELD)
        return int(found) if found else None

    def confirm(self, at: int, audit: AuditEntry) -> Future[bool]:
        async def job(tx: Tx) -> bool:
            if not await tx.run("clock_drop", name=HELD):
                return False
            await _tell_all(tx, at, audit)
            return True

        return self._writer.submit(job)

    def may_move(self) -> bool:
        return not self._writer.full

    def move(
        self, by: int, wall: int, mark: ClockMark, held: int | None, audit: AuditEntry, moved: Callable[[], None]
    ) -> Future[None]:
        async def job(tx: Tx) -> None:
            for (tenant,) in await tx.all("clock_tenants"):
                for statement in _MOVED:
                    await tx.run(statement, by=by, tenant=tenant)
                await tx.run("clock_cap_assertions", at=wall + ASSERTION_KEPT, tenant=tenant)
            await _tell_all(tx, wall, audit)
            await _keep_both(tx, mark, held)

        def committed(result: None) -> bool:
            moved()
            self._changed()
            return False

        return self._writer.submit(job, heavy=True, barrier=True, committed=committed)

    async def _kept(self, name: str) -> str:
        found = await self._reader.one("clock_kept", name=name)
        return "" if found is None else bytes(found[0]).decode("utf-8", "replace")


async def _keep_both(tx: Tx, mark: ClockMark, held: int | None) -> None:
    await _keep(tx, MARK, json.dumps(asdict(mark)))
    if held is not None:
        await _keep(tx, HELD, str(held))


async def _keep(tx: Tx, name: str, text: str) -> None:
    await tx.run("clock_keep", name=name, value=text.encode())


async def _tell_all(tx: Tx, at: int, audit: AuditEntry) -> None:
    tenants: list[rows.Row] = await tx.all("clock_tenants")
    for (tenant,) in tenants:
        await append_audit(tx, tenant, at, audit)
