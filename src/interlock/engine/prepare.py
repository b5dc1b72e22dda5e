"""From where a run stands to what comes next: skip conditions, pure steps, and the input of the step after them.

Nothing here touches the world or the store, so it may be thrown away when the run moved meanwhile. Expressions that
need an evaluator process are awaited here, never inside a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from interlock.engine.context import RunContext
from interlock.engine.plans import Plan
from interlock.errors import Unavailable
from interlock.expressions.evaluate import EvaluationStopped, Evaluator, Stopped, never
from interlock.expressions.failures import ExpressionFailed
from interlock.expressions.script import Failure, Outcome, Unit
from interlock.ports import Clock, Place, SecretUnreadable, Vault
from interlock.rules.events import Announce, Fail, Finish, Next, Passed
from interlock.rules.model import SECOND, Ref
from interlock.rules.outcomes import Outcome as StepOutcome
from interlock.steps.documents import StepFailed, error_document
from interlock.steps.kind import MAX_STEP_ITEMS, Evaluated, PrepareContext
from interlock.system import yield_to_loop

_EXPRESSIONS_AT_ONCE: Final = 64
"""Expressions evaluated without a process before other tasks get a turn of the loop."""


class Preparer:
    """Evaluates what follows.

    Args:
        clock: for the pause before a step is prepared again.
        evaluator: evaluates expressions.
        vault: seals secrets.
        waits: whether `following` waits while a step cannot be prepared at present, or raises Unavailable.
    """

    def __init__(self, clock: Clock, evaluator: Evaluator, vault: Vault, *, waits: bool = True) -> None:
        self._waits = waits
        self._clock = clock
        self._evaluator = evaluator
        self._vault = vault

    async def following(
        self, ref: Ref, plan: Plan, position: int, context: RunContext, at: int, stopped: Stopped = never
    ) -> Next | None:
        """What comes at `position` and after it, at the time `at`. Steps passed on the way are added to the context.

        None: `stopped` said that the run is stopped. It is asked between expressions, and while they are evaluated
        elsewhere.

        Raises:
            Unavailable: a step cannot be prepared at present, and this preparer does not wait.
        """
        passed: tuple[Passed, ...] = ()
        steps = plan.steps
        ahead = _Ahead(self._evaluator, plan, context, at, stopped)
        while position < len(steps):
            step = steps[position]
            here = PrepareContext(ref, position, at, ahead, self._vault, context.secrets, passed)
            try:
                await ahead.reach(position)
                if step.skip is not None and await here.evaluate(step.skip):
                    passed = (*passed, Passed(position, StepOutcome.SKIPPED))
                    position += 1
                    continue
                ready = await step.step.prepare(here)
                if isinstance(ready, Announce) and len(ready.items) > MAX_STEP_ITEMS:
                    raise StepFailed(
                        "TOO_MANY_ITEMS",
                        f"the step has {len(ready.items):,} items; at most {MAX_STEP_ITEMS} are allowed",
                    )
                if not isinstance(ready, Evaluated):
                    return ready
                passed = (*passed, ready.passed(here))
            except ExpressionFailed as failure:
                return Fail(position, _expression_error(failure), passed=passed)
            except StepFailed as failure:
                return Fail(position, failure.document(), passed=passed)
            except EvaluationStopped:
                return None
            except Unavailable:
                # No evaluator process can be had, or no secret can be stored: nothing is wrong with the run.
                if not self._waits:
                    raise
                if stopped():
                    return None
                await self._clock.sleep_until(self._clock.now() + SECOND)
                continue
            context.add(step.name, ready.output, ready.secret)
            position += 1
        return Finish(len(steps), passed)

    async def destination(self, ref: Ref, plan: Plan, announce: Announce) -> str | None:
        """The host that the announced attempt calls; None: it calls none, or its input cannot be read."""
        input_ = announce.input
        if announce.sealed is not None:
            try:
                input_ = self._vault.reveal(Place.input(ref, announce.position), announce.sealed).document
            except SecretUnreadable:
                return None
        return None if input_ is None else await plan.destination(announce.position, input_)


class _Ahead:
    """The values of a run's expressions, evaluated ahead of the steps that ask for them.

    The first step that needs an evaluator process has everything evaluated that comes before the next commit. What is
    missing of it (an expression failed, a batch was given back or died) is asked for one by one.
    """

    def __init__(self, evaluator: Evaluator, plan: Plan, context: RunContext, at: int, stopped: Stopped) -> None:
        self._evaluator = evaluator
        self._plan = plan
        self._context = context
        self._at = at
        self._stopped = stopped
        self._known: dict[int, Outcome] = {}
        """By the identity of the first expression of the unit."""
        self._reached = 0
        self._count = 0

    async def reach(self, position: int) -> None:
        """Before the step at `position` is looked at."""
        if position < self._reached:
            return
        step = self._plan.steps[position]
        if _plain(step.skip is None or step.skip.plain, step.step.units):
            return
        script = self._plan.script(position)
        if script.single is not None:
            # It may be told without a process.
            return
        outcomes = await self._evaluator.run(script, self._context.at(self._at), self._stopped)
        pairs, looked_at = script.assigned(outcomes)
        self._known.update((id(unit[0]), outcome) for unit, outcome in pairs)
        # What is missing of the last step that was looked at is asked for one by one; then comes the next script.
        self._reached = position + looked_at

    async def values(self, unit: Unit) -> Sequence[object]:
        """The values of expressions of the present step. Raises ExpressionFailed, EvaluationStopped, Unavailable."""
        if self._stopped():
            raise EvaluationStopped
        outcome = self._known.pop(id(unit[0]), None)
        if outcome is not None:
            if isinstance(outcome, Failure):
                raise outcome.raised(unit)
            return outcome
        self._count += len(unit)
        if self._count > _EXPRESSIONS_AT_ONCE:
            self._count = 0
            await yield_to_loop()
        return await self._evaluator.values(unit, self._context.at(self._at), self._stopped)


def _plain(skip: bool, units: Sequence[Unit]) -> bool:
    return skip and all(program.plain for unit in units for program in unit)


def _expression_error(failure: ExpressionFailed) -> bytes:
    return error_document(
        failure.code,
        failure.message,
        field=failure.field or None,
        line=failure.line,
        column=failure.column,
    )
