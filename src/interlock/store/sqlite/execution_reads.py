"""Runs in SQLite: the reads."""

from __future__ import annotations

import heapq
import json
from collections.abc import Collection, Mapping, Sequence
from itertools import islice, product
from typing import Any, Final

from interlock.errors import AlreadyExists
from interlock.ports import Announced, Idempotency, ItemRow, Restored, Run, StepRow
from interlock.rules.model import Execution, Ref, SecretRef, Termination
from interlock.rules.states import IN_FLIGHT, State
from interlock.store import rows
from interlock.store.tx import Queries, TenantIds

_ALL_STATES: Final = json.dumps([state.value for state in State])


IDEMPOTENCY_KEPT: Final = 24 * 3600 * 1_000_000
"""Microseconds for which an idempotency key is stored."""
EVENTS_KEPT: Final = 7 * IDEMPOTENCY_KEPT
"""Microseconds for which the id of an event is stored."""


async def known_start(
    queries: Queries, tenant: int, client: str, automation: str, idempotency: Idempotency, at: int
) -> int | None:
    """Return the run that an idempotency key has started, as this connection reads it; None if the key is unknown.

    Raises:
        AlreadyExists: The key was used with another body.
    """
    found = await queries.one(
        "idempotency_get",
        tenant=tenant,
        client=client,
        automation=automation,
        key=idempotency.key,
        since=at - IDEMPOTENCY_KEPT,
    )
    if found is None:
        return None
    if found[0] != idempotency.body:
        raise AlreadyExists("this Idempotency-Key was used for another request; use a new key for a new request")
    return int(found[1])


