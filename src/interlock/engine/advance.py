"""The life of a run between two commits: load, prepare, apply, perform, apply, and say when to look again.

It does not know who calls it, and it decides nothing: each thing that happened is put to the rules as one event, and
their answer says where the run stands. While that is an attempt of its own it goes on without loading the run again.
"""

from __future__ import annotations

import asyncio
import logging

from interlock.engine.attempts import Attempts
from interlock.engine.commits import Carried, Commits, moved
from interlock.engine.context import assemble
from interlock.engine.following import Following
from interlock.engine.held import FINISHED, SUPERSEDED, Again, Claim, Held, Turn, Waits
from interlock.engine.plans import Plans, PlanUnusable
from interlock.engine.prepare import Preparer
from interlock.engine.reports import DEFECT
from interlock.engine.suspects import MAX_LOSSES, SET_ASIDE
from interlock.errors import Unavailable
from interlock.ports import Clock, Executions, Marks, NoMarks, Randomness, Run, SecretUnreadable, Vault
from interlock.rules.events import (
    DeadlinePassed,
    Event,
    Fail,
    Next,
    Prepared,
    Recovered,
    Woken,
)
from interlock.rules.model import SECOND, Execution, Ref, Result
from interlock.rules.outcomes import Outcome
from interlock.rules.states import IN_FLIGHT, TERMINAL, State, WaitingFor
from interlock.steps.documents import Unreadable, encode_output, error_document
from interlock.system import Slices

_log = logging.getLogger(__name__)


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
        *,
        vault: Vault,
    ) -> None:
        self._executions = executions
        self._plans = plans
        self._clock = clock
        self.holder = holder
        self._marks = marks if marks is not None else NoMarks()
        self._commits = Commits(executions, clock, holder)
        self._following = Following(executions, preparer, self._marks, vault)
        self._attempts = Attempts(self._commits, self._following, clock, chance, vault)
        self._slices = slices or Slices()
        self._vault = vault

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
            recovered = moved(await self._commits.apply(claim.ref, await self._recovered(execution)))
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
            return Carried(execution, plan, assemble(plan, run, self._vault))
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
        except (Unreadable, SecretUnreadable) as error:
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
                if not await self._attempts.make(carried, held):
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
        return moved(await self._executions.apply(execution.ref, await self._recovered(execution)))

    async def give_up(self, ref: Ref) -> None:
        """End a run that this process cannot carry on because of a defect of ours."""
        execution = await self._executions.get(ref)
        if execution is None or execution.state in TERMINAL or execution.state is State.PAUSED_BY_CIRCUIT_BREAKER:
            return
        if execution.state in IN_FLIGHT:
            await self._commits.apply(ref, Recovered(self._clock.now(), execution.epoch, repeatable=False))
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
            entered = await self._following.entered(carried, held, at)
            if entered is None:
                # It is stopped.
                return False
            entered = await self._following.in_turn(carried, held, entered)
            if entered is None:
                # Nothing is committed: it stays ready.
                return True
            return await self._commits.commit(
                carried, Prepared(self._clock.now(), execution.epoch, entered, self.holder)
            )
        by = execution.waiting_for
        assert by is not None
        result: Result | None = None
        step = carried.plan.steps[execution.step]
        if by is WaitingFor.TIMER:
            output = step.step.waited(execution.wake_at or at)
            result = Result(Outcome.SUCCEEDED, encode_output(output))
            following = await self._following.after(carried, held, output, at)
        elif by is WaitingFor.RETRY:
            following = await self._following.in_turn(carried, held, await self._following.entered(carried, held, at))
        else:
            result = Result(Outcome.FAILED, error=step.step.expired())
            following = Fail(execution.step)
        event = Woken(self._clock.now(), execution.epoch, by, result, following, self.holder)
        return await self._commits.commit(carried, event)

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
        await self._commits.apply(execution.ref, event)

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
