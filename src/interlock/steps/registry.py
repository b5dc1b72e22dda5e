"""The step kinds there are, and compiling a whole automation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from interlock.contract.steps import AutomationStep
from interlock.errors import Problem
from interlock.expressions.check import Checker
from interlock.expressions.environment import Environment
from interlock.expressions.names import Kind
from interlock.expressions.program import Program
from interlock.steps.evaluate_expressions import EvaluateExpressionsStep
from interlock.steps.kind import Drafting, Step, StepEnvironment
from interlock.steps.run_automation import RunAutomationStep
from interlock.steps.wait_for_duration import WaitForDurationStep
from interlock.steps.webhook import WebhookStep

KINDS: Final[Mapping[str, type[Step]]] = {
    kind.kind: kind for kind in (EvaluateExpressionsStep, RunAutomationStep, WaitForDurationStep, WebhookStep)
}

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_RESERVED: Final = frozenset({"trigger"})


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A compiled step under its name."""

    name: str
    skip: Program | None
    step: Step


@dataclass(frozen=True, slots=True)
class Compilation:
    """What became of an automation's steps.

    `problems` must be mended before it can be published; `unavailable` is valid, and cannot run yet on this server.
    `steps` is complete only if both are empty.
    """

    steps: tuple[PlannedStep, ...]
    problems: tuple[Problem, ...]
    unavailable: tuple[Problem, ...]


class StepRegistry:
    """Compiles steps against one environment."""

    def __init__(self, environment: StepEnvironment, kinds: Mapping[str, type[Step]] = KINDS) -> None:
        self._environment = environment
        self._kinds = kinds

    def sends_key(self, kind: str) -> bool:
        """Whether the calls of this kind carry an idempotency key."""
        known = self._kinds.get(kind)
        return known is not None and known.sends_key

    def speaks_http(self, kind: str) -> bool:
        """Whether an attempt of this kind is one HTTP exchange."""
        known = self._kinds.get(kind)
        return known is not None and known.speaks_http

    def repeatable(self, kind: str) -> bool:
        """Whether an attempt at a step of this kind may be made again after its performer was lost."""
        known = self._kinds.get(kind)
        return known is not None and known.repeatable

    def runnable(self, kind: str) -> bool:
        """Whether steps of this kind can run here; others can be kept in drafts."""
        return kind in self._kinds

    def compile(
        self, steps: Sequence[AutomationStep], expressions: Environment, field: str = "automationSteps"
    ) -> Compilation:
        """Compile every step, collecting every finding. `field` begins the paths in them."""
        checker = Checker(expressions, [step.step_name for step in steps])
        planned: list[PlannedStep] = []
        names: set[str] = set()
        for index, step in enumerate(steps):
            path = f"{field}[{index}]"
            _check_name(checker, path, step.step_name, names)
            names.add(step.step_name)
            skip: Program | None = None
            if step.skip_if_true_cel.strip():
                skip = checker.expression(
                    step.skip_if_true_cel, Kind.BOOL, field=f"{path}.skipIfTrueCel", step=step.step_name
                )
            compiled = self._compile_kind(checker, path, step)
            if compiled is not None:
                planned.append(PlannedStep(step.step_name, skip, compiled))
        return Compilation(tuple(planned), tuple(checker.problems), tuple(checker.unavailable))

    def _compile_kind(self, checker: Checker, path: str, step: AutomationStep) -> Step | None:
        arm = step.kind
        if arm is None:
            checker.problems.append(Problem(path, "names no kind of step", step.step_name))
            return None
        kind, message = arm
        found = self._kinds.get(kind)
        if found is None:
            text = f"steps of the kind {kind} cannot run on this server yet; it can be kept in a draft"
            checker.unavailable.append(Problem(f"{path}.{kind}", text, step.step_name))
            return None
        return found.compile(message, Drafting(checker, f"{path}.{kind}", step.step_name), self._environment)


def _check_name(checker: Checker, path: str, name: str, before: set[str]) -> None:
    if not name:
        text = "is required: later steps read its result as ctx.<stepName>"
    elif name in before:
        text = f"{name!r} is the name of an earlier step; each needs its own"
    elif name in _RESERVED:
        text = f"{name!r} cannot be the name of a step: ctx.{name} is taken"
    elif not _NAME.fullmatch(name):
        text = f"{name!r} must begin with a letter or _, and hold only letters, digits and _ (at most 128)"
    else:
        return
    checker.problems.append(Problem(f"{path}.stepName", text, name or None))
