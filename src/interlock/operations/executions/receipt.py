"""The receipt of a run: what was done, what was cut, what nobody can know, and what never started.

It is derived from the record of the run each time it is asked for, and says nothing that the record does not prove: a
request that may have left without a complete answer is listed as unknown, whatever became of the attempts after it.
What somebody learned of such an entry later stands beside it, and moves it to no other list.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

from interlock.contract.base import Message, with_fields
from interlock.contract.scalars import Bool, Int32, Int64
from interlock.contract.times import Timestamp
from interlock.operations.executions.receipt_addenda import minute, resolved, since
from interlock.operations.executions.views import (
    AddendumView,
    AttemptView,
    ChildView,
    ExecutionDetail,
    ItemView,
    ReceiverView,
    RestoredView,
    StepView,
)
from interlock.operations.terminations.views import TerminationView
from interlock.ports import Phase
from interlock.rules.outcomes import Outcome
from interlock.rules.states import TERMINAL, State, WaitingFor


class ReceiptEntry(Message):
    """One step, or one item of a step, and what became of it."""

    proto_name: ClassVar[str] = "interlock.v1.ReceiptEntry"

    position: Int32 = 0
    step: str = ""
    display_name: str = ""
    kind: str = ""
    item: str = ""
    """Which of several items; empty for a step as a whole."""
    outcome: str = ""
    account: str = ""
    """The same in a sentence for a person."""
    idempotency_key: str = ""
    """What the receiver can be asked about; empty for a kind that sends none, and for a step that sent nothing."""
    receiver: ReceiverView | None = None
    """Whom the step called, and whom to ask."""
    attempts: Int32 = 0
    status: Int32 = 0
    """The last HTTP status that was seen; 0 if none was."""
    accepted: Bool = False
    """The receiver had taken the call and was to answer later; the run was stopped first."""
    answer: str = ""
    """The beginning of the answer that refused the last attempt that was refused, at most 4,096 bytes of it."""
    next_attempt_at: Timestamp | None = None
    """In `open`: when the next attempt is made."""
    waits_until: Timestamp | None = None
    """In `open`: until when it waits at most."""
    started_at: Timestamp | None = None
    settled_at: Timestamp | None = None
    resolved: Bool = False
    """In `unknown`: it was learned since whether it had happened."""
    since: str = ""
    """What the newest addendum says, in a sentence for a person."""
    addenda: tuple[AddendumView, ...] = ()
    """What was learned of it after the end, oldest first."""


class Receipt(Message):
    """What a run had and had not done. Each step, or each of its items, stands in one of the lists up to `open`."""

    proto_name: ClassVar[str] = "interlock.v1.Receipt"

    execution_id: Int64 = 0
    automation_template_id: str = ""
    automation_display_name: str = ""
    current_version: Int32 = 0
    is_draft: Bool = False
    state: str = ""
    settled: Bool = False
    """The run has ended: only late results can be added to this receipt."""
    created_at: Timestamp | None = None
    completed_at: Timestamp | None = None
    termination: TerminationView | None = None
    """Who stopped it, and why. From `acceptedAt` on, nothing more was started."""
    done: tuple[ReceiptEntry, ...] = ()
    """Succeeded, or skipped."""
    failed: tuple[ReceiptEntry, ...] = ()
    """Failed for certain: with an answer, or before anything was sent."""
    interrupted: tuple[ReceiptEntry, ...] = ()
    """Cut by the stop, and it is known where."""
    unknown: tuple[ReceiptEntry, ...] = ()
    """Something may have reached the far end, and no complete answer came back."""
    unresolved: Int32 = 0
    """How many of `unknown` are so still: nobody has learned what became of them."""
    never_started: tuple[ReceiptEntry, ...] = ()
    open: tuple[ReceiptEntry, ...] = ()
    """Under way or still to come; empty once the run has ended."""
    late: tuple[ReceiptEntry, ...] = ()
    """Results that came when nobody waited for them any more: evidence, which changed nothing."""
    children: tuple[ChildView, ...] = ()
    more_children: Bool = False
    frozen: Bool = False
    """The server was restored from a backup and is not released: no execution goes on."""
    restored: RestoredView | None = None
    """What was done between the backup and the restore is not in this receipt."""


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


def receipt_of(detail: ExecutionDetail) -> Receipt:
    """The receipt of a run, from everything there is to know of it."""
    over = detail.state in TERMINAL
    lists: dict[str, list[ReceiptEntry]] = {name: [] for name in {*_LISTS.values(), "open", "late"}}
    for step in detail.steps:
        for name, entry in _entries(step, detail):
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
        settled=over,
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
    """The entries of which something can be learned that is not on record.

    Those are what is not known, and calls that the far end had taken to answer them later. In a restored store it is
    everything that was not at its end in the backup.
    """
    yield from receipt.unknown
    for entry in receipt.interrupted:
        if receipt.restored is not None or (entry.accepted):
            yield entry
    if receipt.restored is not None:
        yield from receipt.never_started
        yield from receipt.open


def _entries(step: StepView, detail: ExecutionDetail) -> Iterable[tuple[str, ReceiptEntry]]:
    state = detail.state
    if not step.outcome:
        here = detail.step == step.position and state not in TERMINAL
        retry = here and detail.waiting_for == WaitingFor.RETRY
        waits = here and detail.waiting_for in _WAITS
        yield (
            "open",
            with_fields(
                _entry(step, "", _still_open(step, detail.wake_at if retry or waits else None)),
                next_attempt_at=detail.wake_at if retry else None,
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
    yield "unknown" if doubtful else _LISTS[outcome], _entry(step, outcome, _account(step, outcome, state, doubtful))


def items_of(attempts: Iterable[AttemptView]) -> list[ItemView]:
    """What became of each item of a step over all attempts at it; an attempt announces only those that were open.

    An attempt that sent nothing of an item says nothing of those before it, which did.
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
    """Whether something may have reached the far end of which no answer tells; with an `item`, of that one."""
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
    """Whether the attempt is one; a callback between two attempts has a row of its own, and is none."""
    return attempt.waiting_for != WaitingFor.CALLBACK or bool(attempt.status or attempt.phase)


