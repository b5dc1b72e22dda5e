"""Plans and bulk terminations in SQLite."""

from __future__ import annotations

import json
from asyncio import Future
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

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
from interlock.store.tx import Queries, TenantIds, Tx

FORGET_BATCH: Final = 100


class SqliteBulkTerminations:
    """`ports.BulkTerminations`."""

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

    # --- plans ----------------------------------------------------------------------------------------------------

    def plan(self, tenant: int, plan: PlanRow, at: int, executions: Sequence[int]) -> Future[None]:
        async def job(tx: Tx) -> None:
            await tx.run(
                "plan_put",
                tenant=tenant,
                id=plan.id,
                client=plan.client,
                made_at=at,
                expires_at=plan.expires_at,
                total=plan.total,
            )
            await tx.many("planned_put", _PLANNED, [(tenant, plan.id, id_) for id_ in executions])

        return self._writer.submit(job, heavy=True)

    async def find_plan(self, tenant: int, id: str) -> PlanRow | None:
        found = await self._reader.one("plan_get", tenant=tenant, id=id)
        return (
            None
            if found is None
            else PlanRow(id=id, client=found[0], expires_at=found[1], total=found[2], used=found[3] is not None)
        )

    async def forget_plans(self, at: int) -> None:
        for tenant in await self._tenants():

            async def job(tx: Tx, tenant: int = tenant) -> int:
                found: list[rows.Row] = await tx.all("plans_expired", tenant=tenant, until=at, limit=FORGET_BATCH)
                for (id_,) in found:
                    # The runs that a bulk termination still has to handle are kept.
                    if (await tx.one("bulk_termination_get", tenant=tenant, id=id_)) is None:
                        await tx.run("planned_drop_all", tenant=tenant, plan=id_)
                    await tx.run("plan_drop", tenant=tenant, id=id_)
                return len(found)

            while await self._writer.submit(job, heavy=True) == FORGET_BATCH:
                pass

    # --- bulk terminations ----------------------------------------------------------------------------------------

    def hold_back(self, tenant: int, automations: Sequence[str], at: int, audit: AuditEntry) -> Future[None]:
        async def job(tx: Tx) -> None:
            for automation in automations:
                await breakers.hold(tx, tenant, automation, at)
            await append_audit(tx, tenant, at, audit)

        return self._writer.submit(job, urgent=True)

    def begin(self, order: BulkTermination, audit: AuditEntry) -> Future[bool]:
        async def job(tx: Tx) -> bool:
            if not await tx.run(
                "plan_use", at=order.at, tenant=order.tenant, id=order.id, client=order.request.actor.client
            ):
                return False
            await tx.run("bulk_termination_put", **_values(order))
            for automation in order.paused:
                await breakers.hold(tx, order.tenant, automation, order.at)
            await append_audit(tx, order.tenant, order.at, audit)
            return True

        def committed(begun: bool) -> bool:
            if begun:
                self._signals.send(Signal.BULK_TERMINATIONS)
            return False

        return self._writer.submit(job, urgent=True, committed=committed)

    async def get(self, tenant: int, id: str) -> BulkTermination | None:
        found = await self._reader.one("bulk_termination_get", tenant=tenant, id=id)
        return None if found is None else _order(found)

    async def page(self, tenant: int, *, before: str | None = None, limit: int = 25) -> list[BulkTermination]:
        below = _LAST if before is None else before
        found = await self._reader.all("bulk_terminations_page", tenant=tenant, before=below, limit=limit)
        return [_order(row) for row in found]

    def abort(self, tenant: int, id: str, at: int, audit: AuditEntry) -> Future[bool]:
        async def job(tx: Tx) -> bool:
            if not await tx.run("bulk_termination_abort", at=at, tenant=tenant, id=id):
                return False
            await tx.run("planned_drop_all", tenant=tenant, plan=id)
            await append_audit(tx, tenant, at, audit)
            return True

        # The abort is queued like the batches: behind them it would take effect after the last one.
        return self._writer.submit(job, urgent=True, heavy=True)

    async def unfinished(self) -> None:
        await self._signals.wait(Signal.BULK_TERMINATIONS)

    async def next(self) -> BulkTermination | None:
        found = [await self._reader.one("bulk_termination_next", tenant=id_) for id_ in await self._tenants()]
        orders = [_order(row) for row in found if row is not None]
        return min(orders, key=lambda order: order.at, default=None)

    async def batch(self, order: BulkTermination, limit: int) -> list[int]:
        found = await self._reader.all("planned_next", tenant=order.tenant, plan=order.id, limit=limit)
        return [id_ for (id_,) in found]

    async def carry_out(
        self, order: BulkTermination, ids: Sequence[int], reach: Callable[[ClientRow | None], Reach], at: int
    ) -> None:
        tenant = order.tenant

        async def job(tx: Tx) -> list[stops.Stopped]:
            now = await tx.one("bulk_termination_get", tenant=tenant, id=order.id)
            if now is None or _order(now).finished_at is not None:
                return []
            apps = reach(await client_in(tx, tenant, order.request.actor.client))
            allowed = ids if apps is None else [id_ for id_ in ids if await _app_of(tx, tenant, id_) in apps]
            denied = sorted(set(ids) - set(allowed))
            stopped = await stops.stop_batch(tx, tenant, allowed, at, order.request)
            done = [stopped]
            if order.request.cascade:
                done += await self._trees(tx, tenant, stopped.verdicts, at, order.request)
            counts = Counter(stopped.verdicts.values())
            missing = len(allowed) - len(stopped.verdicts)
            await tx.run(
                "bulk_termination_count",
                accepted=counts[Verdict.ACCEPTED],
                repeated=counts[Verdict.REPEATED],
                already_finished=counts[Verdict.ALREADY_FINISHED],
                denied=len(denied),
                not_found=missing,
                below=sum(tree.first for tree in done[1:]),
                tenant=tenant,
                id=order.id,
            )
            await tx.many("planned_drop", _PLANNED, [(tenant, order.id, id_) for id_ in ids])
            if (await tx.one("planned_next", tenant=tenant, plan=order.id, limit=1)) is None:
                await tx.run("bulk_termination_finish", finished_at=at, tenant=tenant, id=order.id)
            return done

        def committed(done: list[stops.Stopped]) -> bool:
            for stopped in done:
                self._executions.tell_stopped(tenant, stopped)
            return False

        await self._writer.submit(job, urgent=True, heavy=True, committed=committed)

    async def _trees(
        self, tx: Tx, tenant: int, named: Iterable[int], at: int, request: TerminationRequest
    ) -> list[stops.Stopped]:
        """Terminate the descendants of the named runs, also of those that have ended themselves."""
        below = []
        for id_ in named:
            row = await tx.one("execution_get", tenant=tenant, id=id_)
            if row is not None:
                below.append(await stops.stop_tree(tx, rows.execution(row), at, request))
        return below


_PLANNED: Final = ("tenant", "plan", "execution")
_LAST: Final = "~"
"""Greater than every id."""


async def _app_of(tx: Tx, tenant: int, execution: int) -> str | None:
    found = await tx.one("planned_app", tenant=tenant, id=execution)
    return None if found is None else found[0]


def _values(order: BulkTermination) -> dict[str, Any]:
    request = order.request
    return {
        "tenant": order.tenant,
        "id": order.id,
        "client": request.actor.client,
        "principal": request.actor.principal,
        "address": request.actor.address,
        "reason": request.reason,
        "mode": request.mode,
        "deadline": request.deadline,
        "cascade": request.cascade,
        "paused": json.dumps(order.paused),
        "at": order.at,
        "total": order.total,
        "not_found": order.not_found,
    }


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
