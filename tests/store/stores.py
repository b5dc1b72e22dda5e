"""Stores for the contracts of the ports, and data for them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import apsw

from interlock.ports import AuditEntry, AutomationRow, Definition, Restored, Started, StartRecords, Store
from interlock.rules.admit import Newcomer
from interlock.rules.events import Announce, Created, Next
from interlock.rules.model import Actor, Ref
from interlock.rules.states import State
from interlock.rules.subject import subject_names
from interlock.store.migrations import migrations
from interlock.store.sqlite.appliers import RELEASED
from interlock.store.sqlite.mutations import Applier
from interlock.store.sqlite.offload import Offload
from interlock.store.sqlite.store import SqliteStore
from interlock.store.sqlite.tx import SqliteTx
from interlock.store.sqlite.writer import Form
from interlock.store.statements import Dialect, load

T = TypeVar("T")

ANN = Actor("ann@localhost/pcc", "127.0.0.1")
AUDIT = AuditEntry(actor=ANN, action="test.change", target="x")
_BACKUP = load("backup", Dialect.SQLITE)
PLAN = b'[{"stepName":"a"},{"stepName":"b"},{"stepName":"c"}]'


class AtOnce:
    """An `Offload` that does its work at once, in the caller."""

    def run(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        then(work())

    def close(self) -> None: ...


@dataclass
class Listener:
    """A commit listener that records its calls."""

    interrupts: list[tuple[Ref, int]] = field(default_factory=list)
    woken: list[tuple[Ref, int | None]] = field(default_factory=list)
    stops: list[Ref] = field(default_factory=list)

    def interrupt(self, ref: Ref, epoch: int) -> None:
        self.interrupts.append((ref, epoch))

    def ready(self, ref: Ref, at: int | None) -> None:
        self.woken.append((ref, at))

    def stopped(self, ref: Ref) -> None:
        self.stops.append(ref)


@asynccontextmanager
async def opened(
    directory: Path | None,
    form: Form = Form.COMMIT_IN_THREAD,
    *,
    checkpoint_offload: Offload | None = None,
    appliers: Mapping[type, Applier] = RELEASED,
) -> AsyncIterator[Store]:
    store = SqliteStore(directory, form=form, checkpoint_offload=checkpoint_offload, appliers=appliers)
    try:
        yield store
    finally:
        await store.close()


FORMS: tuple[Form | None, ...] = (None, *Form)
"""The forms of a store that pass each contract: in memory, and on disk with each form of the writer."""


def named(form: Form | None) -> str:
    """Return the name of a form for the id of a test."""
    return "memory" if form is None else form.value


@asynccontextmanager
async def opened_as(
    form: Form | None, directory: Path, appliers: Mapping[type, Applier] = RELEASED
) -> AsyncIterator[Store]:
    """Open a store of one of the `FORMS`."""
    where, writing = (None, Form.INLINE) if form is None else (directory, form)
    async with opened(where, writing, appliers=appliers) as store:
        yield store


def sqlite(store: Store) -> SqliteStore:
    """Return the SQLite store, for a test of its rows or its writer."""
    assert isinstance(store, SqliteStore)
    return store


def on_connection(work: Callable[[apsw.Connection], T]) -> Callable[[SqliteTx], Coroutine[Any, Any, T]]:
    """Return a job that uses the connection itself, instead of the port of a transaction."""

    async def job(tx: SqliteTx) -> T:
        return work(tx.connection)

    return job


def make_schema(connection: apsw.Connection, number: int) -> None:
    """Create the schema of an earlier release, whose last migration has this number."""
    connection.execute(
        "CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)"
    )
    for step in migrations()[:number]:
        connection.execute(step.sql)
        connection.execute("INSERT INTO migrations VALUES (?, ?, ?)", (step.number, step.name, step.checksum))


def insert_run(connection: apsw.Connection, number: int, state: State) -> None:
    """Insert a run as every release writes it, of the definition with the same number."""
    connection.execute(
        "INSERT INTO executions (tenant, id, automation, definition, state, epoch, step, attempt, attempt_epoch,"
        " items, created_at, updated_at, is_draft, root, depth)"
        " VALUES (1, ?1, 'auto', ?1, ?2, 1, 0, 0, 0, 0, 1, 1, 0, ?1, 0)",
        (number, state),
    )


async def mark_restored(store: Store, restore: Restored) -> None:
    """Mark the active runs of a store as a restore from a backup does."""

    def mark(connection: apsw.Connection) -> None:
        values = (restore.backup, restore.known_until, restore.restored_at)
        number = connection.execute(_BACKUP["backup_restored"], values).fetchone()
        connection.execute(_BACKUP["backup_mark"], number)

    await sqlite(store).writer.submit(on_connection(mark))


@dataclass
class World:
    """A store with one tenant and one published automation."""

    store: Store
    tenant: int
    automation: str
    definition: int
    listener: Listener
    next_id: int = 1

    async def start(
        self,
        following: Next | None = None,
        *,
        at: int = 1_000,
        parent: Ref | None = None,
        id: int | None = None,
        is_draft: bool = False,
        input: bytes = b'{"n":1}',
    ) -> Started:
        above = await self.store.executions.get(parent) if parent is not None else None
        newcomer = Newcomer(
            self.tenant,
            id if id is not None else self.next_id,
            self.automation,
            self.definition,
            is_draft,
            parent=above.id if above is not None else None,
            root=above.root if above is not None else None,
            depth=above.depth + 1 if above is not None else 0,
            names=subject_names(json.loads(input)),
        )
        self.next_id = newcomer.id + 1
        return await self.store.executions.create(
            newcomer, Created(at, following, "me"), input, StartRecords(audit=AUDIT)
        )

    async def in_flight(self, *, parent: Ref | None = None) -> Started:
        return await self.start(Announce(0, b"{}"), parent=parent)


async def world(store: Store) -> World:
    tenant = await store.access.create_tenant("acme", ("acme.example",), 1, AUDIT)
    row = AutomationRow(
        tenant=tenant.id,
        id="auto",
        document=b'{"displayName":"A"}',
        version=0,
        definition=None,
        created_at=1,
        updated_at=1,
    )
    plan = Definition(
        tenant=tenant.id, id=0, automation="auto", version=1, steps=PLAN, triggers=b"[]", context=None, created_at=1
    )
    made = await store.automations.create(row, plan, AUDIT)
    listener = Listener()
    store.listen(listener)
    assert made.definition is not None
    return World(store, tenant.id, made.id, made.definition, listener)
