"""A receipt as a person reads it. All text that is not ours is escaped: it can mark up nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from interlock.contract.times import Timestamp
from interlock.operations.executions.markdown_text import code, escaped
from interlock.operations.executions.receipt import Receipt, ReceiptEntry
from interlock.operations.executions.views import AddendumView, ChildView
from interlock.operations.terminations.views import TerminationView
from interlock.operations.views import ActorView
from interlock.ports import AddendumFinding
from interlock.rules.model import Cause, Mode
from interlock.rules.states import State

MAX_ANSWER_CHARACTERS: Final = 200
"""Characters of a refusing answer that the Markdown receipt shows; the JSON has more."""
_SECTIONS: Final = (
    ("unknown", "Not known"),
    ("interrupted", "Interrupted"),
    ("failed", "Failed"),
    ("done", "Done"),
    ("never_started", "Never started"),
    ("open", "Open"),
    ("late", "Learned too late"),
)
_STATES: Final = {
    State.DONE: "it went through to its end",
    State.ERROR: "it ended with a failure",
    State.TERMINATE: "it was stopped",
    State.STOPPING: "it is being stopped, and not at its end yet",
}
_FOUND: Final = {
    State.PENDING: "waiting for its turn",
    State.PROCESS_STEP: "at work on a step",
    State.WAITING: "waiting",
    State.PAUSED_BY_CIRCUIT_BREAKER: "held back by the circuit breaker",
}
_CAUSES: Final = {
    Cause.PERSON: "an order to stop this execution",
    Cause.CASCADE: "an order to stop all that was started by",
    Cause.TENANT_SWITCH: "automations were disabled for the whole tenant",
    Cause.BREAKER_CANCEL: "what the circuit breaker held back was cancelled",
    Cause.DELETE: "its automation was deleted",
    Cause.LEASE_EXPIRED: "its lease expired",
    Cause.TENANT_REVOKED: "its tenant was revoked",
}
_MODES: Final = {Mode.INTERRUPT: "cut what is in flight", Mode.DRAIN: "let what is in flight finish"}
_FINDINGS: Final = {
    AddendumFinding.HAPPENED: "it had happened",
    AddendumFinding.DID_NOT_HAPPEN: "it had not happened",
    AddendumFinding.STILL_UNKNOWN: "it could not be found out",
}


def markdown(receipt: Receipt) -> str:
    """The receipt in Markdown (GitHub's tables)."""
    return "\n".join(_lines(receipt)) + "\n"


def _lines(receipt: Receipt) -> Iterator[str]:
    yield f"# Receipt of execution {receipt.execution_id}"
    yield ""
    yield from _table(("", ""), _facts(receipt))
    if receipt.termination is not None:
        yield "From the moment of the order on nothing more was started. Nothing that had been done was undone."
        yield ""
    if receipt.restored is not None:
        yield (
            f"This server was restored on {_moment(receipt.restored.restored_at)} from a backup whose newest change is "
            f"of {_moment(receipt.restored.known_until)}. What was done between the two is not in this receipt: "
            "what did not happen here may have happened then, and what was done here may have been done twice."
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
        yield from _table(("Step", "Kind", "What happened", "When", "Idempotency key"), map(_row, entries))
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
        return "It was not known at the end, and is by now."
    which = "" if still == 1 else " --step NAME"
    ask = (
        "Ask the receiver, by the idempotency key. Then add what you learn: "
        f"`interlock executions resolve {receipt.execution_id}{which} --happened` (or `--did-not-happen`, "
        "`--still-unknown`)."
    )
    return ask if still == entries else f"{still} of {entries} are not known to this day. {ask}"


def _added(receipt: Receipt) -> Iterator[str]:
    entries = [entry for field, _ in _SECTIONS for entry in getattr(receipt, field) if entry.addenda]
    found = sorted(((each, entry) for entry in entries for each in entry.addenda), key=lambda pair: pair[0].number)
    if not found:
        return
    yield f"## Added afterwards ({len(found)})"
    yield ""
    yield "The newest about a step counts. What the execution itself recorded is not changed by it."
    yield ""
    yield from _table(("When", "Who", "Step", "What was found", "Note"), (_addendum(*pair) for pair in found))


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
    yield "State", f"{receipt.state}: {_STATES.get(State(receipt.state), 'not at its end yet')}"
    yield "In short", _in_short(receipt)
    yield "Started", _moment(receipt.created_at)
    if receipt.termination is not None:
        yield from _order(receipt.termination)
    if receipt.completed_at is not None:
        yield "Ended", _moment(receipt.completed_at)


def _order(order: TerminationView) -> Iterator[tuple[str, str]]:
    yield "Stop ordered", _moment(order.accepted_at)
    if order.actor is not None and order.actor.principal:
        yield "By", _who(order.actor)
    yield "Reason", escaped(order.reason) or "none given"
    above = f" execution {order.cause_execution_id}" if order.cause_execution_id else ""
    yield "Cause", f"{_CAUSES[Cause(order.cause)]}{above}"
    cascade = ", and stop everything that it started" if order.cascade else ""
    yield "Mode", f"{order.mode}: {_MODES[Mode(order.mode)]}{cascade}"
    if order.deadline_at != order.accepted_at:
        yield "Deadline", _moment(order.deadline_at)
    yield "It was then", _FOUND.get(State(order.found), order.found)
    if order.descendants:
        number = "1 execution" if order.descendants == 1 else f"{order.descendants:,} executions"
        yield "Stopped with it", f"{number} below it"


def _in_short(receipt: Receipt) -> str:
    learned = len(receipt.unknown) - receipt.unresolved
    parts = [
        f"{len(entries)} {title.lower()}" + (f" ({learned} learned since)" if field == "unknown" and learned else "")
        for field, title in _SECTIONS
        if field != "late" and (entries := getattr(receipt, field))
    ]
    return ", ".join(parts) or "nothing to do"


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
    """The answer that refused it, and whom to ask."""
    if entry.answer:
        shown = " ".join(entry.answer.split())
        more = "…" if len(shown) > MAX_ANSWER_CHARACTERS else ""
        yield f"It answered: {code(shown[:MAX_ANSWER_CHARACTERS])}{more}"
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
