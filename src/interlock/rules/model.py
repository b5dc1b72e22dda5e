"""The records of a run that the rules read. Times are integer microseconds since 1970-01-01T00:00:00Z."""

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
HOLD_MICROSECONDS = SECOND
"""Microseconds until a run is tried again that may start nothing because the disk is full."""
MAX_DEPTH = 10
"""Generations of children below a run; a step that would start one more fails."""


class Mode(StrEnum):
    """How a termination treats the attempt in flight."""

    INTERRUPT = "interrupt"
    DRAIN = "drain"


class Cause(StrEnum):
    """Why a run was terminated. The transition is the same for every cause."""

    PERSON = "person"
    CASCADE = "cascade"
    TENANT_SWITCH = "tenant_switch"
    BREAKER_CANCEL = "breaker_cancel"
    DELETE = "delete"
    LEASE_EXPIRED = "lease_expired"
    TENANT_REVOKED = "tenant_revoked"


@value(frozen=True, slots=True)
class Ref:
    """The tenant and the id of an execution."""

    tenant: int
    id: int


@value(frozen=True, slots=True)
class Actor:
    """The client that made a request, as the audit record names it."""

    client: str
    address: str = ""
    principal: str = ""


SYSTEM = Actor(client="system")


@value(frozen=True, slots=True)
class Execution:
    """The row of an execution."""

    tenant: int
    id: int
    automation: str
    definition: int
    """The immutable version or draft that it runs."""
    state: State
    epoch: int
    """The version of the row: raised by every event that changes the state or the step."""
    step: int
    """Position (0-based) of the current step; the number of steps once DONE."""
    attempt: int
    """The number of the newest attempt at the current step; 0 before the first."""
    attempt_epoch: int
    """The epoch with which the attempt in flight was announced; 0 if none is in flight."""
    items: int
    """The number of items of the attempt in flight, 1 if its step has no items; 0 if none is in flight."""
    waiting_for: WaitingFor | None
    wake_at: int | None
    """When the run is due: for a slot, a timer, a retry, a poll, the end of a callback URL or a deadline; None if
    terminal."""
    holder: str | None
    """The node that announced the attempt in flight."""
    created_at: int
    updated_at: int
    completed_at: int | None
    is_draft: bool
    parent: int | None
    root: int
    """The first ancestor; the run's own id if no step started it."""
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
        """Return the row after a move, with the next epoch.

        Fields of an attempt or a wait are cleared unless they are given; `holder` keeps its value. The row is built
        field by field because `dataclasses.replace` takes ten times as long.

        Raises:
            IllegalMove: The table of transitions has no such move.
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
    """The position, number and epoch that identify an announced attempt."""

    position: int
    number: int
    epoch: int


@value(frozen=True, slots=True)
class Item:
    """One of several targets of a step. Its number is the same in every attempt."""

    number: int
    name: str


SecretRef = NewType("SecretRef", bytes)
"""The ciphertext of a document that holds secrets; only `ports.Vault` can open it."""


@value(frozen=True, slots=True)
class Result:
    """The result of an attempt. `output` and `error` are JSON text; `status` is the HTTP status of the receiver.

    An outcome of None means that the receiver accepted the work, and that its result comes later: in a callback, from a
    task, or from a poll.
    """

    outcome: Outcome | None
    output: bytes | None = None
    error: bytes | None = None
    status: int | None = None
    phase: str | None = None
    reached: Reached | None = None
    """How far a failed attempt got; None if nothing was attempted, or if its items say it."""
    sealed: SecretRef | None = None
    """The output with the secrets that `output` masks; None if `output` masks none."""
    handle: SecretRef | None = None
    """What the next poll asks with; None if nothing is polled."""
    wait_left: int | None = None
    """Microseconds from the next poll to the end of the wait; None if nothing is polled."""


@value(frozen=True, slots=True)
class KeptCallback:
    """A stored callback, which arrived during an attempt at its step."""

    at: int
    result: Result


@value(frozen=True, slots=True)
class CalledStep:
    """The newest attempt at the step that a callback or the result of a poll belongs to."""

    attempt: AttemptRef
    outcome: Outcome | None
    late: bool
    """Whether evidence is stored beside it already."""


@value(frozen=True, slots=True)
class TerminationRequest:
    """A request to terminate a run. `deadline` is microseconds after acceptance, 0 to `MAX_DEADLINE`."""

    actor: Actor
    reason: str = ""
    mode: Mode = Mode.INTERRUPT
    cascade: bool = False
    deadline: int = DEFAULT_DEADLINE
    cause: Cause = Cause.PERSON
    cause_execution: int | None = None
    """For `Cause.CASCADE`: the run that the client terminated."""


@value(frozen=True, slots=True)
class Termination:
    """The record of the first accepted terminate of a run."""

    request: TerminationRequest
    accepted_at: int
    deadline_at: int
    """The earliest deadline of all requests."""
    mode: Mode
    """The strictest mode of all requests: interrupt before drain."""
    found: State
    """The state of the run when the terminate was accepted."""
    below: int = 0
    """The number of descendants that the cascade terminated; set when it has reached them."""


@value(frozen=True, slots=True)
class Situation:
    """Everything that `decide` depends on, read in the transaction that writes the decision."""

    execution: Execution
    termination: Termination | None = None
    """The termination of a stopping run; None for any other run."""
    items: tuple[tuple[int, Outcome | None], ...] = ()
    """The number and outcome of each item of the attempt in flight; empty if its step has no items."""
    fence: TerminationRequest | None = None
    """A termination that covers this run and has not reached it: an ancestor's cascade or the tenant's switch."""
    hold: bool = False
    """Whether nothing new may start, because the disk is full."""
    answer: Applied | Refused | None = None
    """The answer of the applier to the change that the rules asked for; None before."""
    callback: KeptCallback | None = None
    """The early callback that is stored with the step of the attempt in flight."""
    called: CalledStep | None = None
    """For a callback or a poll: the newest attempt at its step; None if there was no attempt."""
