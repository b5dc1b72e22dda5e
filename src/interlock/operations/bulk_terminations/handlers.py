"""Operations on bulk terminations: plan, create, get, list and abort them, and their background work."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from interlock.auth.roles import Permission, app_permissions_of, permissions_of
from interlock.errors import FailedPrecondition, InvalidArgument, NotFound
from interlock.operations import shown
from interlock.operations.bulk_terminations.narrowing import MAX_BULK_EXECUTIONS, Targets, find, step_names
from interlock.operations.bulk_terminations.views import (
    AbortBulkTerminationRequest,
    BulkTerminationResponse,
    BulkTerminationView,
    CreateBulkTerminationRequest,
    ListBulkTerminationsResponse,
    PlanBulkTerminationRequest,
    PlannedExecution,
    StateCount,
    TerminationFilter,
    TerminationPlan,
)
from interlock.operations.operation import Answer, Call
from interlock.operations.paging import page_of_query, yield_after_rows
from interlock.operations.scope import all_visible
from interlock.operations.services import Services
from interlock.ports import AuditEntry, BulkTermination, ClientRow, PlanRow
from interlock.ports.bulk_terminations import Reach
from interlock.rules.model import DEFAULT_DEADLINE, SECOND, Execution, Mode, Ref, TerminationRequest
from interlock.rules.outcomes import Outcome
from interlock.rules.states import TERMINAL, State
from interlock.system import yield_to_loop

T = TypeVar("T")

PLAN_VALIDITY: Final = 300 * SECOND
"""Time for which a plan can be used, in microseconds."""
MAX_EXECUTIONS_SHOWN: Final = 100
SETTLED_STATES: Final = TERMINAL | {State.STOPPING}
"""States of executions in which a bulk termination has nothing left to stop."""
BATCH_EXECUTIONS: Final = 250
"""Executions that one commit terminates."""
READ_BATCH_IDS: Final = 100
"""Ids of executions or automations in one read."""
BATCH_TREES: Final = 10
"""Executions that one commit terminates with `cascade`, when each may be the root of a tree."""


async def plan(services: Services, call: Call, body: PlanBulkTerminationRequest) -> Answer:
    """Preview a bulk termination: what each execution has already done, and what is in flight.

    Raises:
        InvalidArgument: There are neither ids nor a filter, or both, or too many executions.
    """
    found = await _targets(services, call, body.execution_ids, body.filter)
    row = await _store_plan(services, call, [execution.id for execution in found.executions])
    below, more = await _count_descendants(services, call.tenant.id, found) if body.cascade else (0, False)
    running = (execution for execution in found.executions if execution.state not in TERMINAL)
    looked_at = []
    for execution in islice(running, MAX_EXECUTIONS_SHOWN):
        looked_at.append(await _planned_execution(services, execution))
        await yield_after_rows(len(looked_at))
    return Answer(
        TerminationPlan(
            id=row.id,
            expires_at=shown.moment(row.expires_at),
            total=row.total,
            cascade=body.cascade,
            descendants=below,
            more_descendants=more,
            states=tuple(StateCount(state=state, count=count) for state, count in sorted(found.counts.items())),
            not_found=found.missing,
            expression_failures=found.shown_failures(),
            executions=tuple(looked_at),
        )
    )


async def create(services: Services, call: Call, body: CreateBulkTerminationRequest) -> Answer:
    """Create a bulk termination. A background job carries it out in batches, and continues after a restart.

    Raises:
        InvalidArgument: There is not exactly one of a plan, ids and a filter.
        NotFound: The client has no such plan.
        FailedPrecondition: The plan was used already, or has expired.
    """
    at = services.clock.now()
    found = Targets()
    if body.plan_id:
        if body.execution_ids or body.filter is not None:
            raise InvalidArgument.at(
                "planId", "excludes executionIds and filter: the plan already names the executions"
            )
        row = await _usable_plan(services, call, body.plan_id, at)
    else:
        found = await _targets(services, call, body.execution_ids, body.filter)
        if body.pause_automation and body.filter is not None:
            found = await _targets_after_hold(services, call, body.filter, found, body.reason)
        row = await _store_plan(services, call, [execution.id for execution in found.executions])
    deadline = DEFAULT_DEADLINE if body.deadline is None else -(-body.deadline.nanos // 1000)
    request = TerminationRequest(call.actor, body.reason, Mode(body.mode), body.cascade, deadline)
    paused = await _automations_to_pause(services, call, row, body.filter) if body.pause_automation else ()
    total = row.total + found.missing
    bulk = BulkTermination(
        tenant=call.tenant.id, id=row.id, request=request, paused=paused, at=at, total=total, not_found=found.missing
    )
    details = {"total": total, "mode": body.mode, "cascade": body.cascade, "paused": paused}
    audit = AuditEntry(
        actor=call.actor,
        action="terminations.create",
        target=row.id,
        reason=body.reason,
        details=json.dumps(details).encode(),
    )
    bulk_terminations = services.store.bulk_terminations
    if not await bulk_terminations.begin(bulk, audit):
        raise FailedPrecondition("the plan was used already, or has expired; make a new one")
    given = _shown(await bulk_terminations.get(bulk.tenant, bulk.id) or bulk)
    return Answer(BulkTerminationResponse(bulk_termination=given, expression_failures=found.shown_failures()))


async def get(services: Services, call: Call, body: None) -> Answer:
    """Return one bulk termination and its progress."""
    return Answer(BulkTerminationResponse(bulk_termination=_shown(await _read(services, call))))


async def list_all(services: Services, call: Call, body: None) -> Answer:
    """List one page of bulk terminations, newest first."""
    page = page_of_query(services, call, "terminations")
    found = await services.store.bulk_terminations.page(call.tenant.id, before=page.position, limit=page.size + 1)
    token = page.token(found[page.size - 1].id) if len(found) > page.size else ""
    return Answer(ListBulkTerminationsResponse(list=tuple(map(_shown, found[: page.size])), next_page_token=token))


async def abort(services: Services, call: Call, body: AbortBulkTerminationRequest) -> Answer:
    """Abort a bulk termination: it terminates no further executions. Those that it has terminated stay terminated.

    Raises:
        NotFound: There is no such bulk termination.
    """
    bulk = await _read(services, call)
    audit = AuditEntry(actor=call.actor, action="terminations.abort", target=bulk.id)
    await services.store.bulk_terminations.abort(bulk.tenant, bulk.id, services.clock.now(), audit)
    return Answer(BulkTerminationResponse(bulk_termination=_shown(await _read(services, call))))


# --- in the background ------------------------------------------------------------------------------------------------


async def terminate_next_batch(services: Services) -> bool:
    """Terminate the next batch of the oldest bulk termination, as far as its client is still allowed to.

    Returns:
        False if there is no bulk termination in progress.
    """
    bulk_terminations = services.store.bulk_terminations
    bulk = await bulk_terminations.next()
    if bulk is None:
        return False
    ids = await bulk_terminations.batch(bulk, BATCH_TREES if bulk.request.cascade else BATCH_EXECUTIONS)
    await bulk_terminations.carry_out(bulk, ids, partial(_reach, services.clock.wall()), services.clock.now())
    return True


def _reach(now: int, client: ClientRow | None) -> Reach:
    """Return the apps whose executions a client may terminate, None for all; called in the terminating transaction."""
    if client is None or client.revoked_at is not None or (client.expires_at is not None and client.expires_at <= now):
        return frozenset()
    if Permission.EXECUTIONS_TERMINATE in permissions_of(client.roles):
        return None
    if Permission.EXECUTIONS_TERMINATE not in app_permissions_of(client.roles):
        return frozenset()
    return frozenset(client.apps)


# --- targets ----------------------------------------------------------------------------------------------------------


async def _targets(
    services: Services, call: Call, ids: tuple[int, ...], narrowing: TerminationFilter | None
) -> Targets:
    """Return the executions that the ids name or the filter matches."""
    if bool(ids) == (narrowing is not None):
        raise InvalidArgument.at("executionIds", "give either executionIds or a filter")
    if narrowing is not None:
        return await find(services, call, narrowing)
    found = Targets()
    wanted = list(dict.fromkeys(ids))
    if len(wanted) > MAX_BULK_EXECUTIONS:
        raise InvalidArgument.at("executionIds", f"must not be more than {MAX_BULK_EXECUTIONS:,}; got {len(wanted):,}")
    for ids_ in _batches(wanted):
        rows = await services.store.executions.get_many(call.tenant.id, ids_)
        seen = await all_visible(services.store, call, {row.automation for row in rows})
        found.take([row for row in rows if row.automation in seen])
        await yield_to_loop()
    found.missing = len(wanted) - len(found.executions)
    return found


async def _count_descendants(services: Services, tenant: int, found: Targets) -> tuple[int, bool]:
    """Count the active descendants that a cascade would terminate, and return whether there are more.

    Descendants of terminal executions count, too. At most `MAX_BULK_EXECUTIONS` descendants are read.
    """
    seen = {execution.id for execution in found.executions}
    named, count, looked_at = len(seen), 0, 0
    waiting = sorted(seen)
    while waiting:
        parent, after = Ref(tenant, waiting.pop()), 0
        while children := await services.store.executions.children(parent, after=after, limit=BATCH_EXECUTIONS):
            after = children[-1].id
            further = [child for child in children if child.id not in seen]
            seen.update(child.id for child in further)
            waiting += [child.id for child in further]
            count += sum(child.state not in SETTLED_STATES for child in further)
            if len(seen) - named > MAX_BULK_EXECUTIONS:
                return count, True
            await yield_to_loop()
        looked_at += 1
        await yield_after_rows(looked_at)
    return count, False


async def _targets_after_hold(
    services: Services, call: Call, narrowing: TerminationFilter, found: Targets, reason: str
) -> Targets:
    """Return the executions that the filter matches after new runs of its automations were paused.

    A run that starts between the search and the commit would be neither terminated nor paused. So the automations are
    paused first, in a commit of their own, and the search is repeated until it matches no further automation.
    """
    held: set[str] = set()
    while True:
        wanted = {
            *await _automations_of_filter(services, call, narrowing),
            *(row.automation for row in found.executions),
        }
        further = sorted(wanted - held)
        if not further:
            return found
        details = json.dumps({"automations": further}, separators=(",", ":")).encode()
        audit = AuditEntry(
            actor=call.actor, action="terminations.hold_back", target=further[0], reason=reason, details=details
        )
        await services.store.bulk_terminations.hold_back(call.tenant.id, further, services.clock.now(), audit)
        held.update(further)
        found = await find(services, call, narrowing)


async def _automations_of_filter(services: Services, call: Call, narrowing: TerminationFilter | None) -> list[str]:
    """Return the automations in the filter that the caller may see."""
    ids = () if narrowing is None else narrowing.automation_template_ids
    found: list[str] = []
    for ids_ in _batches(list(dict.fromkeys(ids))):
        apps = await services.store.automations.apps_of(call.tenant.id, ids_)
        found += [id_ for id_ in ids_ if id_ in apps and (call.apps is None or apps[id_] in call.apps)]
        await yield_to_loop()
    return found


async def _store_plan(services: Services, call: Call, ids: list[int]) -> PlanRow:
    at = services.clock.now()
    row = PlanRow(id=services.ids.text(), client=call.principal.client, expires_at=at + PLAN_VALIDITY, total=len(ids))
    await services.store.bulk_terminations.plan(call.tenant.id, row, at, ids)
    return row


async def _usable_plan(services: Services, call: Call, id_: str, at: int) -> PlanRow:
    row = await services.store.bulk_terminations.find_plan(call.tenant.id, id_)
    if row is None or row.client != call.principal.client:
        raise NotFound
    if row.used:
        raise FailedPrecondition("the plan was used already; make a new one")
    if row.expires_at <= at:
        raise FailedPrecondition("the plan has expired; make a new one: its executions may have changed")
    return row


async def _automations_to_pause(
    services: Services, call: Call, row: PlanRow, narrowing: TerminationFilter | None
) -> tuple[str, ...]:
    """Return the automations in the filter, and those of the planned executions."""
    bulk = BulkTermination(
        tenant=call.tenant.id, id=row.id, request=TerminationRequest(call.actor), paused=(), at=0, total=row.total
    )
    ids = await services.store.bulk_terminations.batch(bulk, MAX_BULK_EXECUTIONS)
    found: dict[str, None] = dict.fromkeys(await _automations_of_filter(services, call, narrowing))
    for ids_ in _batches(ids):
        for execution in await services.store.executions.get_many(call.tenant.id, ids_):
            found[execution.automation] = None
        await yield_to_loop()
    return tuple(found)


def _batches(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split ids into batches of `READ_BATCH_IDS`."""
    return (ids[first : first + READ_BATCH_IDS] for first in range(0, len(ids), READ_BATCH_IDS))


