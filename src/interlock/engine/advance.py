"""`Advance`: it takes a run from one commit to the next, until the run has to wait or is terminal.

It loads the run, prepares the next step, applies an event, performs the announced attempt, and applies its result. The
rules decide what each event changes. The run is loaded once; later commits continue with the row that they wrote.
"""

from __future__ import annotations

import asyncio
import logging

from interlock.engine.attempts import Attempts
from interlock.engine.commits import ActiveRun, Commits, moved
from interlock.engine.context import assemble
from interlock.engine.following import Following
from interlock.engine.held import FINISHED, SUPERSEDED, Again, Claim, Held, Turn, Waits
from interlock.engine.plans import Plans, PlanUnusable
from interlock.engine.polls import Polls
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
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.states import IN_FLIGHT, TERMINAL, State, WaitingFor
from interlock.steps.documents import Unreadable, encode_output, error_document
from interlock.system import Slices

_log = logging.getLogger(__name__)


class Advance:
    """Advances runs. `holder` is the name of this node in the attempts that it announces."""

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
        self._polls = Polls(executions, self._commits, self._following, clock, chance, vault)
        self._slices = slices or Slices()
        self._vault = vault

    # --- entry points ---------------------------------------------------------------------------------------------

    async def advance(self, claim: Claim, held: Held) -> Turn:
        """Load a run and advance it as far as possible.

        Args:
            claim: The run, and whether its previous holder no longer exists.
            held: The slot of the run.

        Returns:
            When the dispatcher has to advance the run again.
        """
        run = await self._executions.load(claim.ref)
        if run is None:
            return FINISHED
        execution = run.execution
        state = execution.state
        if state in IN_FLIGHT and claim.lost:
            # This happens once: any other process leaves a run in flight to its holder, and this run has none.
            recovered = moved(await self._commits.apply(claim.ref, await self._recovered(execution)))
            if recovered is None:
                return SUPERSEDED
            # Loaded again: a stored callback may have settled the step, with an output.
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
        if isinstance(loaded, ActiveRun):
            if not await self._resume(loaded, held):
                return SUPERSEDED
            return await self.carry(loaded, held)
        if isinstance(loaded, bytes):
            await self._refuse(execution, loaded)
            return FINISHED
        return loaded

    async def _loaded(self, run: Run, held: Held) -> ActiveRun | Turn | bytes:
        """Return the run with its compiled automation and context, or the error that ends it, or what to do instead."""
        execution = run.execution
        if held.stopped:
            return SUPERSEDED
        mark = self._marks.begin(execution.ref)
        held.evaluating = True
        try:
            plan = await self._plans.get(execution.tenant, execution.definition)
            await self._slices.turn()
            self._slices.spent(len(run.input) + sum(len(output) for _, output in run.outputs))
            return ActiveRun(execution, plan, assemble(plan, run, self._vault))
        except asyncio.CancelledError:
            # A run that is terminated keeps no slot while its automation is compiled.
            if not held.end():
                raise
            return SUPERSEDED
        except Unavailable:
            # No evaluator process is available; the run itself has no error.
            return Again(self._clock.now() + SECOND)
        except PlanUnusable as error:
            return error_document("PLAN_UNUSABLE", error.message)
        except (Unreadable, SecretUnreadable) as error:
            return error_document(error.code, error.message)
        finally:
            held.end()
            self._marks.end(mark)

    async def destination(self, ref: Ref) -> str | None:
        """Return the host that a run will certainly call or poll next; None if preparation has to determine it."""
        execution = await self._executions.get(ref)
        if execution is None:
            return None
        plan = self._plans.kept(execution.tenant, execution.definition)
        if plan is None:
            return None
        if execution.waiting_for is WaitingFor.POLL:
            return await plan.steps[execution.step].step.fixed_destination(execution.tenant)
        return await plan.next_destination(execution.step) if execution.state is State.PENDING else None

    async def set_aside(self, ref: Ref) -> Turn:
        """End a run in `ERROR` because the server crashed too often while it worked on the run."""
        execution = await self._executions.get(ref)
        if execution is not None and execution.state in (State.PENDING, State.WAITING):
            await self._refuse(execution, SET_ASIDE)
        return FINISHED

    async def carry(self, active: ActiveRun, held: Held) -> Turn:
        """Advance a run whose row this process has just written, until it waits or is terminal.

        Args:
            active: The run as the last commit left it.
            held: The slot of the run.

        Returns:
            When the dispatcher has to advance the run again.
        """
        while True:
            execution = active.execution
            state = execution.state
            if state is State.PROCESS_STEP:
                if not await self._attempts.make(active, held):
                    return SUPERSEDED
            elif active.waits_for is not None and _needs_host(execution):
                return Waits(active.waits_for)
            elif state is State.PENDING and execution.wake_at is not None:
                if execution.wake_at > self._clock.now() or held.closing or active.stale:
                    return Again(execution.wake_at)
                # This call does what the notification of the last commit asks for.
                held.ready_notifications = max(0, held.ready_notifications - 1)
                if not await self._resume(active, held):
                    return SUPERSEDED
            elif execution.wake_at is not None:
                return Again(execution.wake_at)
            else:
                return FINISHED

    async def recover(self, execution: Execution) -> Execution | None:
        """Settle the attempt that a lost holder left in flight. Nothing is performed.

        Returns:
            The run after the commit; None if it has moved meanwhile.

        Raises:
            Unavailable: The commit was not possible.
        """
        return moved(await self._executions.apply(execution.ref, await self._recovered(execution)))

    async def give_up(self, ref: Ref) -> None:
        """End a run in `ERROR` because a defect of the server prevents it from advancing."""
        execution = await self._executions.get(ref)
        if execution is None or execution.state in TERMINAL or execution.state is State.PAUSED_BY_CIRCUIT_BREAKER:
            return
        if execution.state in IN_FLIGHT:
            await self._commits.apply(ref, Recovered(self._clock.now(), execution.epoch, repeatable=False))
        else:
            await self._refuse(execution, DEFECT)

    async def overdue(self, ref: Ref) -> None:
        """Abandon the attempt of a stopping run whose deadline has passed; safe while `advance` works on the run."""
        execution = await self._executions.get(ref)
        now = self._clock.now()
        if execution is None or execution.state is not State.STOPPING or (execution.wake_at or 0) > now:
            return
        await self._executions.apply(ref, DeadlinePassed(now, execution.epoch))

    # --- waiting runs ---------------------------------------------------------------------------------------------

    async def _resume(self, active: ActiveRun, held: Held) -> bool:
        """Advance a run that was ready, or whose wait has ended. Returns False if the run has moved meanwhile."""
        execution = active.execution
        at = self._clock.now()
        following: Next | None
        if execution.state is State.PENDING:
            entered = await self._following.entered(active, held, at)
            if entered is None:
                # The run is terminated.
                return False
            entered = await self._following.in_turn(active, held, entered)
            if entered is None:
                # Nothing is committed; the run stays ready.
                return True
            return await self._commits.commit(
                active, Prepared(self._clock.now(), execution.epoch, entered, self.holder)
            )
        by = execution.waiting_for
        assert by is not None
        if by is WaitingFor.POLL:
            return await self._polls.poll(active, held)
        result: Result | None = None
        step = active.plan.steps[execution.step]
        if by is WaitingFor.TIMER:
            output = step.step.waited(execution.wake_at or at)
            result = Result(Outcome.SUCCEEDED, encode_output(output))
            following = await self._following.after(active, held, output, at)
        elif by is WaitingFor.RETRY:
            following = await self._following.in_turn(active, held, await self._following.entered(active, held, at))
        else:
            result = Result(Outcome.FAILED, error=step.step.expired())
            following = Fail(execution.step)
        event = Woken(self._clock.now(), execution.epoch, by, result, following, self.holder)
        return await self._commits.commit(active, event)

    async def _refuse(self, execution: Execution, document: bytes) -> None:
        """End a run in `ERROR` that is ready or waits, and record the error on its step."""
        now, by = self._clock.now(), execution.waiting_for
        event: Event
        if execution.state is not State.WAITING or by is None:
            event = Prepared(now, execution.epoch, Fail(execution.step, document), self.holder)
        elif by is WaitingFor.RETRY:
            event = Woken(now, execution.epoch, by, None, Fail(execution.step, document), self.holder)
        else:
            # A receiver that is polled has accepted the work, and what it did is not known.
            reached = Reached.UNKNOWN if by is WaitingFor.POLL else None
            failed = Result(Outcome.FAILED, error=document, reached=reached)
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


def _needs_host(execution: Execution) -> bool:
    """Return whether the run can go on once the host of its next call or poll has a slot."""
    return execution.state is State.PENDING or execution.waiting_for is WaitingFor.POLL
