"""Circuit breakers in SQLite: they count starts, trip and are reset."""

from __future__ import annotations

import heapq
from asyncio import Future
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from interlock.errors import NotFound
from interlock.ports import AuditEntry, BulkAction
from interlock.rules.breaker import Breaker, Period, Trip, too_many
from interlock.rules.model import SYSTEM
from interlock.rules.states import State
from interlock.rules.values import value
from interlock.store import rows
from interlock.store.sqlite import bulk
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.writer import Writer
from interlock.store.tx import Queries, Tx

COUNTED_BEFORE: Final = 10_000
"""Maximum number of earlier runs that are counted when a circuit breaker is set: a termination must not wait for it."""
TRIP_ACTION: Final = "automation.circuit_breaker.trip"

_COUNTED: Final = tuple(state for state in State if state is not State.PAUSED_BY_CIRCUIT_BREAKER)


@value(frozen=True, slots=True)
class Verdict:
    """The decision of a circuit breaker about a run that is about to start. `take` carries it out."""

    tenant: int
    automation: str
    at: int
    number: int
    """The number of this start; 0 if the breaker is open, which counts nothing."""
    keep: int
    """The newest start that can no longer decide anything."""
    trip: Trip | None = None
    by_hand: bool = False
    """Whether an operator opened the breaker, and not a count: it pauses drafts, too."""

    @property
    def paused(self) -> bool:
        return self.number == 0 or self.trip is not None


async def judge(tx: Tx, tenant: int, automation: str, at: int) -> Verdict | None:
    """Return the decision of the automation's circuit breaker about a run that starts now; None if it has none."""
    breaker = await _breaker(tx, tenant, automation)
    if breaker is None:
        return None
    if breaker.trip is not None:
        return Verdict(tenant, automation, at, 0, 0, by_hand=breaker.trip.maximum == 0)
    (last,) = await tx.only("breaker_last_number", tenant=tenant, automation=automation)
    number = last + 1
    earlier = await tx.one("breaker_start_at", tenant=tenant, automation=automation, number=number - breaker.maximum)
    if not too_many(breaker, at, None if earlier is None else earlier[0]):
        return Verdict(tenant, automation, at, number, number - breaker.maximum)
    since = breaker.window_from(at)
    (count,) = await tx.only("breaker_starts_within", tenant=tenant, automation=automation, since=since)
    return Verdict(tenant, automation, at, number, 0, Trip(at, breaker.maximum, breaker.period, count + 1))


async def take(tx: Tx, verdict: Verdict) -> None:
    """Count a start that the verdict permits, or trip the breaker."""
    tenant, automation, trip = verdict.tenant, verdict.automation, verdict.trip
    if trip is not None:
        await tx.run(
            "breaker_trip",
            tripped_at=trip.at,
            tripped_max=trip.maximum,
            tripped_period=trip.period or "",
            tripped_count=trip.count,
            tenant=tenant,
            id=automation,
        )
        details = f'{{"threshold":{trip.maximum},"period":"{trip.period}","observedCount":{trip.count}}}'
        entry = AuditEntry(actor=SYSTEM, action=TRIP_ACTION, target=verdict.automation, details=details.encode())
        await append_audit(tx, verdict.tenant, verdict.at, entry)
    elif verdict.number:
        await tx.run("breaker_start_put", tenant=tenant, automation=automation, number=verdict.number, at=verdict.at)
        await tx.run("breaker_starts_forget", tenant=tenant, automation=automation, up_to=verdict.keep)


async def hold(tx: Tx, tenant: int, automation: str, at: int) -> None:
    """Trip the breaker by hand, whether or not one is set: new runs are paused until an operator clears it."""
    await tx.run(
        "breaker_trip", tripped_at=at, tripped_max=0, tripped_period="", tripped_count=0, tenant=tenant, id=automation
    )


async def begin_anew(tx: Tx, tenant: int, automation: str, at: int) -> None:
    """Count the starts in the new window, after the breaker of an automation was changed."""
    breaker = await _breaker(tx, tenant, automation)
    await tx.run("breaker_starts_forget", tenant=tenant, automation=automation, up_to=rows.LARGEST)
    if breaker is None or not breaker.maximum:
        await tx.run("breaker_reset", breaker_since=at, tenant=tenant, id=automation)
        return
    most, beginning = min(breaker.maximum, COUNTED_BEFORE), breaker.window_from(at)
    lines = [
        await tx.all("breaker_starts_before", tenant=tenant, automation=automation, state=state, limit=most)
        for state in _COUNTED
    ]
    newest = list(islice(heapq.merge(*lines, reverse=True), most))
    counted = sorted(created for (created,) in newest if created > beginning)
    starts = [(tenant, automation, number, created) for number, created in enumerate(counted, 1)]
    await tx.many("breaker_start_put", ("tenant", "automation", "number", "at"), starts)


async def _breaker(queries: Queries, tenant: int, automation: str) -> Breaker | None:
    found = await queries.one("breaker_get", tenant=tenant, id=automation)
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

    def __init__(self, writer: Writer, reader: Queries, decisions: bulk.SqliteBulk) -> None:
        self._writer = writer
        self._reader = reader
        self._bulk = decisions

    async def trips(self, tenant: int, automations: Sequence[str]) -> Mapping[str, Trip]:
        found: dict[str, Trip] = {}
        for automation in automations:
            breaker = await _breaker(self._reader, tenant, automation)
            if breaker is not None and breaker.trip is not None:
                found[automation] = breaker.trip
        return found

    def settle(
        self, tenant: int, automation: str, at: int, audit: AuditEntry, *, reset: bool, decided: BulkAction | None
    ) -> Future[str]:
        async def job(tx: Tx) -> str:
            if (await tx.one("breaker_get", tenant=tenant, id=automation)) is None:
                raise NotFound
            if reset:
                await tx.run("breaker_reset", breaker_since=at, tenant=tenant, id=automation)
            id_ = "" if decided is None else await _about_paused(tx, tenant, at, decided)
            await append_audit(tx, tenant, at, audit)
            return id_

        def committed(id_: str) -> bool:
            if id_:
                self._bulk.begun()
            return False

        return self._writer.submit(job, committed=committed)


async def _about_paused(tx: Tx, tenant: int, at: int, decided: BulkAction) -> str:
    newest = await tx.one("paused_newest", tenant=tenant, automation=decided.automation)
    if newest is None:
        return ""
    for earlier in await bulk.about_paused(tx, tenant, decided.automation):
        if earlier.kind is decided.kind and earlier.up_to >= newest[0]:
            return earlier.id
        await bulk.supersede(tx, tenant, earlier.id, at)
    await bulk.put(tx, tenant, decided, at, newest[0])
    return decided.id
