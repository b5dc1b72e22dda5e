"""Terminate many executions by one order: look at what it would stop, give it, follow it, abort it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from interlock.auth.roles import Permission, app_permissions_of, permissions_of
from interlock.errors import FailedPrecondition, InvalidArgument, NotFound
from interlock.operations import shown
from interlock.operations.bulk_terminations.narrowing import MOST, Found, find, step_names
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
from interlock.operations.paging import give_way, page_of_query
from interlock.operations.scope import all_visible
from interlock.operations.services import Services
from interlock.ports import AuditEntry, BulkTermination, ClientRow, PlanRow
from interlock.ports.bulk_terminations import Reach
from interlock.rules.model import DEFAULT_DEADLINE, SECOND, Execution, Mode, Ref, TerminationRequest
from interlock.rules.outcomes import Outcome
from interlock.rules.states import TERMINAL, State

T = TypeVar("T")

VALID: Final = 300 * SECOND
"""How long a plan can be carried out."""
SHOWN: Final = 100
STOPPED: Final = TERMINAL | {State.STOPPING}
"""States of executions that an order has nothing left to stop of."""
BATCH: Final = 250
"""Executions that one commit stops."""
READ_BATCH: Final = 100
"""Ids of executions or automations that are read at a time."""
TREES: Final = 10
"""The same, if each may be the root of a tree."""


async def plan(services: Services, call: Call, body: PlanBulkTerminationRequest) -> Answer:
    """Say what an order would stop, what of it has already happened, and what is in flight.

    Raises:
        InvalidArgument: neither ids nor a filter, or both; or too many executions.
    """
    found = await _meant(services, call, body.execution_ids, body.filter)
    row = await _planned(services, call, [execution.id for execution in found.executions])
    below, more = await _below(services, call.tenant.id, found) if body.cascade else (0, False)
    running = (execution for execution in found.executions if execution.state not in TERMINAL)
    looked_at = []
    for execution in islice(running, SHOWN):
        looked_at.append(await _planned_execution(services, execution))
        await give_way(len(looked_at))
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
    """Give the order. It is carried out in the background, batch by batch, and outlives a restart.

    Raises:
        InvalidArgument: not exactly one of a plan, ids and a filter.
        NotFound: there is no such plan of this client.
        FailedPrecondition: the plan was carried out already, or has expired.
    """
    at = services.clock.now()
    found = Found()
    if body.plan_id:
        if body.execution_ids or body.filter is not None:
            raise InvalidArgument.at("planId", "excludes executionIds and filter: the plan says what is meant")
        row = await _usable(services, call, body.plan_id, at)
    else:
        found = await _meant(services, call, body.execution_ids, body.filter)
        if body.pause_automation and body.filter is not None:
            found = await _meant_and_held_back(services, call, body.filter, found, body.reason)
        row = await _planned(services, call, [execution.id for execution in found.executions])
    deadline = DEFAULT_DEADLINE if body.deadline is None else -(-body.deadline.nanos // 1000)
    request = TerminationRequest(call.actor, body.reason, Mode(body.mode), body.cascade, deadline)
    paused = await _to_pause(services, call, row, body.filter) if body.pause_automation else ()
    total = row.total + found.missing
    order = BulkTermination(
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
    orders = services.store.bulk_terminations
    if not await orders.begin(order, audit):
        raise FailedPrecondition("the plan was carried out already, or has expired")
    given = _shown(await orders.get(order.tenant, order.id) or order)
    return Answer(BulkTerminationResponse(bulk_termination=given, expression_failures=found.shown_failures()))


async def get(services: Services, call: Call, body: None) -> Answer:
    """One order, and how far it has come."""
    return Answer(BulkTerminationResponse(bulk_termination=_shown(await _read(services, call))))


async def list_all(services: Services, call: Call, body: None) -> Answer:
    """One page of orders, newest first."""
    page = page_of_query(services, call, "terminations")
    found = await services.store.bulk_terminations.page(call.tenant.id, before=page.position, limit=page.size + 1)
    token = page.token(found[page.size - 1].id) if len(found) > page.size else ""
    return Answer(ListBulkTerminationsResponse(list=tuple(map(_shown, found[: page.size])), next_page_token=token))


async def abort(services: Services, call: Call, body: AbortBulkTerminationRequest) -> Answer:
    """Stop nobody further. Executions that the order has stopped stay stopped.

    Raises:
        NotFound: there is no such order.
    """
    order = await _read(services, call)
    audit = AuditEntry(actor=call.actor, action="terminations.abort", target=order.id)
    await services.store.bulk_terminations.abort(order.tenant, order.id, services.clock.now(), audit)
    return Answer(BulkTerminationResponse(bulk_termination=_shown(await _read(services, call))))


# --- in the background ------------------------------------------------------------------------------------------------


async def carry_out_next(services: Services) -> bool:
    """Deal with the next batch of the oldest order; False if there is none.

    Whoever gave it must still be allowed to.
    """
    orders = services.store.bulk_terminations
    order = await orders.next()
    if order is None:
        return False
    ids = await orders.batch(order, TREES if order.request.cascade else BATCH)
    await orders.carry_out(order, ids, partial(_reach, services.clock.wall()), services.clock.now())
    return True


def _reach(now: int, client: ClientRow | None) -> Reach:
    """What a client may terminate now; called in the transaction that terminates."""
    if client is None or client.revoked_at is not None or (client.expires_at is not None and client.expires_at <= now):
        return frozenset()
    if Permission.EXECUTIONS_TERMINATE in permissions_of(client.roles):
        return None
    if Permission.EXECUTIONS_TERMINATE not in app_permissions_of(client.roles):
        return frozenset()
    return frozenset(client.apps)


# --- what is meant ----------------------------------------------------------------------------------------------------


async def _meant(services: Services, call: Call, ids: tuple[int, ...], narrowing: TerminationFilter | None) -> Found:
    """The executions that are named, or that a filter finds."""
    if bool(ids) == (narrowing is not None):
        raise InvalidArgument.at("executionIds", "give either executionIds or a filter")
    if narrowing is not None:
        return await find(services, call, narrowing)
    found = Found()
    wanted = list(dict.fromkeys(ids))
    if len(wanted) > MOST:
        raise InvalidArgument.at("executionIds", f"must not be more than {MOST:,}; got {len(wanted):,}")
    for ids_ in _batches(wanted):
        rows = await services.store.executions.get_many(call.tenant.id, ids_)
        seen = await all_visible(services.store, call, {row.automation for row in rows})
        found.take([row for row in rows if row.automation in seen])
        await give_way(0)
    found.missing = len(wanted) - len(found.executions)
    return found


async def _below(services: Services, tenant: int, found: Found) -> tuple[int, bool]:
    """How many active executions a cascade would stop below the planned ones, and whether there are more.

    Finished ones are passed through to what they started. At most `MOST` are looked at.
    """
    seen = {execution.id for execution in found.executions}
    named, count, looked_at = len(seen), 0, 0
    waiting = sorted(seen)
    while waiting:
        parent, after = Ref(tenant, waiting.pop()), 0
        while children := await services.store.executions.children(parent, after=after, limit=BATCH):
            after = children[-1].id
            further = [child for child in children if child.id not in seen]
            seen.update(child.id for child in further)
            waiting += [child.id for child in further]
            count += sum(child.state not in STOPPED for child in further)
            if len(seen) - named > MOST:
                return count, True
            await give_way(0)
        looked_at += 1
        await give_way(looked_at)
    return count, False


async def _meant_and_held_back(
    services: Services, call: Call, narrowing: TerminationFilter, found: Found, reason: str
) -> Found:
    """What the filter finds once new runs of its automations are held back.

    Runs that were started between a look and the order's commit would be neither found nor held back. So what is to be
    paused is paused first, in a commit of its own, and looked for after that, until a look finds no further automation.
    """
    held: set[str] = set()
    while True:
        wanted = {*await _named(services, call, narrowing), *(row.automation for row in found.executions)}
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


async def _named(services: Services, call: Call, narrowing: TerminationFilter | None) -> list[str]:
    """The automations that a filter names, as far as they are the caller's to see."""
    ids = () if narrowing is None else narrowing.automation_template_ids
    found: list[str] = []
    for ids_ in _batches(list(dict.fromkeys(ids))):
        apps = await services.store.automations.apps_of(call.tenant.id, ids_)
        found += [id_ for id_ in ids_ if id_ in apps and (call.apps is None or apps[id_] in call.apps)]
        await give_way(0)
    return found


