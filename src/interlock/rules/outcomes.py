"""What became of an attempt, an item or a step: a closed set, told truthfully and in doubt as unknown."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from interlock.rules.states import TERMINAL, State


class Outcome(StrEnum):
    """What became of it. The two `LATE_*` members are evidence beside an outcome and replace none."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    NOT_STARTED = "NOT_STARTED"
    INTERRUPTED_NOT_SENT = "INTERRUPTED_NOT_SENT"
    """Proven: not one byte left."""
    INTERRUPTED_OUTCOME_UNKNOWN = "INTERRUPTED_OUTCOME_UNKNOWN"
    """Something left and no complete answer came. The default whenever in doubt."""
    INTERRUPTED_RESPONSE = "INTERRUPTED_RESPONSE"
    """The status was seen, the body was cut."""
    INTERRUPTED_WAITING = "INTERRUPTED_WAITING"
    """The call had been accepted (202, a timer, an open task) and we stopped waiting."""
    INTERRUPTED_PARTLY = "INTERRUPTED_PARTLY"
    """Derived: some items are done, others are not."""
    ABANDONED = "ABANDONED"
    """The worker was lost, or the deadline passed before it answered."""
    LATE_SUCCEEDED = "LATE_SUCCEEDED"
    LATE_FAILED = "LATE_FAILED"


class Reached(StrEnum):
    """How far an attempt got towards its effect, in terms that hold for a request, a mail and a process alike."""

    NOT_SENT = "not_sent"
    """Proven: nothing that could have an effect left this server."""
    ANSWERED = "answered"
    """The receiver said what it did with it."""
    UNKNOWN = "unknown"
    """It may have had its effect, and no answer tells. The default whenever in doubt."""


INTERRUPTED = frozenset(
    {
        Outcome.INTERRUPTED_NOT_SENT,
        Outcome.INTERRUPTED_OUTCOME_UNKNOWN,
        Outcome.INTERRUPTED_RESPONSE,
        Outcome.INTERRUPTED_WAITING,
        Outcome.INTERRUPTED_PARTLY,
    }
)
"""Outcomes that only a stop can give."""

_LATE: dict[Outcome | None, Outcome] = {Outcome.SUCCEEDED: Outcome.LATE_SUCCEEDED, Outcome.FAILED: Outcome.LATE_FAILED}


_DOUBTFUL_FIRST = (
    Outcome.INTERRUPTED_OUTCOME_UNKNOWN,
    Outcome.INTERRUPTED_RESPONSE,
    Outcome.INTERRUPTED_WAITING,
    Outcome.INTERRUPTED_NOT_SENT,
    Outcome.NOT_STARTED,
)


def derive(items: Iterable[Outcome]) -> Outcome:
    """The outcome of an attempt, from the outcomes of its items (at least one).

    One that says "partly" knows of an item that is done; where none is, the most doubtful item speaks for all.
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
    """The evidence that a result which nobody waits for any more leaves behind, or None if it proves nothing."""
    return _LATE.get(outcome)


def shown_items(
    recorded: Iterable[Outcome | None], attempt: Outcome | None, reached: Reached | None, state: State
) -> tuple[Outcome | None, ...]:
    """The outcomes to show for the items of an attempt, in their order.

    Items are performed one after the other. So of those that were open when their attempt ended, the first is in doubt
    as the attempt is, and those after it were never started; with one that was cut, none of the others had begun.

    Args:
        recorded: the outcomes on record; None: open.
        attempt: the outcome of their attempt; None: it is open.
        reached: how far their attempt had got, if it failed.
        state: the state of the run.
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
    """What the outcome of an attempt says of the first item that it left open."""
    if attempt is Outcome.ABANDONED:
        return attempt
    if attempt in {Outcome.INTERRUPTED_NOT_SENT, Outcome.NOT_STARTED}:
        return Outcome.NOT_STARTED
    if attempt is Outcome.FAILED and reached is not Reached.UNKNOWN:
        return Outcome.NOT_STARTED
    return Outcome.INTERRUPTED_OUTCOME_UNKNOWN


def shown(recorded: Outcome | None, state: State) -> Outcome | None:
    """The outcome to show for a step row.

    A row of a waiting step stays open when its run is stopped, so that stopping needs to touch one row only; what that
    means is derived here. None: still open.
    """
    if recorded is None and state in TERMINAL:
        return Outcome.INTERRUPTED_WAITING
    return recorded
