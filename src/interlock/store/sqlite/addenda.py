"""Addenda in SQLite: rows that are appended and never changed."""

from __future__ import annotations

from asyncio import Future
from dataclasses import replace
from typing import Any, Final

from interlock.errors import FailedPrecondition
from interlock.ports import Addendum, AddendumFinding, AuditEntry
from interlock.rules.model import SECOND, Actor, Ref
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.executions import SqliteExecutions
from interlock.store.sqlite.writer import Writer
from interlock.store.tx import Queries, Tx

MOST: Final = 250
"""Maximum number of addenda of one run: a reader of the run reads all of them."""
REPEATED_WITHIN: Final = 86_400 * SECOND


class SqliteAddenda:
    """`ports.Addenda` on the writer and a reading connection."""

    def __init__(self, writer: Writer, reader: Queries, executions: SqliteExecutions) -> None:
        self._writer = writer
        self._reader = reader
        self._executions = executions

    def add(self, addendum: Addendum, audit: AuditEntry) -> Future[Addendum | None]:
        ref = addendum.ref

        async def job(tx: Tx) -> Addendum | None:
            if await self._executions.read_in(tx, ref) is None:
                return None
            known = await _newest(tx, addendum)
            if known is not None and _repeats(addendum, known):
                return known
            self._writer.require_room()
            count = (await tx.only("addenda_count", tenant=ref.tenant, execution=ref.id))[0]
            if count >= MOST:
                raise FailedPrecondition(f"the execution has {MOST} addenda, which is as many as it can have")
            made = replace(addendum, number=count + 1)
            await tx.run("addendum_insert", **_values(made))
            await append_audit(tx, ref.tenant, made.at, audit)
            return made

        return self._writer.submit(job)

    async def of(self, ref: Ref) -> list[Addendum]:
        rows = await self._reader.all("addenda_of", tenant=ref.tenant, execution=ref.id)
        return [_addendum(ref, row) for row in rows]


async def _newest(tx: Tx, about: Addendum) -> Addendum | None:
    """Return the newest addendum about the same step, attempt and item."""
    row = await tx.one(
        "addendum_newest",
        tenant=about.ref.tenant,
        execution=about.ref.id,
        position=about.position,
        attempt=about.attempt,
        item=about.item,
    )
    return None if row is None else _addendum(about.ref, row)


def _repeats(new: Addendum, newest: Addendum) -> bool:
    """Return whether the same client has recently added the same addendum."""
    said = (newest.finding, newest.note, newest.actor.client)
    return new.at - newest.at <= REPEATED_WITHIN and said == (new.finding, new.note, new.actor.client)


def _values(made: Addendum) -> dict[str, Any]:
    return {
        "tenant": made.ref.tenant,
        "execution": made.ref.id,
        "number": made.number,
        "position": made.position,
        "attempt": made.attempt,
        "item": made.item,
        "finding": made.finding,
        "note": made.note,
        "client": made.actor.client,
        "principal": made.actor.principal,
        "address": made.actor.address,
        "at": made.at,
    }


def _addendum(ref: Ref, row: tuple[Any, ...]) -> Addendum:
    number, position, attempt, item, finding, note, client, principal, address, at = row
    actor = Actor(client, address, principal)
    return Addendum(
        ref=ref,
        position=position,
        finding=AddendumFinding(finding),
        actor=actor,
        at=at,
        attempt=attempt,
        item=item,
        note=note,
        number=number,
    )
