"""Operations on automations: create, get, list, update and delete them, and our own view of one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

from interlock.contract.automations import (
    Automation,
    CreateAutomationRequest,
    CreateAutomationResponse,
    DeleteAutomationRequest,
    DeleteAutomationResponse,
    GetAutomationResponse,
    ListAutomationsResponse,
    UpdateAutomationRequest,
    UpdateAutomationResponse,
)
from interlock.contract.base import from_stored, shape_of, to_stored, with_fields
from interlock.contract.enums import CIRCUIT_BREAKER_PERIOD
from interlock.contract.fieldmask import FieldMask
from interlock.contract.fieldmask import apply as apply_mask
from interlock.contract.fieldmask import check as check_mask
from interlock.errors import Conflict, InvalidArgument, NotFound
from interlock.operations import shown
from interlock.operations.automations import publish
from interlock.operations.automations.annotations import merged, replaced
from interlock.operations.automations.views import AutomationDetail, Finding
from interlock.operations.operation import Answer, Call
from interlock.operations.paging import (
    FIRST_ROWS,
    MAX_PAGE_BYTES,
    Pace,
    Page,
    page_of_query,
    read_page,
    rows_per_read,
)
from interlock.operations.scope import require_app, require_visible
from interlock.operations.services import Services
from interlock.ports import AuditEntry, AutomationRow, BulkAction, BulkKind, Schedule
from interlock.rules.breaker import Period

MUTABLE: Final = (
    "display_name",
    "description",
    "app_id",
    "enabled",
    "is_draft",
    "automation_steps",
    "triggers",
    "draft_automation_steps",
    "draft_triggers",
    "context",
    "annotations",
    "circuit_breaker_max",
    "circuit_breaker_period",
)
"""The fields that a caller may set; the server ignores its own fields in every request."""


MAX_UPDATE_TRIES: Final = 16
"""Attempts at an update while other updates commit between its read and its commit; then it fails as `ABORTED`."""


async def create(services: Services, call: Call, body: CreateAutomationRequest) -> Answer:
    """Create an automation, and publish version 1 unless it is a draft."""
    fields: dict[str, Any] = {name: getattr(body, name) for name in MUTABLE}
    fields["annotations"] = replaced(body.annotations, "annotations")
    if not body.given("draft_automation_steps"):
        fields["draft_automation_steps"] = body.automation_steps
    if not body.given("draft_triggers"):
        fields["draft_triggers"] = body.triggers
    await require_app(services, call, "automation.create", body.app_id)
    made = with_fields(Automation(), **fields)
    next_fire_at, on_demand = None, True
    if not made.is_draft:
        findings = await publish.check(services, call, made)
        findings.refuse()
        next_fire_at, on_demand = findings.next_fire_at(services.clock.wall()), findings.on_demand
    at = services.clock.now()
    breaker_max, breaker_period = _breaker(made)
    row = AutomationRow(
        tenant=call.tenant.id,
        id=services.ids.text(),
        document=to_stored(made),
        version=0,
        definition=None,
        created_at=at,
        updated_at=at,
        breaker_max=breaker_max,
        breaker_period=breaker_period,
        enabled=made.enabled,
    )
    definition = publish.definition_of(call, row, made, at, on_demand=on_demand)
    published = definition if not made.is_draft and publish.differs(definition, None) else None
    if published is not None:
        row = replace(row, next_fire_at=next_fire_at)
    audit = _audit(call, "automation.create", row.id, published=published is not None)
    row = await services.store.automations.create(row, published, audit)
    return Answer(CreateAutomationResponse(automation=await shown.one_automation(services, row)))


async def get(services: Services, call: Call, body: None) -> Answer:
    """Return one automation."""
    return Answer(GetAutomationResponse(automation=await shown.one_automation(services, await read(services, call))))


async def list_all(services: Services, call: Call, body: None) -> Answer:
    """List one page of all automations."""
    page = page_of_query(services, call, "automations")
    rows, has_more = await _rows(services, call, page)
    active = await shown.activity(services, call.tenant.id, [row.id for row in rows])
    found: list[Automation] = []
    pace = Pace()
    for row in rows:
        found.append(shown.automation(row, active))
        await pace.after(len(row.document))
    token = page.token(found[-1].id) if has_more else ""
    return Answer(ListAutomationsResponse(list=tuple(found), next_page_token=token))


async def update(services: Services, call: Call, body: UpdateAutomationRequest) -> Answer:
    """Change the fields in the mask, or all fields without a mask.

    If the automation is not a draft after that, and its steps, triggers or context have changed, they are published as
    the next version. The commit is guarded by the version that was read: if another update committed first, this one
    is applied to its result.
    """
    for _ in range(MAX_UPDATE_TRIES - 1):
        try:
            return await _update(services, call, body)
        except Conflict:
            continue
    return await _update(services, call, body)


async def _update(services: Services, call: Call, body: UpdateAutomationRequest) -> Answer:
    row = await read(services, call)
    if body.automation is None:
        raise InvalidArgument.at("automation", "is required: the fields to change")
    stored = from_stored(Automation, row.document)
    changed = _changed(stored, body.automation, body.update_mask)
    await require_app(services, call, "automation.update", changed.app_id)
    next_fire_at, on_demand = None, True
    if not changed.is_draft:
        findings = await publish.check(services, call, changed, prefix="automation.")
        findings.refuse()
        next_fire_at, on_demand = findings.next_fire_at(services.clock.wall()), findings.on_demand
    at = max(services.clock.now(), row.updated_at + 1)
    definition = publish.definition_of(call, row, changed, at, on_demand=on_demand)
    current = None
    if row.definition is not None:
        current = await services.store.automations.definition(row.tenant, row.definition)
    published = definition if not changed.is_draft and publish.differs(definition, current) else None
    names = [name for name in MUTABLE if getattr(stored, name) != getattr(changed, name)]
    audit = _audit(call, "automation.update", row.id, fields=names, published=published is not None)
    maximum, period = _breaker(changed)
    new = replace(
        row,
        document=to_stored(changed),
        updated_at=at,
        breaker_max=maximum,
        breaker_period=period,
        enabled=changed.enabled,
    )
    # A version that is published has its schedule anew; otherwise a fire that comes in between must not be taken back.
    schedule = None if published is None else Schedule(next_fire_at=next_fire_at)
    new = await services.store.automations.update(new, published, audit, read_at=row.updated_at, schedule=schedule)
    return Answer(UpdateAutomationResponse(automation=await shown.one_automation(services, new)))


async def delete(services: Services, call: Call, body: DeleteAutomationRequest) -> Answer:
    """Delete an automation: no run of it starts any more. Its runs continue, unless the request terminates them."""
    id_, tenant, at = call.path["id"], call.tenant.id, services.clock.now()
    await require_visible(services.store, call, id_)
    audit = _audit(call, "automation.delete", id_, terminateRunning=body.terminate_running)
    terminate = None
    if body.terminate_running:
        reason = "the automation was deleted"
        terminate = BulkAction(
            id=services.ids.text(), automation=id_, kind=BulkKind.TERMINATE_ACTIVE, actor=call.actor, reason=reason
        )
    if not await services.store.automations.delete(tenant, id_, at, audit, terminate=terminate):
        raise NotFound
    return Answer(DeleteAutomationResponse())


async def detail(services: Services, call: Call, body: None) -> Answer:
    """Return our own view of an automation, with the problems that prevent the publication of its draft."""
    row = await read(services, call)
    automation = await shown.one_automation(services, row)
    findings = await publish.check(services, call, automation, draft=True)
    as_published = publish.definition_of(call, row, automation, 0)
    as_drafted = publish.definition_of(call, row, automation, 0, draft=True)
    return Answer(
        AutomationDetail(
            automation=automation,
            draft_differs=publish.differs(as_drafted, as_published),
            publishable=not findings.problems and not findings.unavailable,
            warnings=tuple(
                Finding(
                    kind=kind,
                    field=problem.field,
                    description=problem.description,
                    step=problem.step or "",
                    line=problem.line or 0,
                    column=problem.column or 0,
                )
                for kind, problems in (("problem", findings.problems), ("unavailable", findings.unavailable))
                for problem in problems
            ),
        )
    )


async def read(services: Services, call: Call) -> AutomationRow:
    """Return the automation in the path.

    Raises:
        NotFound: The automation is unknown, deleted, or not visible to the caller.
    """
    row = await services.store.automations.get(call.tenant.id, call.path["id"])
    if row is None:
        raise NotFound
    await require_visible(services.store, call, row.id)
    return row


async def documents(
    services: Services, call: Call, *, after: str | None = None
) -> AsyncIterator[tuple[AutomationRow, dict[str, Any]]]:
    """Yield all automations that the caller may see, with their stored documents, which are not parsed as messages.

    The loop serves other requests in between.
    """
    limit, pace = FIRST_ROWS, Pace()
    while rows := await services.store.automations.page(call.tenant.id, after=after, limit=limit):
        for row in rows:
            document = json.loads(row.document)
            if call.apps is None or document.get("appId", "") in call.apps:
                yield row, document
            await pace.after(len(row.document))
        after = rows[-1].id
        limit = rows_per_read(len(rows), sum(len(row.document) for row in rows))


async def _rows(services: Services, call: Call, page: Page) -> tuple[list[AutomationRow], bool]:
    """Return the rows of the page, and whether there are more."""
    if call.apps is None:
        return await read_page(
            page,
            page.position,
            lambda after, limit: services.store.automations.page(call.tenant.id, after=after, limit=limit),
            lambda row: row.id,
            lambda row: len(row.document),
        )
    rows: list[AutomationRow] = []
    size = 0
    async for row, _ in documents(services, call, after=page.position):
        size += len(row.document)
        if len(rows) >= page.size or (rows and size > MAX_PAGE_BYTES):
            return rows, True
        rows.append(row)
    return rows, False


def _changed(stored: Automation, sent: Automation, mask: FieldMask | None) -> Automation:
    """Return the automation after the update."""
    if not mask:
        fields = {name: getattr(sent, name) for name in MUTABLE}
        if not sent.given("enabled"):
            # An omitted `enabled: false` must never switch anything on or off.
            fields["enabled"] = stored.enabled
        if sent.given("annotations"):
            fields["annotations"] = replaced(sent.annotations, "automation.annotations")
        else:
            fields["annotations"] = stored.annotations
        return with_fields(stored, **fields)
    mask = FieldMask.of([path for path in mask.paths if not _set_by_server(path)])
    problems = check_mask(mask, Automation, MUTABLE)
    if problems:
        raise InvalidArgument(problems=tuple(problems))
    changed = apply_mask(stored, sent, mask, MUTABLE)
    if {"*", "annotations"}.isdisjoint(mask.paths):
        return changed
    cleared = "annotations" in mask.paths and not sent.given("annotations")
    notes = {} if cleared else stored.annotations
    if "*" in mask.paths and not sent.given("enabled"):
        changed = with_fields(changed, enabled=stored.enabled)
    return with_fields(changed, annotations=merged(notes, sent.annotations, "automation.annotations"))


def _set_by_server(path: str) -> bool:
    """Whether a mask names a field of the server: clients that send back every field that they read name those, too."""
    field = shape_of(Automation).fields.get(path.partition(".")[0])
    return field is not None and field.name not in MUTABLE


def _breaker(automation: Automation) -> tuple[int, str]:
    """Return the stored form of the circuit breaker: the maximum of runs, and the period, a day by default."""
    if not automation.circuit_breaker_max:
        return 0, ""
    period = automation.circuit_breaker_period
    if period == CIRCUIT_BREAKER_PERIOD.zero:
        return automation.circuit_breaker_max, Period.DAY
    return automation.circuit_breaker_max, period.removeprefix(shown.BREAKER_PERIOD)


def _audit(call: Call, action: str, target: str, **details: object) -> AuditEntry:
    return AuditEntry(
        actor=call.actor, action=action, target=target, details=json.dumps(details, separators=(",", ":")).encode()
    )
