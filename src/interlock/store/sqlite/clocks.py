"""What is remembered of the clock in SQLite, and the one commit that moves every time that something waits for."""

from __future__ import annotations

import json
from asyncio import Future
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Final

import apsw

from interlock.ports import AuditEntry
from interlock.ports.clocks import ClockMark
from interlock.store import rows
from interlock.store.sqlite.access import ASSERTION_KEPT
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.writer import Writer
from interlock.store.statements import Dialect, load

MARK: Final = "clock"
HELD: Final = "removal_held"

_SQL = load("clock", Dialect.SQLITE)
_MOVED: Final = (
    _SQL["clock_move_runs"],
    _SQL["clock_move_deadlines"],
    _SQL["clock_move_leases"],
    _SQL["clock_move_plans"],
    _SQL["clock_move_keys"],
    _SQL["clock_move_events"],
    _SQL["clock_move_starts"],
    _SQL["clock_move_breakers"],
    _SQL["clock_move_tokens"],
)


class SqliteClocks:
    """`ports.Clocks`.

    Args:
        changed: called by each commit after which what was remembered of tokens is void.
    """

    def __init__(
        self, writer: Writer, reader: apsw.Connection, tenants: Callable[[], Sequence[int]], changed: Callable[[], None]
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._tenants = tenants
        self._changed = changed

    async def mark(self) -> ClockMark | None:
        found = self._kept(MARK)
        try:
            return ClockMark(**json.loads(found)) if found else None
        except (ValueError, TypeError):
            return None

    def keep_mark(self, mark: ClockMark, held: int | None) -> Future[None]:
        return self._writer.submit(lambda connection: _keep_both(connection, mark, held))

    async def newest(self) -> int | None:
        found = (self._reader.execute(_SQL["clock_newest"], (tenant,)).fetchone() for tenant in self._tenants())
        return max((row[0] for row in found if row is not None), default=None)

    async def held(self) -> int | None:
        found = self._kept(HELD)
        return int(found) if found else None

    def confirm(self, at: int, audit: AuditEntry) -> Future[bool]:
        def job(connection: apsw.Connection) -> bool:
            connection.execute(_SQL["clock_drop"], (HELD,))
            if connection.changes() == 0:
                return False
            _tell_all(connection, at, audit)
            return True

        return self._writer.submit(job)

    def may_move(self) -> bool:
        return not self._writer.full

    def move(
        self, by: int, wall: int, mark: ClockMark, held: int | None, audit: AuditEntry, moved: Callable[[], None]
    ) -> Future[None]:
        def job(connection: apsw.Connection) -> None:
            for (tenant,) in connection.execute(_SQL["clock_tenants"]).fetchall():
                for statement in _MOVED:
                    connection.execute(statement, (by, tenant))
                connection.execute(_SQL["clock_cap_assertions"], (wall + ASSERTION_KEPT, tenant))
            _tell_all(connection, wall, audit)
            _keep_both(connection, mark, held)

        def committed(result: None) -> bool:
            moved()
            self._changed()
            return False

        return self._writer.submit(job, heavy=True, barrier=True, committed=committed)

    def _kept(self, name: str) -> str:
        found = self._reader.execute(_SQL["clock_kept"], (name,)).fetchone()
        return "" if found is None else bytes(found[0]).decode("utf-8", "replace")


def _keep_both(connection: apsw.Connection, mark: ClockMark, held: int | None) -> None:
    _keep(connection, MARK, json.dumps(asdict(mark)))
    if held is not None:
        _keep(connection, HELD, str(held))


def _keep(connection: apsw.Connection, name: str, text: str) -> None:
    connection.execute(_SQL["clock_keep"], (name, text.encode()))


def _tell_all(connection: apsw.Connection, at: int, audit: AuditEntry) -> None:
    tenants: list[rows.Row] = connection.execute(_SQL["clock_tenants"]).fetchall()
    for (tenant,) in tenants:
        append_audit(connection, tenant, at, audit)
