"""The one way a run begins, for operations and triggers. (Children begin by the rules, in their parent's commit.)"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from interlock.engine.commits import Carried
from interlock.engine.context import RunContext
from interlock.engine.held import SUPERSEDED, Held, Turn, Waits
from interlock.engine.plans import Plan, Plans, PlanUnusable
from interlock.engine.prepare import Preparer
from interlock.errors import Unavailable
from interlock.expressions.context import Context
from interlock.expressions.environment import Environment, NeedsProcess
from interlock.expressions.evaluate import Evaluator, Stopped, never
from interlock.expressions.script import Outcome, Script
from interlock.ports import AuditEntry, Clock, Executions, Idempotency, Ids, ScheduledFire, Started, StartRecords, Vault
from interlock.rules.admit import Newcomer
from interlock.rules.events import Announce, Change, Created, Next
from interlock.rules.model import Actor, Execution, Ref
from interlock.rules.states import State
from interlock.rules.subject import subject_names
from interlock.steps.documents import encode

START_ACTION = "execution.start"
RETRY_AFTER_SECONDS: Final = 5
"""Seconds after which a start that a stopping server refused should be tried again."""
_STOPPING: Final = "the server is stopping and starts no more runs; send the request again when it is back"


class Slots(Protocol):
    """What a start asks of a dispatcher."""

    holder: str

    def try_slot(self, ref: Ref) -> Held | None:
        """A slot for this run, if one is free: from now on an interrupt of the run finds it."""
        ...

    def took(self, held: Held, carried: Carried) -> None:
        """The run in this slot was announced in the commit that created it: carry it on."""
        ...

    def free_slot(self, held: Held, ended: Turn = SUPERSEDED) -> None:
        """The run in this slot does not need it, for now or for good."""
        ...


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What is to run, on whose behalf, and with what. `definition` is a published version, or a draft's."""

    tenant: int
    automation: str
    definition: int
    actor: Actor
    trigger: Mapping[str, object]
    """Becomes `ctx.trigger`."""
    is_draft: bool = False
    idempotency: Idempotency | None = None
    reason: str = ""
    lease: int | None = None
    """Microseconds after which it is terminated unless its lease is renewed."""
    event: str | None = None
    """The id of the event that starts it: each event starts an automation once."""
    fire: ScheduledFire | None = None
    """The time of a schedule that starts it."""