# --- views ------------------------------------------------------------------------------------------------------------


async def _planned_execution(services: Services, row: Execution) -> PlannedExecution:
    definition = await services.store.automations.definition(row.tenant, row.definition)
    names = step_names(definition.steps) if definition is not None else []
    steps = await services.store.executions.steps(row.ref)
    done = dict.fromkeys(step.position for step in steps if step.outcome is Outcome.SUCCEEDED)
    return PlannedExecution(
        execution_id=row.id,
        automation_template_id=row.automation,
        automation_display_name=await shown.automation_name(services.store, row),
        state=row.state,
        created_at=shown.moment(row.created_at),
        done_steps=tuple(_names(names, done)),
        in_flight=next(iter(_names(names, [row.step])), "") if row.in_flight else "",
        waiting_for=row.waiting_for or "",
    )


def _names(names: list[str], positions: Iterable[int]) -> Iterable[str]:
    return (names[position] for position in positions if position < len(names))


async def _read(services: Services, call: Call) -> BulkTermination:
    bulk = await services.store.bulk_terminations.get(call.tenant.id, call.path["id"])
    if bulk is None or (call.apps is not None and bulk.request.actor.client != call.principal.client):
        raise NotFound
    return bulk


def _shown(bulk: BulkTermination) -> BulkTerminationView:
    request = bulk.request
    return BulkTerminationView(
        id=bulk.id,
        state="ABORTED" if bulk.aborted_at is not None else "RUNNING" if bulk.finished_at is None else "DONE",
        actor=shown.actor(request.actor),
        reason=request.reason,
        mode=request.mode,
        cascade=request.cascade,
        paused_automations=bulk.paused,
        created_at=shown.moment(bulk.at),
        finished_at=shown.moment(bulk.finished_at),
        total=bulk.total,
        accepted=bulk.accepted,
        repeated=bulk.repeated,
        already_finished=bulk.already_finished,
        denied=bulk.denied,
        not_found=bulk.not_found,
        descendants=bulk.below,
    )
