"""From where a run stands to what comes next: skip conditions, pure steps, and the input of the step after them.

Nothing here touches the world or the store, so it may be thrown away when the run moved meanwhile. An expression that
is too dear for the event loop is awaited here, never inside a transaction.
"""

from __future__ import annotations

from interlock.engine.context import RunContext
from interlock.engine.plans import Plan
from interlock.errors import Unavailable
from interlock.expressions.evaluate import Evaluator
from interlock.expressions.failures import ExpressionFailed
from interlock.ports import Clock
from interlock.rules.events import Fail, Finish, Next, Passed
from interlock.rules.model import SECOND
from interlock.rules.outcomes import Outcome
from interlock.steps.documents import StepFailed, encode_output, error_document
from interlock.steps.kind import Evaluated, Moment


class Preparer:
    """Evaluates what follows."""

    def __init__(self, clock: Clock, evaluator: Evaluator) -> None:
        self._clock = clock
        self._evaluator = evaluator

    async def following(self, plan: Plan, position: int, context: RunContext, at: int) -> Next:
        """What comes at `position` and after it, at the time `at`. Steps passed on the way are added to the context."""
        passed: tuple[Passed, ...] = ()
        steps = plan.steps
        while position < len(steps):
            step = steps[position]
            moment = Moment(position, at, context, self._evaluator, context.secrets, passed)
            try:
                if step.skip is not None and await moment.evaluate(step.skip):
                    passed = (*passed, Passed(position, Outcome.SKIPPED))
                    position += 1
                    continue
                ready = await step.step.prepare(moment)
                if not isinstance(ready, Evaluated):
                    return ready
                passed = (*passed, Passed(position, Outcome.SUCCEEDED, ready.input, encode_output(ready.output)))
            except ExpressionFailed as failure:
                return Fail(position, _expression_error(failure), passed=passed)
            except StepFailed as failure:
                return Fail(position, failure.document(), passed=passed)
            except Unavailable:
                # No process for a dear expression could be had: nothing is wrong with the run.
                await self._clock.sleep_until(self._clock.now() + SECOND)
                continue
            context.add(step.name, ready.output)
            position += 1
        return Finish(len(steps), passed)


def _expression_error(failure: ExpressionFailed) -> bytes:
    return error_document(
        failure.code,
        failure.message,
        field=failure.field or None,
        line=failure.line,
        column=failure.column,
    )
