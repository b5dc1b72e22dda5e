"""Outcomes: how an attempt, an item or a step ended. An outcome that is not proven is unknown."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from interlock.rules.states import TERMINAL, State


class Outcome(StrEnum):
    """How an attempt, an item or a step ended. The two `LATE_*` members are evidence and replace no outcome."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    NOT_STARTED = "NOT_STARTED"
    INTERRUPTED_NOT_SENT = "INTERRUPTED_NOT_SENT"
    """Proven: not one byte was sent."""
    INTERRUPTED_OUTCOME_UNKNOWN = "INTERRUPTED_OUTCOME_UNKNOWN"
    """Something was sent, and no complete answer arrived. The default if nothing is proven."""
    INTERRUPTED_RESPONSE = "INTERRUPTED_RESPONSE"
    """The status arrived; the body was cut."""
    INTERRUPTED_WAITING = "INTERRUPTED_WAITING"
    """The step was waiting (after a 202, for a timer or a task) when the run was stopped."""
    INTERRUPTED_PARTLY = "INTERRUPTED_PARTLY"
    """Derived from items: some are done, others are not."""
    ABANDONED = "ABANDONED"
    """The node that performed the attempt was lost, or the deadline passed before it reported."""
    LATE_SUCCEEDED = "LATE_SUCCEEDED"
    LATE_FAILED = "LATE_FAILED"


class Reached(StrEnum):
    """How far an attempt got towards its effect; the terms apply to a request, a mail and a process alike."""

    NOT_SENT = "not_sent"
    """Proven: nothing that could have an effect was sent."""
    ANSWERED = "answered"
    """The receiver answered what it did."""
    UNKNOWN = "unknown"
    """It may have had its effect, and no answer says so. The default if nothing is proven."""


INTERRUPTED = frozenset(
    {
        Outcome.INTERRUPTED_NOT_SENT,
        Outcome.INTERRUPTED_OUTCOME_UNKNOWN,
        Outcome.INTERRUPTED_RESPONSE,
        Outcome.INTERRUPTED_WAITING,
        Outcome.INTERRUPTED_PARTLY,
    }
)
"""Outcomes that only a termination causes."""

_LATE: dict[Outcome | None, Outcome] = {Outcome.SUCCEEDED: Outcome.LATE_SUCCEEDED, Outcome.FAILED: Outcome.LATE_FAILED}


_DOUBTFUL_FIRST = (
    Outcome.INTERRUPTED_OUTCOME_UNKNOWN,
    Outcome.INTERRUPTED_RESPONSE,
    Outcome.INTERRUPTED_WAITING,
    Outcome.INTERRUPTED_NOT_SENT,
    Outcome.NOT_STARTED,
)


def derive(items: Iterable[Outcome]) -> Outcome:
    """Derive the outcome of an attempt from the outcomes of its items.

    `INTERRUPTED_PARTLY` requires at least one item that is done. If no item is done, the most doubtful outcome of the
    items is the outcome of the attempt.

    Args:
        items: The outcomes of the items; at least one.
    """
    seen = set(items)
    if len(seen) == 1:
        return seen.pop()
    if seen <= {Outcome.SUCCEEDED, Outcome.SKIPPED}:
        return Outcome.SUCCEEDED
    if Outcome.ABANDONED in seen:
        return Outcome.ABANDONED
    if Outcome.FAILED in seen and not seen & INTERRUPTED:
        return Outcome.FAILED
    if seen & {Outcome.SUCCEEDED, Outcome.FAILED}:
        return Outcome.INTERRUPTED_PARTLY
    return next((outcome for outcome in _DOUBTFUL_FIRST if outcome in seen), Outcome.INTERRUPTED_OUTCOME_UNKNOWN)


def late(outcome: Outcome | None) -> Outcome | None:
    """Return the `LATE_*` outcome to record for a result that arrived too late; None if the result proves nothing."""
    return _LATE.get(outcome)


def shown_items(
    recorded: Iterable[Outcome | None], attempt: Outcome | None, reached: Reached | None, state: State
) -> tuple[Outcome | None, ...]:
    """Return the outcomes to show for the items of an attempt, in their order.

    Items are performed one after the other. If their attempt ended with open items, the first of them has the doubt of
    the attempt and the others were not started. If an item was interrupted, none of the open items was started.

    Args:
        recorded: The recorded outcomes in order; None for an open item.
        attempt: The outcome of the attempt; None if it is open.
        reached: How far the attempt got, if it failed.
        state: The state of the run.
    """
    found: list[Outcome | None] = list(recorded)
    if attempt is None:
        return tuple(shown(outcome, state) for outcome in found)
    first = _first_open(attempt, reached)
    if not INTERRUPTED.isdisjoint({outcome for outcome in found if outcome is not None}):
        first = Outcome.NOT_STARTED
    for index, outcome in enumerate(found):
        if outcome is None:
            found[index], first = first, Outcome.NOT_STARTED
    return tuple(found)


def _first_open(attempt: Outcome, reached: Reached | None) -> Outcome:
    """Return the outcome to show for the first item that an attempt with this outcome left open."""
    if attempt is Outcome.ABANDONED:
        return attempt
    if attempt in {Outcome.INTERRUPTED_NOT_SENT, Outcome.NOT_STARTED}:
        return Outcome.NOT_STARTED
    if attempt is Outcome.FAILED and reached is not Reached.UNKNOWN:
        return Outcome.NOT_STARTED
    return Outcome.INTERRUPTED_OUTCOME_UNKNOWN


def shown(recorded: Outcome | None, state: State) -> Outcome | None:
    """Return the outcome to show for the row of a step; None if the step is still open.

    The row of a waiting step stays open when its run is terminated, so that a termination updates one row only. It is
    shown as `INTERRUPTED_WAITING`.

    Args:
        recorded: The outcome in the row; None if the row is open.
        state: The state of the run.
    """
    if recorded is None and state in TERMINAL:
        return Outcome.INTERRUPTED_WAITING
    return recorded
