"""Runs: `apply`, which makes every change of a run, and the reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from typing import Protocol

from interlock.ports.audit import AuditEntry
from interlock.rules.admit import Newcomer
from interlock.rules.decision import Decision
from interlock.rules.events import Created, Event
from interlock.rules.model import Execution, Ref, SecretRef, Termination, TerminationRequest
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.states import IN_FLIGHT, State, WaitingFor
from interlock.rules.values import value


@value(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One attempt at a step, or a step that took no time."""

    position: int
    attempt: int
    """From 1; a step that took no time has one row with the number 1."""
    epoch: int
    started_at: int
    settled_at: int | None
    outcome: Outcome | None
    """None while open; views convert it with `rules.outcomes.shown`."""
    waiting_for: WaitingFor | None = None
    input: bytes | None = None
    output: bytes | None = None
    error: bytes | None = None
    status: int | None = None
    phase: str | None = None
    late: bytes | None = None
    """JSON list of late results, which are evidence."""
    key: str | None = None
    """The idempotency key of the announced attempt; None: it sends none."""
    reached: Reached | None = None
    """Whether a failed attempt reached the receiver; None if nothing was attempted."""
    handle: SecretRef | None = None
    """What the next poll asks with; None if nothing is polled. No view shows it."""
    wait_left: int | None = None
    """Microseconds from the next poll to the end of the wait; None if nothing is polled."""


@value(frozen=True, slots=True, kw_only=True)
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
    """Whether a failed item reached the receiver; None if it has not failed."""
    again: bool = False
    """Whether the item failed and the next attempt announces it again."""
    sealed: SecretRef | None = None
    """The output with the secrets that `output` masks; None: it masks none."""


@value(frozen=True, slots=True, kw_only=True)
class Announced:
    """The data of the first announcement of a step; every further attempt is announced with the same."""

    input: bytes
    """The input, with secrets masked."""
    sealed: SecretRef | None = None
    """The input with the secrets that `input` masks; None: it masks none."""
    key: str | None = None
    """The idempotency key; None: the step sends none."""


@value(frozen=True, slots=True, kw_only=True)
class Run:
    """The data that `advance` needs to continue a run: the row, its input and the outputs of its steps."""

    execution: Execution
    input: bytes
    outputs: tuple[tuple[int, bytes], ...]
    """(position, JSON text) of each step that succeeded with an output, in order."""
    sealed_input: SecretRef | None = None
    """The input with the secrets that `input` masks; None: it masks none."""
    sealed_outputs: Mapping[int, SecretRef] = field(default_factory=dict)
    """By position, the outputs with the secrets that `outputs` masks."""


@value(frozen=True, slots=True, kw_only=True)
class Restored:
    """The restore of a store from a backup in which a run was active."""

    backup: str
    """The name of the backup file."""
    known_until: int
    """The time of the newest change in the backup: the record has nothing from then until the restore."""
    restored_at: int


