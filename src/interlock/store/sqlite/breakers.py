"""Circuit breakers: counting starts, tripping, resetting."""

from __future__ import annotations

import heapq
from asyncio import Future
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import apsw

from interlock.errors import NotFound
from interlock.ports import AuditEntry, BulkAction
from interlock.rules.breaker import Breaker, Period, Trip, too_many
from interlock.rules.model import SYSTEM
from interlock.rules.states import State
from interlock.store import rows
from interlock.store.sqlite import bulk
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.writer import Writer
from interlock.store.statements import Dialect, load

COUNTED_BEFORE: Final = 10_000
"""Most earlier runs that are counted when a breaker is set: reading them must not hold up a stop."""
TRIP_ACTION: Final = "automation.circuit_breaker.trip"

_SQL = load("breakers", Dialect.SQLITE)
_COUNTED: Final = tuple(state for state in State if state is not State.PAUSED_BY_CIRCUIT_BREAKER)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the breaker says to a run that is about to start. It comes true with `take`."""

    tenant: int
    automation: str
    at: int
    number: int
    """Of this start; 0 if the breaker is open and nothing is counted."""
    keep: int
    """The newest start that can decide nothing any more."""
    trip: Trip | None = None
    by_hand: bool = False
    """The breaker was opened by an order, not by a count: it holds drafts back too."""

    @property
    def paused(self) -> bool:
        return self.number == 0 or self.trip is not None


def judge(connection: apsw.Connection, tenant: int, automation: str, at: int) -> Verdict | None:
    """What the breaker of the automation says to a run that starts now; None: it has none."""
    breaker = _breaker(connection, tenant, automation)
    if breaker is None:
        return None
    if breaker.trip is not None:
        return Verdict(tenant, automation, at, 0, 0, by_hand=breaker.trip.maximum == 0)
    key = (tenant, automation)
    (last,) = next(connection.execute(_SQL["breaker_last_number"], key))
    number = last + 1
    earlier = connection.execute(_SQL["breaker_start_at"], (*key, number - breaker.maximum)).fetchone()
    if not too_many(breaker, at, None if earlier is None else earlier[0]):
        return Verdict(tenant, automation, at, number, number - breaker.maximum)
    (count,) = next(connection.execute(_SQL["breaker_starts_within"], (*key, breaker.window_from(at))))
    return Verdict(tenant, automation, at, number, 0, Trip(at, breaker.maximum, breaker.period, count + 1))


def take(connection: apsw.Connection, verdict: Verdict) -> None:
    """The run was let in as the verdict says: count it, or trip."""
    key, trip = (verdict.tenant, verdict.automation), verdict.trip
    if trip is not None:
        connection.execute(_SQL["breaker_trip"], (trip.at, trip.maximum, trip.period or "", trip.count, *key))
        details = f'{{"threshold":{trip.maximum},"period":"{trip.period}","observedCount":{trip.count}}}'
        entry = AuditEntry(actor=SYSTEM, action=TRIP_ACTION, target=verdict.automation, details=details.encode())
        append_audit(connection, verdict.tenant, verdict.at, entry)
    elif verdict.number:
        connection.execute(_SQL["breaker_start_put"], (*key, verdict.number, verdict.at))
        connection.execute(_SQL["breaker_starts_forget"], (*key, verdict.keep))


def hold(connection: apsw.Connection, tenant: int, automation: str, at: int) -> None:
    """Trip the breaker by hand, whether or not there is one: new runs are held back until somebody clears it."""
    connection.execute(_SQL["breaker_trip"], (at, 0, "", 0, tenant, automation))


def begin_anew(connection: apsw.Connection, tenant: int, automation: str, at: int) -> None:
    """The breaker of the automation was set to something else: count what the new window holds."""
    key = (tenant, automation)
    breaker = _breaker(connection, tenant, automation)
    connection.execute(_SQL["breaker_starts_forget"], (*key, rows.LARGEST))
    if breaker is None or not breaker.maximum:
        connection.execute(_SQL["breaker_reset"], (at, *key))
        return
    most, beginning = min(breaker.maximum, COUNTED_BEFORE), breaker.window_from(at)
    lines = [
        [created for (created,) in connection.execute(_SQL["breaker_starts_before"], (*key, state, most))]
        for state in _COUNTED
    ]
    newest = list(islice(heapq.merge(*lines, reverse=True), most))
    counted = sorted(created for created in newest if created > beginning)
    connection.executemany(
        _SQL["breaker_start_put"], [(*key, number, created) for number, created in enumerate(counted, 1)]
    )


def _breaker(connection: apsw.Connection, tenant: int, automation: str) -> Breaker | None:
    found: rows.Row | None = connection.execute(_SQL["breaker_get"], (tenant, automation)).fetchone()
    if found is None:
        return None
    maximum, period, since, at, *as_tripped = found
    if not maximum and at is None:
        return None
    return Breaker(maximum, _period(period), since, None if at is None else _trip(at, *as_tripped))


def _trip(at: int, maximum: int, period: str, count: int) -> Trip:
    return Trip(at, maximum, _period(period), count)


def _period(name: str) -> Period | None:
    return Period(name) if name else None


class SqliteBreakers:
    """`ports.Breakers`."""

    def __init__(self, writer: Writer, reader: apsw.Connection, decisions: bulk.SqliteBulk) -> None:
        self._writer = writer
        self._reader = reader
        self._bulk = decisions

    async def trips(self, tenant: int, automations: Sequence[str]) -> Mapping[str, Trip]:
        found = ((automation, _breaker(self._reader, tenant, automation)) for automation in automations)
        return {
            automation: breaker.trip
            for automation, breaker in found
            if breaker is not None and breaker.trip is not None
        }

    def settle(
        self, tenant: int, automation: str, at: int, audit: AuditEntry, *, reset: bool, decided: BulkAction | None
    ) -> Future[str]:
        key = (tenant, automation)

        def job(connection: apsw.Connection) -> str:
            if connection.execute(_SQL["breaker_get"], key).fetchone() is None:
                raise NotFound
            if reset:
                connection.execute(_SQL["breaker_reset"], (at, *key))
            id_ = "" if decided is None else _about_paused(connection, tenant, at, decided)
            append_audit(connection, tenant, at, audit)
            return id_

        def committed(id_: str) -> bool:
            if id_:
                self._bulk.begun()
            return False

        return self._writer.submit(job, committed=committed)


def _about_paused(connection: apsw.Connection, tenant: int, at: int, decided: BulkAction) -> str:
    newest = connection.execute(_SQL["paused_newest"], (tenant, decided.automation)).fetchone()
    if newest is None:
        return ""
    for earlier in bulk.about_paused(connection, tenant, decided.automation):
        if earlier.kind is decided.kind and earlier.up_to >= newest[0]:
            return earlier.id
        bulk.supersede(connection, tenant, earlier.id, at)
    bulk.put(connection, tenant, decided, at, newest[0])
    return decided.id
