"""Searches over automations and over their versions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic import TypeAdapter

from interlock.contract.automations import Automation, AutomationTemplateVersion
from interlock.contract.base import LATER
from interlock.contract.search import (
    SearchAutomationsRequest,
    SearchAutomationsResponse,
    SearchAutomationTemplateVersionsRequest,
    SearchAutomationTemplateVersionsResponse,
)
from interlock.contract.steps import AutomationStep
from interlock.contract.triggers import AutomationTrigger
from interlock.errors import InvalidArgument, NotFound
from interlock.operations import shown
from interlock.operations.automations import handlers
from interlock.operations.operation import Answer, Call
from interlock.operations.paging import MAX_PAGE_BYTES, ROWS_PER_TURN, Pace, page_of, read_page
from interlock.operations.scope import require_visible
from interlock.operations.services import Services
from interlock.ports import AutomationRow, Definition
from interlock.system import yield_to_loop

Key = str | int
Document = dict[str, Any]

_STEPS: Final = TypeAdapter(tuple[AutomationStep, ...], config=LATER)
_TRIGGERS: Final = TypeAdapter(tuple[AutomationTrigger, ...], config=LATER)
_BY_LAST_EXECUTED: Final = "AUTOMATION_SORT_FIELD_LAST_EXECUTED_AT"
_DESCENDING: Final = "SORT_DIRECTION_DESC"


async def search(services: Services, call: Call, body: SearchAutomationsRequest) -> Answer:
    """List one page of the automations that match every filter. `query` is an id, or part of a name or description."""
    tenant = call.tenant.id
    query = body.model_dump(exclude={"page_size", "page_token"}, exclude_defaults=True)
    page = page_of(services, tenant, "automations", size=body.page_size, token=body.page_token, query=query)
    matches, key_of = _filter(body), _sort_key(body.sort_field)
    found: list[tuple[Key, str]] = [
        (key_of(row, document), row.id)
        async for row, document in handlers.documents(services, call)
        if matches(row, document)
    ]
    if body.sort_field == _BY_LAST_EXECUTED:
        found = await _by_last_executed(services, tenant, [id_ for _, id_ in found])
    descending = body.direction == _DESCENDING
    found.sort(reverse=descending)
    if page.position is not None:
        key, id_ = json.loads(page.position)
        last = (key, id_)
        found = [place for place in found if (place < last if descending else place > last)]
    rows: list[Automation] = []
    shown_count = size = 0
    pace = Pace()
    active = await shown.activity(services, tenant, [id_ for _, id_ in found[: page.size]])
    for place in found[: page.size]:
        row = await services.store.automations.get(tenant, place[1])
        if row is not None:
            size += len(row.document)
            if rows and size > MAX_PAGE_BYTES:
                break
            rows.append(shown.automation(row, active))
            await pace.after(len(row.document))
        shown_count += 1
    token = page.token(json.dumps(found[shown_count - 1])) if len(found) > shown_count else ""
    return Answer(SearchAutomationsResponse(list=tuple(rows), next_page_token=token))


async def search_versions(services: Services, call: Call, body: SearchAutomationTemplateVersionsRequest) -> Answer:
    """List one page of the published versions of an automation, newest first.

    Raises:
        NotFound: The automation is unknown or deleted.
    """
    id_, tenant = body.automation_template_id, call.tenant.id
    if not id_:
        raise InvalidArgument.at("automationTemplateId", "is required")
    if await services.store.automations.get(tenant, id_) is None:
        raise NotFound
    await require_visible(services.store, call, id_)
    page = page_of(services, tenant, "versions", size=body.page_size, token=body.page_token, query={"automation": id_})
    found, has_more = await read_page(
        page,
        page.number(),
        lambda before, limit: services.store.automations.versions(tenant, id_, before=before, limit=limit),
        lambda definition: definition.version,
        _size_of,
    )
    versions = []
    pace = Pace()
    for definition in found:
        versions.append(_version(definition))
        await pace.after(_size_of(definition))
    token = page.token(str(found[-1].version)) if has_more else ""
    return Answer(SearchAutomationTemplateVersionsResponse(list=tuple(versions), next_page_token=token))


def _size_of(definition: Definition) -> int:
    return len(definition.steps) + len(definition.triggers) + len(definition.context or b"")


def _version(definition: Definition) -> AutomationTemplateVersion:
    published_at = shown.moment(definition.created_at)
    return AutomationTemplateVersion(
        automation_template_id=definition.automation,
        version=definition.version,
        automation_steps=_STEPS.validate_json(definition.steps),
        triggers=_TRIGGERS.validate_json(definition.triggers),
        created_at=published_at,
        updated_at=published_at,
    )


def _filter(body: SearchAutomationsRequest) -> Callable[[AutomationRow, Document], bool]:
    apps = {*body.app_ids, *([body.app_id] if body.app_id else [])}
    ids = {ref.id for ref in body.refs}
    text = body.query.strip().lower()
    enabled = {name == "AUTOMATION_STATUS_FILTER_ON" for name in body.statuses if not name.endswith("_UNSPECIFIED")}
    triggers = {name for name in body.trigger_types if not name.endswith("_UNSPECIFIED")}

    def matches(row: AutomationRow, document: Document) -> bool:
        return (
            (not ids or row.id in ids)
            and (not apps or document.get("appId", "") in apps)
            and (not enabled or row.enabled in enabled)
            and (body.is_draft is None or document.get("isDraft", False) is body.is_draft)
            and (not triggers or shown.stored_triggers(document) in triggers)
            and (not text or row.id.lower() == text or text in _text(document))
        )

    return matches


def _text(document: Document) -> str:
    return f"{document.get('displayName', '')}\n{document.get('description', '')}".lower()


async def _by_last_executed(services: Services, tenant: int, ids: Sequence[str]) -> list[tuple[Key, str]]:
    """Return the ids of automations with the times at which they were last executed, 0 for never."""
    found: list[tuple[Key, str]] = []
    for first in range(0, len(ids), ROWS_PER_TURN):
        batch = ids[first : first + ROWS_PER_TURN]
        times = await services.store.executions.last_executed(tenant, batch)
        found += [(times.get(id_, 0), id_) for id_ in batch]
        await yield_to_loop()
    return found


def _sort_key(field: str) -> Callable[[AutomationRow, Document], Key]:
    keys: dict[str, Callable[[AutomationRow, Document], Key]] = {
        "AUTOMATION_SORT_FIELD_DISPLAY_NAME": lambda row, document: str(document.get("displayName", "")).lower(),
        "AUTOMATION_SORT_FIELD_CREATED_AT": lambda row, document: row.created_at,
        "AUTOMATION_SORT_FIELD_ENABLED": lambda row, document: int(row.enabled),
        "AUTOMATION_SORT_FIELD_PRIMARY_TRIGGER_TYPE": lambda row, document: shown.stored_triggers(document),
    }
    return keys.get(field, lambda row, document: row.id)