class Starter:
    """Begins runs."""

    def __init__(
        self, executions: Executions, plans: Plans, slots: Slots, clock: Clock, ids: Ids, vault: Vault
    ) -> None:
        self._executions = executions
        self._plans = plans
        self._preparer = Preparer(clock, _WithoutProcess(), vault, waits=False)
        self._slots = slots
        self._clock = clock
        self._ids = ids
        self._is_closed = False
        self._creating: set[asyncio.Future[Started]] = set()
        """Commits that were asked for with a slot; referenced until they are done, because their callers may leave."""

    def close(self) -> None:
        """Begin no more runs: the server is stopping. Each start is refused from now on."""
        self._is_closed = True

    async def start(self, request: StartRequest) -> Started:
        """Create the run and, if a slot is free and nothing expensive comes before, announce its first attempt in the
        same commit.

        The slot goes to the run in the hook of that commit, so that an announced attempt is performed even if the
        caller is cancelled while it waits.

        Raises:
            NotFound: the automation is unknown or deleted.
            AlreadyExists: the idempotency key was used with another body, or the event started a run that is removed.
            Conflict: the schedule has started a run at this time already, or was changed since it was read.
            Unavailable: the disk is full, or the server is closing.
        """
        if self._is_closed:
            raise Unavailable(_STOPPING, retry_after=RETRY_AFTER_SECONDS)
        id_ = self._ids.execution()
        newcomer = Newcomer(
            request.tenant,
            id_,
            request.automation,
            request.definition,
            request.is_draft,
            names=subject_names(request.trigger),
        )
        details = b'{"automation":' + encode(request.automation) + b"}"
        audit = AuditEntry(
            actor=request.actor,
            action=START_ACTION,
            target=str(id_),
            outcome="ok",
            reason=request.reason,
            details=details,
        )
        records = StartRecords(
            audit=audit,
            idempotency=request.idempotency,
            lease_microseconds=request.lease,
            event=request.event,
            fire=request.fire,
        )
        input_ = encode(request.trigger)
        ref = Ref(request.tenant, id_)
        held = self._slots.try_slot(ref)
        if held is None:
            event = Created(self._clock.now())
            return await self._executions.create(newcomer, event, input_, records)
        slot = _StartSlot(self._slots, held)
        creating: asyncio.Future[Started] | None = None
        try:
            plan, context, following = await self._first(ref, request)
            ended: Turn = SUPERSEDED
            if plan is not None and isinstance(following, Announce):
                host = await self._preparer.destination(ref, plan, following)
                if host is not None and not held.may_call(host):
                    following, ended = None, Waits(host)

            def created(started: Started) -> None:
                row = started.execution
                if plan is None or started.repeated or row.id != id_ or not self._goes_on(row, ended):
                    slot.free(ended)
                    return
                carried = Carried(row, plan, context)
                if isinstance(following, Announce):
                    carried.take(following)
                slot.hand_over(carried)

            event = Created(self._clock.now(), following, self._slots.holder)
            creating = asyncio.ensure_future(self._executions.create(newcomer, event, input_, records, created=created))
        finally:
            if creating is None:
                slot.free()
        # From here on the commit owns the slot: the caller may be cancelled, and the run is created all the same.
        self._creating.add(creating)
        creating.add_done_callback(partial(self._created, slot))
        return await asyncio.shield(creating)

    def _created(self, slot: _StartSlot, creating: asyncio.Future[Started]) -> None:
        """The commit is done or has failed: a slot that went to no run is free again."""
        self._creating.discard(creating)
        slot.free()
        if not creating.cancelled():
            # A failure is the caller's to report; a caller that was cancelled never asks for it.
            creating.exception()

    @staticmethod
    def _goes_on(row: Execution, ended: Turn) -> bool:
        """Whether the slot is kept: to perform what was announced, or to evaluate what was too expensive before."""
        return row.state is State.PROCESS_STEP or (row.state is State.PENDING and ended is SUPERSEDED)

    async def _first(self, ref: Ref, request: StartRequest) -> tuple[Plan | None, RunContext, Next | None]:
        """What comes first. None: the run has to exist before. An unusable plan is told of by the run itself.

        A change rests until the run exists. So does what needs an evaluator process: until the commit the run has no
        id, and nothing of it can be stopped. The same holds for a step that cannot be prepared at present.
        """
        try:
            plan = await self._plans.get(request.tenant, request.definition, at_once=True)
        except (PlanUnusable, NeedsProcess):
            return None, RunContext(_NO_PLAN, {}), None
        context = RunContext(plan, request.trigger)
        try:
            following = await self._preparer.following(ref, plan, 0, context, self._clock.now())
        except (NeedsProcess, Unavailable):
            following = None
        if following is None or isinstance(following, Change):
            return plan, RunContext(plan, request.trigger), None
        return plan, context, following


class _StartSlot:
    """A slot that was taken for a start. It is handed over or freed once, whichever is asked for first."""

    __slots__ = ("_held", "_is_gone", "_slots")

    def __init__(self, slots: Slots, held: Held) -> None:
        self._slots = slots
        self._held = held
        self._is_gone = False

    def hand_over(self, carried: Carried) -> None:
        """Let the dispatcher carry the run on in it."""
        if not self._is_gone:
            self._is_gone = True
            self._slots.took(self._held, carried)

    def free(self, ended: Turn = SUPERSEDED) -> None:
        """Give it back."""
        if not self._is_gone:
            self._is_gone = True
            self._slots.free_slot(self._held, ended)


class _WithoutProcess(Evaluator):
    """Tells what can be told without a process."""

    async def run(
        self, script: Script, context: Context, stopped: Stopped = never, *, urgent: bool = False
    ) -> Sequence[Outcome]:
        raise NeedsProcess

    def environment(self) -> Environment:
        raise NeedsProcess


_NO_PLAN = Plan(0, 0, "", (), {})
