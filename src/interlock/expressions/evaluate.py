"""Evaluates any program. Plain selections are evaluated here, everything else where an evaluator says.

`EvaluatorPool` (in `pool`) is the evaluator of a server: CEL never reads execution data in the server process.
`LocalEvaluator` is for simulations, where there is one process and no hostile expression.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import gather
from collections.abc import Callable, Sequence

from interlock.expressions.context import Context
from interlock.expressions.environment import Environment
from interlock.expressions.failures import ExpressionFailed
from interlock.expressions.program import Program
from interlock.expressions.script import Failure, Outcome, Script, Unit, play, selected, single
from interlock.expressions.template import Template
from interlock.system import Slices

Stopped = Callable[[], bool]
"""Whether the result is of no use any more."""


def never() -> bool:
    """The result is of use whatever happens."""
    return False


class EvaluationStopped(Exception):
    """What asked for the evaluation is stopped."""


class Evaluator(ABC):
    """Evaluates scripts, and by them programs and templates.

    `slices` spread over turns of the loop what is read for the evaluations of runs. What stops runs has slices of its
    own.
    """

    def __init__(self) -> None:
        self.slices = Slices()

    @abstractmethod
    async def run(
        self, script: Script, context: Context, stopped: Stopped = never, *, urgent: bool = False
    ) -> Sequence[Outcome]:
        """The outcomes of a script's units in order; fewer if the rest has to be asked for again.

        At least one, if the script is a single unit. `urgent` is for what stops runs: it does not wait behind them.

        Raises:
            Unavailable: no process can be had for it.
            EvaluationStopped: `stopped` said so.
        """

    @abstractmethod
    def environment(self) -> Environment:
        """What compiles expressions for this evaluator."""

    def start(self) -> None:  # noqa: B027
        """Begin to get ready."""

    async def ready(self) -> None:  # noqa: B027
        """Wait until expressions can be evaluated. Raises Unavailable."""

    async def aclose(self) -> None:  # noqa: B027
        """End what was started."""

    async def values(self, unit: Unit, context: Context, stopped: Stopped = never) -> Sequence[object]:
        """The values of expressions that are evaluated together.

        Raises ExpressionFailed, OverBudget; what `run` raises; and what the directory raises.
        """
        known = selected(unit, context)
        if known is not None:
            return known
        (outcome,) = await self.run(single(*unit), context, stopped)
        if isinstance(outcome, Failure):
            raise outcome.raised(unit)
        return outcome

    async def evaluate(self, program: Program, context: Context) -> object:
        """The result as plain JSON. Raises as `values` does."""
        return (await self.values((program,), context))[0]

    async def render(self, template: Template, context: Context) -> object:
        """The template with all values in it. Raises as `values` does."""
        if template.constant:
            return template.fill(())
        return template.fill(await self.values(template.programs, context))

    async def evaluate_each(self, program: Program, contexts: Sequence[Context]) -> list[object]:
        """The results over several contexts, in order, ahead of what runs wait for.

        A failure is a result, as ExpressionFailed. Raises Unavailable as `run` does.
        """
        results: list[object] = [None] * len(contexts)
        script = single(program)
        asked: list[int] = []
        for index, context in enumerate(contexts):
            try:
                known = selected((program,), context)
            except ExpressionFailed as failure:
                results[index] = failure
                continue
            if known is None:
                asked.append(index)
            else:
                results[index] = known[0]
        answers = await gather(*[self.run(script, contexts[index], urgent=True) for index in asked])
        for index, (outcome,) in zip(asked, answers, strict=True):
            results[index] = outcome.raised((program,)) if isinstance(outcome, Failure) else outcome[0]
        return results


class LocalEvaluator(Evaluator):
    """Evaluates in this very process, which does not survive an expression that does not end or crashes CEL."""

    async def run(
        self, script: Script, context: Context, stopped: Stopped = never, *, urgent: bool = False
    ) -> Sequence[Outcome]:
        if stopped():
            raise EvaluationStopped
        return play(script.steps, context, lambda _: True)

    def environment(self) -> Environment:
        return Environment()
