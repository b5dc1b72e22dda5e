"""Stores to run a contract against, and small things to put into them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import apsw

from interlock.ports import AuditEntry, AutomationRow, Definition, Started
from interlock.rules.admit import Newcomer
from interlock.rules.events import Announce, Created, Next
from interlock.rules.model import Actor, Ref
from interlock.rules.states import State
from interlock.store.migrations import migrations
from interlock.store.sqlite.offload import Offload
from interlock.store.sqlite.store import SqliteStore
from interlock.store.sqlite.writer import Form

T = TypeVar("T")

ANN = Actor("ann@localhost/pcc", "127.0.0.1")
AUDIT = AuditEntry(ANN, "test.change", "x")
PLAN = b'[{"stepName":"a"},{"stepName":"b"},{"stepName":"c"}]'


class AtOnce:
    """An `Offload` that does its work where it is given it."""

    def run(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        then(work())

    def close(self) -> None: ...


@dataclass
class Listener:
    """Keeps what a commit listener is told."""

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
    directory: Path | None, form: Form = Form.COMMIT_IN_THREAD, *, checkpoint_offload: Offload | None = None
) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(directory, form=form, checkpoint_offload=checkpoint_offload)
    try:
        yield store
    finally:
        await store.close()


def make_schema(connection: apsw.Connection, number: int) -> None:
    """That of an earlier release, whose last migration was this one."""
    connection.execute(
        "CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)"
    )
    for step in migrations()[:number]:
        connection.execute(step.sql)
        connection.execute("INSERT INTO migrations VALUES (?, ?, ?)", (step.number, step.name, step.checksum))


def insert_run(connection: apsw.Connection, number: int, state: State) -> None:
    """A run as any release has written it, of the definition with the same number."""
    connection.execute(
        "INSERT INTO executions (tenant, id, automation, definition, state, epoch, step, attempt, attempt_epoch,"
        " items, created_at, updated_at, is_draft, root, depth)"
        " VALUES (1, ?1, 'auto', ?1, ?2, 1, 0, 0, 0, 0, 1, 1, 0, ?1, 0)",
        (number, state),
    )


@dataclass
class World:
    """A store with one tenant and one published automation."""

    store: SqliteStore
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
        above = self.store.executions.get(parent) if parent is not None else None
        newcomer = Newcomer(
            self.tenant,
            id if id is not None else self.next_id,
            self.automation,
            self.definition,
            is_draft,
            parent=above.id if above is not None else None,
            root=above.root if above is not None else None,
            depth=above.depth + 1 if above is not None else 0,
        )
        self.next_id = newcomer.id + 1
        return await self.store.executions.create(newcomer, Created(at, following, "me"), input, AUDIT, None)

    async def in_flight(self, *, parent: Ref | None = None) -> Started:
        return await self.start(Announce(0, b"{}"), parent=parent)


async def world(store: SqliteStore) -> World:
    tenant = await store.access.create_tenant("acme", ("acme.example",), 1, AUDIT)
    row = AutomationRow(tenant.id, "auto", b'{"displayName":"A"}', 0, None, 1, 1)
    plan = Definition(tenant.id, 0, "auto", 1, PLAN, b"[]", None, 1)
    made = await store.automations.create(row, plan, AUDIT)
    listener = Listener()
    store.listen(listener)
    assert made.definition is not None
    return World(store, tenant.id, made.id, made.definition, listener)
