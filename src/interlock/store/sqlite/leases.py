"""Leases in SQLite. The end of a lease and the stop of its run are one commit."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Any, Final

import apsw

from interlock.ports.signals import Signal, Signals
from interlock.rules.events import Terminated
from interlock.rules.model import SYSTEM, Cause, Ref, TerminationRequest
from interlock.rules.states import TERMINAL, State
from interlock.store.sqlite.executions import SqliteExecutions
from interlock.store.sqlite.writer import Writer
from interlock.store.statements import Dialect, load

BATCH: Final = 100
EXPIRED: Final = TerminationRequest(SYSTEM, "the lease expired", cause=Cause.LEASE_EXPIRED)

_SQL = load("leases", Dialect.SQLITE)


class SqliteLeases:
    """`ports.Leases`."""

    def __init__(
        self,
        writer: Writer,
        reader: apsw.Connection,
        tenants: Callable[[], Sequence[int]],
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
        found = self._reader.execute(_SQL["lease_get"], (ref.tenant, ref.id)).fetchone()
        return None if found is None else found[1]

    def renew(self, ref: Ref, at: int, length: int | None) -> Future[int | None]:
        def job(connection: apsw.Connection) -> int | None:
            found = connection.execute(_SQL["lease_get"], (ref.tenant, ref.id)).fetchone()
            row = self._executions.read_in(connection, ref)
            if found is None or row is None or row.state in TERMINAL or row.state is State.STOPPING:
                return None
            kept = found[0] if length is None else length
            connection.execute(_SQL["lease_renew"], (kept, at + kept, ref.tenant, ref.id))
            return int(at + kept)

        def committed(expires_at: int | None) -> bool:
            self._signals.send(Signal.LEASES)
            return False

        return self._writer.submit(job, committed=committed)

    async def next(self) -> int | None:
        found = [next(self._reader.execute(_SQL["lease_next"], (tenant,)))[0] for tenant in self._tenants()]
        return min((at for at in found if at is not None), default=None)

    async def expire(self, at: int) -> int:
        ended = 0
        for tenant in self._tenants():
            due: list[tuple[Any, ...]] = self._reader.execute(_SQL["leases_due"], (tenant, at, BATCH)).fetchall()
            for (id_,) in due:
                await self._end(Ref(tenant, id_), at)
            ended += len(due)
        return ended

    def _end(self, ref: Ref, at: int) -> Future[Any]:
        def job(connection: apsw.Connection) -> Any:
            found = connection.execute(_SQL["lease_get"], (ref.tenant, ref.id)).fetchone()
            if found is None or found[1] > at:
                # Renewed in the meantime.
                return None
            connection.execute(_SQL["lease_drop"], (ref.tenant, ref.id))
            row = self._executions.read_in(connection, ref)
            if row is None or row.state in TERMINAL or row.state is State.STOPPING:
                return None
            return self._executions.apply_in(connection, ref, Terminated(at, EXPIRED))

        return self._writer.submit(job, urgent=True, committed=self._executions.tell_moved)

    async def news(self) -> None:
        await self._signals.wait(Signal.LEASES)
