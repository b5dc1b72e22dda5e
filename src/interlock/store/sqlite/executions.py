"""Runs in SQLite: `apply`, `create` and the terminations."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product

from interlock.errors import FailedPrecondition, NotFound, Unavailable
from interlock.ports import (
    ChangeListener,
    CommitListener,
    Started,
    StartRecords,
    TreeStopped,
)
from interlock.ports.signals import Signal, Signals
from interlock.rules.admit import Newcomer
from interlock.rules.changes import Mutation
from interlock.rules.decide import begin, decide
from interlock.rules.decision import Decision, Interrupt, Perform, WakeAt
from interlock.rules.events import (
    Created,
    Event,
    Terminated,
)
from interlock.rules.model import (
    Execution,
    Ref,
    Situation,
    TerminationRequest,
)
from interlock.rules.states import State
from interlock.rules.subject import subject_of
from interlock.store import rows
from interlock.store.rowset import AUDIT, audit_values, rowset_of, rowset_of_new
from interlock.store.sqlite import breakers, starts, stops
from interlock.store.sqlite.appliers import RELEASED
from interlock.store.sqlite.children import context_names
from interlock.store.sqlite.execution_reads import ExecutionReads
from interlock.store.sqlite.mutations import Applier, Appliers, MutationContext
from interlock.store.sqlite.situation import situation_of
from interlock.store.sqlite.writer import Writer
from interlock.store.tx import Queries, TenantIds, Tx

FORGET_BATCH = 1_000

Rules = Callable[[Situation, Event], Decision]


class SqliteExecutions(ExecutionReads):
    """`ports.Executions` on the writer and a reading connection.

    Args:
        tenants: Returns the ids of all tenants; called at each sweep.
        disabled: Returns whether the switch "disable automations" of a tenant is on.
        rules: Decides an event; the tests of the tests pass a wrong one.
        appliers: The appliers of the mutations, by their types.
    """

    def __init__(
        self,
        writer: Writer,
        reader: Queries,
        tenants: TenantIds,
        disabled: Callable[[int], bool],
        signals: Signals,
        rules: Rules = decide,
        appliers: Mapping[type, Applier] = RELEASED,
    ) -> None:
        super().__init__(reader, tenants)
        self._writer = writer
        self._rules = rules
        self._appliers = Appliers(appliers)
        self._disabled = disabled
        self._listener: CommitListener | None = None
        self._signals = signals
        self._follower: ChangeListener | None = None
        self._leased: Callable[[], None] | None = None
        self._fired: Callable[[tuple[int, str]], None] | None = None
        self.frozen = False
        """Whether the store was restored from a backup and is not released: no run may start."""

    def listen(self, listener: CommitListener) -> None:
        self._listener = listener

    def follow(self, listener: ChangeListener) -> None:
        self._follower = listener

    # --- changes --------------------------------------------------------------------------------------------------

    def apply(self, ref: Ref, event: Event) -> Future[Decision | None]:
        async def job(tx: Tx) -> Decision | None:
            return await self.apply_in(tx, ref, event)

        return self._writer.submit(job, urgent=type(event) is Terminated, committed=self.tell_moved)

    async def apply_in(self, tx: Tx, ref: Ref, event: Event) -> Decision | None:
        """Apply an event within a job, whose `committed` hook calls `tell_moved`."""
        situation = await self._situation(tx, ref, event)
        if situation is None:
            return None
        decision = self._rules(situation, event)
        if decision.mutation is not None:
            decision = await self._change(tx, situation, event, decision.mutation)
        if decision.moved or decision.records:
            await tx.write(rowset_of(situation.execution, decision, event.at))
        return decision

    async def _change(self, tx: Tx, situation: Situation, event: Event, mutation: Mutation) -> Decision:
        """Make the change that the rules request, and let them decide by the answer of its applier."""
        context = MutationContext(tx, situation.execution, event.at)
        answer = await self._appliers.apply(mutation, context)
        decision = self._rules(replace(situation, answer=answer), event)
        return replace(decision, effects=(*decision.effects, *context.effects)) if context.effects else decision

    async def read_in(self, tx: Tx, ref: Ref) -> Execution | None:
        """Return the run as the transaction reads it."""
        row = await tx.one("execution_get", tenant=ref.tenant, id=ref.id)
        return None if row is None else rows.execution(row)

    def on_lease(self, made: Callable[[], None]) -> None:
        """Tell the listener of each lease that a commit has created."""
        self._leased = made

    def on_fire(self, moved: Callable[[tuple[int, str]], None]) -> None:
        """Tell the listener of the automation, as tenant and id, whose schedule a commit has advanced."""
        self._fired = moved

    def create(
        self,
        newcomer: Newcomer,
        event: Created,
        input: bytes,
        records: StartRecords,
        *,
        created: Callable[[Started], None] | None = None,
    ) -> Future[Started]:
        tenant = newcomer.tenant
        lease, fire = records.lease_microseconds, records.fire

        async def job(tx: Tx) -> Started:
            known = await starts.known(tx, newcomer, event.at, records)
            if known is not None:
                return known
            if self._writer.full:
                raise Unavailable("the disk is full: runs can be stopped, and none can be started", retry_after=30)
            if self.frozen:
                raise FailedPrecondition(
                    "this server was restored from a backup and is frozen: runs can be looked at and stopped, and none "
                    "can be started, until `interlock backup release`"
                )
            found = await tx.one("admission_automation", tenant=tenant, id=newcomer.automation)
            if found is None or found[0] is not None:
                raise NotFound
            if fire is not None:
                await starts.move_schedule(tx, newcomer, fire)
            (disabled,) = await tx.only("admission_tenant", id=tenant)
            paused = False
            if found[1] and not disabled:
                verdict = await breakers.judge(tx, tenant, newcomer.automation, event.at)
                if verdict is not None and (verdict.by_hand or not newcomer.is_draft):
                    await breakers.take(tx, verdict)
                    paused = verdict.paused
            decision = begin(newcomer, event, disabled=bool(disabled), paused=paused)
            kept = await tx.one("admission_context", tenant=tenant, definition=newcomer.definition)
            subject = subject_of(newcomer.names, context_names(None if kept is None else kept[0]))
            written = rowset_of_new(decision.execution, input, decision.records, event.at, subject=subject)
            written.append((AUDIT, audit_values(tenant, event.at, records.audit)))
            await tx.write(written)
            await starts.write_start(tx, newcomer, event.at, records)
            return Started(execution=decision.execution, decision=decision)

        def committed(started: Started) -> bool:
            if lease is not None and self._leased is not None:
                self._leased()
            if fire is not None and self._fired is not None:
                self._fired((tenant, newcomer.automation))
            announces = self.tell_moved(started.decision)
            if created is not None:
                created(started)
            return announces

        return self._writer.submit(job, committed=committed)

    async def terminate_tree(self, ref: Ref, at: int, request: TerminationRequest) -> TreeStopped | None:
        async def job(tx: Tx) -> tuple[TreeStopped, stops.Stopped] | None:
            event = Terminated(at, request)
            situation = await self._situation(tx, ref, event)
            if situation is None:
                return None
            decision = self._rules(situation, event)
            await tx.write(rowset_of(situation.execution, decision, at))
            stopped = await stops.stop_tree(tx, situation.execution, at, request)
            return TreeStopped(decision=decision, descendants=stopped.count, more=stopped.more), stopped

        def committed(result: tuple[TreeStopped, stops.Stopped] | None) -> bool:
            if result is not None:
                if result[0].more:
                    self._signals.send(Signal.CASCADES)
                self.tell_moved(result[0].decision)
                self.tell_stopped(ref.tenant, result[1])
            return False

        result = await self._writer.submit(job, urgent=True, heavy=True, committed=committed)
        return None if result is None else result[0]

    async def terminate_many(
        self, tenant: int, ids: Sequence[int], at: int, request: TerminationRequest
    ) -> Mapping[int, str]:
        async def job(tx: Tx) -> stops.Stopped:
            return await stops.stop_batch(tx, tenant, ids, at, request)

        def committed(stopped: stops.Stopped) -> bool:
            self.tell_stopped(tenant, stopped)
            return False

        return (await self._writer.submit(job, urgent=True, heavy=True, committed=committed)).verdicts

    async def cascades_left(self) -> None:
        """Wait until a cascade may have work left."""
        await self._signals.wait(Signal.CASCADES)

    async def continue_cascades(self, at: int) -> int:
        left = 0
        for tenant in await self._tenants():

            async def job(tx: Tx, tenant: int = tenant) -> stops.Stopped | None:
                return await stops.continue_cascade(tx, tenant, at)

            def committed(stopped: stops.Stopped | None, tenant: int = tenant) -> bool:
                if stopped is not None:
                    self.tell_stopped(tenant, stopped)
                return False

            stopped = await self._writer.submit(job, heavy=True, committed=committed)
            left += stopped is not None
        return left

    async def forget_keys(self, at: int) -> None:
        """Delete idempotency keys and events that are older than their retention."""
        for tenant, (statement, age) in product(await self._tenants(), starts.FORGOTTEN):

            async def job(tx: Tx, tenant: int = tenant, statement: str = statement, until: int = at - age) -> int:
                return await tx.run(statement, tenant=tenant, until=until, limit=FORGET_BATCH)

            while await self._writer.submit(job) == FORGET_BATCH:
                pass

    async def _situation(self, tx: Tx, ref: Ref, event: Event) -> Situation | None:
        return await situation_of(tx, ref, event, disabled=self._disabled, full=self._writer.full)

    # --- after the commit -----------------------------------------------------------------------------------------

    def tell_moved(self, decision: Decision | None) -> bool:
        """Tell the listeners of the changes of a run; return whether the commit announced an attempt."""
        if decision is None:
            return False
        announces = False
        listener = self._listener
        for effect in decision.effects:
            kind = type(effect)
            if kind is Perform:
                announces = True
            elif listener is None:
                continue
            elif isinstance(effect, Interrupt):
                listener.interrupt(effect.ref, effect.epoch)
            elif isinstance(effect, WakeAt):
                listener.ready(effect.ref, effect.at)
        if decision.moved and listener is not None and decision.execution.state in _STOPPED:
            listener.stopped(decision.execution.ref)
        if decision.moved and self._follower is not None:
            self._follower.changed(decision.execution.tenant, decision.execution.id)
        return announces

    def tell_stopped(self, tenant: int, stopped: stops.Stopped) -> None:
        """Tell the listeners of a set-based termination."""
        if self._listener is not None:
            for id_, epoch in stopped.interrupts:
                self._listener.interrupt(Ref(tenant, id_), epoch)
            for id_, at in stopped.deadlines:
                self._listener.ready(Ref(tenant, id_), at)
            for id_ in stopped.moved:
                self._listener.stopped(Ref(tenant, id_))
        if self._follower is not None:
            for id_ in stopped.moved:
                self._follower.changed(tenant, id_)


_STOPPED = frozenset({State.STOPPING, State.TERMINATE})
