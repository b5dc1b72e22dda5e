"""Compiled plans, kept by definition: a definition never changes, so a plan is compiled once for each process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from interlock.contract.base import LATER, from_stored
from interlock.contract.refs import AutomationContext
from interlock.contract.steps import AutomationStep
from interlock.errors import FailedPrecondition
from interlock.expressions.environment import Environment
from interlock.expressions.limits import MAX_AHEAD_EXPRESSIONS
from interlock.expressions.script import Script, ScriptStep
from interlock.ports import Definition
from interlock.rules.events import Announce
from interlock.steps.registry import PlannedStep, StepRegistry

KEPT = 1_000
"""Plans kept in memory; the one unused for the longest makes way."""

_APPS = TypeAdapter(tuple[str, ...], config=LATER)
_STEPS = TypeAdapter(tuple[AutomationStep, ...], config=LATER)


class PlanUnusable(FailedPrecondition):
    """This version of the automation cannot run on this server."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run of one definition does."""

    tenant: int
    definition: int
    automation: str
    steps: tuple[PlannedStep, ...]
    defaults: dict[str, object]
    """`Automation.context`: under the run's own data in `ctx.trigger`, member by member."""
    apps: frozenset[str] | None = None
    """The apps that its publisher was confined to; None: to none."""
    scripts: dict[int, Script] = field(default_factory=dict, compare=False)
    """What is evaluated ahead from a position on, made when first needed."""
    plain: dict[int, bool] = field(default_factory=dict, compare=False)
    """The answers of `is_plain`."""

    def script(self, position: int) -> Script:
        """Everything from `position` on that is evaluated before the next commit, up to a number of expressions."""
        script = self.scripts.get(position)
        if script is None:
            script = self.scripts[position] = Script(tuple(_ahead(self.steps[position:])))
        return script

    def is_plain(self, position: int) -> bool:
        """Whether constants and plain selections are all that is evaluated from `position` to the next commit."""
        plain = self.plain.get(position)
        if plain is None:
            units = self.script(position).all_units() if position < len(self.steps) else ()
            plain = self.plain[position] = all(program.plain for unit in units for program in unit)
        return plain

    def destination(self, announce: Announce) -> str | None:
        """The host that the announced attempt calls; None: it calls none."""
        if announce.input is None:
            return None
        return self.steps[announce.position].step.destination(self.tenant, announce.input)

    def next_destination(self, position: int) -> str | None:
        """The host that a run at that step is certain to call next; None: that is not certain before it is prepared."""
        if position >= len(self.steps) or self.steps[position].skip is not None:
            return None
        return self.steps[position].step.fixed_destination(self.tenant)


def _ahead(steps: Sequence[PlannedStep]) -> Iterator[ScriptStep]:
    count = 0
    for planned in steps:
        step = planned.step
        count += (planned.skip is not None) + sum(map(len, step.units))
        if count > MAX_AHEAD_EXPRESSIONS and planned is not steps[0]:
            return
        yield ScriptStep(planned.name, planned.skip, step.units, step.keys)
        if step.keys is None:
            return


def defaults_of(definition: Definition) -> dict[str, object]:
    """The data that its runs are given beneath their own."""
    if definition.context is None:
        return {}
    return from_stored(AutomationContext, definition.context).context or {}


class Definitions(Protocol):
    """The one thing plans ask of `ports.Automations`."""

    def definition(self, tenant: int, id: int) -> Definition | None: ...


class Plans:
    """Finds and compiles plans."""

    def __init__(self, definitions: Definitions, registry: StepRegistry, expressions: Environment) -> None:
        self._definitions = definitions
        self._registry = registry
        self._expressions = expressions
        self._plans: OrderedDict[tuple[int, int], Plan] = OrderedDict()

    def get(self, tenant: int, definition: int) -> Plan:
        """Raises PlanUnusable: it is gone, or something in it cannot run here (it was published by another release)."""
        key = (tenant, definition)
        plan = self._plans.get(key)
        if plan is None:
            found = self._definitions.definition(tenant, definition)
            if found is None:
                raise PlanUnusable(f"definition {definition} of the automation does not exist any more")
            plan = self._plans[key] = self._compile(found)
            if len(self._plans) > KEPT:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        return plan

    def _compile(self, definition: Definition) -> Plan:
        try:
            steps = _STEPS.validate_json(definition.steps)
            defaults = defaults_of(definition)
        except ValidationError as error:
            raise PlanUnusable(f"definition {definition.id} cannot be read: {error.error_count()} errors") from error
        compiled = self._registry.compile(steps, self._expressions)
        findings = compiled.problems + compiled.unavailable
        if findings:
            raise PlanUnusable(problems=findings)
        apps = None if definition.apps is None else frozenset(_APPS.validate_json(definition.apps))
        return Plan(definition.tenant, definition.id, definition.automation, compiled.steps, defaults, apps)
