"""Decisions about many runs: stored, and carried out in batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from interlock.ports import AuditEntry
from interlock.ports.bulk import EVERY_AUTOMATION, PAUSED, BulkAction, BulkKind
from interlock.ports.signals import Signal, Signals
from interlock.rules.decide import decide
from interlock.rules.decision import Decision
from interlock.rules.events import Released
from interlock.rules.model import Actor, Cause, Execution, Situation, TerminationRequest
from interlock.rules.states import TERMINAL, State
from interlock.rules.values import value
from interlock.store import rows
from interlock.store.rowset import rowset_of
from interlock.store.sqlite import stops
from interlock.store.sqlite.audit import append_audits
from interlock.store.sqlite.writer import Writer
from interlock.store.tx import TenantIds, Tx

BATCH: Final = 250
"""Runs that one commit releases or terminates."""
RELEASE_ACTION: Final = "execution.paused_run"

_MEANT: Final = {
    BulkKind.RUN_PAUSED: (State.PAUSED_BY_CIRCUIT_BREAKER,),
    BulkKind.CANCEL_PAUSED: (State.PAUSED_BY_CIRCUIT_BREAKER,),
    # A stopping run has a termination already.
    BulkKind.TERMINATE_ACTIVE: tuple(s for s in State if s not in TERMINAL and s is not State.STOPPING),
}
_CAUSE: Final = {
    BulkKind.CANCEL_PAUSED: Cause.BREAKER_CANCEL,
    BulkKind.TERMINATE_ACTIVE: Cause.DELETE,
}


@value(frozen=True, slots=True)
class Earlier:
    """An earlier decision that is not completely carried out."""

    id: str
    kind: BulkKind
    up_to: int


@value(frozen=True, slots=True)
class Batch:
    """The result of one batch. The listeners are told of it after the commit."""

    released: tuple[Decision, ...] = ()
    stopped: stops.Stopped | None = None
    more: bool = False


async def put(tx: Tx, tenant: int, action: BulkAction, at: int, up_to: int) -> None:
    """Store a decision about the runs up to an id."""
    actor = action.actor
    await tx.run(
        "bulk_put",
        tenant=tenant,
        id=action.id,
        automation=action.automation,
        kind=action.kind,
        client=actor.client,
        principal=actor.principal,
        address=actor.address,
        reason=action.reason,
        at=at,
        up_to=up_to,
    )


async def about_paused(tx: Tx, tenant: int, automation: str) -> list[Earlier]:
    """Return the decisions about paused runs that are not carried out, oldest first."""
    found: list[rows.Row] = await tx.all("bulk_of_automation", tenant=tenant, automation=automation)
    earlier = [Earlier(id_, BulkKind(kind), up_to) for id_, kind, up_to in found]
    return [each for each in earlier if each.kind in PAUSED]


async def supersede(tx: Tx, tenant: int, id_: str, at: int) -> None:
    """End a decision that a later one about the same runs replaces."""
    await tx.run("bulk_finish", finished_at=at, tenant=tenant, id=id_)


async def carry_out(tx: Tx, tenant: int, action: BulkAction, at: int, up_to: int, most: int = BATCH) -> Batch:
    """Carry a decision out for the next runs that it covers, up to a limit."""
    meant: list[Execution] = []
    for state in _MEANT[action.kind]:
        left = most - len(meant)
        if action.automation == EVERY_AUTOMATION:
            found = await tx.all("bulk_runs_of_tenant", tenant=tenant, state=state, up_to=up_to, limit=left)
        else:
            found = await tx.all(
                "bulk_runs", tenant=tenant, automation=action.automation, state=state, up_to=up_to, limit=left
            )
        meant.extend(map(rows.execution, found))
    more = len(meant) == most
    if action.kind is BulkKind.RUN_PAUSED:
        return Batch(tuple(await _released(tx, tenant, action, at, meant)), more=more)
    if not meant:
        return Batch()
    cause = Cause.TENANT_REVOKED if action.automation == EVERY_AUTOMATION else _CAUSE[action.kind]
    order = TerminationRequest(action.actor, action.reason, cause=cause)
    stopped = await stops.stop_batch(tx, tenant, [execution.id for execution in meant], at, order)
    return Batch(stopped=stopped, more=more)


async def begin(tx: Tx, tenant: int, action: BulkAction, at: int, most: int = stops.ONE_COMMIT) -> Batch:
    """Terminate as many runs as one commit holds; the decision about the rest is stored, and carried out in batches."""
    batch = await carry_out(tx, tenant, action, at, rows.LARGEST, most)
    if batch.more:
        await put(tx, tenant, action, at, rows.LARGEST)
    return batch


async def _released(tx: Tx, tenant: int, action: BulkAction, at: int, meant: list[Execution]) -> list[Decision]:
    decisions = []
    for execution in meant:
        decision = decide(Situation(execution), Released(at))
        await tx.write(rowset_of(execution, decision, at))
        decisions.append(decision)
    entries = [
        AuditEntry(actor=action.actor, action=RELEASE_ACTION, target=str(row.id), outcome="ok", reason=action.reason)
        for row in meant
    ]
    await append_audits(tx, tenant, at, entries)
    return decisions


class SqliteBulk:
    """`ports.Bulk`.

    Args:
        released: Called after the commit for each released run.
        stopped: Called after the commit with the terminated runs of a tenant.
    """

    def __init__(
        self,
        writer: Writer,
        tenants: TenantIds,
        released: Callable[[Decision], object],
        stopped: Callable[[int, stops.Stopped], None],
        signals: Signals,
    ) -> None:
        self._writer = writer
        self._tenants = tenants
        self._released = released
        self._stopped = stopped
        self._signals = signals

    def begun(self) -> None:
        """Wake the job that carries decisions out, after the commit of one."""
        self._signals.send(Signal.BULK_ACTIONS)

    def first_batch(self, tenant: int, batch: Batch) -> None:
        """Tell the listeners of the first batch, which was committed with its decision."""
        self.tell(tenant, batch)
        if batch.more:
            self.begun()

    async def left(self) -> None:
        await self._signals.wait(Signal.BULK_ACTIONS)

    async def proceed(self, at: int) -> int:
        worked_on = 0
        for tenant in await self._tenants():

            async def job(tx: Tx, tenant: int = tenant) -> Batch | None:
                return await _next(tx, tenant, at)

            def committed(batch: Batch | None, tenant: int = tenant) -> bool:
                if batch is not None:
                    self.tell(tenant, batch)
                return False

            worked_on += await self._writer.submit(job, heavy=True, committed=committed) is not None
        return worked_on

    def tell(self, tenant: int, batch: Batch) -> None:
        """Tell the listeners of a batch."""
        for decision in batch.released:
            self._released(decision)
        if batch.stopped is not None:
            self._stopped(tenant, batch.stopped)


async def _next(tx: Tx, tenant: int, at: int) -> Batch | None:
    found = await tx.one("bulk_next", tenant=tenant)
    if found is None:
        return None
    _, id_, automation, kind, client, principal, address, reason, _, up_to = found
    action = BulkAction(
        id=id_, automation=automation, kind=BulkKind(kind), actor=Actor(client, address, principal), reason=reason
    )
    batch = await carry_out(tx, tenant, action, at, up_to)
    if not batch.more:
        await tx.run("bulk_finish", finished_at=at, tenant=tenant, id=id_)
    return batch