def _was_made(attempt: AttemptView) -> bool:
    """Whether the attempt was announced; one that failed while it was prepared has no phase, and called nobody."""
    return bool(attempt.phase or attempt.status) or attempt.outcome != Outcome.FAILED


def _was_accepted(step: StepView) -> bool:
    """Whether the last attempt was accepted by a receiver that answers later."""
    return bool(step.attempts) and step.attempts[-1].waiting_for == WaitingFor.CALLBACK


def _last_refusal(step: StepView) -> str:
    return next((text for attempt in reversed(step.attempts) if (text := _refusal(attempt))), "")


def _refusal(attempt: AttemptView) -> str:
    """The beginning of the answer that refused an attempt, as it is kept with its error or as late evidence."""
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


# --- in a sentence ----------------------------------------------------------------------------------------------------

_FAILED: Final = "Failed."
_EARLIER_IN_DOUBT: Final = "An attempt before it was sent and got no complete answer, so it may have had its effect."
_ACCOUNTS: Final[dict[Outcome, str]] = {
    Outcome.SUCCEEDED: "Done.",
    Outcome.FAILED: _FAILED,
    Outcome.SKIPPED: "Skipped by its condition.",
    Outcome.NOT_STARTED: "Never started.",
    Outcome.INTERRUPTED_NOT_SENT: "Stopped before anything was sent.",
    Outcome.INTERRUPTED_OUTCOME_UNKNOWN: (
        "The request was under way when the connection was closed: whether it had its effect could not be known."
    ),
    Outcome.INTERRUPTED_RESPONSE: "The far end had answered; the rest of its answer was cut off.",
    Outcome.INTERRUPTED_WAITING: "Stopped while it waited.",
    Outcome.INTERRUPTED_PARTLY: "Stopped in the middle: some of it is done, the rest is not.",
    Outcome.ABANDONED: (
        "It was given up before it had told what became of it, or its server was lost: whether it had its effect could "
        "not be known."
    ),
}


