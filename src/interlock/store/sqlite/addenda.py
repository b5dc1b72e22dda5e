"""Addenda in SQLite: rows that are added behind others, and never changed."""

from __future__ import annotations

from asyncio import Future
from dataclasses import replace
from typing import Any, Final

import apsw

from interlock.errors import FailedPrecondition
from interlock.ports import Addendum, AddendumFinding, AuditEntry
from interlock.rules.model import SECOND, Actor, Ref
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.executions import SqliteExecutions
from interlock.store.sqlite.writer import Writer
from interlock.store.statements import Dialect, load

MOST: Final = 250
"""Of one run: whoever reads the run reads all of them."""
REPEATED_WITHIN: Final = 86_400 * SECOND

_SQL = load("addenda", Dialect.SQLITE)


class SqliteAddenda:
    """`ports.Addenda` on the writer and a reading connection."""

    def __init__(self, writer: Writer, reader: apsw.Connection, executions: SqliteExecutions) -> None:
        self._writer = writer
        self._reader = reader
        self._executions = executions

    def add(self, addendum: Addendum, audit: AuditEntry) -> Future[Addendum | None]:
        ref = addendum.ref

        def job(connection: apsw.Connection) -> Addendum | None:
            if self._executions.read_in(connection, ref) is None:
                return None
            known = _newest(connection, addendum)
            if known is not None and _repeats(addendum, known):
                return known
            self._writer.require_room()
            count = connection.execute(_SQL["addenda_count"], (ref.tenant, ref.id)).get
            if count >= MOST:
                raise FailedPrecondition(f"the execution has {MOST} addenda, which is as many as it can have")
            made = replace(addendum, number=count + 1)
            connection.execute(_SQL["addendum_insert"], _values(made))
            append_audit(connection, ref.tenant, made.at, audit)
            return made

        return self._writer.submit(job)

    async def of(self, ref: Ref) -> list[Addendum]:
        rows = self._reader.execute(_SQL["addenda_of"], (ref.tenant, ref.id))
        return [_addendum(ref, row) for row in rows]


def _newest(connection: apsw.Connection, about: Addendum) -> Addendum | None:
    """The newest one about the same step, attempt and item."""
    key = (about.ref.tenant, about.ref.id, about.position, about.attempt, about.item)
    row = connection.execute(_SQL["addendum_newest"], key).fetchone()
    return None if row is None else _addendum(about.ref, row)


def _repeats(new: Addendum, newest: Addendum) -> bool:
    """Whether the same client says the same again, and the first time is not long ago."""
    said = (newest.finding, newest.note, newest.actor.client)
    return new.at - newest.at <= REPEATED_WITHIN and said == (new.finding, new.note, new.actor.client)


def _values(made: Addendum) -> tuple[Any, ...]:
    actor = made.actor
    key = (made.ref.tenant, made.ref.id, made.number)
    about = (made.position, made.attempt, made.item, made.finding, made.note)
    return (*key, *about, actor.client, actor.principal, actor.address, made.at)


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
