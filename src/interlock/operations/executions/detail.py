"""Our own view of one run: its steps and attempts with their inputs and outputs, its termination and its children."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from interlock.contract.base import from_stored, with_fields
from interlock.contract.steps import STEP_KINDS
from interlock.contract.webhooks import Webhook
from interlock.errors import InvalidArgument
from interlock.operations import shown
from interlock.operations.executions import handlers
from interlock.operations.executions.receipt import receipt_of
from interlock.operations.executions.receipt_markdown import markdown
from interlock.operations.executions.views import (
    AddendumView,
    AttemptView,
    ChildView,
    ExecutionDetail,
    ItemView,
    LateView,
    ReceiverView,
    RestoredView,
    StepView,
)
from interlock.operations.operation import Answer, Call, Document
from interlock.operations.scope import all_visible
from interlock.operations.services import Services
from interlock.operations.terminations.handlers import termination_view
from interlock.ports import Addendum, Definition, ItemRow, Reads, StepRow
from interlock.rules.model import Execution, Ref
from interlock.rules.outcomes import Outcome, Reached, shown_items
from interlock.rules.outcomes import shown as shown_outcome
from interlock.rules.states import TERMINAL, State
from interlock.steps import documents
from interlock.steps.targets import Resource

MAX_CHILDREN_SHOWN: Final = 100
MARKDOWN: Final = "text/markdown"


async def detail(services: Services, call: Call, body: None) -> Answer:
    """Return the whole record of one run, with secrets masked."""
    return Answer(await detail_of(services, call))


async def receipt(services: Services, call: Call, body: None) -> Answer:
    """Return the receipt of a run as JSON, or as Markdown if `format` or the Accept header requests it.

    Raises:
        InvalidArgument: `format` is neither `json` nor `markdown`.
    """
    accepted = call.headers.get("accept", "")
    wanted = call.query.get("format") or ("markdown" if accepted.startswith(MARKDOWN) else "json")
    if wanted not in {"json", "markdown"}:
        raise InvalidArgument.at("format", "must be json or markdown")
    found = receipt_of(await detail_of(services, call), services.steps.account)
    return Answer(found if wanted == "json" else Document(MARKDOWN, markdown(found)))


async def detail_of(services: Services, call: Call) -> ExecutionDetail:
    """Read the whole record of the run in the path from one snapshot.

    Raises:
        InvalidArgument: The id is malformed.
        NotFound: There is no such run.
    """
    async with services.store.snapshot() as reads:
        return await _shown(services, reads, call, await handlers.read(reads, call))


async def _shown(services: Services, reads: Reads, call: Call, row: Execution) -> ExecutionDetail:
    ref = row.ref
    definition = await reads.automations.definition(row.tenant, row.definition)
    children = await reads.executions.children(ref, limit=MAX_CHILDREN_SHOWN + 1)
    seen = await all_visible(reads, call, {child.automation for child in children})
    names = await shown.automation_names(reads, row.tenant, {row.automation, *seen})
    ended = row.completed_at
    return ExecutionDetail(
        id=row.id,
        automation_template_id=row.automation,
        automation_display_name=names[row.automation],
        current_version=definition.version if definition is not None else 0,
        is_draft=row.is_draft,
        state=row.state,
        waiting_for=row.waiting_for or "",
        wake_at=shown.moment(row.wake_at),
        step=row.step,
        trigger=documents.shown(await reads.executions.input(ref)),
        created_at=shown.moment(row.created_at),
        updated_at=shown.moment(row.updated_at),
        completed_at=shown.moment(ended),
        duration=None if ended is None else shown.length(max(0, ended - row.created_at)),
        parent=row.parent or 0,
        root=row.root,
        depth=row.depth,
        steps=await _steps(
            services,
            reads,
            row,
            _planned(definition),
            await reads.executions.steps(ref),
            await reads.executions.items(ref),
            await reads.addenda.of(ref),
        ),
        termination=await termination_view(reads, ref) if row.state in _STOPPED else None,
        children=tuple(
            ChildView(
                id=child.id,
                automation_template_id=child.automation,
                automation_display_name=names[child.automation] if child.automation in seen else "",
                state=child.state,
                created_at=shown.moment(child.created_at),
                completed_at=shown.moment(child.completed_at),
            )
            for child in children[:MAX_CHILDREN_SHOWN]
        ),
        more_children=len(children) > MAX_CHILDREN_SHOWN,
        frozen=services.store.frozen,
        restored=await _restored(reads, ref),
    )


async def _restored(reads: Reads, ref: Ref) -> RestoredView | None:
    found = await reads.executions.restored(ref)
    if found is None:
        return None
    known_until, restored_at = shown.moment(found.known_until), shown.moment(found.restored_at)
    return RestoredView(backup=found.backup, known_until=known_until, restored_at=restored_at)


_STOPPED: Final = frozenset({State.STOPPING, State.TERMINATE})


async def _steps(
    services: Services,
    reads: Reads,
    row: Execution,
    planned: Sequence[dict[str, Any]],
    rows: Sequence[StepRow],
    items: Sequence[ItemRow],
    addenda: Sequence[Addendum],
) -> tuple[StepView, ...]:
    attempts: dict[int, list[StepRow]] = {}
    for attempt in rows:
        attempts.setdefault(attempt.position, []).append(attempt)
    of_attempt: dict[tuple[int, int], list[ItemRow]] = {}
    for item in items:
        of_attempt.setdefault((item.position, item.attempt), []).append(item)
    steps = tuple(
        [
            await _step(services, reads, row, position, step, attempts.get(position, []), of_attempt)
            for position, step in enumerate(planned)
        ]
    )
    if not addenda:
        return steps
    return tuple(
        with_fields(
            step, addenda=tuple(addendum_view(each, step.name) for each in addenda if each.position == step.position)
        )
        for step in steps
    )


def addendum_view(found: Addendum, step: str) -> AddendumView:
    """Convert an addendum to its view; `step` is the name of its step."""
    return AddendumView(
        number=found.number,
        position=found.position,
        step=step,
        attempt=found.attempt,
        item=found.item,
        finding=found.finding,
        note=found.note,
        actor=shown.actor(found.actor),
        at=shown.moment(found.at),
    )


async def _step(
    services: Services,
    reads: Reads,
    row: Execution,
    position: int,
    step: dict[str, Any],
    attempts: Sequence[StepRow],
    items: dict[tuple[int, int], list[ItemRow]],
) -> StepView:
    named = StepView(
        position=position,
        name=step.get("stepName", ""),
        display_name=step.get("stepDisplayName", ""),
        kind=next((kind for kind in step if kind in STEP_KINDS), ""),
    )
    is_terminal = row.state in TERMINAL
    if not attempts:
        return named.model_copy(update={"outcome": str(Outcome.NOT_STARTED) if is_terminal else ""})
    last = attempts[-1]
    # An attempt that sent nothing does not replace the outcome of an earlier one that did.
    decisive = next((row for row in reversed(attempts) if row.outcome is not Outcome.INTERRUPTED_NOT_SENT), last)
    # The failure of an attempt at the current step is not the outcome of the step while a retry may follow.
    is_current = not is_terminal and row.step == position
    outcome = None if is_current else shown_outcome(decisive.outcome, row.state)
    return named.model_copy(
        update={
            "outcome": outcome or "",
            "idempotency_key": next((attempt.key for attempt in attempts if attempt.key is not None), ""),
            "receiver": await _receiver(services, reads, row, named.kind, attempts),
            "input": _json(last.input),
            "output": _json(last.output),
            "error": _error(decisive.error),
            "started_at": shown.moment(attempts[0].started_at),
            "settled_at": None if is_current else shown.moment(_settled_at(row, last)),
            "attempts": tuple(
                _attempt(row, attempt, items.get((position, attempt.attempt), [])) for attempt in attempts
            ),
        }
    )


async def _receiver(
    services: Services, reads: Reads, row: Execution, kind: str, attempts: Sequence[StepRow]
) -> ReceiverView | None:
    """Return the webhook that the announced step calls; None if it calls none, or was not announced."""
    given = next((_json(attempt.input) for attempt in attempts if attempt.input is not None), None)
    called = services.steps.receiver(kind, given) if isinstance(given, dict) else None
    if called is None or called.resource is not Resource.WEBHOOK:
        return None
    webhook = await reads.webhooks.get(row.tenant, called.id)
    if webhook is None:
        return ReceiverView(webhook_id=called.id)
    name = from_stored(Webhook, webhook.document).display_name
    return ReceiverView(webhook_id=called.id, display_name=name, url=webhook.url)


_IN_DOUBT: Final = frozenset({Outcome.INTERRUPTED_OUTCOME_UNKNOWN, Outcome.ABANDONED})


def in_doubt(outcome: str, reached: Reached | None) -> bool:
    """Whether the attempt may have reached the receiver without a complete answer.

    A failure is certain unless the step kind reported that it does not know whether the receiver was reached.
    """
    return outcome in _IN_DOUBT or (outcome == Outcome.FAILED and reached is Reached.UNKNOWN)


def _attempt(row: Execution, attempt: StepRow, items: Sequence[ItemRow]) -> AttemptView:
    outcome = shown_outcome(attempt.outcome, row.state) or ""
    outcomes = shown_items([item.outcome for item in items], attempt.outcome, attempt.reached, row.state)
    shown_as = [
        ItemView(
            name=item.name,
            outcome=item_outcome or "",
            idempotency_key=f"{attempt.key}:{item.item}" if attempt.key is not None else "",
            in_doubt=in_doubt(item_outcome or "", item.reached),
            settled_at=shown.moment(item.settled_at),
            output=_json(item.output),
            error=_error(item.error),
        )
        for item, item_outcome in zip(items, outcomes, strict=True)
    ]
    return AttemptView(
        number=attempt.attempt,
        outcome=outcome,
        in_doubt=in_doubt(outcome, attempt.reached) or any(item.in_doubt for item in shown_as),
        started_at=shown.moment(attempt.started_at),
        settled_at=shown.moment(_settled_at(row, attempt)),
        waiting_for=attempt.waiting_for or "",
        status=attempt.status or 0,
        phase=attempt.phase or "",
        error=_error(attempt.error),
        items=tuple(shown_as),
        late=tuple(_late(evidence, items) for evidence in _evidence(attempt.late)),
    )


def _late(evidence: dict[str, Any], items: Sequence[ItemRow]) -> LateView:
    number = evidence.get("item")
    return LateView(
        item=next((item.name for item in items if item.item == number), ""),
        outcome=evidence.get("outcome", ""),
        at=shown.moment(evidence.get("at")),
        status=evidence.get("status", 0),
        output=evidence.get("output"),
        error=evidence.get("error"),
    )


def _settled_at(row: Execution, attempt: StepRow) -> int | None:
    """Return when an attempt was settled: an attempt without a result was settled by the end of its run."""
    return attempt.settled_at if attempt.settled_at is not None else row.completed_at


def _json(text: bytes | None) -> Any:
    return None if text is None else documents.shown(text)


def _planned(definition: Definition | None) -> list[dict[str, Any]]:
    """Return the steps of a definition; an empty list if it was deleted or cannot be decoded."""
    found = None if definition is None else documents.shown(definition.steps)
    return found if isinstance(found, list) else []


def _error(text: bytes | None) -> Any:
    """Return a stored error, or an error that says that the stored one cannot be decoded."""
    error = _json(text)
    return error if error is None or isinstance(error, dict) else {"code": documents.Unreadable.code, "message": error}


def _evidence(text: bytes | None) -> list[dict[str, Any]]:
    """Return the late results; one result that says so if the stored list cannot be decoded."""
    found = _json(text)
    return found if isinstance(found, list) else [] if found is None else [{"output": found}]
