"""What is evaluated together: everything that a run evaluates between two commits, in one round trip.

A script is a chain of steps. Each has an optional skip condition and *units*, sets of expressions that are evaluated
together over one budget. A step with `keys` is pure: its values become `ctx.<name>`, which the steps after it read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from interlock.expressions.context import Context, Inputs, joined
from interlock.expressions.failures import ExpressionFailed, OverBudget
from interlock.expressions.limits import MAX_RESULT, MAX_SELECTED_STRUCTURES
from interlock.expressions.program import Program
from interlock.expressions.selection import ELSEWHERE
from interlock.expressions.template import TOO_LARGE, least_size

Unit = tuple[Program, ...]
"""Expressions that are evaluated together: one expression, or those of a template."""


def all_plain(units: Iterable[Unit]) -> bool:
    """Return whether every expression of the units is a constant or a plain selection, which needs no process."""
    return all(program.plain for unit in units for program in unit)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a unit failed: which of its expressions, and what it says."""

    index: int
    reason: str
    offset: int = 0
    over_budget: bool = False

    def raised(self, unit: Unit) -> ExpressionFailed:
        return unit[self.index].refused(self.reason, over_budget=self.over_budget, offset=self.offset)


Outcome = list[object] | Failure
"""The values of a unit in order, or why it has none."""


@dataclass(frozen=True, slots=True)
class ScriptStep:
    """One step of a script."""

    name: str
    skip: Program | None
    units: tuple[Unit, ...]
    keys: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Script:
    """Steps that are evaluated one after the other, until one fails."""

    steps: tuple[ScriptStep, ...]

    @cached_property
    def single(self) -> Unit | None:
        """Its only unit, if it has no more."""
        if len(self.steps) > 1 or self.steps[0].skip is not None or len(self.steps[0].units) != 1:
            return None
        return self.steps[0].units[0]

    @cached_property
    def inputs(self) -> Inputs:
        """What it reads of a context."""
        single = self.single
        if single is not None and len(single) == 1:
            return single[0].inputs
        return joined(program.inputs for unit in self.all_units() for program in unit)

    @cached_property
    def text(self) -> str:
        """As JSON, for an evaluator process."""
        steps = [
            {
                "name": step.name,
                "skip": None if step.skip is None else _named(step.skip),
                "units": [[_named(program) for program in unit] for unit in step.units],
                "keys": step.keys,
            }
            for step in self.steps
        ]
        return json.dumps(steps, separators=(",", ":"))

    def all_units(self) -> Iterator[Unit]:
        """Every unit in order, skip conditions included."""
        for step in self.steps:
            if step.skip is not None:
                yield (step.skip,)
            yield from step.units

    def assigned(self, outcomes: Sequence[Outcome]) -> tuple[list[tuple[Unit, Outcome]], int]:
        """Which unit each outcome belongs to (those of skipped steps have none), and how many steps were looked at."""
        pairs: list[tuple[Unit, Outcome]] = []
        left = iter(outcomes)
        for number, step in enumerate(self.steps, 1):
            units = step.units if step.skip is None else ((step.skip,), *step.units)
            for unit in units:
                outcome = next(left, None)
                if outcome is None:
                    return pairs, number
                pairs.append((unit, outcome))
                if isinstance(outcome, Failure):
                    return pairs, number
                if step.skip is not None and unit[0] is step.skip and outcome[0] is True:
                    break
        return pairs, len(self.steps)


@lru_cache(maxsize=1_024)
def single(*programs: Program) -> Script:
    """A script of one unit. Kept, because writing it as JSON costs as much as evaluating it."""
    return Script((ScriptStep("", None, (programs,)),))


def selected(unit: Unit, context: Context) -> list[object] | None:
    """The values of a unit without CEL; None if it needs CEL. Raises ExpressionFailed."""
    values: list[object] = []
    structures = 0
    for program in unit:
        value = program.select(context)
        structures += isinstance(value, (list, dict))
        if value is ELSEWHERE or structures > MAX_SELECTED_STRUCTURES:
            return None
        values.append(value)
    return values


def play(steps: Sequence[ScriptStep], context: Context, go_on: Callable[[Sequence[Outcome]], bool]) -> list[Outcome]:
    """Evaluate a script here and now. `go_on` is asked before each unit; False: what is left stays undone."""
    outcomes: list[Outcome] = []
    for step in steps:
        if step.skip is not None:
            if not go_on(outcomes):
                return outcomes
            outcome = _evaluated((step.skip,), context)
            outcomes.append(outcome)
            if isinstance(outcome, Failure):
                return outcomes
            if outcome[0] is True:
                continue
        output: dict[str, object] = {}
        for number, unit in enumerate(step.units):
            if not go_on(outcomes):
                return outcomes
            outcome = _evaluated(unit, context)
            outcomes.append(outcome)
            if isinstance(outcome, Failure):
                return outcomes
            if step.keys is not None:
                output[step.keys[number]] = outcome[0]
        if step.keys is not None:
            context = context.with_step(step.name, output)
    return outcomes


def _evaluated(unit: Unit, context: Context) -> Outcome:
    """Return the values of a unit, the expressions that are evaluated together, or which of them failed and why."""
    inputs = None if len(unit) == 1 else joined(program.inputs for program in unit)
    values: list[object] = []
    size = 0
    for index, program in enumerate(unit):
        try:
            values.append(program.evaluate(context, inputs))
        except ExpressionFailed as failure:
            return Failure(index, failure.reason, failure.offset, isinstance(failure, OverBudget))
        size += least_size(values[-1])
        if index and size > MAX_RESULT:
            return Failure(0, TOO_LARGE, over_budget=True)
    return values


def _named(program: Program) -> tuple[str, str, str]:
    return program.place.value, program.kind.value, program.source
