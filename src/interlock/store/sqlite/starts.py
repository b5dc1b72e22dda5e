"""Prevents one cause from starting two runs, in the transaction of the start: keys, events and times of a schedule."""

from __future__ import annotations

from typing import Final

from interlock.errors import AlreadyExists, Conflict
from interlock.ports import ScheduledFire, Started, StartRecords
from interlock.rules.admit import Newcomer
from interlock.store import rows
from interlock.store.sqlite.execution_reads import EVENTS_KEPT, IDEMPOTENCY_KEPT, known_start
from interlock.store.tx import Tx

FORGOTTEN: Final[tuple[tuple[str, int], ...]] = (
    ("idempotency_forget", IDEMPOTENCY_KEPT),
    ("events_forget", EVENTS_KEPT),
)
"""The statements that delete causes, and the age of the causes in microseconds."""


async def known(tx: Tx, newcomer: Newcomer, at: int, records: StartRecords) -> Started | None:
    """Return the run that the same key or event has started; None if there is none.

    Raises:
        AlreadyExists: The key was used with another body, or the run of the event was removed.
    """
    if records.idempotency is not None:
        client = records.audit.actor.client
        id_ = await known_start(tx, newcomer.tenant, client, newcomer.automation, records.idempotency, at)
        started = None if id_ is None else await _started(tx, newcomer.tenant, id_)
        if started is not None:
            return started
    if records.event is not None:
        found = await tx.one(
            "event_get",
            tenant=newcomer.tenant,
            automation=newcomer.automation,
            event=records.event,
            since=at - EVENTS_KEPT,
        )
        if found is not None:
            started = await _started(tx, newcomer.tenant, found[0])
            if started is None:
                raise AlreadyExists("this event has started a run, which was removed since")
            return started
    return None


async def _started(tx: Tx, tenant: int, id: int) -> Started | None:
    row = await tx.one("execution_get", tenant=tenant, id=id)
    return None if row is None else Started(execution=rows.execution(row), decision=None, repeated=True)


async def move_schedule(tx: Tx, newcomer: Newcomer, fire: ScheduledFire) -> None:
    """Set the next time of the schedule.

    Raises:
        Conflict: The schedule is no longer at the time that is due, or the automation is disabled.
    """
    moved = await tx.run(
        "automation_fire", next=fire.next_at, tenant=newcomer.tenant, id=newcomer.automation, due=fire.due_at
    )
    if moved != 1:
        raise Conflict(
            "this time of the schedule has started a run already, or the automation was disabled or scheduled anew"
        )


async def write_start(tx: Tx, newcomer: Newcomer, at: int, records: StartRecords) -> None:
    """Write the lease of the new run, and its cause."""
    tenant, automation = newcomer.tenant, newcomer.automation
    lease, idempotency = records.lease_microseconds, records.idempotency
    if lease is not None:
        await tx.run("lease_put", tenant=tenant, execution=newcomer.id, length=lease, expires_at=at + lease)
    if idempotency is not None:
        await tx.run(
            "idempotency_put",
            tenant=tenant,
            client=records.audit.actor.client,
            automation=automation,
            key=idempotency.key,
            body=idempotency.body,
            execution=newcomer.id,
            created_at=at,
        )
    if records.event is not None:
        await tx.run(
            "event_put", tenant=tenant, automation=automation, event=records.event, execution=newcomer.id, created_at=at
        )
