"""Runs in SQLite: `apply`, `create` and the stops."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import apsw

from interlock.errors import FailedPrecondition, NotFound, Unavailable
from interlock.ports import (
    ChangeListener,
    CommitListener,
    Started,
    StartRecords,
    TreeStopped,
)
from interlock.ports.signals import Signal, Signals
from interlock.rules.admit import SWITCHED_OFF, Newcomer
from interlock.rules.changes import Mutation
from interlock.rules.decide import begin, decide
from interlock.rules.decision import Decision, Interrupt, Perform, WakeAt
from interlock.rules.events import (
    CalledBack,
    Created,
    Event,
    ItemSettled,
    Prepared,
    Recovered,
    Released,
    Settled,
    Terminated,
    Woken,
)
from interlock.rules.model import (
    CalledStep,
    Execution,
    KeptCallback,
    Ref,
    Situation,
    Termination,
    TerminationRequest,
)
from interlock.rules.states import State
from interlock.rules.subject import subject_of
from interlock.store import rows
from interlock.store.sqlite import breakers, starts, stops
from interlock.store.sqlite.appliers import RELEASED
from interlock.store.sqlite.audit import append_audit
from interlock.store.sqlite.children import context_names
from interlock.store.sqlite.execution_reads import ExecutionReads
from interlock.store.sqlite.mutations import Applier, Appliers, MutationContext
from interlock.store.sqlite.records import write, write_new
from interlock.store.sqlite.writer import Writer
from interlock.store.statements import Dialect, Statement, load

FORGET_BATCH = 1_000

Rules = Callable[[Situation, Event], Decision]

_SQL = load("executions", Dialect.SQLITE) | load("terminations", Dialect.SQLITE)
_ADMISSION = _SQL["admission_automation"]
_CONTEXT = _SQL["admission_context"]
_SWITCH = _SQL["admission_tenant"]
_GET = _SQL["execution_get"]
_CALLBACK_KEPT = _SQL["callback_kept"]


class SqliteExecutions(ExecutionReads):
    """`ports.Executions` on the writer and a reading connection.

    Args:
        tenants: the ids of all tenants; asked at each sweep.
        disabled: tenants whose switch "disable automations" is on.
        rules: what follows from an event; another one shows whether the tests would notice.
        appliers: of the mutations, by their types.
    """

    def __init__(
        self,
        writer: Writer,
        reader: apsw.Connection,
        tenants: Callable[[], Sequence[int]],
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
        """The store was restored from a backup, and nobody has released it: no run is let in."""

    def listen(self, listener: CommitListener) -> None:
        self._listener = listener

    def follow(self, listener: ChangeListener) -> None:
        self._follower = listener

    # --- changes --------------------------------------------------------------------------------------------------

    def apply(self, ref: Ref, event: Event) -> Future[Decision | None]:
        def job(connection: apsw.Connection) -> Decision | None:
            return self.apply_in(connection, ref, event)

        return self._writer.submit(job, urgent=type(event) is Terminated, committed=self.tell_moved)

    def apply_in(self, connection: apsw.Connection, ref: Ref, event: Event) -> Decision | None:
        """The same within a job of somebody else's; `tell_moved` has to follow the commit."""
        situation = self._situation(connection, ref, event)
        if situation is None:
            return None
        decision = self._rules(situation, event)
        if decision.mutation is not None:
            decision = self._change(connection, situation, event, decision.mutation)
        if decision.moved or decision.records:
            write(connection, situation.execution, decision, event.at)
        return decision

    def _change(self, connection: apsw.Connection, situation: Situation, event: Event, mutation: Mutation) -> Decision:
        """Make the change that the rules ask for, and let them decide by the answer of its applier."""
        context = MutationContext(connection, situation.execution, event.at)
        answer = self._appliers.apply(mutation, context)
        decision = self._rules(replace(situation, answer=answer), event)
        return replace(decision, effects=(*decision.effects, *context.effects)) if context.effects else decision

    def read_in(self, connection: apsw.Connection, ref: Ref) -> Execution | None:
        """The run as the transaction sees it."""
        row = connection.execute(_GET, (ref.tenant, ref.id)).fetchone()
        return None if row is None else rows.execution(row)

    def on_lease(self, made: Callable[[], None]) -> None:
        """Tell of each lease that a commit made."""
        self._leased = made

    def on_fire(self, moved: Callable[[tuple[int, str]], None]) -> None:
        """Tell of the automation, as tenant and id, whose schedule a commit has moved."""
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

        def job(connection: apsw.Connection) -> Started:
            known = starts.known(connection, newcomer, event.at, records)
            if known is not None:
                return known
            if self._writer.full:
                raise Unavailable("the disk is full: runs can be stopped, and none can be started", retry_after=30)
            if self.frozen:
                raise FailedPrecondition(
                    "this server was restored from a backup and is frozen: runs can be looked at and stopped, and none "
                    "can be started, until `interlock backup release`"
                )
            found = connection.execute(_ADMISSION, (tenant, newcomer.automation)).fetchone()
            if found is None or found[0] is not None:
                raise NotFound
            if fire is not None:
                starts.move_schedule(connection, newcomer, fire)
            (disabled,) = next(connection.execute(_SWITCH, (tenant,)))
            paused = False
            if found[1] and not disabled:
                verdict = breakers.judge(connection, tenant, newcomer.automation, event.at)
                if verdict is not None and (verdict.by_hand or not newcomer.is_draft):
                    breakers.take(connection, verdict)
                    paused = verdict.paused
            decision = begin(newcomer, event, disabled=bool(disabled), paused=paused)
            (context,) = next(connection.execute(_CONTEXT, (tenant, newcomer.definition)), (None,))
            subject = subject_of(newcomer.names, context_names(context))
            write_new(connection, decision.execution, input, decision.records, event.at, subject)
            append_audit(connection, tenant, event.at, records.audit)
            starts.write_start(connection, newcomer, event.at, records)
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
        def job(connection: apsw.Connection) -> tuple[TreeStopped, stops.Stopped] | None:
            event = Terminated(at, request)
            situation = self._situation(connection, ref, event)
            if situation is None:
                return None
            decision = self._rules(situation, event)
            write(connection, situation.execution, decision, at)
            stopped = stops.stop_tree(connection, situation.execution, at, request)
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
        def job(connection: apsw.Connection) -> stops.Stopped:
            return stops.stop_batch(connection, tenant, ids, at, request)

        def committed(stopped: stops.Stopped) -> bool:
            self.tell_stopped(tenant, stopped)
            return False

        return (await self._writer.submit(job, urgent=True, heavy=True, committed=committed)).verdicts

    async def cascades_left(self) -> None:
        """Return once an order to stop a very large tree may not be at its end."""
        await self._signals.wait(Signal.CASCADES)

    async def continue_cascades(self, at: int) -> int:
        left = 0
        for tenant in self._tenants():

            def job(connection: apsw.Connection, tenant: int = tenant) -> stops.Stopped | None:
                return stops.continue_cascade(connection, tenant, at)

            def committed(stopped: stops.Stopped | None, tenant: int = tenant) -> bool:
                if stopped is not None:
                    self.tell_stopped(tenant, stopped)
                return False

            stopped = await self._writer.submit(job, heavy=True, committed=committed)
            left += stopped is not None
        return left

    async def forget_keys(self, at: int) -> None:
        """Forget idempotency keys and events that are older than they are kept."""
        for tenant, (statement, age) in product(self._tenants(), starts.FORGOTTEN):
            key = (tenant, at - age, FORGET_BATCH)

            def job(
                connection: apsw.Connection, statement: Statement = statement, key: tuple[int, int, int] = key
            ) -> int:
                connection.execute(statement, key)
                return connection.changes()

            while await self._writer.submit(job) == FORGET_BATCH:
                pass

    def _situation(self, connection: apsw.Connection, ref: Ref, event: Event) -> Situation | None:
        row = connection.execute(_GET, (ref.tenant, ref.id)).fetchone()
        if row is None:
            return None
        execution = rows.execution(row)
        kind = type(event)
        if kind in _STARTS_SOMETHING:
            fence = self._fence(connection, execution, rows.fenced(row))
            callback = self._callback(connection, execution)
            if fence is None and callback is None and not self._writer.full:
                return Situation(execution, self._termination(connection, execution))
            return Situation(
                execution,
                self._termination(connection, execution),
                fence=fence,
                hold=self._writer.full,
                callback=callback,
            )
        items: tuple[tuple[int, Any], ...] = ()
        if kind in {ItemSettled, Recovered}:
            key = (ref.tenant, ref.id, execution.step, execution.attempt)
            found = connection.execute(_SQL["items_of_attempt"], key)
            items = tuple((item, rows.outcome(outcome)) for item, outcome in found)
        fence = self._fence(connection, execution, rows.fenced(row)) if kind in _ENDS_UNDER_AN_ORDER else None
        return Situation(
            execution,
            self._termination(connection, execution),
            items,
            fence,
            callback=self._callback(connection, execution),
            called=self._called(connection, ref, event.position) if isinstance(event, CalledBack) else None,
        )

    def _callback(self, connection: apsw.Connection, execution: Execution) -> KeptCallback | None:
        """What the step of an attempt in flight was told by a callback."""
        if not execution.in_flight:
            return None
        key = (execution.tenant, execution.id, execution.step)
        found = connection.execute(_CALLBACK_KEPT, key).fetchone()
        return None if found is None else rows.kept_callback(found)

    def _called(self, connection: apsw.Connection, ref: Ref, position: int) -> CalledStep | None:
        found = connection.execute(_SQL["step_newest"], (ref.tenant, ref.id, position)).fetchone()
        return None if found is None else rows.called_step(position, found)

    def _termination(self, connection: apsw.Connection, execution: Execution) -> Termination | None:
        if execution.state is not State.STOPPING:
            return None
        found = connection.execute(_SQL["termination_get"], (execution.tenant, execution.id)).fetchone()
        return None if found is None else rows.termination(found)

    def _fence(self, connection: apsw.Connection, execution: Execution, fenced: bool) -> TerminationRequest | None:
        if execution.parent is not None:
            found = connection.execute(_SQL["root_fenced"], (execution.tenant, execution.root)).fetchone()
            if found is not None and found[0]:
                order = stops.order_over(connection, execution)
                if order is not None:
                    return order
        return SWITCHED_OFF if self._disabled(execution.tenant) else None

    # --- after the commit -----------------------------------------------------------------------------------------

    def tell_moved(self, decision: Decision | None) -> bool:
        """Pass on what a commit did to a run; whether it announced an attempt."""
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
        """Pass on what a commit did to many runs."""
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
_STARTS_SOMETHING = frozenset({Prepared, Settled, Woken})
_ENDS_UNDER_AN_ORDER = frozenset({CalledBack, ItemSettled, Recovered, Released})
"""What starts nothing by itself, and yet must not leave a run to go on that a standing order covers."""
