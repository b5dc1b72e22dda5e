"""What the rules answer: the new row, the records to write beside it, and the effects to attempt after the commit."""

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
    """How the event fared."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"
    """A termination of a run that has one already."""
    ALREADY_FINISHED = "already-finished"
    """A termination of a run that is DONE or in ERROR."""
    SUPERSEDED = "superseded"
    """Prepared from a reading that is no longer true, or a result nobody waits for; at most evidence is written."""


# --- records ----------------------------------------------------------------------------------------------------------


@value(frozen=True, slots=True)
class StepOpened:
    """A new row for an attempt in flight or a step that waits; its outcome is open."""

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
    """A new row for a step that settled in the commit that reached it."""

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
    """An open row gets its outcome; `accepted` instead marks it as answered with 202 and still open."""

    position: int
    attempt: int
    at: int
    result: Result
    accepted: WaitingFor | None = None


@value(frozen=True, slots=True)
class LateEvidence:
    """A result that came when the attempt was no longer the current one."""

    attempt: AttemptRef
    at: int
    outcome: Outcome
    result: Result
    item: int | None = None
    """Which of several items it tells of; None: of the attempt."""


@value(frozen=True, slots=True)
class CallbackKept:
    """A callback that came while its step was being attempted is kept until the attempt ends."""

    position: int
    at: int
    result: Result


@value(frozen=True, slots=True)
class CallbackTaken:
    """The attempt has ended: what was kept stands with the step now, as its outcome or as evidence."""

    position: int


@value(frozen=True, slots=True)
class ItemRecord:
    """One item of an attempt has its outcome. `again`: it failed, and the next attempt announces it again."""

    position: int
    attempt: int
    item: int
    at: int
    result: Result
    again: bool = False


@value(frozen=True, slots=True)
class TerminationRecord:
    """The order is accepted (`new`), or a repeated one sharpened it."""

    termination: Termination
    new: bool


@value(frozen=True, slots=True)
class AuditRecord:
    """One row of the audit record, in the transaction of what it tells of."""

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
    """Carry out the announced attempt."""

    ref: Ref
    attempt: AttemptRef


@value(frozen=True, slots=True)
class Interrupt:
    """Cut whatever of this run was announced with a lower epoch."""

    ref: Ref
    epoch: int


@value(frozen=True, slots=True)
class WakeAt:
    """Look at this run at that time; now, if it has passed."""

    ref: Ref
    at: int


Effect = Perform | Interrupt | WakeAt


@value(frozen=True, slots=True)
class Decision:
    """One answer of `decide`. `execution` is the row as it is to be; the same object as before if it stays."""

    verdict: Verdict
    execution: Execution
    records: tuple[Record, ...] = ()
    effects: tuple[Effect, ...] = ()
    moved: bool = False
    """Whether the row changed and has to be written."""
    mutation: Mutation | None = None
    """Nothing is decided yet: the change is to be applied in this transaction, and the rules are to be asked again with
    the same event and the answer in the situation."""