_CUT: Final[dict[str, str]] = {
    Phase.WRITING: "The request was still being sent when the connection was closed",
    Phase.WAITING: "The whole request was on its way, and no answer had come, when the connection was closed",
}

_WAITS: Final[dict[str, str]] = {
    WaitingFor.TIMER: "Under way: it waits for its time to come.",
    WaitingFor.CALLBACK: "Under way: the far end has taken the call, and is to answer later.",
    WaitingFor.TASK: "Under way: it waits for a person.",
}


def _account(step: StepView, outcome: Outcome, state: str, doubtful: bool) -> str:
    status = next((attempt.status for attempt in reversed(step.attempts) if attempt.status), 0)
    parts = [_first_sentence(step, outcome, status)]
    sent = [attempt for attempt in step.attempts if attempt.outcome != Outcome.INTERRUPTED_NOT_SENT]
    last_in_doubt = bool(sent) and in_doubt(sent[-1])
    if doubtful and outcome is Outcome.FAILED and last_in_doubt:
        parts = ["Failed: a request was sent and got no complete answer, so it may have had its effect."]
    elif doubtful and not last_in_doubt:
        parts.append(_EARLIER_IN_DOUBT)
    if outcome is Outcome.FAILED and state == State.TERMINATE:
        parts.append("It was not tried again.")
    return " ".join(parts)


def _first_sentence(step: StepView, outcome: Outcome, status: int) -> str:
    match outcome:
        case Outcome.SUCCEEDED if step.kind == "runAutomation":
            return f"Done: it started {_started(step.output)}."
        case Outcome.SUCCEEDED if step.receiver is not None and (not 200 <= status < 300 or _has_failed(step)):
            return "Done: the receiver said so in a callback."
        case Outcome.SUCCEEDED:
            return f"Done; the far end answered {status}." if status else "Done."
        case Outcome.FAILED:
            message = step.error.get("message", "") if isinstance(step.error, dict) else ""
            return f"Failed: {message.rstrip('.')}." if message else _FAILED
        case Outcome.INTERRUPTED_RESPONSE:
            return f"The far end had answered {status}; the rest of its answer was cut off."
        case Outcome.INTERRUPTED_OUTCOME_UNKNOWN if step.attempts and step.attempts[-1].phase in _CUT:
            return f"{_CUT[step.attempts[-1].phase]}: whether it had its effect could not be known."
        case Outcome.INTERRUPTED_WAITING if _was_accepted(step):
            return "The far end had taken the call and was to answer later; nobody waits for it any more."
        case _:
            return _ACCOUNTS[outcome]


def _has_failed(step: StepView) -> bool:
    """Whether the last attempt failed, and something else, a callback, told that the step is done."""
    return bool(step.attempts) and any(late.outcome == Outcome.LATE_FAILED for late in step.attempts[-1].late)


def _started(output: object) -> str:
    named = output.get("execution_id") if isinstance(output, dict) else None
    return f"execution {named}" if named else "another execution"


def _still_open(step: StepView, until: Timestamp | None) -> str:
    if not step.attempts:
        return "Still to come."
    last = step.attempts[-1]
    if last.outcome:
        became = "got no complete answer, so it may have had its effect" if in_doubt(last) else "has failed"
        when = f" on {minute(until)}" if until is not None else ""
        return f"An attempt {became}; another one is to follow{when}."
    under_way = _WAITS.get(last.waiting_for, "Under way.")
    if until is not None and last.waiting_for in _WAITS:
        under_way = f"{under_way.rstrip('.')}, until {minute(until)}."
    return f"{under_way} {_EARLIER_IN_DOUBT}" if any(in_doubt(attempt) for attempt in step.attempts) else under_way


def _late_account(step: StepView, outcome: str, status: int) -> str:
    answered = f" (it answered {status})" if status else ""
    if outcome == Outcome.LATE_FAILED:
        return f"The attempt itself had failed{answered}. That changed nothing here."
    if step.receiver is not None and not status:
        return "The receiver said in a callback that it had done it. That changed nothing here."
    return f"After the end it was learned that the far end had done it{answered}. That changed nothing here."
