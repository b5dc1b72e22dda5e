"""What keeps one cause from starting two runs, in the transaction of the start: keys, events, times of a schedule."""

from __future__ import annotations

from typing import Final

import apsw

from interlock.errors import AlreadyExists, Conflict
from interlock.ports import ScheduledFire, Started, StartRecords
from interlock.rules.admit import Newcomer
from interlock.store import rows
from interlock.store.sqlite.execution_reads import EVENTS_KEPT, IDEMPOTENCY_KEPT, known_start
from interlock.store.statements import Dialect, Statement, load

_SQL: Final = load("executions", Dialect.SQLITE)
_LEASE: Final = load("leases", Dialect.SQLITE)["lease_put"]
_FIRE: Final = load("automations", Dialect.SQLITE)["automation_fire"]

FORGOTTEN: Final[tuple[tuple[Statement, int], ...]] = (
    (_SQL["idempotency_forget"], IDEMPOTENCY_KEPT),
    (_SQL["events_forget"], EVENTS_KEPT),
)
"""The statements that forget causes, and the age in microseconds at which they do."""


def known(connection: apsw.Connection, newcomer: Newcomer, at: int, records: StartRecords) -> Started | None:
    """The run that the same key or event has started; None: there is none.

    Raises:
        AlreadyExists: the key was used with another body, or the run of the event was removed.
    """
    if records.idempotency is not None:
        client = records.audit.actor.client
        id_ = known_start(connection, newcomer.tenant, client, newcomer.automation, records.idempotency, at)
        started = None if id_ is None else _started(connection, newcomer.tenant, id_)
        if started is not None:
            return started
    if records.event is not None:
        key = (newcomer.tenant, newcomer.automation, records.event, at - EVENTS_KEPT)
        found = connection.execute(_SQL["event_get"], key).fetchone()
        if found is not None:
            started = _started(connection, newcomer.tenant, found[0])
            if started is None:
                raise AlreadyExists("this event has started a run, which was removed since")
            return started
    return None


def _started(connection: apsw.Connection, tenant: int, id: int) -> Started | None:
    row = connection.execute(_SQL["execution_get"], (tenant, id)).fetchone()
    return None if row is None else Started(execution=rows.execution(row), decision=None, repeated=True)


def move_schedule(connection: apsw.Connection, newcomer: Newcomer, fire: ScheduledFire) -> None:
    """Set the next time of the schedule.

    Raises:
        Conflict: it does not stand at the time that fires, or the automation is disabled.
    """
    connection.execute(_FIRE, (fire.next_at, newcomer.tenant, newcomer.automation, fire.due_at))
    if connection.changes() != 1:
        raise Conflict(
            "this time of the schedule has started a run already, or the automation was disabled or scheduled anew"
        )


def write_start(connection: apsw.Connection, newcomer: Newcomer, at: int, records: StartRecords) -> None:
    """Write the lease of the new run, and remember its cause."""
    tenant, automation = newcomer.tenant, newcomer.automation
    lease, idempotency = records.lease_microseconds, records.idempotency
    if lease is not None:
        connection.execute(_LEASE, (tenant, newcomer.id, lease, at + lease))
    if idempotency is not None:
        key = (tenant, records.audit.actor.client, automation, idempotency.key)
        connection.execute(_SQL["idempotency_put"], (*key, idempotency.body, newcomer.id, at))
    if records.event is not None:
        connection.execute(_SQL["event_put"], (tenant, automation, records.event, newcomer.id, at))
