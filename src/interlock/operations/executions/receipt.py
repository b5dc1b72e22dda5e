"""The receipt of a run: which steps are done, interrupted, unknown, and never started.

The server derives it from the record of the run for each request, and it states only what the record proves: a request
that may have been sent and got no complete answer is listed as unknown, whatever the outcome of later attempts.
A later finding about such an entry is added to it, and does not move it to another list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from interlock.contract.base import with_fields
from interlock.contract.times import Timestamp
from interlock.operations.executions.receipt_addenda import minute, resolved, since
from interlock.operations.executions.views import (
    AddendumView,
    AttemptView,
    ExecutionDetail,
    ItemView,
    Receipt,
    ReceiptEntry,
    StepView,
)
from interlock.ports import Phase
from interlock.rules.outcomes import Outcome
from interlock.rules.states import TERMINAL, State, WaitingFor

_LISTS: Final[dict[Outcome, str]] = {
    Outcome.SUCCEEDED: "done",
    Outcome.FAILED: "failed",
    Outcome.SKIPPED: "done",
    Outcome.NOT_STARTED: "never_started",
    Outcome.INTERRUPTED_NOT_SENT: "interrupted",
    Outcome.INTERRUPTED_RESPONSE: "interrupted",
    Outcome.INTERRUPTED_WAITING: "interrupted",
    Outcome.INTERRUPTED_PARTLY: "unknown",
    Outcome.INTERRUPTED_OUTCOME_UNKNOWN: "unknown",
    Outcome.ABANDONED: "unknown",
}
_IN_DOUBT: Final = frozenset({Outcome.INTERRUPTED_OUTCOME_UNKNOWN, Outcome.ABANDONED})
_SENT_NOTHING: Final = frozenset({"", Outcome.NOT_STARTED, Outcome.INTERRUPTED_NOT_SENT})


AccountOfKind = Callable[[str, object], str | None]
"""Takes a step kind and what a step of it returned."""


def receipt_of(detail: ExecutionDetail, account: AccountOfKind = lambda kind, output: None) -> Receipt:
    """Derive the receipt of a run from its whole record.

    Args:
        detail: the record.
        account: gives the sentence of a step kind for a step that succeeded; None: the general sentence.
    """
    is_terminal = detail.state in TERMINAL
    lists: dict[str, list[ReceiptEntry]] = {name: [] for name in {*_LISTS.values(), "open", "late"}}
    for step in detail.steps:
        for name, entry in _entries(step, detail, account):
            addenda = tuple(each for each in step.addenda if each.item == entry.item)
            lists[name].append(_with_addenda(entry, addenda, name, step) if addenda or name == "unknown" else entry)
        lists["late"] += _late(step)
    return Receipt(
        execution_id=detail.id,
        automation_template_id=detail.automation_template_id,
        automation_display_name=detail.automation_display_name,
        current_version=detail.current_version,
        is_draft=detail.is_draft,
        state=detail.state,
        settled=is_terminal,
        created_at=detail.created_at,
        completed_at=detail.completed_at,
        termination=detail.termination,
        children=detail.children,
        more_children=detail.more_children,
        frozen=detail.frozen,
        restored=detail.restored,
        unresolved=sum(not entry.resolved for entry in lists["unknown"]),
        **{name: tuple(entries) for name, entries in lists.items()},
    )


def questions(receipt: Receipt) -> Iterable[ReceiptEntry]:
    """Yield the entries for which an addendum is possible.

    These are unknown entries, and calls that the receiver accepted to answer them later. In a restored store they are
    all entries that were open in the backup.
    """
    yield from receipt.unknown
    for entry in receipt.interrupted:
        if receipt.restored is not None or (entry.accepted):
            yield entry
    if receipt.restored is not None:
        yield from receipt.never_started
        yield from receipt.open


def _entries(step: StepView, detail: ExecutionDetail, account: AccountOfKind) -> Iterable[tuple[str, ReceiptEntry]]:
    state = detail.state
    if not step.outcome:
        here = detail.step == step.position and state not in TERMINAL
        retry = here and detail.waiting_for == WaitingFor.RETRY
        polls = here and detail.waiting_for == WaitingFor.POLL
        waits = here and detail.waiting_for in _WAITS and not polls
        yield (
            "open",
            with_fields(
                _entry(step, "", _still_open(step, detail.wake_at if retry or waits or polls else None)),
                next_attempt_at=detail.wake_at if retry else None,
                next_poll_at=detail.wake_at if polls else None,
                waits_until=detail.wake_at if waits else None,
            ),
        )
        return
    outcome = Outcome(step.outcome)
    if items := items_of(step.attempts):
        for item in items:
            named = Outcome(item.outcome) if item.outcome else Outcome.NOT_STARTED
            doubtful = named is not Outcome.SUCCEEDED and any(in_doubt(each, item.name) for each in step.attempts)
            yield "unknown" if doubtful else _LISTS[named], _item(step, item, named, doubtful)
        return
    doubtful = outcome is not Outcome.SUCCEEDED and any(in_doubt(attempt) for attempt in step.attempts)
    of_kind = account(step.kind, step.output) if outcome is Outcome.SUCCEEDED else None
    text = _account(step, outcome, state, doubtful) if of_kind is None else of_kind
    yield "unknown" if doubtful else _LISTS[outcome], _entry(step, outcome, text)


def items_of(attempts: Iterable[AttemptView]) -> list[ItemView]:
    """Return the outcome of each item over all attempts at a step; an attempt announces only the open items.

    An attempt that sent nothing for an item does not replace the outcome of an earlier attempt that did.
    """
    found: dict[str, ItemView] = {}
    for attempt in attempts:
        for item in attempt.items:
            if item.name not in found or item.outcome not in _SENT_NOTHING:
                found[item.name] = item
    return list(found.values())


def _with_addenda(entry: ReceiptEntry, addenda: tuple[AddendumView, ...], name: str, step: StepView) -> ReceiptEntry:
    doubtful = [attempt for attempt in step.attempts if in_doubt(attempt, entry.item)]
    return with_fields(
        entry,
        addenda=addenda,
        since=since(addenda[-1]) if addenda else "",
        resolved=name == "unknown" and resolved(doubtful or step.attempts[-1:], addenda, whole=not entry.item),
    )


def in_doubt(attempt: AttemptView, item: str = "") -> bool:
    """Whether the attempt, or its `item`, may have reached the receiver without a complete answer."""
    if item:
        return any(each.name == item and each.in_doubt for each in attempt.items)
    return attempt.in_doubt


def _entry(step: StepView, outcome: str, account: str) -> ReceiptEntry:
    return ReceiptEntry(
        position=step.position,
        step=step.name,
        display_name=step.display_name,
        kind=step.kind,
        outcome=outcome,
        account=account,
        idempotency_key=step.idempotency_key if any(map(_was_made, step.attempts)) else "",
        receiver=step.receiver,
        accepted=outcome == Outcome.INTERRUPTED_WAITING and _was_accepted(step),
        answer="" if step.outcome == Outcome.SUCCEEDED else _last_refusal(step),
        attempts=sum(map(_is_call, step.attempts)),
        status=next((attempt.status for attempt in reversed(step.attempts) if attempt.status), 0),
        started_at=step.started_at,
        settled_at=step.settled_at,
    )


def _is_call(attempt: AttemptView) -> bool:
    """Whether the row is an attempt: a callback between two attempts has a row of its own, and is not an attempt."""
    return attempt.waiting_for != WaitingFor.CALLBACK or bool(attempt.status or attempt.phase)


def _was_made(attempt: AttemptView) -> bool:
    """Whether the attempt was announced; an attempt that failed in preparation has no phase, and sent nothing."""
    return bool(attempt.phase or attempt.status) or attempt.outcome != Outcome.FAILED


def _was_accepted(step: StepView) -> bool:
    """Whether the receiver accepted the last attempt, and its result was to come later.

    A wait without a call has neither a phase nor a status. An attempt that was accepted while its run was stopping has
    no wait.
    """
    last = step.attempts[-1] if step.attempts else None
    return last is not None and (last.waiting_for in _OF_CALLS or bool(last.phase or last.status))


def _last_refusal(step: StepView) -> str:
    return next((text for attempt in reversed(step.attempts) if (text := _refusal(attempt))), "")


def _refusal(attempt: AttemptView) -> str:
    """Return the beginning of the receiver's error answer, from the error of the attempt or from late evidence."""
    for error in (attempt.error, *(late.error for late in attempt.late)):
        if isinstance(error, dict) and isinstance(text := error.get("body"), str):
            return text
    return ""


