"""What addenda say to a receipt: whether they settle what was in doubt, and the newest one in a sentence."""

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
    """Whether it is known by now what became of each attempt that was in doubt.

    `whole`: of a step as a whole. A late result says nothing of the one item that it may have been about.
    """
    return all((whole and _answered_late(attempt)) or _settled(attempt.number, addenda) for attempt in doubtful)


def since(addendum: AddendumView) -> str:
    """What was learned, by whom and when."""
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
    """A time for a sentence."""
    return "" if at is None else f"{datetime.fromisoformat(at):%Y-%m-%d at %H:%M} UTC"


def _settled(attempt: int, addenda: Sequence[AddendumView]) -> bool:
    newest = next((each for each in reversed(addenda) if each.attempt in {0, attempt}), None)
    return newest is not None and newest.finding in _SETTLES


def _answered_late(attempt: AttemptView) -> bool:
    """Whether the far end has told after all, when nobody waited for it any more."""
    return any(late.outcome == Outcome.LATE_SUCCEEDED or late.status for late in attempt.late)
