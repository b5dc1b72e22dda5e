"""What is remembered of a run, as the rules see it. Times are integer microseconds since 1970-01-01T00:00:00Z."""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

from interlock.rules.changes import Applied, Refused
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.states import IN_FLIGHT, TERMINAL, State, WaitingFor, move
from interlock.rules.values import value

SECOND = 1_000_000
DEFAULT_DEADLINE = 10 * SECOND
MAX_DEADLINE = 300 * SECOND
HOLD = SECOND
"""How long a run rests before it is tried again while nothing new may start."""
MAX_DEPTH = 10
"""Runs started by runs started by runs: the automation that would make an eleventh generation fails its step."""


class Mode(StrEnum):
    """How a termination treats the attempt in flight."""

    INTERRUPT = "interrupt"
    DRAIN = "drain"


class Cause(StrEnum):
    """Why a run was terminated. Whatever the cause, the transition is the same one."""

    PERSON = "person"
    CASCADE = "cascade"
    TENANT_SWITCH = "tenant_switch"
    BREAKER_CANCEL = "breaker_cancel"
    DELETE = "delete"
    LEASE_EXPIRED = "lease_expired"
    TENANT_REVOKED = "tenant_revoked"


@value(frozen=True, slots=True)
class Ref:
    """Which execution: tenant first."""

    tenant: int
    id: int


@value(frozen=True, slots=True)
class Actor:
    """Who asked, as the audit record names them."""

    client: str
    address: str = ""
    principal: str = ""


SYSTEM = Actor(client="system")


@value(frozen=True, slots=True)
class Execution:
    """The execution row."""

    tenant: int
    id: int
    automation: str
    definition: int
    """The immutable plan it runs."""
    state: State
    epoch: int
    """Raised by every event that moves state or step."""
    step: int
    """Position (0-based) of the current step; the number of steps once DONE."""
    attempt: int
    """Number of the newest attempt at the current step; 0 before the first."""
    attempt_epoch: int
    """The epoch the attempt in flight was announced with; 0 when none is in flight."""
    items: int
    """How many items the attempt in flight has, 1 if its step has no items; 0 when none is in flight."""
    waiting_for: WaitingFor | None
    wake_at: int | None
    """Queue, timer, retry, callback timeout and stop deadline in one; None once terminal."""
    holder: str | None
    """The process that announced the attempt in flight."""
    created_at: int
    updated_at: int
    completed_at: int | None
    is_draft: bool
    parent: int | None
    root: int
    """The first ancestor; its own id for a run that nobody's step started."""
    depth: int

    def moved(
        self,
        to: State,
        at: int,
        *,
        step: int,
        attempt: int,
        attempt_epoch: int = 0,
        items: int = 0,
        waiting_for: WaitingFor | None = None,
        wake_at: int | None = None,
        holder: str | None = None,
    ) -> Execution:
        """The row after a move: its epoch raised, and what belonged to an attempt or a wait gone unless given.

        The holder stays as it is unless given. Field by field, because `dataclasses.replace` costs ten times as much.

        Raises:
            IllegalMove: the table has no such move.
        """
        return Execution(
            self.tenant,
            self.id,
            self.automation,
            self.definition,
            move(self.state, to),
            self.epoch + 1,
            step,
            attempt,
            attempt_epoch,
            items,
            waiting_for,
            wake_at,
            self.holder if holder is None else holder,
            self.created_at,
            at,
            at if to in TERMINAL else None,
            self.is_draft,
            self.parent,
            self.root,
            self.depth,
        )

    @property
    def ref(self) -> Ref:
        return Ref(self.tenant, self.id)

    @property
    def in_flight(self) -> bool:
        return self.state in IN_FLIGHT


@value(frozen=True, slots=True)
class AttemptRef:
    """Which attempt a result belongs to. `epoch` is the one it was announced with."""

    position: int
    number: int
    epoch: int


@value(frozen=True, slots=True)
class Item:
    """One of several items of a step. Its number is the same in every attempt at the step."""

    number: int
    name: str


SecretRef = NewType("SecretRef", bytes)
"""Stands for a document that holds secrets: its ciphertext, which `ports.Vault` alone can open."""


@value(frozen=True, slots=True)
class Result:
    """What an attempt reported. `output` and `error` are JSON text; `status` is the far end's HTTP status.

    An outcome of None means: accepted by the far end, which will answer later (202, a task).
    """

    outcome: Outcome | None
    output: bytes | None = None
    error: bytes | None = None
    status: int | None = None
    phase: str | None = None
    reached: Reached | None = None
    """Of a failed attempt; None if nothing was attempted."""
    sealed: SecretRef | None = None
    """The output with the secrets that `output` masks; None: it masks none."""


@value(frozen=True, slots=True)
class KeptCallback:
    """A callback that was accepted while its step was being attempted."""

    at: int
    result: Result


@value(frozen=True, slots=True)
class CalledStep:
    """The newest attempt at the step that a callback is for."""

    attempt: AttemptRef
    outcome: Outcome | None
    late: bool
    """Evidence stands beside it already."""


@value(frozen=True, slots=True)
class TerminationRequest:
    """An order to stop. `deadline` is microseconds from acceptance, 0 to `MAX_DEADLINE`."""

    actor: Actor
    reason: str = ""
    mode: Mode = Mode.INTERRUPT
    cascade: bool = False
    deadline: int = DEFAULT_DEADLINE
    cause: Cause = Cause.PERSON
    cause_execution: int | None = None
    """For `Cause.CASCADE`: the run that was named."""


@value(frozen=True, slots=True)
class Termination:
    """The record of an accepted order; the first one stands."""

    request: TerminationRequest
    accepted_at: int
    deadline_at: int
    """The nearest deadline asked for so far."""
    mode: Mode
    """The sharper of the modes asked for so far."""
    found: State
    """The state the run was in when the order was accepted."""
    below: int = 0
    """How many runs below were stopped because of it; set once they are."""


@value(frozen=True, slots=True)
class Situation:
    """What `apply` reads in its transaction, before it asks for a decision."""

    execution: Execution
    termination: Termination | None = None
    """Read for stopping runs."""
    items: tuple[tuple[int, Outcome | None], ...] = ()
    """(number, outcome) of the items of the attempt in flight, if its step has items."""
    fence: TerminationRequest | None = None
    """A standing order that covers this run: an ancestor's cascade that has not reached it, or the tenant's switch."""
    hold: bool = False
    """Nothing new may start (the disk is full)."""
    answer: Applied | Refused | None = None
    """Of the applier of a change, once the rules have asked for it."""
    callback: KeptCallback | None = None
    """What the step of the attempt in flight has been told by an early callback."""
    called: CalledStep | None = None
    """For a callback: the step that it is for, if that was ever attempted."""
