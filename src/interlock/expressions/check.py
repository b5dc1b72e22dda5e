"""Compiles the expressions of one automation and collects every finding, so that a caller hears of all at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from interlock.errors import Problem
from interlock.expressions.environment import Environment, Scope
from interlock.expressions.failures import Origin
from interlock.expressions.limits import MAX_AUTOMATION_EXPRESSIONS, MAX_AUTOMATION_SOURCE
from interlock.expressions.names import Kind, Place
from interlock.expressions.program import Program
from interlock.expressions.template import Compiler, Escape, Template

_TOO_MANY: Final = f"the automation has more than {MAX_AUTOMATION_EXPRESSIONS:,} expressions"
_TOO_LONG: Final = f"the expressions of the automation are longer than {MAX_AUTOMATION_SOURCE:,} characters together"


class _Limited:
    """An environment that looks at no more, and compiles no more, than an automation may have."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._expressions = 0
        self._looked_at = 0
        self._source = 0
        self._exhausted = False

    def spend(self, looked_at: int, problems: list[Problem], origin: Origin) -> bool:
        """See `template.Compiles`."""
        self._looked_at += looked_at
        return self._allows(self._looked_at <= MAX_AUTOMATION_SOURCE, _TOO_LONG, problems, origin)

    def compile_into(self, problems: list[Problem], source: str, kind: Kind, scope: Scope) -> Program | None:
        """See `Environment.compile_into`."""
        self._expressions += 1
        self._source += len(source)
        origin = scope.origin
        if not self._allows(self._expressions <= MAX_AUTOMATION_EXPRESSIONS, _TOO_MANY, problems, origin):
            return None
        if not self._allows(self._source <= MAX_AUTOMATION_SOURCE, _TOO_LONG, problems, origin):
            return None
        return self._environment.compile_into(problems, source, kind, scope)

    def _allows(self, within: bool, text: str, problems: list[Problem], origin: Origin) -> bool:
        if not within and not self._exhausted:
            self._exhausted = True
            problems.append(origin.problem(f"{text}; divide it into several", origin.line, origin.column))
        return not self._exhausted


class Checker:
    """One check of one automation, whose steps have these names, in order.

    `problems` must be fixed before publishing; `unavailable` lists valid expressions that cannot be evaluated yet. A
    draft may have both, a published version neither. Each method returns None if its expression has a problem.
    """

    def __init__(self, environment: Environment, steps: Iterable[str]) -> None:
        self.problems: list[Problem] = []
        self.unavailable: list[Problem] = []
        self._environment = _Limited(environment)
        self._steps = tuple(steps)

    def expression(
        self, source: str, kind: Kind, *, field: str, step: str | None = None, place: Place = Place.STEP
    ) -> Program | None:
        """A field that is a bare expression."""
        scope = self._scope(field, step, place)
        program = self._environment.compile_into(self.problems, source, kind, scope)
        if program is not None:
            self._note(program)
        return program

    def condition(self, source: str, *, field: str) -> Program | None:
        """The condition of a trigger: it gives a bool, and reads no step and nothing of `c1.*`."""
        return self.expression(source, Kind.BOOL, field=field, place=Place.CONDITION)

    def text(self, text: str, *, field: str, step: str | None = None, escape: Escape = Escape.NONE) -> Template | None:
        """A field that is a text with `{{ }}`."""
        return self._noted(self._compiler(field, step).text(text, escape))

    def tree(self, value: object, *, field: str, step: str | None = None) -> Template | None:
        """A field that is JSON with `{{ }}` in its strings."""
        return self._noted(self._compiler(field, step).tree(value))

    def document(self, text: str, *, field: str, step: str | None = None) -> Template | None:
        """A field that is a text and may be JSON with `{{ }}`."""
        return self._noted(self._compiler(field, step).document(text))

    def _compiler(self, field: str, step: str | None) -> Compiler:
        return Compiler(self._environment, self.problems, self._scope(field, step, Place.STEP))

    def _scope(self, field: str, step: str | None, place: Place) -> Scope:
        if place is Place.CONDITION:
            before: tuple[str, ...] = ()
        elif step in self._steps:
            before = self._steps[: self._steps.index(step)]
        else:
            before = self._steps
        later = frozenset(self._steps).difference(before) if place is Place.STEP else frozenset()
        return Scope(place, Origin(field, step), frozenset(before), later)

    def _noted(self, template: Template | None) -> Template | None:
        for program in template.programs if template is not None else ():
            self._note(program)
        return template

    def _note(self, program: Program) -> None:
        for name in program.unavailable:
            text = f"'{name}' cannot be evaluated yet: this server has no directory"
            origin = program.origin
            self.unavailable.append(origin.problem(text, *origin.position(program.source, 0)))
