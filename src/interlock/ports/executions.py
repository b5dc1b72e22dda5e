"""Runs: the one way to change them, and the ways to read them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from interlock.ports.audit import AuditEntry
from interlock.rules.admit import Newcomer
from interlock.rules.decision import Decision
from interlock.rules.events import Created, Event
from interlock.rules.model import Execution, Ref, SecretRef, Termination, TerminationRequest
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.states import IN_FLIGHT, State, WaitingFor


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One attempt at a step, or a step that took no time."""

    position: int
    attempt: int
    """1 and up; a step that took no time has one row, numbered 1."""
    epoch: int
    started_at: int
    settled_at: int | None
    outcome: Outcome | None
    """None while open; show it through `rules.outcomes.shown`."""
    waiting_for: WaitingFor | None = None
    input: bytes | None = None
    output: bytes | None = None
    error: bytes | None = None
    status: int | None = None
    phase: str | None = None
    late: bytes | None = None
    """JSON list of late results: evidence."""
    key: str | None = None
    """The idempotency key that the attempt was announced with; None: it sends none."""
    reached: Reached | None = None
    """How far a failed attempt had reached; None if nothing was attempted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRow:
    """One item of an attempt."""

    position: int
    attempt: int
    item: int
    name: str
    outcome: Outcome | None
    settled_at: int | None
    output: bytes | None = None
    error: bytes | None = None
    reached: Reached | None = None
    """How far an item that failed had got; None: it has not failed."""
    again: bool = False
    """It failed, and the next attempt announces it again."""
    sealed: SecretRef | None = None
    """The output with the secrets that `output` masks; None: it masks none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """What a step was first announced with: each further attempt is announced with the same."""

    input: bytes
    """Secrets are masked in it."""
    sealed: SecretRef | None = None
    """The input with the secrets that `input` masks; None: it masks none."""
    key: str | None = None
    """The idempotency key; None: the step sends none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What `advance` needs to go on with a run: the row, its input, and what its steps returned."""

    execution: Execution
    input: bytes
    outputs: tuple[tuple[int, bytes], ...]
    """(position, JSON text) of each step that succeeded with an output, in order."""
    sealed_input: SecretRef | None = None
    """The input with the secrets that `input` masks; None: it masks none."""
    sealed_outputs: Mapping[int, SecretRef] = field(default_factory=dict)
    """By position, the same of those outputs in which something is masked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A store was made from a backup in which a run was not at rest for good."""

    backup: str
    """The name of the file."""
    known_until: int
    """When the newest change was made that is in it: what was done from then on until the restore is not known."""
    restored_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """A caller's key for one start. `body` is the digest of the whole message."""

    key: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledFire:
    """A time of a schedule that starts a run: the start moves the schedule on, or is refused."""

    due_at: int
    """The `next_fire_at` of the automation as it was read."""
    next_at: int | None
    """The time after it; None: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRecords:
    """What the commit that creates a run writes beside it. A further record of a start is a field here."""

    audit: AuditEntry
    idempotency: Idempotency | None = None
    """Kept for the client of `audit`. A key that is known creates nothing."""
    lease_microseconds: int | None = None
    """The run is terminated after this time unless its lease is renewed."""
    event: str | None = None
    """The id of the event that starts the run. It starts an automation once: an event that is known creates nothing."""
    fire: ScheduledFire | None = None
    """The time of a schedule that starts the run; it comes with neither an event nor a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The answer of `create`. `repeated`: the key or the event was known; `execution` is the first one's."""

    execution: Execution
    decision: Decision | None
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeStopped:
    """The answer of a cascading termination: the decision for the named run, and how many below it were stopped."""

    decision: Decision
    descendants: int
    more: bool
    """The tree was larger than one commit takes; the rest is fenced and follows in batches."""


