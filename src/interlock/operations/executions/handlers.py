"""Operations on executions in C1's messages: start, get, list and search them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from interlock.contract.automations import Automation, ExecuteAutomationRequest
from interlock.contract.base import from_stored, pack_any
from interlock.contract.executions import (
    AutomationExecution,
    AutomationExecutionExpandMask,
    AutomationExecutionView,
    GetAutomationExecutionResponse,
    ListAutomationExecutionsResponse,
)
from interlock.contract.fingerprint import fingerprint
from interlock.contract.ids import parse_id
from interlock.contract.search import (
    SearchAllAutomationExecutionsRequest,
    SearchAllAutomationExecutionsResponse,
    SearchAutomationExecutionsRequest,
    SearchAutomationExecutionsResponse,
)
from interlock.engine.start import StartRequest
from interlock.errors import FailedPrecondition, InvalidArgument, NotFound
from interlock.operations import shown
from interlock.operations.automations import handlers as automations
from interlock.operations.automations import publish
from interlock.operations.operation import Answer, Call
from interlock.operations.paging import MAX_PAGE_BYTES, Pace, Page, limited, page_of, page_of_query, yield_after_rows
from interlock.operations.preferences import Preferences, read_preferences
from interlock.operations.scope import require_visible
from interlock.operations.services import Services
from interlock.ports import AutomationRow, Idempotency, Reads
from interlock.rules.model import SECOND, Execution, Ref
from interlock.rules.states import TERMINAL, State
from interlock.rules.subject import UNUSABLE_SUBJECT, unusable_subject
from interlock.system import yield_to_loop

REPLAYED_HEADER: Final = "Idempotency-Replayed"
"""Header of an answer that repeats the answer to an earlier request with the same key."""
STATE_HEADER: Final = "Interlock-Execution"
"""Header of a delayed answer with the state of the run at that time."""
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_NOTHING: Final[dict[str, Any]] = {}
_EXPANDED: Final = frozenset({"*", "automation_template_id", "automationTemplateId"})


# --- start ------------------------------------------------------------------------------------------------------------


async def execute(services: Services, call: Call, body: ExecuteAutomationRequest) -> Answer:
    """Start a run on demand, whether or not the automation is enabled.

    Header `Idempotency-Key`: for 24 hours, the same key with the same message of the same client returns the first run
    of the automation, marked as a replay; with another message it is `AlreadyExists`. A known key is answered before
    the automation is read, so that a retry finds its run even if the automation was changed or deleted.

    Header `Prefer`: `wait=N` delays the answer until the run is terminal or N seconds have passed; a replay waits for
    the first run.

    Raises:
        AlreadyExists: The key was used with another message.
        NotFound: The automation is unknown.
        FailedPrecondition: It has no steps to run.
    """
    key = call.headers.get("idempotency-key")
    idempotency = None if key is None else _idempotency(key, body)
    if idempotency is not None:
        replayed = await services.store.executions.started_by(
            call.tenant.id, call.actor.client, call.path["id"], idempotency, services.clock.now()
        )
        if replayed is not None:
            return _started(services, call, replayed, is_replayed=True)
    row = await automations.read(services, call)
    trigger = body.context.context if body.context is not None else None
    if body.is_draft:
        definition: int | None = await _draft(services, call, row)
    else:
        definition = row.definition
    facts = None if definition is None else await shown.plan_facts(services, row.tenant, definition)
    if definition is None or facts is None or facts.empty:
        raise FailedPrecondition(
            "the automation's draft has no steps; update draftAutomationSteps"
            if body.is_draft
            else "the automation has no published steps; publish its steps (update isDraft to false), or run the draft "
            "(isDraft in this request)"
        )
    _check_subject(trigger or _NOTHING, facts.unusable_subject)
    started = await services.starter.start(
        StartRequest(
            row.tenant,
            row.id,
            definition,
            call.actor,
            trigger or _NOTHING,
            body.is_draft,
            idempotency,
            lease=None if body.lease is None else body.lease.nanos // 1000,
        )
    )
    return _started(services, call, started.execution.id, is_replayed=started.repeated)


def _started(services: Services, call: Call, execution: int, *, is_replayed: bool) -> Answer:
    message = {"executionId": str(execution)}
    headers = ((REPLAYED_HEADER, "true"),) if is_replayed else ()
    prefer = call.headers.get("prefer")
    seconds = None if prefer is None else read_preferences(prefer).wait
    if seconds is None:
        return Answer(message, headers)

    async def held() -> Answer:
        state = await _state_after(services, Ref(call.tenant.id, execution), seconds)
        applied = ("Preference-Applied", Preferences(wait=seconds).applied)
        return Answer(message, (*headers, (STATE_HEADER, f"state={state}"), applied))

    return Answer(later=held)


async def _state_after(services: Services, ref: Ref, seconds: int) -> State:
    """Return the state of a run when it is terminal, after `seconds`, or when the server stops.

    Raises:
        NotFound: The run has been deleted.
    """
    until = services.clock.now() + seconds * SECOND
    with services.feed.watch(ref) as watch:
        while True:
            row = await services.store.executions.get(ref)
            if row is None:
                raise NotFound
            if row.state in TERMINAL or services.feed.closed or not await watch.change(services.clock, until):
                return row.state


def _check_subject(trigger: dict[str, Any], by_default: str | None) -> None:
    """Check that the subject of a run is a valid id.

    Args:
        trigger: The data that the request starts the run with.
        by_default: The invalid subject member of the automation's own context, if there is one.

    Raises:
        InvalidArgument: The member that names the subject is not a valid id.
    """
    wrong = unusable_subject(trigger)
    if wrong is None and by_default is not None and by_default not in trigger:
        wrong = by_default
    if wrong is not None:
        raise InvalidArgument.at(f"context.context.{wrong}", UNUSABLE_SUBJECT)


async def _draft(services: Services, call: Call, row: AutomationRow) -> int:
    """Store the current draft as a definition, which the run uses even if the draft changes, and return its id."""
    document = from_stored(Automation, row.document)
    (await publish.check(services, call, document, draft=True)).refuse()
    definition = publish.definition_of(call, row, document, services.clock.now(), draft=True)
    return (await services.store.automations.draft(definition)).id


def _idempotency(key: str, body: ExecuteAutomationRequest) -> Idempotency:
    """Return the key with the fingerprint of the whole message, which covers future members, too."""
    if not _KEY.fullmatch(key):
        raise InvalidArgument.at("Idempotency-Key", "must be 1 to 255 visible ASCII characters")
    return Idempotency(key=key, body=fingerprint(body))


# --- read -------------------------------------------------------------------------------------------------------------


async def get(services: Services, call: Call, body: None) -> Answer:
    """Return one run with its trigger data."""
    row = await read(services.store, call)
    found = await shown.execution(services, row, await services.store.executions.input(row.ref))
    view = AutomationExecutionView(automation_execution=found)
    return Answer(GetAutomationExecutionResponse(automation_execution=found, view=view))


async def list_all(services: Services, call: Call, body: None) -> Answer:
    """List one page of all runs, newest first."""
    page = page_of_query(services, call, "executions")
    criteria = await _visible(services, call)
    rows: list[Execution] = []
    if not criteria.is_impossible:
        automations_ = tuple(criteria.automations or ())
        rows = await services.store.executions.page(
            call.tenant.id, automations=automations_, before=page.number(), limit=page.size + 1
        )
    found, token = await _shown(services, rows, page)
    return Answer(ListAutomationExecutionsResponse(automation_executions=tuple(found), next_page_token=token))


async def search(services: Services, call: Call, body: SearchAutomationExecutionsRequest) -> Answer:
    """List one page of the runs of an automation, or of the runs with these ids, newest first.

    `query` is the id of an execution, or part of the name of an automation.
    """
    tenant = call.tenant.id
    criteria = await _visible(services, call)
    criteria.states = shown.states_of(body.execution_step_states)
    if body.execution_id:
        criteria.only_ids({body.execution_id})
    if body.refs:
        criteria.only_ids({ref.id for ref in body.refs})
    if body.automation_template_id:
        criteria.only_automations({body.automation_template_id})
    text = body.query.strip().lower()
    if text.isascii() and text.isdigit():
        criteria.only_ids({parse_id(text, "query")})
    elif text:
        criteria.only_automations(await _named(services, call, text))
    page = _page(services, tenant, "search", body)
    found, token, expanded = await _found(services, tenant, criteria, page, body.expand_mask)
    return Answer(SearchAutomationExecutionsResponse(list=found, expanded=expanded, next_page_token=token))


async def search_all(services: Services, call: Call, body: SearchAllAutomationExecutionsRequest) -> Answer:
    """List one page of the runs of any automations, newest first."""
    tenant = call.tenant.id
    criteria = await _visible(services, call)
    criteria.states = shown.states_of(body.execution_states)
    if body.automation_template_ids:
        criteria.only_automations(set(limited(body.automation_template_ids, "automationTemplateIds")))
    if body.app_ids:
        criteria.only_automations(await _of_apps(services, call, frozenset(body.app_ids)))
    criteria.subjects = limited(body.subject_user_ids, "subjectUserIds")
    page = _page(services, tenant, "search_all", body)
    found, token, expanded = await _found(services, tenant, criteria, page, body.expand_mask)
    return Answer(SearchAllAutomationExecutionsResponse(list=found, expanded=expanded, next_page_token=token))


async def read(reads: Reads, call: Call) -> Execution:
    """Return the run in the path.

    Raises:
        InvalidArgument: The id is malformed.
        NotFound: The run is unknown, or not visible to the caller.
    """
    row = await reads.executions.get(Ref(call.tenant.id, parse_id(call.path["id"])))
    if row is None:
        raise NotFound
    await require_visible(reads, call, row.automation)
    return row


@dataclass(slots=True)
class SearchCriteria:
    """The criteria of a search; None where it has none."""

    states: tuple[State, ...] | None = None
    ids: set[int] | None = None
    automations: set[str] | None = None
    subjects: Sequence[str] = ()
    """Empty for any subject. A search with ids ignores it."""

    def only_ids(self, ids: set[int]) -> None:
        self.ids = ids if self.ids is None else self.ids & ids

    def only_automations(self, automations: set[str]) -> None:
        self.automations = automations if self.automations is None else self.automations & automations

    @property
    def is_impossible(self) -> bool:
        return any(part is not None and not part for part in (self.states, self.ids, self.automations))

    def matches(self, row: Execution) -> bool:
        return (self.states is None or row.state in self.states) and (
            self.automations is None or row.automation in self.automations
        )


def _page(
    services: Services,
    tenant: int,
    operation: str,
    body: SearchAutomationExecutionsRequest | SearchAllAutomationExecutionsRequest,
) -> Page:
    query = body.model_dump(exclude={"page_size", "page_token", "expand_mask"}, exclude_defaults=True)
    return page_of(services, tenant, operation, size=body.page_size, token=body.page_token, query=query)


async def _found(
    services: Services, tenant: int, criteria: SearchCriteria, page: Page, expand: AutomationExecutionExpandMask | None
) -> tuple[tuple[AutomationExecutionView, ...], str, tuple[dict[str, Any], ...]]:
    rows: list[Execution] = []
    if criteria.is_impossible:
        pass
    elif criteria.ids is not None:
        below = page.number()
        ids = sorted((id_ for id_ in criteria.ids if below is None or id_ < below), reverse=True)
        for first in range(0, len(ids), page.size + 1):
            found_ = await services.store.executions.get_many(tenant, ids[first : first + page.size + 1])
            rows += filter(criteria.matches, found_)
            if len(rows) > page.size:
                break
            await yield_to_loop()
    else:
        rows = await services.store.executions.page(
            tenant,
            automations=tuple(criteria.automations or ()),
            states=criteria.states or (),
            subjects=criteria.subjects,
            before=page.number(),
            limit=page.size + 1,
        )
    found, token = await _shown(services, rows, page)
    expanded: dict[str, int] = {}
    packed: list[dict[str, Any]] = []
    if expand is not None and not _EXPANDED.isdisjoint(expand.paths):
        size, pace = 0, Pace()
        named = tuple(dict.fromkeys(execution.automation_template_id for execution in found))
        active = await shown.activity(services, tenant, named)
        for number, execution in enumerate(found):
            id_text = execution.automation_template_id
            if id_text not in expanded:
                row_ = await services.store.automations.get(tenant, id_text)
                if row_ is None:
                    continue
                size += len(row_.document)
                if packed and size > MAX_PAGE_BYTES:
                    # A run whose automation does not fit is on the next page.
                    found, token = found[:number], page.token(str(found[number - 1].id))
                    break
                expanded[id_text] = len(packed)
                packed.append(pack_any(shown.automation(row_, active)))
                await pace.after(len(row_.document))
    views = tuple(
        AutomationExecutionView(
            automation_execution=execution,
            automation_path=f"$.expanded[{expanded[execution.automation_template_id]}]"
            if execution.automation_template_id in expanded
            else "",
        )
        for execution in found
    )
    return views, token, tuple(packed)


async def _shown(services: Services, rows: Sequence[Execution], page: Page) -> tuple[list[AutomationExecution], str]:
    """Convert the rows of the page, and return the token of the next one. Lists do not show trigger data."""
    found: list[AutomationExecution] = []
    for row in rows[: page.size]:
        found.append(await shown.execution(services, row))
        await yield_after_rows(len(found))
    return found, page.token(str(rows[page.size - 1].id)) if len(rows) > page.size else ""


async def _named(services: Services, call: Call, text: str) -> set[str]:
    """Return the automations whose name contains `text` (lower case)."""
    return {
        row.id
        async for row, document in automations.documents(services, call)
        if text in str(document.get("displayName", "")).lower()
    }


async def _of_apps(services: Services, call: Call, apps: frozenset[str]) -> set[str]:
    return {row.id async for row, document in automations.documents(services, call) if document.get("appId") in apps}


async def _visible(services: Services, call: Call) -> SearchCriteria:
    """Return the criteria that match all runs that the caller may see."""
    criteria = SearchCriteria()
    if call.apps is not None:
        criteria.only_automations(await _of_apps(services, call, call.apps))
    return criteria
