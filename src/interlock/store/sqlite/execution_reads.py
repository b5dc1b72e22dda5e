"""Runs in SQLite: the reads."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any, Final

import apsw

from interlock.errors import AlreadyExists
from interlock.ports import Announced, Idempotency, ItemRow, Restored, Run, StepRow
from interlock.rules.model import Execution, Ref, SecretRef, Termination
from interlock.rules.states import IN_FLIGHT, State
from interlock.store import rows
from interlock.store.statements import Dialect, load

_SQL: Final = load("executions", Dialect.SQLITE) | load("terminations", Dialect.SQLITE)
_GET: Final = _SQL["execution_get"]
_ALL_STATES: Final = json.dumps([state.value for state in State])


IDEMPOTENCY_KEPT: Final = 24 * 3600 * 1_000_000
"""Microseconds for which a caller's key is remembered."""
EVENTS_KEPT: Final = 7 * IDEMPOTENCY_KEPT
"""Microseconds for which the id of an event is remembered."""


def known_start(
    connection: apsw.Connection, tenant: int, client: str, automation: str, idempotency: Idempotency, at: int
) -> int | None:
    """The run that a caller's key stands for, as this connection sees it.

    Raises:
        AlreadyExists: the key was used with another body.
    """
    key = (tenant, client, automation, idempotency.key, at - IDEMPOTENCY_KEPT)
    found = connection.execute(_SQL["idempotency_get"], key).fetchone()
    if found is None:
        return None
    if found[0] != idempotency.body:
        raise AlreadyExists("this Idempotency-Key was used for another request; use a new key for a new request")
    return int(found[1])


