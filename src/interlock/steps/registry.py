"""The step kinds there are, and compiling a whole automation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from interlock.contract.base import Message
from interlock.contract.steps import AutomationStep
from interlock.errors import Problem
from interlock.expressions.check import Checker
from interlock.expressions.environment import Environment
from interlock.expressions.names import Kind
from interlock.expressions.program import Program
from interlock.rules.values import value
from interlock.steps.kind import CompileContext, Step, StepKind, UnconfiguredKind
from interlock.steps.targets import NamedTarget, Target

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_RESERVED: Final = frozenset({"trigger"})


@value(frozen=True, slots=True)
class PlannedStep:
    """A compiled step under its name."""

    name: str
    skip: Program | None
    step: Step[Message]


@value(frozen=True, slots=True)
class Compilation:
    """The steps of an automation, compiled.

    `problems` must be fixed before it can be published; `unavailable` is valid, and cannot run yet on this server.
    `steps` is complete only if both are empty.
    """

    steps: tuple[PlannedStep, ...]
    problems: tuple[Problem, ...]
    unavailable: tuple[Problem, ...]
    targets: tuple[NamedTarget, ...] = ()
    """The resources that the steps name by their ids, also of steps with problems."""


class StepRegistry:
    """The kinds that this server has, and compiling steps of them."""

    def __init__(self, kinds: Iterable[StepKind | UnconfiguredKind]) -> None:
        self._kinds = {kind.step.kind: kind for kind in kinds}

    @property
    def released(self) -> frozenset[str]:
        """The names of the kinds that were given, whether they can run or not."""
        return frozenset(self._kinds)

    @property
    def unconfigured(self) -> tuple[UnconfiguredKind, ...]:
        """The kinds that cannot run because a setting is missing."""
        return tuple(kind for kind in self._kinds.values() if isinstance(kind, UnconfiguredKind))

    def repeatable(self, kind: str) -> bool:
        """Whether an attempt at a step of this kind may be made again after its performer was lost."""
        known = self._kinds.get(kind)
        return known is not None and known.step.repeatable

    def receiver(self, kind: str, input: Mapping[str, object]) -> Target | None:
        """Return the resource that an attempt of this kind with this input called; None: it called none."""
        known = self._kinds.get(kind)
        return None if known is None else known.step.receiver(input)

    def account(self, kind: str, output: object) -> str | None:
        """Return the sentence of the receipt for a step of this kind that succeeded; None: the general one."""
        known = self._kinds.get(kind)
        return None if known is None else known.step.account(output)

    def unavailable(self, kind: str) -> str | None:
        """Why steps of this kind cannot run on this server, and what to do; None: they can."""
        match self._kinds.get(kind):
            case StepKind():
                return None
            case UnconfiguredKind(missing=missing):
                options = " and ".join(setting.usage for setting in missing)
                return f"steps of the kind {kind} cannot run on this server: start it with {options}"
            case None:
                return f"steps of the kind {kind} cannot run on this server yet"

    def compile(
        self, steps: Sequence[AutomationStep], expressions: Environment, field: str = "automationSteps"
    ) -> Compilation:
        """Compile every step, collecting every finding. `field` begins the paths in them."""
        checker = Checker(expressions, [step.step_name for step in steps])
        planned: list[PlannedStep] = []
        targets: list[NamedTarget] = []
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
            compiled = self._compile_kind(checker, path, step, targets)
            if compiled is not None:
                planned.append(PlannedStep(step.step_name, skip, compiled))
        return Compilation(tuple(planned), tuple(checker.problems), tuple(checker.unavailable), tuple(targets))

    def _compile_kind(
        self, checker: Checker, path: str, step: AutomationStep, targets: list[NamedTarget]
    ) -> Step[Message] | None:
        arm = step.kind
        if arm is None:
            checker.problems.append(Problem(path, "names no kind of step", step.step_name))
            return None
        kind, message = arm
        found = self._kinds.get(kind)
        if isinstance(found, StepKind):
            context = CompileContext(checker, f"{path}.{kind}", step.step_name)
            compiled = found.compile(message, context)
            targets += context.targets
            return compiled
        text = f"{self.unavailable(kind)}; a draft may contain it"
        checker.unavailable.append(Problem(f"{path}.{kind}", text, step.step_name))
        return None


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
