"""Set-based termination: the stop of a tree or a batch in a few statements.

This is the only second form of the rules in `rules.stop`; a property test holds the two against each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import apsw

from interlock.rules.decision import Verdict
from interlock.rules.model import Actor, Cause, Execution, Mode, TerminationRequest
from interlock.rules.states import State
from interlock.store.rowset import audit_entry
from interlock.store.sqlite.audit import append_audits
from interlock.store.statements import Dialect, load

ONE_COMMIT = 10_000
"""Most runs of a tree that are stopped in the commit that accepts the order."""
BATCH = 250
"""Runs a commit of those that follow stops."""

_SQL = load("terminations", Dialect.SQLITE)
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
    """What a set-based stop did. The hints are for after the commit."""

    count: int
    first: int = 0
    """Those of them that no order had reached before."""
    more: bool = False
    """Of a tree: not everybody has been reached."""
    interrupts: list[tuple[int, int]] = field(default_factory=list)
    deadlines: list[tuple[int, int]] = field(default_factory=list)
    verdicts: dict[int, str] = field(default_factory=dict)
    moved: list[int] = field(default_factory=list)


def stop_tree(connection: apsw.Connection, named: Execution, at: int, request: TerminationRequest) -> Stopped:
    """Stop every run below the named one, up to `ONE_COMMIT`; a larger tree is fenced and its order kept."""
    below = replace(request, cause=Cause.CASCADE, cause_execution=named.id)
    stopped = _stop_below(connection, named.tenant, named.id, at, below, ONE_COMMIT)
    _count_below(connection, named.tenant, named.id, stopped)
    if stopped.more:
        actor = request.actor
        connection.execute(
            _SQL["cascade_put"],
            (
                named.tenant,
                named.root,
                named.id,
                actor.client,
                actor.principal,
                actor.address,
                request.reason,
                request.mode,
                request.deadline,
                Cause.CASCADE,
                at,
            ),
        )
        connection.execute(_SQL["cascade_fence"], (named.tenant, named.root))
    return stopped


def continue_cascade(connection: apsw.Connection, tenant: int, at: int) -> Stopped | None:
    """Stop the next batch below the oldest order that is not at its end; None: there is no such order."""
    found = connection.execute(_SQL["cascade_next"], (tenant,)).fetchone()
    if found is None:
        return None
    _, root, execution, client, principal, address, reason, mode, deadline, cause, _ = found
    request = TerminationRequest(
        Actor(client, address, principal), reason, Mode(mode), True, deadline, Cause(cause), execution
    )
    stopped = _stop_below(connection, tenant, execution, at, request, BATCH)
    _count_below(connection, tenant, execution, stopped)
    if not stopped.more:
        connection.execute(_SQL["cascade_done"], (tenant, root, execution))
        connection.execute(*_bound("cascade_unfence", {"tenant": tenant, "root": root}))
    return stopped


def stop_batch(
    connection: apsw.Connection, tenant: int, ids: Sequence[int], at: int, request: TerminationRequest
) -> Stopped:
    """Stop the runs with these ids; the verdicts leave out ids that are unknown."""
    wanted = json.dumps(list(ids))
    found: list[tuple[Any, ...]] = connection.execute(
        *_bound("batch_states", {"tenant": tenant, "ids": wanted})
    ).fetchall()
    _prepare(connection)
    scope = {"tenant": tenant, "ids": wanted, "deadline_at": at + request.deadline, "mode": request.mode}
    connection.execute(*_bound("doomed_batch", scope))
    stopped = _stop(connection, tenant, at, request, dict(found))
    for id_, state in found:
        stopped.verdicts[id_] = _VERDICTS[state]
    return stopped


def order_over(connection: apsw.Connection, execution: Execution) -> TerminationRequest | None:
    """The order that covers a run of a fenced tree without having reached it."""
    key = {"tenant": execution.tenant, "root": execution.root, "execution": execution.id}
    found = connection.execute(*_bound("cascade_over", key)).fetchone()
    if found is None:
        return None
    named, client, principal, address, reason, mode, deadline, cause = found
    return TerminationRequest(
        Actor(client, address, principal), reason, Mode(mode), True, deadline, Cause(cause), named
    )


def _stop_below(
    connection: apsw.Connection, tenant: int, named: int, at: int, request: TerminationRequest, most: int
) -> Stopped:
    _prepare(connection)
    scope = {
        "tenant": tenant,
        "execution": named,
        "deadline_at": at + request.deadline,
        "mode": request.mode,
        "most": most + 1,
    }
    connection.execute(*_bound("doomed_tree", scope))
    found: list[tuple[Any, ...]] = connection.execute(_SQL["doomed_all"]).fetchall()
    more = len(found) > most
    if more:
        connection.execute(_SQL["doomed_drop"], (found[-1][0],))
        found.pop()
    stopped = _stop(connection, tenant, at, request, dict(found))
    stopped.more = more
    return stopped


def _count_below(connection: apsw.Connection, tenant: int, named: int, stopped: Stopped) -> None:
    if stopped.first:
        connection.execute(_SQL["termination_below"], (stopped.first, tenant, named))


def _bound(name: str, scope: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    statement = _SQL[name]
    return statement, statement.values(scope)


def _prepare(connection: apsw.Connection) -> None:
    connection.execute(_SQL["doomed_create"])
    connection.execute(_SQL["doomed_clear"])


def _stop(
    connection: apsw.Connection, tenant: int, at: int, request: TerminationRequest, found: Mapping[int, str]
) -> Stopped:
    """Act on the runs in `doomed`; `found` are all runs to audit, with the states they were found in."""
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
    stopped = Stopped(count=sum(count for (count,) in connection.execute(_SQL["doomed_count"])))
    if stopped.count:
        stopped.first = sum(_VERDICTS[state] is Verdict.ACCEPTED for state in found.values())
        stopped.moved = [id_ for id_, state in found.items() if _VERDICTS[state] is not Verdict.ALREADY_FINISHED]
        for name in ("doomed_terminations", "doomed_sharpen", "doomed_abandon", "doomed_callbacks", "doomed_move"):
            connection.execute(*_bound(name, scope))
        for id_, epoch, state, due in connection.execute(*_bound("doomed_in_flight", {"tenant": tenant})):
            if request.mode is Mode.INTERRUPT or state == State.TERMINATE:
                stopped.interrupts.append((id_, epoch))
            if state == State.STOPPING:
                stopped.deadlines.append((id_, due))
    append_audits(
        connection, tenant, at, [audit_entry(request, id_, _VERDICTS[state], state) for id_, state in found.items()]
    )
    return stopped
