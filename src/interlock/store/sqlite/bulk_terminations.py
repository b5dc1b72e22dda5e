"""Plans and orders to terminate many runs."""

from __future__ import annotations

import json
from asyncio import Future
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import apsw

from interlock.ports import AuditEntry, BulkTermination, ClientRow, PlanRow
from interlock.ports.bulk_terminations import Reach
from interlock.ports.signals import Signal, Signals
from interlock.rules.decision import Verdict
from interlock.rules.model import Actor, Mode, TerminationRequest
from interlock.store import rows
from interlock.store.sqlite import breakers, stops
from interlock.store.sqlite.access import client_in
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.executions import SqliteExecutions
from interlock.store.sqlite.writer import Writer
from interlock.store.statements import Dialect, load

FORGET_BATCH: Final = 100

_SQL = load("bulk_terminations", Dialect.SQLITE)


class SqliteBulkTerminations:
    """`ports.BulkTerminations`."""

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

    # --- plans ----------------------------------------------------------------------------------------------------

    def plan(self, tenant: int, plan: PlanRow, at: int, executions: Sequence[int]) -> Future[None]:
        def job(connection: apsw.Connection) -> None:
            values = (tenant, plan.id, plan.client, at, plan.expires_at, plan.total)
            connection.execute(_SQL["plan_put"], values)
            connection.executemany(_SQL["planned_put"], [(tenant, plan.id, id_) for id_ in executions])

        return self._writer.submit(job, heavy=True)

    async def find_plan(self, tenant: int, id: str) -> PlanRow | None:
        found = self._reader.execute(_SQL["plan_get"], (tenant, id)).fetchone()
        return (
            None
            if found is None
            else PlanRow(id=id, client=found[0], expires_at=found[1], total=found[2], used=found[3] is not None)
        )

    async def forget_plans(self, at: int) -> None:
        for tenant in self._tenants():

            def job(connection: apsw.Connection, tenant: int = tenant) -> int:
                found: list[rows.Row] = connection.execute(_SQL["plans_expired"], (tenant, at, FORGET_BATCH)).fetchall()
                for (id_,) in found:
                    # What an order is still to deal with stays.
                    if connection.execute(_SQL["bulk_termination_get"], (tenant, id_)).fetchone() is None:
                        connection.execute(_SQL["planned_drop_all"], (tenant, id_))
                    connection.execute(_SQL["plan_drop"], (tenant, id_))
                return len(found)

            while await self._writer.submit(job, heavy=True) == FORGET_BATCH:
                pass

    # --- orders ---------------------------------------------------------------------------------------------------

    def hold_back(self, tenant: int, automations: Sequence[str], at: int, audit: AuditEntry) -> Future[None]:
        def job(connection: apsw.Connection) -> None:
            for automation in automations:
                breakers.hold(connection, tenant, automation, at)
            append_audit(connection, tenant, at, audit)

        return self._writer.submit(job, urgent=True)

    def begin(self, order: BulkTermination, audit: AuditEntry) -> Future[bool]:
        def job(connection: apsw.Connection) -> bool:
            connection.execute(_SQL["plan_use"], (order.at, order.tenant, order.id, order.request.actor.client))
            if connection.changes() == 0:
                return False
            connection.execute(_SQL["bulk_termination_put"], _values(order))
            for automation in order.paused:
                breakers.hold(connection, order.tenant, automation, order.at)
            append_audit(connection, order.tenant, order.at, audit)
            return True

        def committed(begun: bool) -> bool:
            if begun:
                self._signals.send(Signal.BULK_TERMINATIONS)
            return False

        return self._writer.submit(job, urgent=True, committed=committed)

    async def get(self, tenant: int, id: str) -> BulkTermination | None:
        found = self._reader.execute(_SQL["bulk_termination_get"], (tenant, id)).fetchone()
        return None if found is None else _order(found)

    async def page(self, tenant: int, *, before: str | None = None, limit: int = 25) -> list[BulkTermination]:
        key = (tenant, _LAST if before is None else before, limit)
        return [_order(row) for row in self._reader.execute(_SQL["bulk_terminations_page"], key)]

    def abort(self, tenant: int, id: str, at: int, audit: AuditEntry) -> Future[bool]:
        def job(connection: apsw.Connection) -> bool:
            connection.execute(_SQL["bulk_termination_abort"], (at, tenant, id))
            if connection.changes() == 0:
                return False
            connection.execute(_SQL["planned_drop_all"], (tenant, id))
            append_audit(connection, tenant, at, audit)
            return True

        # In the line of the batches: behind it, an abort would come once the last of them has been carried out.
        return self._writer.submit(job, urgent=True, heavy=True)

    async def unfinished(self) -> None:
        await self._signals.wait(Signal.BULK_TERMINATIONS)

    async def next(self) -> BulkTermination | None:
        found = (self._reader.execute(_SQL["bulk_termination_next"], (id_,)).fetchone() for id_ in self._tenants())
        orders = [_order(row) for row in found if row is not None]
        return min(orders, key=lambda order: order.at, default=None)

    async def batch(self, order: BulkTermination, limit: int) -> list[int]:
        key = (order.tenant, order.id, limit)
        return [id_ for (id_,) in self._reader.execute(_SQL["planned_next"], key)]

    async def carry_out(
        self, order: BulkTermination, ids: Sequence[int], reach: Callable[[ClientRow | None], Reach], at: int
    ) -> None:
        tenant = order.tenant

        def job(connection: apsw.Connection) -> list[stops.Stopped]:
            now = connection.execute(_SQL["bulk_termination_get"], (tenant, order.id)).fetchone()
            if now is None or _order(now).finished_at is not None:
                return []
            apps = reach(client_in(connection, tenant, order.request.actor.client))
            allowed = ids if apps is None else [id_ for id_ in ids if _app_of(connection, tenant, id_) in apps]
            denied = sorted(set(ids) - set(allowed))
            stopped = stops.stop_batch(connection, tenant, allowed, at, order.request)
            done = [stopped]
            if order.request.cascade:
                done += self._trees(connection, tenant, stopped.verdicts, at, order.request)
            counts = Counter(stopped.verdicts.values())
            missing = len(allowed) - len(stopped.verdicts)
            tally = (counts[Verdict.ACCEPTED], counts[Verdict.REPEATED], counts[Verdict.ALREADY_FINISHED])
            below = sum(tree.first for tree in done[1:])
            connection.execute(_SQL["bulk_termination_count"], (*tally, len(denied), missing, below, tenant, order.id))
            dealt_with = [(tenant, order.id, id_) for id_ in ids]
            connection.executemany(_SQL["planned_drop"], dealt_with)
            if connection.execute(_SQL["planned_next"], (tenant, order.id, 1)).fetchone() is None:
                connection.execute(_SQL["bulk_termination_finish"], (at, tenant, order.id))
            return done

        def committed(done: list[stops.Stopped]) -> bool:
            for stopped in done:
                self._executions.tell_stopped(tenant, stopped)
            return False

        await self._writer.submit(job, urgent=True, heavy=True, committed=committed)

    def _trees(
        self, connection: apsw.Connection, tenant: int, named: Iterable[int], at: int, request: TerminationRequest
    ) -> list[stops.Stopped]:
        """Stop what the named runs started, those included that had ended themselves."""
        below = []
        for id_ in named:
            row = connection.execute(_EXECUTION, (tenant, id_)).fetchone()
            if row is not None:
                below.append(stops.stop_tree(connection, rows.execution(row), at, request))
        return below