class ExecutionReads:
    """The reads of `ports.Executions`, on a connection of their own.

    Args:
        reader: The reading connection.
        tenants: Returns the ids of all tenants; called at each sweep.
    """

    def __init__(self, reader: Queries, tenants: TenantIds) -> None:
        self._reader = reader
        self._tenants = tenants

    async def get(self, ref: Ref) -> Execution | None:
        row = await self._reader.one("execution_get", tenant=ref.tenant, id=ref.id)
        return None if row is None else rows.execution(row)

    async def get_many(self, tenant: int, ids: Sequence[int]) -> list[Execution]:
        found = [await self._reader.one("execution_get", tenant=tenant, id=id_) for id_ in ids]
        return [rows.execution(row) for row in found if row is not None]

    async def load(self, ref: Ref) -> Run | None:
        row = await self._reader.one("execution_get", tenant=ref.tenant, id=ref.id)
        if row is None:
            return None
        input_, sealed = await self._input(ref)
        outputs = await self._outputs(ref)
        return Run(
            execution=rows.execution(row),
            input=input_,
            outputs=tuple((position, output) for position, output, _ in outputs),
            sealed_input=sealed,
            sealed_outputs={position: sealed for position, _, sealed in outputs if sealed is not None},
        )

    async def announced(self, ref: Ref, position: int) -> Announced | None:
        found = await self._reader.one("step_announced", tenant=ref.tenant, execution=ref.id, position=position)
        if found is None:
            return None
        input_, sealed, key = found
        return Announced(input=input_, sealed=sealed, key=key)

    async def input(self, ref: Ref) -> bytes:
        return (await self._input(ref))[0]

    async def outputs(self, ref: Ref) -> tuple[tuple[int, bytes], ...]:
        return tuple((position, output) for position, output, _ in await self._outputs(ref))

    async def _input(self, ref: Ref) -> tuple[bytes, SecretRef | None]:
        found = await self._reader.one("input_get", tenant=ref.tenant, execution=ref.id)
        return (b"{}", None) if found is None else (found[0], found[1])

    async def _outputs(self, ref: Ref) -> list[tuple[int, bytes, SecretRef | None]]:
        found: list[Any] = await self._reader.all("outputs_of", tenant=ref.tenant, execution=ref.id)
        return found

    async def steps(self, ref: Ref) -> list[StepRow]:
        return [rows.step(row) for row in await self._reader.all("steps_of", tenant=ref.tenant, execution=ref.id)]

    async def items(self, ref: Ref) -> list[ItemRow]:
        return [rows.item(row) for row in await self._reader.all("items_of", tenant=ref.tenant, execution=ref.id)]

    async def items_of_step(self, ref: Ref, position: int) -> list[ItemRow]:
        found = await self._reader.all("items_of_step", tenant=ref.tenant, execution=ref.id, position=position)
        return [rows.item(row) for row in found]

    async def termination(self, ref: Ref) -> Termination | None:
        found = await self._reader.one("termination_get", tenant=ref.tenant, execution=ref.id)
        return None if found is None else rows.termination(found)

    async def restored(self, ref: Ref) -> Restored | None:
        found = await self._reader.one("execution_restored", tenant=ref.tenant, id=ref.id)
        if found is None:
            return None
        backup, known_until, restored_at = found
        return Restored(backup=backup, known_until=known_until, restored_at=restored_at)

    async def started_by(
        self, tenant: int, client: str, automation: str, idempotency: Idempotency, at: int
    ) -> int | None:
        return await known_start(self._reader, tenant, client, automation, idempotency, at)

    async def children(self, ref: Ref, *, after: int = 0, limit: int = 100) -> list[Execution]:
        found = await self._reader.all(
            "executions_children", tenant=ref.tenant, parent=ref.id, after=after, limit=limit
        )
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
            found = await self._reader.all("executions_page", tenant=tenant, before=below, limit=limit)
            return [rows.execution(row) for row in found]
        lines: list[list[rows.Row]] = []
        # All walks read the same commit, so that one of them finds a run that moves meanwhile, and not two or none.
        async with self._reader.snapshot():
            walks = await self._walks(tenant, dict.fromkeys(automations), states or tuple(State), subjects)
            for name, key in walks:
                lines.append(await self._reader.all(name, **key, before=below, limit=limit))
        merged = heapq.merge(*lines, key=lambda row: row[1], reverse=True)
        return [rows.execution(row) for row in islice(merged, limit)]

    async def _walks(
        self, tenant: int, automations: Collection[str], states: Sequence[State], subjects: Sequence[str]
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return a short walk of an index for each combination. Only one about a person, with few runs, drops rows."""
        if subjects:
            chosen = json.dumps(list(automations)) if automations else None
            return [
                (
                    "executions_page_of_subject",
                    {"tenant": tenant, "automations": chosen, "subject": subject, "state": state},
                )
                for subject, state in product(dict.fromkeys(subjects), states)
            ]
        if not automations and State.DONE not in states:
            return [("executions_page_of_state", {"tenant": tenant, "state": state}) for state in states]
        if not automations:
            found = await self._reader.all("execution_automations", tenant=tenant)
            automations = [automation for (automation,) in found]
        return [
            ("executions_page_of_automation", {"tenant": tenant, "automation": automation, "state": state})
            for automation, state in product(automations, states)
        ]

    async def last_executed(self, tenant: int, automations: Sequence[str]) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for automation in automations:
            (at,) = await self._reader.only("last_executed", tenant=tenant, automation=automation, states=_ALL_STATES)
            if at is not None:
                found[automation] = at
        return found

    async def due(
        self, at: int, limit: int, horizon: int = 0, after: tuple[int, Ref] | None = None
    ) -> list[tuple[Ref, int]]:
        found: list[tuple[Ref, int]] = []
        since, last = after if after is not None else (-1, Ref(0, 0))
        for tenant in await self._tenants():
            id_ = last.id if tenant == last.tenant else 0 if tenant > last.tenant else rows.LARGEST
            query = await self._reader.all(
                "executions_due", tenant=tenant, since=since, after=id_, until=at + horizon, limit=limit
            )
            found.extend((Ref(tenant, id_), wake_at) for id_, wake_at in query)
        found.sort(key=lambda pair: (pair[1], pair[0].tenant, pair[0].id))
        return found[:limit]

    async def in_flight(self, limit: int, states: Sequence[State] = tuple(IN_FLIGHT)) -> list[Execution]:
        found: list[Execution] = []
        for tenant in await self._tenants():
            for state in states:
                query = await self._reader.all(
                    "executions_page_of_state", tenant=tenant, state=state, before=rows.LARGEST, limit=limit
                )
                found.extend(rows.execution(row) for row in query)
        found.sort(key=lambda execution: execution.id)
        return found[:limit]

    async def greatest_id(self) -> int:
        newest = [await self._reader.only("execution_greatest", tenant=tenant) for tenant in await self._tenants()]
        return max((id_ or 0 for (id_,) in newest), default=0)
