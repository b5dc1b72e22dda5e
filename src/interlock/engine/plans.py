"""Compiled automations. A definition never changes, so each process compiles it once and keeps the result."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from interlock.contract.base import LATER
from interlock.contract.steps import AutomationStep
from interlock.errors import FailedPrecondition
from interlock.expressions.environment import Environment, NeedsProcess
from interlock.expressions.limits import MAX_AHEAD_EXPRESSIONS
from interlock.expressions.script import Script, ScriptStep, all_plain
from interlock.ports import Definition
from interlock.rules.values import value
from interlock.steps.documents import Unreadable, decode
from interlock.steps.registry import PlannedStep, StepRegistry

KEPT = 1_000
"""Compiled automations in memory; the least recently used one is evicted."""

_APPS = TypeAdapter(tuple[str, ...], config=LATER)
_STEPS = TypeAdapter(tuple[AutomationStep, ...], config=LATER)


class PlanUnusable(FailedPrecondition):
    """This version of the automation cannot run on this server."""


@value(frozen=True, slots=True)
class Plan:
    """A definition with its compiled steps: a published version, or a draft."""

    tenant: int
    definition: int
    automation: str
    steps: tuple[PlannedStep, ...]
    defaults: dict[str, object]
    """`Automation.context`: the members of `ctx.trigger` that a run's own data do not have."""
    apps: frozenset[str] | None = None
    """The apps to which its publisher was limited; None if it was not limited."""
    scripts: dict[int, Script] = field(default_factory=dict, compare=False)
    """The expressions to evaluate ahead from each position, built when first needed."""
    plain: dict[int, bool] = field(default_factory=dict, compare=False)
    """The results of `is_plain` by position."""

    def script(self, position: int) -> Script:
        """Return the expressions from `position` to the next commit, at most `MAX_AHEAD_EXPRESSIONS`."""
        script = self.scripts.get(position)
        if script is None:
            script = self.scripts[position] = Script(tuple(_ahead(self.steps[position:])))
        return script

    def is_plain(self, position: int) -> bool:
        """Return whether only constants and plain selections are evaluated from `position` to the next commit."""
        plain = self.plain.get(position)
        if plain is None:
            units = self.script(position).all_units() if position < len(self.steps) else ()
            plain = self.plain[position] = all_plain(units)
        return plain

    async def destination(self, position: int, input: bytes) -> str | None:
        """Return the host that an attempt with this input, including its secrets, calls; None if it calls none."""
        return await self.steps[position].step.destination(self.tenant, input)

    async def next_destination(self, position: int) -> str | None:
        """Return the host that a run at that step will certainly call next; None if preparation has to determine it."""
        if position >= len(self.steps) or self.steps[position].skip is not None:
            return None
        return await self.steps[position].step.fixed_destination(self.tenant)


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
    """Return the context of an automation: the default members of `ctx.trigger`.

    Raises:
        Unreadable: The stored context cannot be decoded.
    """
    if definition.context is None:
        return {}
    stored = decode(definition.context)
    context = stored.get("context") if isinstance(stored, dict) else None
    return context if isinstance(context, dict) else {}


class Definitions(Protocol):
    """The part of `ports.Automations` that compilation needs."""

    async def definition(self, tenant: int, id: int) -> Definition | None: ...


class Plans:
    """Compiles definitions, and keeps the compiled automations."""

    def __init__(self, definitions: Definitions, registry: StepRegistry, expressions: Environment) -> None:
        self._definitions = definitions
        self._registry = registry
        self._expressions = expressions
        self._plans: OrderedDict[tuple[int, int], Plan] = OrderedDict()
        self._compiling: dict[tuple[int, int], asyncio.Future[Plan | PlanUnusable | None]] = {}

    async def get(self, tenant: int, definition: int, *, at_once: bool = False) -> Plan:
        """Return a compiled automation, and compile it if necessary.

        Args:
            tenant: The tenant of the automation.
            definition: The id of the version or draft.
            at_once: Whether to compile only without an evaluator process.

        Raises:
            PlanUnusable: The definition is deleted, or this release cannot run it.
            Unavailable: No evaluator process is available to compile its expressions.
            NeedsProcess: It is not compiled yet, and `at_once` does not permit an evaluator process.
        """
        key = (tenant, definition)
        while True:
            plan = self._plans.get(key)
            if plan is not None:
                self._plans.move_to_end(key)
                return plan
            others = self._compiling.get(key)
            if others is None:
                return await self._first(key, at_once)
            if at_once:
                raise NeedsProcess
            # One caller compiles for all that wait; if it was cancelled, one of the others compiles.
            found = await asyncio.shield(others)
            if isinstance(found, PlanUnusable):
                raise found

    def kept(self, tenant: int, definition: int) -> Plan | None:
        """Return a compiled automation if it is in memory; else None."""
        return self._plans.get((tenant, definition))

    async def repeatable(self, tenant: int, definition: int, position: int) -> bool:
        """Return whether an attempt at this step may be repeated after its holder was lost. Compiles nothing."""
        plan = self.kept(tenant, definition)
        if plan is not None:
            return plan.steps[position].step.repeatable
        found = await self._definitions.definition(tenant, definition)
        try:
            steps = () if found is None else _STEPS.validate_json(found.steps)
        except ValidationError:
            return False
        arm = steps[position].kind if position < len(steps) else None
        return arm is not None and self._registry.repeatable(arm[0])

    async def _first(self, key: tuple[int, int], at_once: bool) -> Plan:
        made: asyncio.Future[Plan | PlanUnusable | None] = asyncio.get_running_loop().create_future()
        self._compiling[key] = made
        outcome: Plan | PlanUnusable | None = None
        try:
            outcome = self._plans[key] = await self._compile(*key, at_once)
            if len(self._plans) > KEPT:
                self._plans.popitem(last=False)
            return outcome
        except PlanUnusable as unusable:
            outcome = unusable
            raise
        finally:
            del self._compiling[key]
            made.set_result(outcome)

    async def _compile(self, tenant: int, id_: int, at_once: bool) -> Plan:
        """Return the compiled steps of a stored definition. Raises PlanUnusable if it is gone, or cannot run here."""
        definition = await self._definitions.definition(tenant, id_)
        if definition is None:
            raise PlanUnusable(f"definition {id_} of the automation no longer exists")
        try:
            steps = _STEPS.validate_json(definition.steps)
            defaults = defaults_of(definition)
        except ValidationError as error:
            raise PlanUnusable(f"definition {definition.id} cannot be read: {error.error_count()} errors") from error
        except Unreadable as error:
            raise PlanUnusable(f"definition {definition.id} cannot be read: {error.message}") from error
        compiled = await self._expressions.compiled(lambda known: self._registry.compile(steps, known), at_once=at_once)
        findings = compiled.problems + compiled.unavailable
        if findings:
            raise PlanUnusable(problems=findings)
        apps = None if definition.apps is None else frozenset(_APPS.validate_json(definition.apps))
        return Plan(definition.tenant, definition.id, definition.automation, compiled.steps, defaults, apps)