@value(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """A caller's key for one start. `body` is the digest of the whole message."""

    key: str
    body: bytes


@value(frozen=True, slots=True, kw_only=True)
class ScheduledFire:
    """A time of a schedule that starts a run. The start advances the schedule, or is refused."""

    due_at: int
    """The `next_fire_at` of the automation as it was read."""
    next_at: int | None
    """The time after it; None: there is none."""


@value(frozen=True, slots=True, kw_only=True)
class StartRecords:
    """The records that the commit of a new run writes in addition. A further record of a start is a field here."""

    audit: AuditEntry
    idempotency: Idempotency | None = None
    """Stored for the client of `audit`. A known key creates no run."""
    lease_microseconds: int | None = None
    """The run is terminated after this time unless its client renews the lease."""
    event: str | None = None
    """The id of the event that starts the run. It starts an automation once: a known event creates no run."""
    fire: ScheduledFire | None = None
    """The time of a schedule that starts the run; it comes with neither an event nor a key."""


@value(frozen=True, slots=True, kw_only=True)
class Started:
    """The answer of `create`. With `repeated`, the key or the event was known and `execution` is the first run."""

    execution: Execution
    decision: Decision | None
    repeated: bool = False


@value(frozen=True, slots=True, kw_only=True)
class TreeStopped:
    """The answer of a cascade: the decision for the named run, and the number of terminated descendants."""

    decision: Decision
    descendants: int
    more: bool
    """Whether the tree is too large for one commit; the rest is fenced and follows in batches."""


class ExecutionReads(Protocol):
    """The reads of runs."""

    async def started_by(
        self, tenant: int, client: str, automation: str, idempotency: Idempotency, at: int
    ) -> int | None:
        """Return the run of an earlier start with the same key and body; None if the key is unknown.

        Raises:
            AlreadyExists: The key was used with another body.
        """
        ...

    async def get(self, ref: Ref) -> Execution | None: ...

    async def get_many(self, tenant: int, ids: Sequence[int]) -> list[Execution]:
        """Return runs in the order of the ids, without unknown ones."""
        ...

    async def load(self, ref: Ref) -> Run | None:
        """Return a run for the engine, with secrets in the clear; views use `input`, `outputs` and `steps`."""
        ...

    async def announced(self, ref: Ref, position: int) -> Announced | None:
        """Return the first announcement of a step, for the engine."""
        ...

    async def input(self, ref: Ref) -> bytes:
        """Return the trigger data of a run, with secrets masked."""
        ...

    async def outputs(self, ref: Ref) -> tuple[tuple[int, bytes], ...]:
        """Return (position, JSON text) of each step that succeeded with an output, in order, with secrets masked."""
        ...

    async def steps(self, ref: Ref) -> list[StepRow]:
        """Return the attempts at all steps, with secrets masked."""
        ...

    async def items(self, ref: Ref) -> list[ItemRow]:
        """Return the items of all attempts, attempt by attempt, with secrets masked."""
        ...

    async def items_of_step(self, ref: Ref, position: int) -> list[ItemRow]:
        """Return the items of all attempts at a step for the engine, attempt by attempt, with secrets in the clear."""
        ...

    async def termination(self, ref: Ref) -> Termination | None: ...

    async def restored(self, ref: Ref) -> Restored | None:
        """Return the newest restore that left a gap in the record of the run; None if the record is complete."""
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
        """Return runs, newest first, starting below the id `before`.

        The subject of a run is the person that it is about: `user_id`, or else `userId`, of its trigger data, which
        override the context of its automation. A run whose payloads were removed has no subject.
        """
        ...

    async def last_executed(self, tenant: int, automations: Sequence[str]) -> Mapping[str, int]:
        """Return when each automation was last executed: the creation time of its newest run of a published version."""
        ...

    async def due(
        self, at: int, limit: int, horizon: int = 0, after: tuple[int, Ref] | None = None
    ) -> list[tuple[Ref, int]]:
        """Return runs of all tenants whose `wake_at` is at or before `at + horizon`, soonest first, at most `limit`.

        With `after`, return only runs after this time and run, in the order of time, tenant and id.
        """
        ...

    async def in_flight(self, limit: int, states: Sequence[State] = tuple(IN_FLIGHT)) -> list[Execution]:
        """Return runs of all tenants in these states, oldest first."""
        ...

    async def greatest_id(self) -> int:
        """Return the greatest execution id ever stored, or 0."""
        ...


class Executions(ExecutionReads, Protocol):
    """Runs. Every change of a run goes through `apply`; a failed commit raises `Unavailable`."""

    def create(
        self,
        newcomer: Newcomer,
        event: Created,
        input: bytes,
        records: StartRecords,
        *,
        created: Callable[[Started], None] | None = None,
    ) -> Awaitable[Started]:
        """Create a run.

        Args:
            newcomer: The run to create.
            event: Its first event.
            input: Its trigger data, as JSON text.
            records: Written in the commit that creates the run, or not at all.
            created: Called once, right after the commit and before any caller is answered, whether or not the caller
                still waits. It is not called if nothing was committed.

        Raises:
            NotFound: The automation is unknown or deleted.
            AlreadyExists: The idempotency key was used with another body, or the run of the event was removed.
            Conflict: This time of the schedule has started a run already, or the automation was disabled or its
                schedule was changed since it was read.
            Unavailable: The disk is full, or the store is closing.
        """
        ...

    def apply(self, ref: Ref, event: Event) -> Awaitable[Decision | None]:
        """Read the row, call `decide` and write its decision in one transaction; None if there is no such run."""
        ...

    def terminate_tree(self, ref: Ref, at: int, request: TerminationRequest) -> Awaitable[TreeStopped | None]:
        """Terminate a run and its descendants in one commit; beyond 10,000 the rest is fenced and follows."""
        ...

    def terminate_many(
        self, tenant: int, ids: Sequence[int], at: int, request: TerminationRequest
    ) -> Awaitable[Mapping[int, str]]:
        """Terminate up to 250 runs in one commit by set-based statements; return the verdicts of known ids."""
        ...

    def cascades_left(self) -> Awaitable[None]:
        """Wait until a cascade may have work left. The first call returns immediately."""
        ...

    def continue_cascades(self, at: int) -> Awaitable[int]:
        """Terminate the next batch below every fenced root; return the least number of roots that are left."""
        ...

    def forget_keys(self, at: int) -> Awaitable[None]:
        """Delete idempotency keys that are older than a day, and events that are older than a week."""
        ...
