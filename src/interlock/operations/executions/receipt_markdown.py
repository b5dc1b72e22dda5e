"""Renders a receipt as Markdown. All foreign text is escaped, so that it cannot contain markup."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from interlock.contract.times import Timestamp
from interlock.operations.executions.markdown_text import code, escaped
from interlock.operations.executions.views import AddendumView, ChildView, Receipt, ReceiptEntry
from interlock.operations.terminations.views import TerminationView
from interlock.operations.views import ActorView
from interlock.ports import AddendumFinding
from interlock.rules.model import Cause, Mode
from interlock.rules.states import State

MAX_ANSWER_CHARACTERS: Final = 200
"""Characters of an error answer that the Markdown receipt shows; the JSON receipt has more."""
_SECTIONS: Final = (
    ("unknown", "Unknown"),
    ("interrupted", "Interrupted"),
    ("failed", "Failed"),
    ("done", "Done"),
    ("never_started", "Never started"),
    ("open", "Open"),
    ("late", "Late results"),
)
_STATES: Final = {
    State.DONE: "it completed all its steps",
    State.ERROR: "a step failed",
    State.TERMINATE: "it was terminated",
    State.STOPPING: "it is being terminated",
}
_FOUND: Final = {
    State.PENDING: "waiting for a slot",
    State.PROCESS_STEP: "performing a step",
    State.WAITING: "waiting",
    State.PAUSED_BY_CIRCUIT_BREAKER: "paused by the circuit breaker",
}
_CAUSES: Final = {
    Cause.PERSON: "a request to terminate this execution",
    Cause.CASCADE: "a cascade from",
    Cause.TENANT_SWITCH: "automations were disabled for the whole tenant",
    Cause.BREAKER_CANCEL: "the executions that the circuit breaker paused were cancelled",
    Cause.DELETE: "its automation was deleted",
    Cause.LEASE_EXPIRED: "its lease expired",
    Cause.TENANT_REVOKED: "its tenant was revoked",
}
_MODES: Final = {Mode.INTERRUPT: "cancel the attempt in flight", Mode.DRAIN: "let the attempt in flight finish"}
_FINDINGS: Final = {
    AddendumFinding.HAPPENED: "it had happened",
    AddendumFinding.DID_NOT_HAPPEN: "it had not happened",
    AddendumFinding.STILL_UNKNOWN: "still unknown",
}


def markdown(receipt: Receipt) -> str:
    """Render the receipt as Markdown with GitHub's tables."""
    return "\n".join(_lines(receipt)) + "\n"


def _lines(receipt: Receipt) -> Iterator[str]:
    yield f"# Receipt of execution {receipt.execution_id}"
    yield ""
    yield from _table(("", ""), _facts(receipt))
    if receipt.termination is not None:
        yield "After the termination nothing more was started. Completed steps were not undone."
        yield ""
    if receipt.restored is not None:
        yield (
            f"This server was restored on {_moment(receipt.restored.restored_at)} from a backup whose newest change is "
            f"of {_moment(receipt.restored.known_until)}. This receipt does not contain what was done between the two: "
            "a step that is not done here may have been done then, and a step that is done here may have been done "
            "twice."
        )
        yield ""
    for field, title in _SECTIONS:
        entries: Sequence[ReceiptEntry] = getattr(receipt, field)
        if not entries:
            continue
        yield f"## {title} ({len(entries)})"
        yield ""
        if field == "unknown":
            yield _advice(receipt)
            yield ""
        yield from _table(("Step", "Kind", "Outcome", "When", "Idempotency key"), map(_row, entries))
    yield from _added(receipt)
    if receipt.children:
        more = ", and more" if receipt.more_children else ""
        yield f"## Executions it started ({len(receipt.children)}{more})"
        yield ""
        yield from _table(("Execution", "Automation", "State", "Started", "Ended"), map(_child, receipt.children))


def _advice(receipt: Receipt) -> str:
    entries, still = len(receipt.unknown), receipt.unresolved
    if not receipt.settled:
        return "Ask the receiver, by the idempotency key."
    if not still:
        return "Later findings settle all of these."
    which = "" if still == 1 else " --step NAME"
    ask = (
        "Ask the receiver, by the idempotency key. Then record the answer: "
        f"`interlock executions resolve {receipt.execution_id}{which} --happened` (or `--did-not-happen`, "
        "`--still-unknown`)."
    )
    return ask if still == entries else f"{still} of {entries} are still unknown. {ask}"


