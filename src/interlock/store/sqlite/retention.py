"""Removing what is older than it is kept: first the payloads of a run, later the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import apsw

from interlock.ports.system import last_execution_id
from interlock.store.sqlite.writer import Writer
from interlock.store.statements import Dialect, load

BATCH: Final = 250
"""Runs that one commit deals with."""
REMOVED: Final = b'{"code":"PAYLOAD_REMOVED","message":"what the step reported was kept for its time, and is removed"}'

_SQL = load("retention", Dialect.SQLITE)
_WHOLE: Final = (
    _SQL["retention_items"],
    _SQL["retention_steps"],
    _SQL["retention_termination"],
    _SQL["retention_input"],
    _SQL["retention_addenda"],
    _SQL["retention_execution"],
)


class SqliteRetention:
    """`ports.Retention`."""

    def __init__(self, writer: Writer, tenants: Callable[[], Sequence[int]]) -> None:
        self._writer = writer
        self._tenants = tenants

    async def remove(self, at: int) -> int:
        dealt_with = 0
        for tenant in self._tenants():

            def job(connection: apsw.Connection, tenant: int = tenant) -> int:
                return _remove(connection, tenant, at)

            dealt_with += await self._writer.submit(job, heavy=True)
        return dealt_with


def _remove(connection: apsw.Connection, tenant: int, at: int) -> int:
    found: tuple[Any, ...] = next(connection.execute(_SQL["retention_of"], (tenant,)))
    executions_kept, payloads_kept, reached = found
    return _executions(connection, tenant, at - executions_kept) or (
        _payloads_later(connection, tenant, at - payloads_kept)
        or _payloads(connection, tenant, at - payloads_kept, reached)
    )


def _executions(connection: apsw.Connection, tenant: int, limit: int) -> int:
    key = (tenant, last_execution_id(limit), limit, BATCH)
    expired = _ids(connection, "retention_expired", key)
    for id_ in expired:
        for statement in _WHOLE:
            connection.execute(statement, (tenant, id_))
    return len(expired)


def _payloads_later(connection: apsw.Connection, tenant: int, limit: int) -> int:
    due = _ids(connection, "retention_due_later", (tenant, limit, BATCH))
    for id_ in due:
        _forget_payloads(connection, tenant, id_)
        connection.execute(_SQL["retention_not_later"], (tenant, id_))
    return len(due)


def _payloads(connection: apsw.Connection, tenant: int, limit: int, reached: int) -> int:
    key = (tenant, reached, last_execution_id(limit), BATCH)
    found: list[tuple[Any, ...]] = connection.execute(_SQL["retention_walk"], key).fetchall()
    for id_, completed_at in found:
        if completed_at is not None and completed_at <= limit:
            _forget_payloads(connection, tenant, id_)
        else:
            connection.execute(_SQL["retention_later"], (tenant, id_))
    if found:
        connection.execute(_SQL["retention_reached"], (found[-1][0], tenant))
    return len(found)


def _forget_payloads(connection: apsw.Connection, tenant: int, id_: int) -> None:
    connection.execute(_SQL["retention_input"], (tenant, id_))
    connection.execute(_SQL["retention_subject"], (tenant, id_))
    connection.execute(_SQL["retention_step_payloads"], (REMOVED, tenant, id_))
    connection.execute(_SQL["retention_item_payloads"], (REMOVED, tenant, id_))


def _ids(connection: apsw.Connection, name: str, key: tuple[int, ...]) -> list[int]:
    found: list[tuple[Any, ...]] = connection.execute(_SQL[name], key).fetchall()
    return [id_ for (id_,) in found]