class ExecutionReads(Protocol):
    """The reads of runs."""

    async def started_by(
        self, tenant: int, client: str, automation: str, idempotency: Idempotency, at: int
    ) -> int | None:
        """The run that an earlier start with the same key and body began; None if the key is not known.

        Raises:
            AlreadyExists: the key was used with another body.
        """
        ...

    async def get(self, ref: Ref) -> Execution | None: ...

    async def get_many(self, tenant: int, ids: Sequence[int]) -> list[Execution]:
        """In the order of the ids; unknown ones are left out."""
        ...

    async def load(self, ref: Ref) -> Run | None:
        """What the engine needs of a run, secrets in the clear; views ask `input`, `outputs` and `steps`."""
        ...

    async def announced(self, ref: Ref, position: int) -> Announced | None:
        """For the engine: what a step was first announced with."""
        ...

    async def input(self, ref: Ref) -> bytes:
        """What it was started with, secrets masked."""
        ...

    async def outputs(self, ref: Ref) -> tuple[tuple[int, bytes], ...]:
        """(position, JSON text) of each step that succeeded with an output, in order; secrets masked."""
        ...

    async def steps(self, ref: Ref) -> list[StepRow]:
        """What the steps did, secrets masked."""
        ...

    async def items(self, ref: Ref) -> list[ItemRow]:
        """The items of all attempts, attempt by attempt, secrets masked."""
        ...

    async def items_of_step(self, ref: Ref, position: int) -> list[ItemRow]:
        """For the engine: the items of all attempts at a step, attempt by attempt, secrets in the clear."""
        ...

    async def termination(self, ref: Ref) -> Termination | None: ...

    async def restored(self, ref: Ref) -> Restored | None:
        """The newest restore of which the run's record cannot tell what was done before it; None if it is whole."""
        ...

    async def children(self, ref: Ref, *, after: int = 0, limit: int = 100) -> list[Execution]: ...

    async def page(
        self,
        tenant: int,
        *,
        automations: Sequence[str] = (),
        states: Sequence[State] = (),
        subjects: Sequence[str] = (),
        before: int | None = None,
        limit: int = 25,
    ) -> list[Execution]:
        """Newest first, starting below the id `before`.

        The subject of a run is the person it is about: `user_id` of the data it was started with, else `userId`; what
        it was given lies over its automation's context. Once its payloads are removed, it has none.
        """
        ...

    async def last_executed(self, tenant: int, automations: Sequence[str]) -> Mapping[str, int]:
        """Automation to the time at which its newest run of a published version was made; others are left out."""
        ...

    async def due(
        self, at: int, limit: int, horizon: int = 0, after: tuple[int, Ref] | None = None
    ) -> list[tuple[Ref, int]]:
        """Runs of all tenants whose `wake_at` is at or before `at + horizon`, soonest first, at most `limit`.

        `after`: those alone that come after this time and run, as the answer is ordered by time, tenant and id.
        """
        ...

    async def in_flight(self, limit: int, states: Sequence[State] = tuple(IN_FLIGHT)) -> list[Execution]:
        """Runs of all tenants that stand in PROCESS_STEP or STOPPING, or in one of them, oldest first."""
        ...

    async def greatest_id(self) -> int:
        """The greatest execution id ever stored, or 0."""
        ...


class Executions(ExecutionReads, Protocol):
    """Runs. Every change of one goes through `apply`; a commit that cannot be made raises `Unavailable`."""

    def create(
        self,
        newcomer: Newcomer,
        event: Created,
        input: bytes,
        records: StartRecords,
        *,
        created: Callable[[Started], None] | None = None,
    ) -> Awaitable[Started]:
        """Let a run in.

        Args:
            records: written in the commit that creates the run, or not at all.
            created: called once, right after the commit and before any caller is answered, whether or not the caller
                still waits. Never called if nothing was committed.

        Raises:
            NotFound: the automation is unknown or deleted.
            AlreadyExists: the idempotency key was used with another body, or the event started a run that is removed.
            Conflict: this time of the schedule has started a run already, or the automation was disabled or scheduled
                anew since it was read.
            Unavailable: the disk is full, or the store is closing.
        """
        ...

    def apply(self, ref: Ref, event: Event) -> Awaitable[Decision | None]:
        """In one transaction: read the row, ask `decide`, write its answer. None: there is no such run."""
        ...

    def terminate_tree(self, ref: Ref, at: int, request: TerminationRequest) -> Awaitable[TreeStopped | None]:
        """Terminate a run and every run below it in one commit; above 10,000 the rest is fenced and follows."""
        ...

    def terminate_many(
        self, tenant: int, ids: Sequence[int], at: int, request: TerminationRequest
    ) -> Awaitable[Mapping[int, str]]:
        """Set-based termination of up to 250 runs in one commit: id to verdict; unknown ids are left out."""
        ...

    def cascades_left(self) -> Awaitable[None]:
        """Wait until an order to stop a very large tree may not be at its end; at first it may."""
        ...

    def continue_cascades(self, at: int) -> Awaitable[int]:
        """Terminate the next batch below every fenced root; returns how many are left at least."""
        ...

    def forget_keys(self, at: int) -> Awaitable[None]:
        """Forget idempotency keys that are older than a day, and events that are older than a week."""
        ...