def _item(step: StepView, item: ItemView, outcome: Outcome, doubtful: bool) -> ReceiptEntry:
    account = _ACCOUNTS[outcome]
    if doubtful and outcome not in _IN_DOUBT:
        account = f"{account} {_EARLIER_IN_DOUBT}"
    entry = _entry(step, outcome, account)
    made = [each for attempt in step.attempts for each in attempt.items if each.name == item.name]
    error = item.error
    return with_fields(
        entry,
        item=item.name,
        settled_at=item.settled_at,
        status=0,
        attempts=sum(each.outcome not in _SENT_NOTHING for each in made),
        idempotency_key=item.idempotency_key if outcome is not Outcome.NOT_STARTED else "",
        answer=text if isinstance(error, dict) and isinstance(text := error.get("body"), str) else "",
    )


def _late(step: StepView) -> list[ReceiptEntry]:
    return [
        with_fields(
            _entry(step, late.outcome, _late_account(step, late.outcome, late.status)),
            item=late.item,
            status=late.status,
            started_at=attempt.started_at,
            settled_at=late.at,
        )
        for attempt in step.attempts
        for late in attempt.late
    ]


# --- sentences --------------------------------------------------------------------------------------------------------

_FAILED: Final = "Failed."
_EARLIER_IN_DOUBT: Final = "An earlier attempt was sent and got no complete answer, so it may have had its effect."
_ACCOUNTS: Final[dict[Outcome, str]] = {
    Outcome.SUCCEEDED: "Done.",
    Outcome.FAILED: _FAILED,
    Outcome.SKIPPED: "Skipped by its condition.",
    Outcome.NOT_STARTED: "Never started.",
    Outcome.INTERRUPTED_NOT_SENT: "Terminated before anything was sent.",
    Outcome.INTERRUPTED_OUTCOME_UNKNOWN: (
        "The connection was closed during the request: whether the request had its effect is unknown."
    ),
    Outcome.INTERRUPTED_RESPONSE: "The receiver answered; the rest of its answer was not read.",
    Outcome.INTERRUPTED_WAITING: "Terminated while it waited.",
    Outcome.INTERRUPTED_PARTLY: "Terminated in the middle: some items are done, the rest are not.",
    Outcome.ABANDONED: (
        "The attempt was abandoned without a result, or its server was lost: whether it had its effect is unknown."
    ),
}


