"""Addenda in SQLite: rows that are added behind others, and never changed."""

from __future__ import annotations

from asyncio import Future
from dataclasses import replace
from typing import Any, Final

import apsw

from interlock.errors import FailedPrecondition, Unavailable
from interlock.ports import Addendum, AddendumFinding, AuditEntry
from interlock.rules.model import SECOND, Actor, Ref
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.executions import SqliteExecutions
from interlock.store.sqlite.writer import Writer
from interlock.store.statements import load

MOST: Final = 250
"""Of one run: whoever reads the run reads all of them."""
REPEATED_WITHIN: Final = 86_400 * SECOND

_SQL = load("addenda")


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
            standing = _of(connection, ref)
            known = _repeated(standing, addendum)
            if known is not None:
                return known
            if self._writer.full:
                # What is left of the disk is for stops, and for what becomes of the runs under way.
                raise Unavailable("the disk is full: runs can be stopped, and nothing can be added", retry_after=30)
            if len(standing) >= MOST:
                raise FailedPrecondition(f"the execution has {MOST} addenda, which is as many as it can have")
            made = replace(addendum, number=len(standing) + 1)
            connection.execute(_SQL["addendum_insert"], _values(made))
            append_audit(connection, ref.tenant, made.at, audit)
            return made

        return self._writer.submit(job)

    def of(self, ref: Ref) -> list[Addendum]:
        return _of(self._reader, ref)


def _of(connection: apsw.Connection, ref: Ref) -> list[Addendum]:
    return [_addendum(ref, row) for row in connection.execute(_SQL["addenda_of"], (ref.tenant, ref.id))]


def _repeated(standing: list[Addendum], new: Addendum) -> Addendum | None:
    """The newest one about the same thing, if it says the same, by the same client, and is not long ago."""
    about = (new.position, new.attempt, new.item)
    newest = next((each for each in reversed(standing) if (each.position, each.attempt, each.item) == about), None)
    if newest is None or new.at - newest.at > REPEATED_WITHIN:
        return None
    said = (newest.finding, newest.note, newest.actor.client)
    return newest if said == (new.finding, new.note, new.actor.client) else None


def _values(made: Addendum) -> tuple[Any, ...]:
    actor = made.actor
    key = (made.ref.tenant, made.ref.id, made.number)
    about = (made.position, made.attempt, made.item, made.finding, made.note)
    return (*key, *about, actor.client, actor.principal, actor.address, made.at)


def _addendum(ref: Ref, row: tuple[Any, ...]) -> Addendum:
    number, position, attempt, item, finding, note, client, principal, address, at = row
    actor = Actor(client, address, principal)
    return Addendum(ref, position, AddendumFinding(finding), actor, at, attempt, item, note, number)
