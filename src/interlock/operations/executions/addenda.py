"""Addenda: somebody has asked the far end what became of a step that was in doubt, and adds it to the record.

The recorded outcome is not touched: what the run knew when it ended, and what a person learned later, are two facts.
"""

from __future__ import annotations

import json
from typing import Final

from interlock.errors import FailedPrecondition, InvalidArgument, NotFound
from interlock.operations.executions.detail import addendum_view, detail_of
from interlock.operations.executions.receipt import Receipt, in_doubt, items_of, questions, receipt_of
from interlock.operations.executions.views import FINDING, AttemptView, CreateAddendumRequest, ExecutionDetail, StepView
from interlock.operations.operation import Answer, Call
from interlock.operations.services import Services
from interlock.ports import Addendum, AddendumFinding, AuditEntry
from interlock.rules.model import Ref
from interlock.rules.outcomes import Outcome

ACTION: Final = "execution.addendum"


async def create(services: Services, call: Call, body: CreateAddendumRequest) -> Answer:
    """Add a finding to the record of a run that is at its end. The same one sent again within a day is added once.

    Raises:
        NotFound: there is no such run.
        InvalidArgument: it has no such step, attempt or item, or the body says of none.
        FailedPrecondition: the run is not at its end, or what became of the step is on record. In a restored store that
            is frozen nothing goes on, and what was not at its end in the backup may have been done after it.
        Unavailable: the commit could not be made, the disk being full, for one; nothing was added.
    """
    detail = await detail_of(services, call)
    if body.finding == FINDING.zero:
        raise InvalidArgument.at("finding", f"is required: one of {', '.join(AddendumFinding)}")
    step = _step(detail, body)
    receipt = receipt_of(detail)
    if not receipt.settled and not receipt.frozen:
        raise FailedPrecondition(
            f"the execution is {detail.state}: what becomes of its steps is still being recorded; terminate it, or wait"
        )
    recorded = _recorded(receipt, step, body)
    new = Addendum(
        ref=Ref(call.tenant.id, detail.id),
        position=step.position,
        finding=AddendumFinding(body.finding),
        actor=call.actor,
        at=services.clock.now(),
        attempt=body.attempt,
        item=body.item,
        note=body.note,
    )
    details = {
        "position": step.position,
        "step": step.name,
        "attempt": body.attempt,
        "item": body.item,
        "recorded": recorded,
        "finding": new.finding,
    }
    audit = AuditEntry(
        actor=call.actor,
        action=ACTION,
        target=str(detail.id),
        reason=body.note,
        details=json.dumps(details, separators=(",", ":")).encode(),
    )
    added = await services.store.addenda.add(new, audit)
    if added is None:
        raise NotFound
    return Answer(addendum_view(added, step.name))


def _step(detail: ExecutionDetail, body: CreateAddendumRequest) -> StepView:
    if not body.step and body.position is None:
        raise InvalidArgument.at("step", "is required: the name of the step, or its position")
    if body.position is not None:
        if not 0 <= body.position < len(detail.steps):
            raise InvalidArgument.at("position", f"the execution has {len(detail.steps)} steps, numbered from 0")
        step = detail.steps[body.position]
        if body.step and body.step != step.name:
            raise InvalidArgument.at("step", f"the step at position {body.position} has another name")
        return step
    found = [step for step in detail.steps if step.name == body.step]
    if not found:
        raise InvalidArgument.at("step", "the execution has no step of this name")
    return found[0]


def _recorded(receipt: Receipt, step: StepView, body: CreateAddendumRequest) -> str:
    """What is on record of that which the addendum is about, and which is in doubt."""
    attempt = _attempt(step, body.attempt)
    items = {item.name: item.outcome for item in items_of(step.attempts if attempt is None else [attempt])}
    if body.item not in items and (body.item or items):
        known = f"one of {', '.join(items)}"[:200] if items else "left out: the step has no items to tell apart"
        raise InvalidArgument.at("item", f"must be {known}")
    recorded = items.get(body.item) or (step if attempt is None else attempt).outcome
    asked = any((entry.position, entry.item) == (step.position, body.item) for entry in questions(receipt))
    known_of_attempt = attempt is not None and not _doubtful(receipt, attempt, body.item)
    if not asked or known_of_attempt:
        raise FailedPrecondition(
            f"nothing is in doubt there: {recorded} is on record; an addendum is for what the receipt lists as unknown"
        )
    return recorded


def _attempt(step: StepView, number: int) -> AttemptView | None:
    if not number:
        return None
    found = next((attempt for attempt in step.attempts if attempt.number == number), None)
    if found is None:
        raise InvalidArgument.at("attempt", f"the step has {len(step.attempts)} attempts, numbered from 1")
    return found


def _doubtful(receipt: Receipt, attempt: AttemptView, item: str) -> bool:
    return receipt.restored is not None or in_doubt(attempt, item) or attempt.outcome == Outcome.INTERRUPTED_WAITING
