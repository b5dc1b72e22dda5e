"""Terminate one run, and answer as soon as the termination is committed.

This is a hot path that must work when everything else fails: it makes one `apply` and no other read, and for the usual
empty body it parses nothing and builds nothing but the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from interlock.contract.executions import TerminateAutomationRequest
from interlock.contract.ids import parse_id
from interlock.errors import NotFound
from interlock.operations import shown
from interlock.operations.operation import Answer, Call
from interlock.operations.preferences import Preferences, read_preferences
from interlock.operations.scope import require_visible
from interlock.operations.services import Services
from interlock.operations.terminations.views import TerminationView
from interlock.ports import AuditEntry, Reads
from interlock.rules.decision import Decision, Verdict
from interlock.rules.events import Terminated
from interlock.rules.model import DEFAULT_DEADLINE, SECOND, Mode, Ref, TerminationRequest
from interlock.rules.states import TERMINAL, State
from interlock.rules.stop import TERMINATE_ACTION

HEADER: Final = "Interlock-Termination"

_ANSWERS: Final[Mapping[tuple[Verdict, State], Answer]] = MappingProxyType(
    {
        (verdict, state): Answer(headers=((HEADER, f"{verdict}; state={state}"),))
        for verdict in (Verdict.ACCEPTED, Verdict.REPEATED, Verdict.ALREADY_FINISHED)
        for state in State
    }
)


async def terminate(services: Services, call: Call, body: TerminateAutomationRequest) -> Answer:
    """Terminate a run. After the commit, which precedes the answer, the run starts nothing more.

    Header `Prefer`: `return=representation` answers with the termination record; `wait=N` delays the answer until the
    run is terminal or N seconds have passed.

    Raises:
        InvalidArgument: The id is malformed.
        NotFound: The run is unknown, or not visible to the caller.
        Unavailable: The commit failed; the run was not terminated.
    """
    id_ = parse_id(call.path["id"])
    ref = Ref(call.tenant.id, id_)
    if call.apps is not None and (row := await services.store.executions.get(ref)) is not None:
        await require_visible(services.store, call, row.automation)
    request = TerminationRequest(call.actor) if not body.model_fields_set else _request(call, body)
    prefer = call.headers.get("prefer")
    if prefer is None and not request.cascade:
        at = services.clock.now()
        decision = await services.store.executions.apply(ref, Terminated(at, request))
        if decision is None:
            await _unknown(services, call, id_)
            raise NotFound
        return _ANSWERS[decision.verdict, decision.execution.state]
    return await _with_preferences(services, call, ref, request, read_preferences(prefer or ""))


async def _with_preferences(
    services: Services, call: Call, ref: Ref, request: TerminationRequest, preferences: Preferences
) -> Answer:
    with services.feed.watch(ref) as watch:
        decision, descendants, more = await _terminate(services, ref, request)
        if decision is None:
            await _unknown(services, call, ref.id)
            raise NotFound
        state = decision.execution.state
        if preferences.wait and state not in TERMINAL:
            until = services.clock.now() + preferences.wait * SECOND
            while state not in TERMINAL and not services.feed.closed and await watch.change(services.clock, until):
                state = await _state(services, ref, state)
            if state not in TERMINAL:
                state = await _state(services, ref, state)
    headers = [(HEADER, f"{decision.verdict}; state={state}")]
    if applied := preferences.applied:
        headers.append(("Preference-Applied", applied))
    if not preferences.representation:
        return Answer(headers=tuple(headers))
    view = await termination_view(services.store, ref, descendants=descendants, more=more)
    return Answer(view if view is not None else {}, tuple(headers))


async def _terminate(services: Services, ref: Ref, request: TerminationRequest) -> tuple[Decision | None, int, bool]:
    executions, at = services.store.executions, services.clock.now()
    if not request.cascade:
        return await executions.apply(ref, Terminated(at, request)), 0, False
    stopped = await executions.terminate_tree(ref, at, request)
    return (None, 0, False) if stopped is None else (stopped.decision, stopped.descendants, stopped.more)


async def termination_view(
    reads: Reads, ref: Ref, *, descendants: int = 0, more: bool = False
) -> TerminationView | None:
    """Return the termination record of a run, with its current state; only the state if it was not terminated."""
    row = await reads.executions.get(ref)
    if row is None:
        return None
    found = await reads.executions.termination(ref)
    if found is None:
        return TerminationView(execution_id=row.id, state=row.state, descendants=descendants, more=more)
    request = found.request
    return TerminationView(
        execution_id=row.id,
        state=row.state,
        actor=shown.actor(request.actor),
        reason=request.reason,
        mode=found.mode,
        cascade=request.cascade,
        cause=request.cause,
        cause_execution_id=request.cause_execution or 0,
        found=found.found,
        accepted_at=shown.moment(found.accepted_at),
        deadline_at=shown.moment(found.deadline_at),
        settled_at=shown.moment(row.completed_at),
        descendants=descendants or found.below,
        more=more,
    )


def _request(call: Call, body: TerminateAutomationRequest) -> TerminationRequest:
    deadline = body.deadline
    return TerminationRequest(
        call.actor,
        body.reason,
        Mode(body.mode),
        body.cascade,
        DEFAULT_DEADLINE if deadline is None else -(-deadline.nanos // 1000),
    )


async def _state(services: Services, ref: Ref, otherwise: State) -> State:
    row = await services.store.executions.get(ref)
    return otherwise if row is None else row.state


async def _unknown(services: Services, call: Call, id_: int) -> None:
    entry = AuditEntry(actor=call.actor, action=TERMINATE_ACTION, target=str(id_), outcome="not-found")
    await services.store.audit.refuse(call.tenant.id, services.clock.now(), entry)
