"""The life of a run between two commits: load, prepare, apply, perform, apply, and say when to look again.

It does not know who calls it, and it decides nothing: each thing that happened is put to the rules as one event, and
their answer says where the run stands. While that is an attempt of its own it goes on without loading the run again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from interlock.engine.context import RunContext, assemble
from interlock.engine.held import FINISHED, SUPERSEDED, Again, Claim, Held, Turn, Waits
from interlock.engine.plans import Plan, Plans, PlanUnusable
from interlock.engine.prepare import Preparer
from interlock.engine.reports import DEFECT, interpret, interpret_defect, lost, without_output
from interlock.engine.suspects import MAX_LOSSES, SET_ASIDE
from interlock.errors import Fatal, Unavailable
from interlock.ports import Announced, Clock, Executions, Marks, NoMarks, Randomness, Run, StepRow
from interlock.rules.decide import OUTCOME_UNKNOWN
from interlock.rules.decision import Decision, Verdict
from interlock.rules.events import (
    Announce,
    Change,
    DeadlinePassed,
    Event,
    Fail,
    Next,
    Prepared,
    Recovered,
    Retry,
    Settled,
    Wait,
    Woken,
)
from interlock.rules.model import SECOND, AttemptRef, Execution, Ref, Result
from interlock.rules.outcomes import Outcome
from interlock.rules.states import IN_FLIGHT, TERMINAL, State, WaitingFor
from interlock.steps.documents import Unreadable, decode, encode_output, error_document
from interlock.steps.kind import Attempt, Report, Succeeded
from interlock.steps.masking import ANSWER_MEMBERS
from interlock.system import Slices

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Carried:
    """A run in hand: the row as the last commit left it, its plan and context, and the input last announced."""

    execution: Execution
    plan: Plan
    context: RunContext
    input: bytes = b"{}"
    shown_input: bytes | None = None
    """What may be shown of the input, if that is not all of it: then the answer may repeat a secret."""
    key: str | None = None
    """The idempotency key last announced."""
    began_at: int = 0
    """When the first attempt at the present step was announced; 0: not known, the store has it."""
    stale: bool = False
    """The context is not that of the row, because of a defect or an early callback: the run has to be loaded again."""
    waits_for: str | None = None
    """The host whose turn the next call has to wait for."""

    def take(self, announce: Announce) -> None:
        """Keep what the attempt in flight was announced with."""
        if announce.input is not None:
            self.input, self.shown_input = announce.input, announce.shown_input
        self.key = announce.key


class Advance:
    """Carries runs on. `holder` names this process in what it announces."""

    def __init__(
        self,
        executions: Executions,
        plans: Plans,
        preparer: Preparer,
        clock: Clock,
        chance: Randomness,
        holder: str,
        marks: Marks | None = None,
        slices: Slices | None = None,
    ) -> None:
        self._executions = executions
        self._plans = plans
        self._preparer = preparer
        self._clock = clock
        self._chance = chance
        self.holder = holder
        self._marks = marks if marks is not None else NoMarks()
        self._slices = slices or Slices()

    # --- the doors ------------------------------------------------------------------------------------------------

    async def advance(self, claim: Claim, held: Held) -> Turn:
        """Carry the run on as far as it goes now."""
        run = await self._executions.load(claim.ref)
        if run is None:
            return FINISHED
        execution = run.execution
        state = execution.state
        if state in IN_FLIGHT and claim.lost:
            # Nobody asks for it a second time: a run in flight is left to its holder, and this one has none.
            recovered = _moved(await self._apply(claim.ref, await self._recovered(execution)))
            if recovered is None:
                return SUPERSEDED
            # Loaded again: a callback that was kept may have settled the step and brought its output.
            run = await self._executions.load(claim.ref)
            if run is None:
                return FINISHED
            execution, state = run.execution, run.execution.state
        if state in TERMINAL or state is State.PAUSED_BY_CIRCUIT_BREAKER:
            return FINISHED
        if state is State.PROCESS_STEP:
            return SUPERSEDED
        if execution.wake_at is None:
            return FINISHED
        if execution.wake_at > self._clock.now():
            return Again(execution.wake_at)
        if state is State.STOPPING:
            await self.overdue(claim.ref)
            return FINISHED
        loaded = await self._loaded(run, held)
        if isinstance(loaded, Carried):
            if not await self._take_on(loaded, held):
                return SUPERSEDED
            return await self.carry(loaded, held)
        if isinstance(loaded, bytes):
            await self._refuse(execution, loaded)
            return FINISHED
        return loaded

    async def _loaded(self, run: Run, held: Held) -> Carried | Turn | bytes:
        """The run in hand; or the error for which it cannot be carried on; or, if neither is known, what to do next."""
        execution = run.execution
        if held.stopped:
            return SUPERSEDED
        mark = self._marks.begin(execution.ref)
        held.evaluating = True
        try:
            plan = await self._plans.get(execution.tenant, execution.definition)
            await self._slices.turn()
            self._slices.spent(len(run.input) + sum(len(output) for _, output in run.outputs))
            return Carried(execution, plan, assemble(plan, run))
        except asyncio.CancelledError:
            # A slot is not kept for the plan of a run that is stopped.
            if not held.end():
                raise
            return SUPERSEDED
        except Unavailable:
            # No process can be had that compiles it: nothing is wrong with the run.
            return Again(self._clock.now() + SECOND)
        except PlanUnusable as error:
            return error_document("PLAN_UNUSABLE", error.message)
        except Unreadable as error:
            return error_document(error.code, error.message)
        finally:
            held.end()
            self._marks.end(mark)

    async def destination(self, ref: Ref) -> str | None:
        """The host that a ready run is certain to call next; None: that is not known before it is prepared."""
        execution = await self._executions.get(ref)
        if execution is None or execution.state is not State.PENDING:
            return None
        plan = self._plans.kept(execution.tenant, execution.definition)
        return None if plan is None else await plan.next_destination(execution.step)

    async def set_aside(self, ref: Ref) -> Turn:
        """End a run that the process did not survive too often."""
        execution = await self._executions.get(ref)
        if execution is not None and execution.state in (State.PENDING, State.WAITING):
            await self._refuse(execution, SET_ASIDE)
        return FINISHED

    async def carry(self, carried: Carried, held: Held) -> Turn:
        """Go on with a run whose row was just written by this process: attempt after attempt, until it rests."""
        while True:
            execution = carried.execution
            state = execution.state
            if state is State.PROCESS_STEP:
                if not await self._attempt(carried, held):
                    return SUPERSEDED
            elif state is State.PENDING and carried.waits_for is not None:
                return Waits(carried.waits_for)
            elif state is State.PENDING and execution.wake_at is not None:
                if execution.wake_at > self._clock.now() or held.closing or carried.stale:
                    return Again(execution.wake_at)
                # This very turn does what the commit's own hint asks for.
                held.noted = max(0, held.noted - 1)
                if not await self._take_on(carried, held):
                    return SUPERSEDED
            elif execution.wake_at is not None:
                return Again(execution.wake_at)
            else:
                return FINISHED

    async def recover(self, execution: Execution) -> Execution | None:
        """Settle what a dead holder left in flight; nothing is performed. None: it moved meanwhile.

        Raises:
            Unavailable: the commit could not be made.
        """
        return _moved(await self._executions.apply(execution.ref, await self._recovered(execution)))

    async def give_up(self, ref: Ref) -> None:
        """End a run that this process cannot carry on because of a defect of ours."""
        execution = await self._executions.get(ref)
        if execution is None or execution.state in TERMINAL or execution.state is State.PAUSED_BY_CIRCUIT_BREAKER:
            return
        if execution.state in IN_FLIGHT:
            await self._apply(ref, Recovered(self._clock.now(), execution.epoch, repeatable=False))
        else:
            await self._refuse(execution, DEFECT)

    async def overdue(self, ref: Ref) -> None:
        """Give up on the attempt of a stopping run whose deadline has passed. Safe beside a turn of the same run."""
        execution = await self._executions.get(ref)
        now = self._clock.now()
        if execution is None or execution.state is not State.STOPPING or (execution.wake_at or 0) > now:
            return
        await self._executions.apply(ref, DeadlinePassed(now, execution.epoch))

    # --- resting runs ---------------------------------------------------------------------------------------------

    async def _take_on(self, carried: Carried, held: Held) -> bool:
        """Move a run on that was ready, or whose waiting is over. False: it moved meanwhile."""
        execution = carried.execution
        at = self._clock.now()
        following: Next | None
        if execution.state is State.PENDING:
            entered = await self._entered(carried, held, at)
            if entered is None:
                # It is stopped.
                return False
            entered = await self._in_turn(carried, held, entered)
            if entered is None:
                # Nothing is committed: it stays ready.
                return True
            return await self._commit(carried, Prepared(self._clock.now(), execution.epoch, entered, self.holder))
        by = execution.waiting_for
        assert by is not None
        result: Result | None = None
        step = carried.plan.steps[execution.step]
        if by is WaitingFor.TIMER:
            output = step.step.waited(execution.wake_at or at)
            result = Result(Outcome.SUCCEEDED, encode_output(output))
            following = await self._after(carried, held, output, at)
        elif by is WaitingFor.RETRY:
            following = await self._in_turn(carried, held, await self._entered(carried, held, at))
        else:
            result = Result(Outcome.FAILED, error=step.step.expired())
            following = Fail(execution.step)
        event = Woken(self._clock.now(), execution.epoch, by, result, following, self.holder)
        return await self._commit(carried, event)

    async def _in_turn(self, carried: Carried, held: Held, following: Next | None) -> Next | None:
        """What follows. None: it is a call whose turn has not come, or nothing is known to follow."""
        if isinstance(following, Announce):
            host = await carried.plan.destination(following)
            if not held.may_call(host):
                carried.waits_for = host
                return None
        return following

    async def _entered(self, carried: Carried, held: Held, at: int) -> Next | None:
        """What comes at the present step. A further attempt takes the input of the first: same key, same call."""
        execution = carried.execution
        if execution.attempt > 0:
            first = await self._first_row(execution)
            if first is not None and first.input is not None:
                carried.began_at = first.started_at
                announced = await self._executions.announced(execution.ref, execution.step)
                if announced is None:
                    announced = Announced(input=first.input, key=first.key)
                return Announce(execution.step, announced.input, shown_input=announced.shown_input, key=announced.key)
        return await self._following(carried, held, execution.step, at)

    async def _following(self, carried: Carried, held: Held, position: int, at: int) -> Next | None:
        """What comes at that position. None: the run is stopped, and its slot is not kept for an evaluation."""
        if held.stopped:
            return None
        # What is plain is read by our own code alone: it costs nothing, and no mark either.
        mark = -1 if carried.plan.is_plain(position) else self._marks.begin(carried.execution.ref)
        held.evaluating = True
        try:
            following = await self._preparer.following(
                carried.execution.ref, carried.plan, position, carried.context, at, held.is_stopped
            )
        except asyncio.CancelledError:
            if not held.end():
                raise
            return None
        except BaseException:
            held.end()
            raise
        finally:
            self._marks.end(mark)
        held.end()
        return following

    async def _refuse(self, execution: Execution, document: bytes) -> None:
        """End a resting run that cannot be carried on, and say why."""
        now, by = self._clock.now(), execution.waiting_for
        event: Event
        if execution.state is not State.WAITING or by is None:
            event = Prepared(now, execution.epoch, Fail(execution.step, document), self.holder)
        elif by is WaitingFor.RETRY:
            event = Woken(now, execution.epoch, by, None, Fail(execution.step, document), self.holder)
        else:
            failed = Result(Outcome.FAILED, error=document)
            event = Woken(now, execution.epoch, by, failed, Fail(execution.step), self.holder)
        await self._apply(execution.ref, event)

    # --- attempts -------------------------------------------------------------------------------------------------

    async def _attempt(self, carried: Carried, held: Held) -> bool:
        """Perform the announced attempt and record what became of it, together with what comes next."""
        execution = carried.execution
        ref = AttemptRef(execution.step, execution.attempt, execution.attempt_epoch)
        if not carried.began_at:
            first = await self._first_row(execution) if execution.attempt > 1 else None
            carried.began_at = execution.updated_at if first is None else first.started_at
        attempt = Attempt(
            execution.ref,
            execution.automation,
            ref,
            carried.input,
            carried.began_at,
            key=carried.key,
            apps=carried.plan.apps,
        )
        report = await self._perform(carried, held, attempt)
        now = self._clock.now()
        if isinstance(report, Outcome):
            progress = attempt.progress
            cut = Result(report, status=progress.status, phase=progress.phase)
            return await self._settle_cut(carried, Settled(now, ref, cut, None, self.holder))
        following: Next | None
        if isinstance(report, tuple):
            result, following = report
        else:
            result, following = interpret(report, attempt, now, self._chance.chance())
        # A run that is being stopped must not wait until what would have followed is evaluated.
        if isinstance(report, Succeeded) and following is None and held.cut <= ref.epoch and not held.closing:
            if held.cautious is not None:
                # What follows may end the process: then this attempt is not to be made again.
                carried.stale = True
            else:
                following = await self._after(carried, held, report.output, now)
            now = self._clock.now()
        return await self._settle(carried, Settled(now, ref, result, following, self.holder))

    async def _perform(self, carried: Carried, held: Held, attempt: Attempt) -> Report | Outcome | tuple[Result, Next]:
        """The step's report; if it was interrupted, what that means for it; if it met a defect, what is proven."""
        step = carried.plan.steps[attempt.attempt.position].step
        if not held.begin(attempt.attempt.epoch):
            return Outcome.INTERRUPTED_NOT_SENT
        try:
            report = await step.perform(attempt)
        except asyncio.CancelledError:
            if not held.end():
                raise
            return step.interruption(attempt.progress)
        except Exception:
            interrupted = held.end()
            proven = interpret_defect(step, attempt)
            if proven is None and not interrupted:
                raise
            _log.exception("performing an attempt of execution %s failed", attempt.ref.id)
            return step.interruption(attempt.progress) if proven is None or interrupted else proven
        except BaseException:
            held.end()
            raise
        held.end()
        return report

    async def _after(self, carried: Carried, held: Held, output: Mapping[str, object], at: int) -> Next | None:
        """What follows the present step, which succeeded. None if a defect was met: then the step is recorded as it
        ended, and the run rests ready for the step after it, which fails if the defect is met again."""
        execution = carried.execution
        position = execution.step
        steps = carried.plan.steps
        try:
            if position + 1 < len(steps):
                secret = frozenset() if carried.shown_input is None else ANSWER_MEMBERS.intersection(output)
                carried.context.add(steps[position].name, output, secret)
            return await self._in_turn(carried, held, await self._following(carried, held, position + 1, at))
        except Exception:  # noqa: BLE001 - the attempt has settled, and no defect of ours may change that
            _log.exception("what follows step %s of execution %s cannot be prepared", position, execution.id)
            carried.stale = True
            return None

    async def _settle(self, carried: Carried, event: Settled) -> bool:
        """Record a settled attempt with what follows it; else alone, else its outcome alone."""
        try:
            return await self._commit(carried, event)
        except Fatal:
            raise
        except Exception:  # noqa: BLE001 - the attempt has settled, and no defect of ours may change that
            _log.exception("recording an attempt of execution %s with what follows failed", carried.execution.id)
        if event.result.outcome is Outcome.SUCCEEDED and event.next is not None:
            try:
                return await self._commit(carried, replace(event, next=None))
            except Fatal:
                raise
            except Exception:  # noqa: BLE001 - as above
                _log.exception("recording an attempt of execution %s failed", carried.execution.id)
        return await self._commit(carried, without_output(event))

    async def _settle_cut(self, carried: Carried, event: Settled) -> bool:
        """Record an interrupted attempt. If nothing was stopped after all, it settles nothing and is made again."""
        decision = await self._apply(carried.execution.ref, event)
        if decision is None:
            return False
        row = decision.execution
        carried.execution = row
        if decision.verdict is not Verdict.SUPERSEDED:
            return True
        if row.state is not State.PROCESS_STEP or row.attempt_epoch != event.attempt.epoch:
            return False
        step = carried.plan.steps[row.step].step
        again = lost(event.attempt, event.result, event.at, step, OUTCOME_UNKNOWN, self.holder)
        return await self._commit(carried, again)

    async def _recovered(self, execution: Execution) -> Recovered:
        repeatable = execution.state is not State.STOPPING and await self._may_repeat(execution)
        return Recovered(self._clock.now(), execution.epoch, repeatable)

    async def _may_repeat(self, execution: Execution) -> bool:
        if self._marks.losses.get(execution.ref, 0) >= MAX_LOSSES:
            return False
        rows = await self._executions.steps(execution.ref)
        losses = sum(row.position == execution.step and row.outcome is Outcome.ABANDONED for row in rows)
        return losses < MAX_LOSSES and await self._plans.repeatable(
            execution.tenant, execution.definition, execution.step
        )

    async def _first_row(self, execution: Execution) -> StepRow | None:
        """The first attempt at the present step, as it is stored."""
        rows = [row for row in await self._executions.steps(execution.ref) if row.position == execution.step]
        return min(rows, key=lambda row: row.attempt, default=None)

    # --- commits --------------------------------------------------------------------------------------------------

    async def _commit(self, carried: Carried, event: Prepared | Settled | Woken) -> bool:
        """Put the event to the rules and take over what they decided. False: the run moved meanwhile."""
        before = carried.execution
        decision = await self._apply(before.ref, event)
        if decision is None or decision.verdict is Verdict.SUPERSEDED:
            return False
        row = carried.execution = decision.execution
        following = event.next
        if row.state is State.PENDING and isinstance(event, Settled) and isinstance(following, _NO_SUCCESS):
            # A callback that was kept settled the step: what it brought is not in this context.
            carried.stale = True
        if isinstance(following, Announce):
            carried.take(following)
            if row.step != before.step or row.attempt <= 1:
                carried.began_at = 0
        elif isinstance(following, Change) and row.state is State.PENDING and following.output is not None:
            carried.context.add(carried.plan.steps[following.position].name, decode(following.output))
        return True

    async def _apply(self, ref: Ref, event: Event) -> Decision | None:
        """`apply`, again and again while it is not known whether the commit was made: a result must not be lost."""
        try:
            return await self._executions.apply(ref, event)
        except Unavailable:
            pass
        while True:
            await self._clock.sleep_until(self._clock.now() + SECOND)
            try:
                known = await self._own_write(ref, event)
                return known if known is not None else await self._executions.apply(ref, event)
            except Unavailable:
                continue

    async def _own_write(self, ref: Ref, event: Event) -> Decision | None:
        """If the commit in doubt was made after all, the decision as it must have been; None: it was not."""
        run = await self._executions.load(ref)
        if run is None or not isinstance(event, Prepared | Settled | Woken):
            return None
        if not _is_own(run, event, self.holder, await self._executions.steps(ref)):
            return None
        return Decision(Verdict.ACCEPTED, run.execution, moved=True)


_NO_SUCCESS: Final = (Wait, Retry, Fail)
"""What can follow an attempt that has not succeeded."""


def _moved(decision: Decision | None) -> Execution | None:
    """The run as the event left it; None: it moved before that."""
    return None if decision is None or decision.verdict is Verdict.SUPERSEDED else decision.execution


def _is_own(run: Run, event: Prepared | Settled | Woken, holder: str, rows: list[StepRow]) -> bool:
    """Whether the run stands where this event put it.

    A settled attempt shows its own time and outcome. Otherwise the epoch is the next one, the time is the event's, and
    an attempt in flight carries our name.
    """
    row = run.execution
    if isinstance(event, Settled):
        attempt, result = event.attempt, event.result
        mine = next((r for r in rows if (r.position, r.attempt) == (attempt.position, attempt.number)), None)
        if mine is None or row.attempt_epoch == attempt.epoch:
            return False
        if result.outcome is None:
            return row.state is State.WAITING and row.epoch == attempt.epoch + 1 and row.updated_at == event.at
        return mine.settled_at == event.at and mine.outcome is result.outcome
    moved_by_it = row.epoch == event.epoch + 1 and row.updated_at == event.at
    return moved_by_it and (row.state is not State.PROCESS_STEP or row.holder == holder)