_CUT_DURING: Final[dict[str, str]] = {
    Phase.WRITING: "The request was still being sent when the connection was closed",
    Phase.WAITING: "The whole request was sent, and no answer had arrived, when the connection was closed",
}

_WAITS: Final[dict[str, str]] = {
    WaitingFor.TIMER: "In progress: it waits for a time.",
    WaitingFor.CALLBACK: "In progress: the receiver accepted the call and will answer later.",
    WaitingFor.TASK: "In progress: it waits for a person.",
    WaitingFor.POLL: "In progress: the receiver accepted the call, and is asked for the result.",
}
_OF_CALLS: Final = frozenset({WaitingFor.CALLBACK, WaitingFor.POLL})
"""What only an attempt waits for whose receiver accepted the call."""


def _account(step: StepView, outcome: Outcome, state: str, doubtful: bool) -> str:
    status = next((attempt.status for attempt in reversed(step.attempts) if attempt.status), 0)
    parts = [_first_sentence(step, outcome, status)]
    sent = [attempt for attempt in step.attempts if attempt.outcome != Outcome.INTERRUPTED_NOT_SENT]
    last_in_doubt = bool(sent) and in_doubt(sent[-1])
    if doubtful and outcome is Outcome.FAILED and last_in_doubt and _was_polled(step):
        parts.append("The receiver had accepted the call, so it may have had its effect.")
    elif doubtful and outcome is Outcome.FAILED and last_in_doubt:
        parts = ["Failed: a request was sent and got no complete answer, so it may have had its effect."]
    elif doubtful and not last_in_doubt:
        parts.append(_EARLIER_IN_DOUBT)
    if outcome is Outcome.FAILED and state == State.TERMINATE:
        parts.append("It was not retried.")
    return " ".join(parts)


