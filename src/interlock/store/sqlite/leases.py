"""Leases in SQLite. The end of a lease and the termination of its run are one commit."""

from __future__ import annotations

from asyncio import Future
from typing import Any, Final

from interlock.ports.signals import Signal, Signals
from interlock.rules.events import Terminated
from interlock.rules.model import SYSTEM, Cause, Ref, TerminationRequest
from interlock.rules.states import TERMINAL, State
from interlock.store.sqlite.executions import SqliteExecutions
from interlock.store.sqlite.writer import Writer
from interlock.store.tx import Queries, TenantIds, Tx

BATCH: Final = 100
EXPIRED: Final = TerminationRequest(SYSTEM, "the lease expired", cause=Cause.LEASE_EXPIRED)


class SqliteLeases:
    """`ports.Leases`."""

    def __init__(
        self,
        writer: Writer,
        reader: Queries,
        tenants: TenantIds,
        executions: SqliteExecutions,
        signals: Signals,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._tenants = tenants
        self._executions = executions
        self._signals = signals
        executions.on_lease(lambda: signals.send(Signal.LEASES))

    async def expires_at(self, ref: Ref) -> int | None:
        found = await self._reader.one("lease_get", tenant=ref.tenant, execution=ref.id)
        return None if found is None else found[1]

    def renew(self, ref: Ref, at: int, length: int | None) -> Future[int | None]:
        async def job(tx: Tx) -> int | None:
            found = await tx.one("lease_get", tenant=ref.tenant, execution=ref.id)
            row = await self._executions.read_in(tx, ref)
            if found is None or row is None or row.state in TERMINAL or row.state is State.STOPPING:
                return None
            kept = found[0] if length is None else length
            await tx.run("lease_renew", length=kept, expires_at=at + kept, tenant=ref.tenant, execution=ref.id)
            return int(at + kept)

        def committed(expires_at: int | None) -> bool:
            self._signals.send(Signal.LEASES)
            return False

        return self._writer.submit(job, committed=committed)

    async def next(self) -> int | None:
        found = [(await self._reader.only("lease_next", tenant=tenant))[0] for tenant in await self._tenants()]
        return min((at for at in found if at is not None), default=None)

    async def expire(self, at: int) -> int:
        ended = 0
        for tenant in await self._tenants():
            due: list[tuple[Any, ...]] = await self._reader.all("leases_due", tenant=tenant, until=at, limit=BATCH)
            for (id_,) in due:
                await self._end(Ref(tenant, id_), at)
            ended += len(due)
        return ended

    def _end(self, ref: Ref, at: int) -> Future[Any]:
        async def job(tx: Tx) -> Any:
            found = await tx.one("lease_get", tenant=ref.tenant, execution=ref.id)
            if found is None or found[1] > at:
                # The lease was renewed in the meantime.
                return None
            await tx.run("lease_drop", tenant=ref.tenant, execution=ref.id)
            row = await self._executions.read_in(tx, ref)
            if row is None or row.state in TERMINAL or row.state is State.STOPPING:
                return None
            return await self._executions.apply_in(tx, ref, Terminated(at, EXPIRED))

        return self._writer.submit(job, urgent=True, committed=self._executions.tell_moved)

    async def news(self) -> None:
        await self._signals.wait(Signal.LEASES)