class ExecutionReads:
    """The reads of `ports.Executions`, on a connection of their own.

    Args:
        tenants: the ids of all tenants; asked at each sweep.
    """

    def __init__(self, reader: apsw.Connection, tenants: Callable[[], Sequence[int]]) -> None:
        self._reader = reader
        self._tenants = tenants

    async def get(self, ref: Ref) -> Execution | None:
        row = self._reader.execute(_GET, (ref.tenant, ref.id)).fetchone()
        return None if row is None else rows.execution(row)

    async def get_many(self, tenant: int, ids: Sequence[int]) -> list[Execution]:
        found = (self._reader.execute(_GET, (tenant, id_)).fetchone() for id_ in ids)
        return [rows.execution(row) for row in found if row is not None]

    async def load(self, ref: Ref) -> Run | None:
        row = self._reader.execute(_GET, (ref.tenant, ref.id)).fetchone()
        if row is None:
            return None
        input_, sealed = self._input(ref)
        outputs = self._outputs(ref)
        return Run(
            execution=rows.execution(row),
            input=input_,
            outputs=tuple((position, output) for position, output, _ in outputs),
            sealed_input=sealed,
            sealed_outputs={position: sealed for position, _, sealed in outputs if sealed is not None},
        )

    async def announced(self, ref: Ref, position: int) -> Announced | None:
        found = self._reader.execute(_SQL["step_announced"], (ref.tenant, ref.id, position)).fetchone()
        if found is None:
            return None
        input_, sealed, key = found
        return Announced(input=input_, sealed=sealed, key=key)

    async def input(self, ref: Ref) -> bytes:
        return self._input(ref)[0]

    async def outputs(self, ref: Ref) -> tuple[tuple[int, bytes], ...]:
        return tuple((position, output) for position, output, _ in self._outputs(ref))

    def _input(self, ref: Ref) -> tuple[bytes, SecretRef | None]:
        found = self._reader.execute(_SQL["input_get"], (ref.tenant, ref.id)).fetchone()
        return (b"{}", None) if found is None else found

    def _outputs(self, ref: Ref) -> list[tuple[int, bytes, SecretRef | None]]:
        found: list[Any] = self._reader.execute(_SQL["outputs_of"], (ref.tenant, ref.id)).fetchall()
        return found

    async def steps(self, ref: Ref) -> list[StepRow]:
        return [rows.step(row) for row in self._reader.execute(_SQL["steps_of"], (ref.tenant, ref.id))]

    async def items(self, ref: Ref) -> list[ItemRow]:
        return [rows.item(row) for row in self._reader.execute(_SQL["items_of"], (ref.tenant, ref.id))]

    async def items_of_step(self, ref: Ref, position: int) -> list[ItemRow]:
        found = self._reader.execute(_SQL["items_of_step"], (ref.tenant, ref.id, position))
        return [rows.item(row) for row in found]

    async def termination(self, ref: Ref) -> Termination | None:
        found = self._reader.execute(_SQL["termination_get"], (ref.tenant, ref.id)).fetchone()
        return None if found is None else rows.termination(found)

    async def restored(self, ref: Ref) -> Restored | None:
        found = self._reader.execute(_SQL["execution_restored"], (ref.tenant, ref.id)).fetchone()
        if found is None:
            return None
        backup, known_until, restored_at = found
        return Restored(backup=backup, known_until=known_until, restored_at=restored_at)

    async def started_by(
        self, tenant: int, client: str, automation: str, idempotency: Idempotency, at: int
    ) -> int | None:
        return known_start(self._reader, tenant, client, automation, idempotency, at)

    async def children(self, ref: Ref, *, after: int = 0, limit: int = 100) -> list[Execution]:
        found = self._reader.execute(_SQL["executions_children"], (ref.tenant, ref.id, after, limit))
        return [rows.execution(row) for row in found]

    async def page(
        self,
        tenant: int,
        *,
        automations: Sequence[str] = (),
        states: Sequence[State] = (),
        subjects: Sequence[str] = (),
        before: int | None = None,
        limit: int = 25,
    ) -> list[Execution]:
        below = rows.LARGEST if before is None else before
        if not automations and not states and not subjects:
            found = self._reader.execute(_SQL["executions_page"], (tenant, below, limit))
            return [rows.execution(row) for row in found]
        lines: list[list[rows.Row]] = []
        # A run that moves meanwhile must be found by one walk, not by two or by none: all see the same commit.
        with self._reader:
            for name, key in self._walks(tenant, dict.fromkeys(automations), states or tuple(State), subjects):
                lines.append(self._reader.execute(_SQL[name], (*key, below, limit)).fetchall())
        merged = heapq.merge(*lines, key=lambda row: row[1], reverse=True)
        return [rows.execution(row) for row in islice(merged, limit)]

    def _walks(
        self, tenant: int, automations: Collection[str], states: Sequence[State], subjects: Sequence[str]
    ) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """One short walk along an index for each combination. Only those about a person, who has few, drop rows."""
        if subjects:
            chosen = json.dumps(list(automations)) if automations else None
            for subject, state in product(dict.fromkeys(subjects), states):
                yield "executions_page_of_subject", (tenant, chosen, subject, state)
            return
        if not automations and State.DONE not in states:
            for state in states:
                yield "executions_page_of_state", (tenant, state)
            return
        if not automations:
            found = self._reader.execute(_SQL["execution_automations"], (tenant,))
            automations = [automation for (automation,) in found]
        for automation, state in product(automations, states):
            yield "executions_page_of_automation", (tenant, automation, state)

    async def last_executed(self, tenant: int, automations: Sequence[str]) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for automation in automations:
            key = (tenant, automation, _ALL_STATES)
            (at,) = next(self._reader.execute(_SQL["last_executed"], key))
            if at is not None:
                found[automation] = at
        return found

    async def due(
        self, at: int, limit: int, horizon: int = 0, after: tuple[int, Ref] | None = None
    ) -> list[tuple[Ref, int]]:
        found: list[tuple[Ref, int]] = []
        since, last = after if after is not None else (-1, Ref(0, 0))
        for tenant in self._tenants():
            id_ = last.id if tenant == last.tenant else 0 if tenant > last.tenant else rows.LARGEST
            query = self._reader.execute(_SQL["executions_due"], (tenant, since, id_, at + horizon, limit))
            found.extend((Ref(tenant, id_), wake_at) for id_, wake_at in query)
        found.sort(key=lambda pair: (pair[1], pair[0].tenant, pair[0].id))
        return found[:limit]

    async def in_flight(self, limit: int, states: Sequence[State] = tuple(IN_FLIGHT)) -> list[Execution]:
        found: list[Execution] = []
        for tenant in self._tenants():
            for state in states:
                query = self._reader.execute(_SQL["executions_page_of_state"], (tenant, state, rows.LARGEST, limit))
                found.extend(rows.execution(row) for row in query)
        found.sort(key=lambda execution: execution.id)
        return found[:limit]

    async def greatest_id(self) -> int:
        newest = (self._reader.execute(_SQL["execution_greatest"], (tenant,)).fetchone() for tenant in self._tenants())
        return max((row[0] or 0 for row in newest if row is not None), default=0)
