"""Evaluates addenda for a receipt: whether they settle an unknown outcome, and the newest one as a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from interlock.contract.times import Timestamp
from interlock.operations.executions.views import AddendumView, AttemptView
from interlock.ports import AddendumFinding
from interlock.rules.outcomes import Outcome

_SETTLES: Final = frozenset({AddendumFinding.HAPPENED, AddendumFinding.DID_NOT_HAPPEN})


def resolved(doubtful: Sequence[AttemptView], addenda: Sequence[AddendumView], *, whole: bool) -> bool:
    """Whether later findings settle each attempt that was in doubt.

    Args:
        doubtful: The attempts in doubt.
        addenda: The addenda of the step or item, oldest first.
        whole: Whether the entry is a step as a whole; a late result does not tell which item it was about.
    """
    return all((whole and _answered_late(attempt)) or _settled(attempt.number, addenda) for attempt in doubtful)


def since(addendum: AddendumView) -> str:
    """Return a sentence with the finding, the actor and the time."""
    actor = addendum.actor
    who = (actor.principal or actor.client) if actor is not None else ""
    it = f"attempt {addendum.attempt}" if addendum.attempt else "it"
    match addendum.finding:
        case AddendumFinding.HAPPENED:
            learned = f"{who} found that {it} had happened"
        case AddendumFinding.DID_NOT_HAPPEN:
            learned = f"{who} found that {it} had not happened"
        case _:
            learned = f"{who} asked and could not find out whether {it} had happened"
    note = f": “{addendum.note}”" if addendum.note else ""
    return f"On {minute(addendum.at)} {learned}{note}."


def minute(at: Timestamp | None) -> str:
    """Return a time as text for a sentence."""
    return "" if at is None else f"{datetime.fromisoformat(at):%Y-%m-%d at %H:%M} UTC"


def _settled(attempt: int, addenda: Sequence[AddendumView]) -> bool:
    newest = next((each for each in reversed(addenda) if each.attempt in {0, attempt}), None)
    return newest is not None and newest.finding in _SETTLES


def _answered_late(attempt: AttemptView) -> bool:
    """Whether a late result has answered the question."""
    return any(late.outcome == Outcome.LATE_SUCCEEDED or late.status for late in attempt.late)
