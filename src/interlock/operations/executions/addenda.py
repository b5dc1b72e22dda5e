"""Addenda: an operator asked the receiver about a step whose outcome is unknown, and adds the finding to the record.

An addendum does not change the recorded outcome: the result at the end of the run, and a later finding, are two facts.
"""

from __future__ import annotations

import json
from typing import Final

from interlock.errors import FailedPrecondition, InvalidArgument, NotFound
from interlock.operations.executions.detail import addendum_view, detail_of
from interlock.operations.executions.receipt import in_doubt, items_of, questions, receipt_of
from interlock.operations.executions.views import (
    FINDING,
    AttemptView,
    CreateAddendumRequest,
    ExecutionDetail,
    Receipt,
    StepView,
)
from interlock.operations.operation import Answer, Call
from interlock.operations.services import Services
from interlock.ports import Addendum, AddendumFinding, AuditEntry
from interlock.rules.model import Ref
from interlock.rules.outcomes import Outcome

ACTION: Final = "execution.addendum"


async def create(services: Services, call: Call, body: CreateAddendumRequest) -> Answer:
    """Add a finding to the record of a terminal run. The same finding, sent again within a day, is added once.

    In a frozen store no run moves, and steps that were open in the backup may have been performed after it: such a
    store accepts addenda to active runs, too.

    Raises:
        NotFound: There is no such run.
        InvalidArgument: The body names no step, or the run has no such step, attempt or item.
        FailedPrecondition: The run is active, or the outcome of the step is known.
        Unavailable: The commit failed, for example because the disk is full; nothing was added.
    """
    detail = await detail_of(services, call)
    if body.finding == FINDING.zero:
        raise InvalidArgument.at("finding", f"is required: one of {', '.join(AddendumFinding)}")
    step = _step(detail, body)
    receipt = receipt_of(detail, services.steps.account)
    if not receipt.settled and not receipt.frozen:
        raise FailedPrecondition(
            f"the execution is {detail.state}: its outcomes are still being recorded; terminate it, or wait"
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
    """Return the recorded outcome of the step, attempt or item that the addendum is about; it must be in doubt."""
    attempt = _attempt(step, body.attempt)
    items = {item.name: item.outcome for item in items_of(step.attempts if attempt is None else [attempt])}
    if body.item not in items and (body.item or items):
        known = f"one of {', '.join(items)}"[:200] if items else "absent: the step has no items"
        raise InvalidArgument.at("item", f"must be {known}")
    recorded = items.get(body.item) or (step if attempt is None else attempt).outcome
    asked = any((entry.position, entry.item) == (step.position, body.item) for entry in questions(receipt))
    known_of_attempt = attempt is not None and not _doubtful(receipt, attempt, body.item)
    if not asked or known_of_attempt:
        raise FailedPrecondition(
            f"nothing is in doubt: the recorded outcome is {recorded}; an addendum is for entries that the receipt "
            "lists as unknown"
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
