"""Starts of runs, for operations and triggers. The rules start children, in the commit of their parent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from interlock.engine.commits import ActiveRun
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
from interlock.rules.values import value
from interlock.steps.documents import encode

START_ACTION = "execution.start"
RETRY_AFTER_SECONDS: Final = 5
"""Seconds after which a start that a stopping server refused should be tried again."""
_STOPPING: Final = "the server is stopping and starts no more runs; send the request again when it is back"


class Slots(Protocol):
    """The part of a dispatcher that a start needs."""

    holder: str

    def try_slot(self, ref: Ref) -> Held | None:
        """Take a slot for this run, which an interrupt of the run finds from now on; None if no slot is free."""
        ...

    def took(self, held: Held, active: ActiveRun) -> None:
        """Advance the run in this slot, after the commit that created the run."""
        ...

    def free_slot(self, held: Held, ended: Turn = SUPERSEDED) -> None:
        """Take the slot back from a run that does not need it now."""
        ...


@value(frozen=True, slots=True)
class StartRequest:
    """The automation to run, its client, and its data. `definition` is a published version or a draft."""

    tenant: int
    automation: str
    definition: int
    actor: Actor
    trigger: Mapping[str, object]
    """The data of the run, which become `ctx.trigger`."""
    is_draft: bool = False
    idempotency: Idempotency | None = None
    reason: str = ""
    lease: int | None = None
    """Microseconds after which the run is terminated unless its lease is renewed; None if it has no lease."""
    event: str | None = None
    """The id of the event that starts the run; an event starts an automation once."""
    fire: ScheduledFire | None = None
    """The time of the schedule that starts the run."""


class Starter:
    """Starts runs."""

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
        """Pending commits of starts with a slot. The references keep them alive if their callers are cancelled."""

    def close(self) -> None:
        """Refuse every start from now on, because the server is stopping."""
        self._is_closed = True

    async def start(self, request: StartRequest) -> Started:
        """Create a run, and announce its first attempt in the same commit if a slot is free and preparation is cheap.

        The post-commit hook hands the slot to the run, so that an announced attempt is performed even if the caller is
        cancelled while it waits for the commit.

        Args:
            request: The automation, its data, and the records of the same commit.

        Returns:
            The row of the run, and whether an idempotency key repeated an earlier start.

        Raises:
            NotFound: The automation is unknown or deleted.
            AlreadyExists: The idempotency key was used with another body, or the event started a run that was removed.
            Conflict: The schedule has already started a run at this time, or was changed since it was read.
            Unavailable: The disk is full, or the server is stopping.
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
                active = ActiveRun(row, plan, context)
                if isinstance(following, Announce):
                    active.take(following)
                slot.hand_over(active)

            event = Created(self._clock.now(), following, self._slots.holder)
            creating = asyncio.ensure_future(self._executions.create(newcomer, event, input_, records, created=created))
        finally:
            if creating is None:
                slot.free()
        # From here on the commit owns the slot. It creates the run even if the caller is cancelled.
        self._creating.add(creating)
        creating.add_done_callback(partial(self._created, slot))
        return await asyncio.shield(creating)

    def _created(self, slot: _StartSlot, creating: asyncio.Future[Started]) -> None:
        """Free the slot after a commit that failed or handed it to no run."""
        self._creating.discard(creating)
        slot.free()
        if not creating.cancelled():
            # The caller reports a failure. Retrieving it here avoids a warning if the caller was cancelled.
            creating.exception()

    @staticmethod
    def _goes_on(row: Execution, ended: Turn) -> bool:
        """Return whether the run keeps the slot, to perform its attempt or for an expensive evaluation."""
        return row.state is State.PROCESS_STEP or (row.state is State.PENDING and ended is SUPERSEDED)

    async def _first(self, ref: Ref, request: StartRequest) -> tuple[Plan | None, RunContext, Next | None]:
        """Return the compiled automation, the context, and the first step; None for parts that need an existing run.

        A change needs a run that exists. So does an evaluation in an evaluator process, because a run that is not
        committed cannot be stopped, and a step that cannot be prepared now. An unusable automation becomes an error of
        the run.
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
    """A slot that was taken for a start. Only the first call of `hand_over` or `free` has an effect."""

    __slots__ = ("_held", "_is_gone", "_slots")

    def __init__(self, slots: Slots, held: Held) -> None:
        self._slots = slots
        self._held = held
        self._is_gone = False

    def hand_over(self, active: ActiveRun) -> None:
        """Hand the slot to the run, which the dispatcher advances."""
        if not self._is_gone:
            self._is_gone = True
            self._slots.took(self._held, active)

    def free(self, ended: Turn = SUPERSEDED) -> None:
        """Give the slot back to the dispatcher."""
        if not self._is_gone:
            self._is_gone = True
            self._slots.free_slot(self._held, ended)


class _WithoutProcess(Evaluator):
    """An evaluator without a process: it evaluates only what needs none, and raises `NeedsProcess` otherwise."""

    async def run(
        self, script: Script, context: Context, stopped: Stopped = never, *, urgent: bool = False
    ) -> Sequence[Outcome]:
        raise NeedsProcess

    def environment(self) -> Environment:
        raise NeedsProcess


_NO_PLAN = Plan(0, 0, "", (), {})
