"""Compiles expressions and checks what the engine does not: limits, steps that come later, names out of their place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from interlock.errors import InvalidArgument, Problem
from interlock.expressions.analysis import MAX_KNOWN_SOURCE, Analysed, Analysis, Analyst, Named, Native, Refusal
from interlock.expressions.cel import Finding
from interlock.expressions.checked import Facts
from interlock.expressions.context import Inputs
from interlock.expressions.failures import Origin
from interlock.expressions.limits import MAX_LOOPS, MAX_NESTING, MAX_PATTERN, MAX_SOURCE
from interlock.expressions.names import (
    DIRECTORY_FUNCTIONS,
    FRAMED_FUNCTIONS,
    FUNCTIONS,
    POLICY_CONSTANTS,
    VARIABLES,
    Kind,
    Place,
)
from interlock.expressions.program import Program

_TRIGGER: Final = "trigger"
_FUNCTION_OF: Final = {overload.key: function.name for function in FUNCTIONS for overload in function.overloads}
_RESULTS: Final = {
    Kind.BOOL: ("BOOL",),
    Kind.INT: ("INT", "UINT"),
    Kind.STRING: ("STRING", "TIMESTAMP", "DURATION"),
    Kind.STRING_LIST: ("LIST<STRING>", "LIST<DYN>"),
    Kind.LIST: ("LIST",),
    Kind.MAP: ("MAP",),
}


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an expression stands and which steps it may read.

    `steps_before` are the steps whose output may be there, None for no check; `later` names those that come later,
    so that the finding can say so.
    """

    place: Place = Place.STEP
    origin: Origin = Origin.NOWHERE
    steps_before: frozenset[str] | None = None
    later: frozenset[str] = frozenset()

    def at(self, line: int, column: int) -> Scope:
        """Return the same scope with another position in its field."""
        return replace(self, origin=replace(self.origin, line=line, column=column))

    def within(self, field: str) -> Scope:
        """The same, for a field of the field."""
        return replace(self, origin=replace(self.origin, field=field))


NOWHERE: Final = Scope()
"""A step, with no check of which steps it reads."""


class InvalidExpression(InvalidArgument):
    """An expression or template is not valid. `problems` has all findings, each with line and column."""


Made = TypeVar("Made")


class NeedsProcess(Exception):
    """What was to be done at once needs an evaluator process."""


class Environment:
    """Compiles expressions by what is known of their sources. This one asks CEL in this very process.

    With `directory=False`, functions of the directory compile, and the programs that use them say in `unavailable` that
    they cannot be evaluated yet.
    """

    def __init__(self, *, directory: bool = False, most_known: int = MAX_KNOWN_SOURCE) -> None:
        self._directory = directory
        self._inputs: dict[Inputs, Inputs] = {}
        self._analyst = Analyst(most_known)

    async def compiled(
        self, make: Callable[[Environment], Made], *, urgent: bool = False, at_once: bool = False
    ) -> Made:
        """Return the result of `make` with an environment that knows all sources that it asks for.

        Raises what `make` raises; Unavailable; NeedsProcess, if that cannot be done `at_once`.
        """
        return make(self)

    def spend(self, looked_at: int, problems: list[Problem], origin: Origin) -> bool:
        """Look at so many characters of a template: see `template`."""
        return True

    def compile(self, source: str, kind: Kind = Kind.ANY, scope: Scope = NOWHERE) -> Program:
        """Raises InvalidExpression with every finding."""
        problems: list[Problem] = []
        program = self.compile_into(problems, source, kind, scope)
        if program is None:
            raise InvalidExpression(problems=tuple(problems))
        return program

    def compile_into(self, problems: list[Problem], source: str, kind: Kind, scope: Scope) -> Program | None:
        """Compile, adding what is wrong to `problems`; None if anything is."""
        known = len(problems)
        if finding := unreadable(source):
            problems.append(scope.origin.problem(finding, scope.origin.line, scope.origin.column))
            return None
        analysed, native = self._analysed(scope.place, source)
        if isinstance(analysed, Refusal):
            problems.extend(_explained(analysed, source, scope))
            return None
        facts = analysed.facts
        problems.extend(_at(scope, source, offset, text) for offset, text in _beyond_limits(facts))
        problems.extend(
            scope.origin.problem(text, *scope.origin.position_of(step, source, offset))
            for step, offset, text in _unknown_steps(facts, scope)
        )
        if (text := _wrong_result(analysed.result_type, kind)) is not None:
            problems.append(_at(scope, source, 0, text))
        if len(problems) > known:
            return None
        return self._program(source, kind, scope, native, analysed)

    def _analysed(self, place: Place, source: str) -> tuple[Analysed, Native | None]:
        return self._analyst.analysed(place, source)

    def _program(self, source: str, kind: Kind, scope: Scope, native: Native | None, analysis: Analysis) -> Program:
        facts = analysis.facts
        functions = frozenset(_FUNCTION_OF[key] for key in facts.overloads if key in _FUNCTION_OF)
        asks = functions & DIRECTORY_FUNCTIONS
        steps = None if facts.whole_context else tuple(sorted(facts.steps))
        variables = tuple(sorted(name for name in facts.variables if name in VARIABLES))
        inputs = Inputs(variables, steps)
        return Program(
            source,
            kind,
            scope.place,
            scope.origin,
            native,
            facts,
            self._inputs.setdefault(inputs, inputs),
            analysis.members,
            needs_directory=bool(asks),
            framed=bool(functions & FRAMED_FUNCTIONS),
            unavailable=() if self._directory else tuple(sorted(asks)),
        )