_EXECUTION: Final = load("executions", Dialect.SQLITE)["execution_get"]
_LAST: Final = "~"
"""Behind every id."""


def _app_of(connection: apsw.Connection, tenant: int, execution: int) -> str | None:
    found = connection.execute(_SQL["planned_app"], (tenant, execution)).fetchone()
    return None if found is None else found[0]


def _values(order: BulkTermination) -> rows.Row:
    request = order.request
    return (
        order.tenant,
        order.id,
        request.actor.client,
        request.actor.principal,
        request.actor.address,
        request.reason,
        request.mode,
        request.deadline,
        request.cascade,
        json.dumps(order.paused),
        order.at,
        order.total,
        order.not_found,
    )


def _order(row: rows.Row) -> BulkTermination:
    tenant, id_, client, principal, address, reason, mode, deadline, cascade, paused, at, *counters = row
    total, accepted, repeated, already_finished, denied, not_found, finished_at, aborted_at, below = counters
    request = TerminationRequest(Actor(client, address, principal), reason, Mode(mode), bool(cascade), deadline)
    return BulkTermination(
        tenant=tenant,
        id=id_,
        request=request,
        paused=tuple(json.loads(paused)),
        at=at,
        total=total,
        accepted=accepted,
        repeated=repeated,
        already_finished=already_finished,
        denied=denied,
        not_found=not_found,
        finished_at=finished_at,
        aborted_at=aborted_at,
        below=below,
    )
