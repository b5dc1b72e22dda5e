"""Decisions: the new row of a run, the records to write beside it, and the effects to attempt after the commit."""

from __future__ import annotations

from enum import StrEnum

from interlock.rules.changes import Mutation
from interlock.rules.model import (
    AttemptRef,
    Execution,
    Item,
    Ref,
    Result,
    SecretRef,
    Termination,
    TerminationRequest,
)
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from interlock.rules.values import value


class Verdict(StrEnum):
    """What the event did to the run."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"
    """The run already has a termination."""
    ALREADY_FINISHED = "already-finished"
    """The run to terminate is in `DONE` or `ERROR`."""
    SUPERSEDED = "superseded"
    """The event is out of date: the run has moved, or no longer waits for it. At most evidence is written."""


# --- records ----------------------------------------------------------------------------------------------------------


@value(frozen=True, slots=True)
class StepOpened:
    """A new row, without an outcome, for an attempt in flight or for a step that waits."""

    position: int
    attempt: int
    epoch: int
    at: int
    input: bytes | None
    waiting_for: WaitingFor | None = None
    items: tuple[Item, ...] = ()
    sealed: SecretRef | None = None
    key: str | None = None
    """The idempotency key that the attempt sends."""


@value(frozen=True, slots=True)
class StepClosed:
    """A new row for a step that settled in the same commit that reached it."""

    position: int
    attempt: int
    epoch: int
    at: int
    outcome: Outcome
    input: bytes | None = None
    output: bytes | None = None
    error: bytes | None = None
    sealed: SecretRef | None = None


@value(frozen=True, slots=True)
class StepSettled:
    """The outcome of an open row. With `accepted`, the row stays open instead: the receiver accepted the work."""

    position: int
    attempt: int
    at: int
    result: Result
    accepted: WaitingFor | None = None


@value(frozen=True, slots=True)
class LateEvidence:
    """A result that arrived when its attempt was no longer the current one."""

    attempt: AttemptRef
    at: int
    outcome: Outcome
    result: Result
    item: int | None = None
    """The number of the item that the result is about; None if it is about the attempt."""


@value(frozen=True, slots=True)
class CallbackKept:
    """A callback that arrived during an attempt at its step; it is stored until the attempt ends."""

    position: int
    at: int
    result: Result


@value(frozen=True, slots=True)
class CallbackTaken:
    """The removal of a stored callback, which has become the outcome of its step or evidence beside it."""

    position: int


@value(frozen=True, slots=True)
class ItemRecord:
    """The outcome of one item of an attempt. With `again`, the next attempt announces the item again."""

    position: int
    attempt: int
    item: int
    at: int
    result: Result
    again: bool = False


@value(frozen=True, slots=True)
class TerminationRecord:
    """A new termination (`new`), or one with an earlier deadline or a stricter mode from a repeated request."""

    termination: Termination
    new: bool


@value(frozen=True, slots=True)
class AuditRecord:
    """One row of the audit record, in the same transaction as the change that it records."""

    action: str
    request: TerminationRequest
    outcome: str
    found: State


Record = (
    StepOpened
    | StepClosed
    | StepSettled
    | LateEvidence
    | CallbackKept
    | CallbackTaken
    | ItemRecord
    | TerminationRecord
    | AuditRecord
)

# --- effects ----------------------------------------------------------------------------------------------------------


@value(frozen=True, slots=True)
class Perform:
    """Perform the announced attempt."""

    ref: Ref
    attempt: AttemptRef


@value(frozen=True, slots=True)
class Interrupt:
    """Cancel every attempt of this run that was announced with a lower epoch."""

    ref: Ref
    epoch: int


@value(frozen=True, slots=True)
class WakeAt:
    """Advance this run at that time, or immediately if the time has passed."""

    ref: Ref
    at: int


Effect = Perform | Interrupt | WakeAt


@value(frozen=True, slots=True)
class Decision:
    """The result of `decide`. `execution` is the new row, or the same object as before if the row stays."""

    verdict: Verdict
    execution: Execution
    records: tuple[Record, ...] = ()
    effects: tuple[Effect, ...] = ()
    moved: bool = False
    """Whether the row changed and must be written."""
    mutation: Mutation | None = None
    """A change to apply before anything is decided. The store applies it in this transaction and calls `decide` again
    with the same event and the applier's answer in the situation."""