class KnownEnvironment(Environment):
    """Compiles sources of which the analysis is given."""

    def __init__(self, known: Mapping[Named, Analysed], *, directory: bool = False) -> None:
        super().__init__(directory=directory)
        self._known = known

    def _analysed(self, place: Place, source: str) -> tuple[Analysed, Native | None]:
        return self._known[place, source], None


class SourceCollector(Environment):
    """Compiles nothing, and notes which sources were to be compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: dict[Named, None] = {}

    def compile_into(self, problems: list[Problem], source: str, kind: Kind, scope: Scope) -> Program | None:
        if not unreadable(source):
            self.sources[scope.place, source] = None
        problems.append(scope.origin.problem("is not compiled", 1, 1))
        return None


def _explained(refusal: Refusal, source: str, scope: Scope) -> Iterable[Problem]:
    """The engine's findings, or, if the source would be valid elsewhere, which of its names are out of place."""
    if refusal.elsewhere is not None:
        misplaced = [*_misplaced(refusal.elsewhere, source, scope.place)]
        if misplaced:
            return [_at(scope, source, offset, text) for offset, text in misplaced]
    return [_found(scope, finding) for finding in refusal.findings]


def unreadable(source: str) -> str | None:
    """Why a source cannot be compiled whatever it says, or None."""
    try:
        size = len(source.encode())
    except UnicodeEncodeError:
        return "the expression is not valid Unicode"
    if size > MAX_SOURCE:
        return f"the expression is {size:,} bytes long; at most {MAX_SOURCE:,} are allowed"
    return None if source.strip() else "the expression is empty"


def _at(scope: Scope, source: str, offset: int, text: str) -> Problem:
    return scope.origin.problem(text, *scope.origin.position(source, offset))


def _found(scope: Scope, finding: Finding) -> Problem:
    origin = scope.origin
    column = finding.column + (origin.column - 1 if finding.line == 1 else 0)
    return origin.problem(finding.message, finding.line + origin.line - 1, column)


def _beyond_limits(facts: Facts) -> Iterable[tuple[int, str]]:
    if facts.loops > MAX_LOOPS:
        yield 0, f"the expression has {facts.loops} macros such as map and filter; at most {MAX_LOOPS} are allowed"
    if facts.nesting > MAX_NESTING:
        yield 0, f"macros are nested {facts.nesting} deep; at most {MAX_NESTING} are allowed"
    for pattern, offset in facts.patterns.items():
        if len(pattern.encode()) > MAX_PATTERN:
            yield offset, f"the regular expression is longer than {MAX_PATTERN} bytes"


def _unknown_steps(facts: Facts, scope: Scope) -> Iterable[tuple[str, int, str]]:
    if scope.steps_before is None:
        return
    for step, offset in facts.steps.items():
        if step == _TRIGGER or step in scope.steps_before:
            continue
        if step == scope.origin.step:
            yield step, offset, f"undefined reference to 'ctx.{step}': a step cannot read its own output"
        elif step in scope.later:
            yield (
                step,
                offset,
                f"undefined reference to 'ctx.{step}': that step comes later",
            )
        elif scope.place is Place.CONDITION:
            yield step, offset, f"undefined reference to 'ctx.{step}': a trigger condition can read only ctx.trigger"
        else:
            yield step, offset, f"undefined reference to 'ctx.{step}': there is no step of this name"


def _misplaced(facts: Facts, source: str, place: Place) -> Iterable[tuple[int, str]]:
    for function in FUNCTIONS:
        if function.name in facts.functions and place not in function.places:
            # A call stands at its parenthesis; the name is before it.
            offset = source.rfind(function.name, 0, facts.functions[function.name])
            yield max(0, offset), _out_of_place(function.name, function.places, place)
    for name, offset in facts.variables.items():
        places = VARIABLES[name][1] if name in VARIABLES else None
        if places is None and name in POLICY_CONSTANTS:
            places = frozenset({Place.POLICY})
        if places is not None and place not in places:
            # A name with dots stands at its last dot.
            root, dot, _ = name.partition(".")
            yield max(0, source.rfind(root, 0, offset)) if dot else offset, _out_of_place(name, places, place)


def _out_of_place(name: str, places: frozenset[Place], place: Place) -> str:
    if places == {Place.POLICY}:
        return f"undeclared reference to '{name}': it exists only in policies"
    return f"undeclared reference to '{name}': it cannot be used in {place.value}"


def _wrong_result(result_type: str, kind: Kind) -> str | None:
    shown = result_type.lower().replace("<", "(").replace(">", ")")
    if shown.startswith("optional_type"):
        return "the result is an optional value; end the expression with .orValue(…)"
    allowed = _RESULTS.get(kind)
    if (
        allowed is None
        or result_type == "DYN"
        or any(result_type.split("<")[0] == a or result_type == a for a in allowed)
    ):
        return None
    return f"expected type '{kind.value}' but found '{shown}'"
