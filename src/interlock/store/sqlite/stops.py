"""Set-based termination: terminates a tree or a batch in a few statements.

This is the only second form of the rules in `rules.stop`; a property test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from interlock.rules.decision import Verdict
from interlock.rules.model import Actor, Cause, Execution, Mode, TerminationRequest
from interlock.rules.states import IN_FLIGHT, State
from interlock.store.rowset import AUDIT, Values, audit_entry, audit_values
from interlock.store.tx import Tx

ONE_COMMIT = 10_000
"""Maximum number of descendants that are terminated in the commit that accepts the termination."""
BATCH = 250
"""Descendants that each later commit of a cascade terminates."""

_VERDICTS = {
    state.value: {
        State.DONE: Verdict.ALREADY_FINISHED,
        State.ERROR: Verdict.ALREADY_FINISHED,
        State.TERMINATE: Verdict.REPEATED,
        State.STOPPING: Verdict.REPEATED,
    }.get(state, Verdict.ACCEPTED)
    for state in State
}


@dataclass(slots=True)
class Stopped:
    """The result of a set-based termination. The listeners are told of it after the commit."""

    count: int
    first: int = 0
    """The number of runs that no termination had reached before."""
    more: bool = False
    """Whether the cascade has runs left."""
    interrupts: list[tuple[int, int]] = field(default_factory=list)
    deadlines: list[tuple[int, int]] = field(default_factory=list)
    verdicts: dict[int, str] = field(default_factory=dict)
    moved: list[int] = field(default_factory=list)


async def stop_tree(tx: Tx, named: Execution, at: int, request: TerminationRequest) -> Stopped:
    """Terminate the descendants of a run, up to `ONE_COMMIT`; a larger tree is fenced and its cascade stored."""
    below = replace(request, cause=Cause.CASCADE, cause_execution=named.id)
    stopped = await _stop_below(tx, named.tenant, named.id, at, below, ONE_COMMIT)
    await _count_below(tx, named.tenant, named.id, stopped)
    if stopped.more:
        actor = request.actor
        await tx.run(
            "cascade_put",
            tenant=named.tenant,
            root=named.root,
            execution=named.id,
            client=actor.client,
            principal=actor.principal,
            address=actor.address,
            reason=request.reason,
            mode=request.mode,
            deadline=request.deadline,
            cause=Cause.CASCADE,
            at=at,
        )
        await tx.run("cascade_fence", tenant=named.tenant, id=named.root)
    return stopped


async def continue_cascade(tx: Tx, tenant: int, at: int) -> Stopped | None:
    """Terminate the next batch of the oldest incomplete cascade; return None if there is none."""
    found = await tx.one("cascade_next", tenant=tenant)
    if found is None:
        return None
    _, root, execution, client, principal, address, reason, mode, deadline, cause, _ = found
    request = TerminationRequest(
        Actor(client, address, principal), reason, Mode(mode), True, deadline, Cause(cause), execution
    )
    stopped = await _stop_below(tx, tenant, execution, at, request, BATCH)
    await _count_below(tx, tenant, execution, stopped)
    if not stopped.more:
        await tx.run("cascade_done", tenant=tenant, root=root, execution=execution)
        await tx.run("cascade_unfence", tenant=tenant, root=root)
    return stopped


async def stop_batch(tx: Tx, tenant: int, ids: Sequence[int], at: int, request: TerminationRequest) -> Stopped:
    """Terminate runs by their ids; the verdicts do not contain unknown ids."""
    wanted = json.dumps(list(ids))
    found = await tx.all("batch_states", tenant=tenant, ids=wanted)
    await _prepare(tx)
    await tx.run("doomed_batch", tenant=tenant, ids=wanted, deadline_at=at + request.deadline, mode=request.mode)
    stopped = await _stop(tx, tenant, at, request, dict(found))
    for id_, state in found:
        stopped.verdicts[id_] = _VERDICTS[state]
    return stopped


async def order_over(tx: Tx, execution: Execution) -> TerminationRequest | None:
    """Return the cascade that covers a run of a fenced tree and has not reached it yet; None if there is none."""
    found = await tx.one("cascade_over", tenant=execution.tenant, root=execution.root, execution=execution.id)
    if found is None:
        return None
    named, client, principal, address, reason, mode, deadline, cause = found
    return TerminationRequest(
        Actor(client, address, principal), reason, Mode(mode), True, deadline, Cause(cause), named
    )


async def _stop_below(tx: Tx, tenant: int, named: int, at: int, request: TerminationRequest, most: int) -> Stopped:
    await _prepare(tx)
    await tx.run(
        "doomed_tree",
        tenant=tenant,
        execution=named,
        deadline_at=at + request.deadline,
        mode=request.mode,
        most=most + 1,
    )
    found = await tx.all("doomed_all")
    more = len(found) > most
    if more:
        await tx.run("doomed_drop", id=found[-1][0])
        found.pop()
    stopped = await _stop(tx, tenant, at, request, dict(found))
    stopped.more = more
    return stopped


async def _count_below(tx: Tx, tenant: int, named: int, stopped: Stopped) -> None:
    if stopped.first:
        await tx.run("termination_below", count=stopped.first, tenant=tenant, execution=named)


async def _prepare(tx: Tx) -> None:
    await tx.run("doomed_create")
    await tx.run("doomed_clear")


async def _stop(tx: Tx, tenant: int, at: int, request: TerminationRequest, found: Mapping[int, str]) -> Stopped:
    """Terminate the runs in the table `doomed`; `found` are all runs to audit, with their states."""
    actor, deadline_at = request.actor, at + request.deadline
    scope: dict[str, Any] = {
        "tenant": tenant,
        "at": at,
        "client": actor.client,
        "principal": actor.principal,
        "address": actor.address,
        "reason": request.reason,
        "mode": request.mode,
        "cascade": request.cascade,
        "deadline": request.deadline,
        "cause": request.cause,
        "cause_execution": request.cause_execution,
        "deadline_at": deadline_at,
    }
    stopped = Stopped(count=(await tx.only("doomed_count"))[0])
    if stopped.count:
        stopped.first = sum(_VERDICTS[state] is Verdict.ACCEPTED for state in found.values())
        stopped.moved = [id_ for id_, state in found.items() if _VERDICTS[state] is not Verdict.ALREADY_FINISHED]
        in_flight = not IN_FLIGHT.isdisjoint(found.values())
        await tx.run("doomed_terminations", **scope)
        if in_flight:
            for name in _OF_ATTEMPTS:
                await tx.run(name, **scope)
        await tx.run("doomed_move", **scope)
        if in_flight:
            for id_, epoch, state, due in await tx.all("doomed_in_flight", tenant=tenant):
                if request.mode is Mode.INTERRUPT or state == State.TERMINATE:
                    stopped.interrupts.append((id_, epoch))
                if state == State.STOPPING:
                    stopped.deadlines.append((id_, due))
    await tx.many(AUDIT.name, AUDIT.columns, _audits(tenant, at, request, found))
    return stopped


def _audits(tenant: int, at: int, request: TerminationRequest, found: Mapping[int, str]) -> list[Values]:
    """Return the audit row of each run; those of one state differ in their targets alone."""
    parts: dict[str, tuple[Values, Values]] = {}
    for state in set(found.values()):
        values = audit_values(tenant, at, audit_entry(request, 0, _VERDICTS[state], state))
        parts[state] = values[:_TARGET], values[_TARGET + 1 :]
    rows = []
    for id_, state in found.items():
        before, after = parts[state]
        rows.append((*before, str(id_), *after))
    return rows


_OF_ATTEMPTS: Final = ("doomed_sharpen", "doomed_abandon", "doomed_callbacks")
"""Statements about the attempts in flight, and about those that are being terminated already."""
_TARGET: Final = AUDIT.columns.index("target")