async def _planned(services: Services, call: Call, ids: list[int]) -> PlanRow:
    at = services.clock.now()
    row = PlanRow(id=services.ids.text(), client=call.principal.client, expires_at=at + VALID, total=len(ids))
    await services.store.bulk_terminations.plan(call.tenant.id, row, at, ids)
    return row


async def _usable(services: Services, call: Call, id_: str, at: int) -> PlanRow:
    row = await services.store.bulk_terminations.find_plan(call.tenant.id, id_)
    if row is None or row.client != call.principal.client:
        raise NotFound
    if row.used:
        raise FailedPrecondition("the plan was carried out already")
    if row.expires_at <= at:
        raise FailedPrecondition("the plan has expired; make a new one: what it would stop may have changed")
    return row


async def _to_pause(
    services: Services, call: Call, row: PlanRow, narrowing: TerminationFilter | None
) -> tuple[str, ...]:
    """The automations that a filter names, and those whose executions are planned."""
    order = BulkTermination(
        tenant=call.tenant.id, id=row.id, request=TerminationRequest(call.actor), paused=(), at=0, total=row.total
    )
    ids = await services.store.bulk_terminations.batch(order, MOST)
    found: dict[str, None] = dict.fromkeys(await _named(services, call, narrowing))
    for ids_ in _batches(ids):
        for execution in await services.store.executions.get_many(call.tenant.id, ids_):
            found[execution.automation] = None
        await give_way(0)
    return tuple(found)


def _batches(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    """So many at a time as one read is asked for."""
    return (ids[first : first + READ_BATCH] for first in range(0, len(ids), READ_BATCH))


# --- how it is shown --------------------------------------------------------------------------------------------------


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
    order = await services.store.bulk_terminations.get(call.tenant.id, call.path["id"])
    if order is None or (call.apps is not None and order.request.actor.client != call.principal.client):
        raise NotFound
    return order


def _shown(order: BulkTermination) -> BulkTerminationView:
    request = order.request
    return BulkTerminationView(
        id=order.id,
        state="ABORTED" if order.aborted_at is not None else "RUNNING" if order.finished_at is None else "DONE",
        actor=shown.actor(request.actor),
        reason=request.reason,
        mode=request.mode,
        cascade=request.cascade,
        paused_automations=order.paused,
        created_at=shown.moment(order.at),
        finished_at=shown.moment(order.finished_at),
        total=order.total,
        accepted=order.accepted,
        repeated=order.repeated,
        already_finished=order.already_finished,
        denied=order.denied,
        not_found=order.not_found,
        descendants=order.below,
    )
