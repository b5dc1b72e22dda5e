"""A whole state of the small protocol that is explored, and the protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from interlock.rules.decide import decide
from interlock.rules.decision import (
    Decision,
    Verdict,
)
from interlock.rules.events import (
    Event,
    Polled,
    Prepared,
    Settled,
)
from interlock.rules.model import (
    SECOND,
    Actor,
    AttemptRef,
    Execution,
    Mode,
    Situation,
    Termination,
    TerminationRequest,
)
from interlock.rules.outcomes import Outcome

NOW, RETRY_AT, CALLBACK_UNTIL = 100, 200, 10**12
LAST = 1
"""Position of the last step; the first may be answered with 202."""
CALLED = 0
"""Position of the step that the remote calls back for."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is explored."""

    decide: Callable[[Situation, Event], Decision] = decide
    repeatable: bool = True
    ack_before_commit: bool = False
    perform_before_commit: bool = False
    orders: tuple[TerminationRequest, TerminationRequest] = (
        TerminationRequest(Actor("ann"), "first", deadline=10 * SECOND),
        TerminationRequest(Actor("bob"), "second", Mode.DRAIN, deadline=5 * SECOND),
    )
    crashes: int = 1
    losses: int = 1
    callbacks: int = 1
    """How often the remote calls back."""
    polls: int | None = None
    """How often a poll says that the work is not done; None: the remote is not polled, and calls back."""


class Row(NamedTuple):
    """A step row."""

    outcome: Outcome | None = None
    accepted: bool = False
    late: bool = False


class Asked(NamedTuple):
    """A poll in progress."""

    attempt: AttemptRef
    epoch: int
    """That of the run when the poll began."""


class Task(NamedTuple):
    """A perform in progress."""

    attempt: AttemptRef
    sent: bool = False
    cut: bool = False


Key = tuple[int, int]
"""(position, attempt)"""


class World(NamedTuple):
    """Everything there is at one moment."""

    row: Execution
    termination: Termination | None = None
    rows: tuple[tuple[Key, Row], ...] = ()
    accepted_orders: int = 0
    up: bool = True
    task: Task | None = None
    prepared: Prepared | None = None
    reported: tuple[Settled | Polled, ...] = ()
    """Results on their way to the disk; one may outlive its process."""
    asked: Asked | None = None
    polls: int = 0
    """How often a poll said that the work is not done."""
    announced: tuple[tuple[Key, int], ...] = ()
    """The epoch of each attempt; kept only if the remote is polled."""
    sent: frozenset[Key] = frozenset()
    """The attempts that the receiver has seen."""
    told: tuple[Verdict | None, ...] = (None, None)
    crashes: int = 0
    losses: int = 0
    callbacks: int = 0
    kept: int | None = None
    """The step with which a callback is kept."""
    taken: bool = False
    """A callback was accepted."""


class Violation(Exception):
    """A property does not hold."""


def require(holds: bool, name: str) -> None:
    if not holds:
        raise Violation(name)