def _first_sentence(step: StepView, outcome: Outcome, status: int) -> str:
    match outcome:
        case Outcome.SUCCEEDED if _was_polled(step):
            return "Done: the receiver accepted the call, and reported the result later."
        case Outcome.SUCCEEDED if step.receiver is not None and (not 200 <= status < 300 or _has_failed(step)):
            return "Done: the receiver reported it in a callback."
        case Outcome.SUCCEEDED:
            return f"Done; the receiver answered {status}." if status else "Done."
        case Outcome.FAILED:
            message = step.error.get("message", "") if isinstance(step.error, dict) else ""
            return f"Failed: {message.rstrip('.')}." if message else _FAILED
        case Outcome.INTERRUPTED_RESPONSE:
            return f"The receiver answered {status}; the rest of its answer was not read."
        case Outcome.INTERRUPTED_OUTCOME_UNKNOWN if step.attempts and step.attempts[-1].phase in _CUT_DURING:
            return f"{_CUT_DURING[step.attempts[-1].phase]}: whether the request had its effect is unknown."
        case Outcome.INTERRUPTED_WAITING if _was_accepted(step):
            if _was_polled(step):
                return "The receiver accepted the call; the run no longer asks it for the result."
            return "The receiver accepted the call to answer it later; the run no longer waits for the answer."
        case _:
            return _ACCOUNTS[outcome]


def _was_polled(step: StepView) -> bool:
    """Whether the receiver accepted the last attempt, and was asked for its result."""
    return bool(step.attempts) and step.attempts[-1].waiting_for == WaitingFor.POLL


def _has_failed(step: StepView) -> bool:
    """Whether the last attempt failed, and a callback reported that the step is done."""
    return bool(step.attempts) and any(late.outcome == Outcome.LATE_FAILED for late in step.attempts[-1].late)


def _still_open(step: StepView, until: Timestamp | None) -> str:
    if not step.attempts:
        return "Not started yet."
    last = step.attempts[-1]
    if last.outcome:
        became = "got no complete answer, so it may have had its effect" if in_doubt(last) else "failed"
        when = f" on {minute(until)}" if until is not None else ""
        return f"An attempt {became}; the next attempt follows{when}."
    progress = _WAITS.get(last.waiting_for, "In progress.")
    if until is not None and last.waiting_for == WaitingFor.POLL:
        progress = f"{progress.rstrip('.')} on {minute(until)}."
    elif until is not None and last.waiting_for in _WAITS:
        progress = f"{progress.rstrip('.')}, until {minute(until)}."
    return f"{progress} {_EARLIER_IN_DOUBT}" if any(in_doubt(attempt) for attempt in step.attempts) else progress


def _late_account(step: StepView, outcome: str, status: int) -> str:
    answered = f" (it answered {status})" if status else ""
    if outcome == Outcome.LATE_FAILED:
        return f"The attempt itself failed{answered}. This changed no outcome."
    if step.receiver is not None and not status:
        return "The receiver reported in a late callback that it is done. This changed no outcome."
    return f"A late result shows that the receiver had done it{answered}. This changed no outcome."
