"""Preparation of what comes next in a run: skip conditions, pure steps, and the input of the step after them.

Preparation has no effect and writes nothing, so its result can be dropped if the run has moved meanwhile. It awaits the
expressions that need an evaluator process; a transaction never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from interlock.engine.context import RunContext
from interlock.engine.plans import Plan
from interlock.errors import Unavailable
from interlock.expressions.evaluate import EvaluationStopped, Evaluator, Stopped, never
from interlock.expressions.failures import ExpressionFailed
from interlock.expressions.script import Failure, Outcome, Unit, all_plain
from interlock.ports import Clock, Place, SecretUnreadable, Vault
from interlock.rules.events import Announce, Fail, Finish, Next, Passed
from interlock.rules.model import SECOND, Ref
from interlock.rules.outcomes import Outcome as StepOutcome
from interlock.steps.attempt import MAX_STEP_ITEMS
from interlock.steps.documents import StepFailed, error_document
from interlock.steps.kind import Evaluated, PrepareContext
from interlock.system import yield_to_loop

_EXPRESSIONS_AT_ONCE: Final = 64
"""Expressions that are evaluated without a process in one turn of the loop."""


class Preparer:
    """Evaluates the expressions of the next steps, and prepares what comes next.

    Args:
        clock: Measures the pause before a step is prepared again.
        evaluator: Evaluates the expressions.
        vault: Seals the secrets.
        waits: Whether `following` waits while a step cannot be prepared, instead of raising `Unavailable`.
    """

    def __init__(self, clock: Clock, evaluator: Evaluator, vault: Vault, *, waits: bool = True) -> None:
        self._waits = waits
        self._clock = clock
        self._evaluator = evaluator
        self._vault = vault

    async def following(
        self, ref: Ref, plan: Plan, position: int, context: RunContext, at: int, stopped: Stopped = never
    ) -> Next | None:
        """Prepare the step at `position`, or a later one if that step is skipped or only evaluates expressions.

        Args:
            ref: The run.
            plan: Its compiled automation.
            position: The position to begin at.
            context: The context of the run; the outputs of passed steps are added to it.
            at: The time that expressions read, in microseconds.
            stopped: Returns whether the run is terminated; called between expressions and during an evaluation.

        Returns:
            What comes next; None if `stopped` returned True.

        Raises:
            Unavailable: A step cannot be prepared now, and this preparer does not wait.
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
                # No evaluator process is available, or no secret can be stored; the run itself has no error.
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
        """Return the host that the announced attempt calls; None if it calls none, or if its input cannot be read."""
        input_ = announce.input
        if announce.sealed is not None:
            try:
                input_ = self._vault.reveal(Place.input(ref, announce.position), announce.sealed).document
            except SecretUnreadable:
                return None
        return None if input_ is None else await plan.destination(announce.position, input_)


class _Ahead:
    """The values of a run's expressions, evaluated in one batch before the steps that need them.

    The first step that needs an evaluator process causes the evaluation of all expressions before the next commit. The
    values that the batch did not return (an expression failed, or the process died) are evaluated one by one.
    """

    def __init__(self, evaluator: Evaluator, plan: Plan, context: RunContext, at: int, stopped: Stopped) -> None:
        self._evaluator = evaluator
        self._plan = plan
        self._context = context
        self._at = at
        self._stopped = stopped
        self._known: dict[int, Outcome] = {}
        """The values by the identity of the first expression of the unit."""
        self._reached = 0
        self._count = 0

    async def reach(self, position: int) -> None:
        """Evaluate the batch that begins at `position`, if no earlier batch included that step."""
        if position < self._reached:
            return
        if self._plan.is_plain(position):
            return
        step = self._plan.steps[position]
        if (step.skip is None or step.skip.plain) and all_plain(step.step.units):
            return
        script = self._plan.script(position)
        if script.single is not None:
            # A single expression may need no process.
            return
        outcomes = await self._evaluator.run(script, self._context.at(self._at), self._stopped)
        pairs, looked_at = script.assigned(outcomes)
        self._known.update((id(unit[0]), outcome) for unit, outcome in pairs)
        # Missing values of the last step in the batch are evaluated one by one; then the next batch begins.
        self._reached = position + looked_at

    async def values(self, unit: Unit) -> Sequence[object]:
        """Return the values of expressions of the current step.

        Raises:
            ExpressionFailed: An expression has no value.
            EvaluationStopped: The run is terminated.
            Unavailable: No evaluator process is available.
        """
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


def _expression_error(failure: ExpressionFailed) -> bytes:
    return error_document(
        failure.code,
        failure.message,
        field=failure.field or None,
        line=failure.line,
        column=failure.column,
    )
