"""evaluateExpressions: expressions into `ctx.<step>.<key>`. Pure: it costs no commit of its own."""

from __future__ import annotations

from typing import Self

from interlock.contract.steps import EvaluateExpressions
from interlock.expressions.names import Kind
from interlock.expressions.program import Program
from interlock.steps.documents import encode
from interlock.steps.kind import CompileContext, Evaluated, Form, PrepareContext, Ready, Step, StepKind, step_kind


class EvaluateExpressionsStep(Step[EvaluateExpressions]):
    """Evaluates (key, program, is secret) in order; they read earlier steps, not each other."""

    kind = "evaluateExpressions"
    form = Form.PURE

    def __init__(self, expressions: tuple[tuple[str, Program, bool], ...]) -> None:
        self.expressions = expressions
        self.units = tuple((program,) for _, program, _ in expressions)
        self.keys = tuple(key for key, _, _ in expressions)
        self._shown = encode({"expressions": {key: program.source for key, program, _ in expressions}})

    @classmethod
    def compile(cls, message: EvaluateExpressions, context: CompileContext) -> Self | None:
        compiled: list[tuple[str, Program, bool]] = []
        keys: set[str] = set()
        if not message.expressions:
            context.problem("expressions", "at least one is required")
        for index, expression in enumerate(message.expressions):
            where = f"expressions[{index}]"
            if not expression.key:
                context.problem(f"{where}.key", "is required: the result becomes ctx.<step>.<key>")
            elif expression.key in keys:
                context.problem(f"{where}.key", f"{expression.key!r} is there twice")
            keys.add(expression.key)
            program = context.expression(expression.expression_cel, Kind.ANY, f"{where}.expressionCel")
            if program is not None:
                compiled.append((expression.key, program, expression.is_secret))
        return cls(tuple(compiled)) if len(compiled) == len(message.expressions) > 0 else None

    async def prepare(self, context: PrepareContext) -> Ready:
        output = {key: await context.evaluate(program) for key, program, _ in self.expressions}
        return Evaluated(output, self._shown, self.secret_keys(context))

    def secret_keys(self, context: PrepareContext) -> frozenset[str]:
        """The results that are secret, and those that are made of secrets."""
        return frozenset(key for key, program, is_secret in self.expressions if is_secret or context.hides(program))


def kind() -> StepKind:
    """The kind; it acts on nothing."""
    return step_kind(EvaluateExpressionsStep, EvaluateExpressions, EvaluateExpressionsStep.compile)