def _added(receipt: Receipt) -> Iterator[str]:
    entries = [entry for field, _ in _SECTIONS for entry in getattr(receipt, field) if entry.addenda]
    found = sorted(((each, entry) for entry in entries for each in entry.addenda), key=lambda pair: pair[0].number)
    if not found:
        return
    yield f"## Addenda ({len(found)})"
    yield ""
    yield "The newest addendum about a step counts. Addenda do not change the recorded outcomes."
    yield ""
    yield from _table(("When", "Who", "Step", "Finding", "Note"), (_addendum(*pair) for pair in found))


def _addendum(found: AddendumView, entry: ReceiptEntry) -> tuple[str, ...]:
    attempt = f", attempt {found.attempt}" if found.attempt else ""
    return (
        _moment(found.at),
        "" if found.actor is None else _who(found.actor),
        f"{_step(entry)}{attempt}",
        _FINDINGS[AddendumFinding(found.finding)],
        escaped(found.note),
    )


def _facts(receipt: Receipt) -> Iterator[tuple[str, str]]:
    version = "draft" if receipt.is_draft else f"version {receipt.current_version}"
    yield "Automation", f"{escaped(receipt.automation_display_name or receipt.automation_template_id)} ({version})"
    yield "State", f"{receipt.state}: {_STATES.get(State(receipt.state), 'it is active')}"
    yield "Summary", _summary(receipt)
    yield "Started", _moment(receipt.created_at)
    if receipt.termination is not None:
        yield from _termination(receipt.termination)
    if receipt.completed_at is not None:
        yield "Ended", _moment(receipt.completed_at)


def _termination(termination: TerminationView) -> Iterator[tuple[str, str]]:
    yield "Terminated", _moment(termination.accepted_at)
    if termination.actor is not None and termination.actor.principal:
        yield "By", _who(termination.actor)
    yield "Reason", escaped(termination.reason) or "none given"
    above = f" execution {termination.cause_execution_id}" if termination.cause_execution_id else ""
    yield "Cause", f"{_CAUSES[Cause(termination.cause)]}{above}"
    cascade = ", and terminate the descendants" if termination.cascade else ""
    yield "Mode", f"{termination.mode}: {_MODES[Mode(termination.mode)]}{cascade}"
    if termination.deadline_at != termination.accepted_at:
        yield "Deadline", _moment(termination.deadline_at)
    yield "State before", _FOUND.get(State(termination.found), termination.found)
    if termination.descendants:
        number = "1 descendant" if termination.descendants == 1 else f"{termination.descendants:,} descendants"
        yield "Terminated with it", number


def _summary(receipt: Receipt) -> str:
    learned = len(receipt.unknown) - receipt.unresolved
    parts = [
        f"{len(entries)} {title.lower()}" + (f" ({learned} settled since)" if field == "unknown" and learned else "")
        for field, title in _SECTIONS
        if field != "late" and (entries := getattr(receipt, field))
    ]
    return ", ".join(parts) or "no steps"


def _who(actor: ActorView) -> str:
    where = f" from {escaped(actor.address)}" if actor.address else ""
    return f"{escaped(actor.principal or actor.client)}{where}"


def _step(entry: ReceiptEntry) -> str:
    name = entry.display_name or entry.step or f"step {entry.position + 1}"
    named = f" ({code(entry.step)})" if entry.step not in {"", name} else ""
    return f"{entry.position + 1}. {escaped(name)}{named}" + (f": {escaped(entry.item)}" if entry.item else "")


def _row(entry: ReceiptEntry) -> tuple[str, ...]:
    attempts = f" ({entry.attempts} attempts)" if entry.attempts > 1 else ""
    return (
        _step(entry),
        escaped(entry.kind),
        " ".join(filter(None, (f"{escaped(entry.account)}{attempts}", escaped(entry.since), *_answered(entry)))),
        _moment(entry.settled_at or entry.started_at),
        code(entry.idempotency_key) if entry.idempotency_key and entry.attempts else "",
    )


def _answered(entry: ReceiptEntry) -> Iterator[str]:
    """Yield the error answer, and the receiver to ask."""
    if entry.answer:
        shown = " ".join(entry.answer.split())
        more = "…" if len(shown) > MAX_ANSWER_CHARACTERS else ""
        yield f"The receiver answered: {code(shown[:MAX_ANSWER_CHARACTERS])}{more}"
    receiver = entry.receiver
    if receiver is not None:
        name = f"{escaped(receiver.display_name)} " if receiver.display_name else ""
        url = f" at {code(receiver.url)}" if receiver.url else " (deleted)"
        yield f"Receiver: webhook {name}{code(receiver.webhook_id)}{url}."


def _child(child: ChildView) -> tuple[str, ...]:
    name = escaped(child.automation_display_name or child.automation_template_id)
    return str(child.id), name, child.state, _moment(child.created_at), _moment(child.completed_at)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _moment(at: Timestamp | None) -> str:
    if at is None:
        return ""
    moment = datetime.fromisoformat(at)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} UTC"
