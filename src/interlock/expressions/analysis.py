"""What is known of a source once CEL has compiled it: enough to check it, without CEL.

A source is compiled where it may take long or break something: in an evaluator process. What comes back is this, as
JSON.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Generic, TypeVar

from interlock.expressions.cel import Compiled, CompileError, Engine, Finding
from interlock.expressions.checked import Facts, read
from interlock.expressions.exactness import compared_exactly
from interlock.expressions.functions import IMPLEMENTATIONS
from interlock.expressions.names import CONSTANTS, FUNCTIONS, POLICY_CONSTANTS, VARIABLES, Place
from interlock.expressions.reads import Member, members_read
from interlock.expressions.selection import Selection

MAX_KNOWN_SOURCE: Final = 512 * 1024
"""Sources of which the compiled form or its analysis is remembered, in characters."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """A source that compiles: the static type of its result, what it uses, and the members of steps it may read."""

    result_type: str
    facts: Facts
    members: frozenset[Member] = frozenset()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A source that does not compile. `elsewhere` are its facts if it would compile in a policy."""

    findings: tuple[Finding, ...]
    elsewhere: Facts | None = None


Analysed = Analysis | Refusal
Native = tuple[Engine, Compiled]
Named = tuple[Place, str]
"""Where a source stands, and the source."""


Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values by what a source is for, and the source. Those unused for the longest make way."""

    def __init__(self, most: int = MAX_KNOWN_SOURCE) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, str], Value] = OrderedDict()
        self._size = 0

    def get(self, named: tuple[str, str]) -> Value | None:
        value = self._kept.get(named)
        if value is not None:
            self._kept.move_to_end(named)
        return value

    def put(self, named: tuple[str, str], value: Value) -> None:
        if named not in self._kept:
            self._size += len(named[1])
        self._kept[named] = value
        while self._size > self._most and len(self._kept) > 1:
            (_, source), _ = self._kept.popitem(last=False)
            self._size -= len(source)


class Analyst:
    """Compiles sources by CEL, in this process. The engines are made when first needed."""

    def __init__(self, most_known: int = MAX_KNOWN_SOURCE) -> None:
        self._engines: dict[Place, Engine] = {}
        self._known: Recent[tuple[Analysed, Native | None]] = Recent(most_known)

    def analysed(self, place: Place, source: str) -> tuple[Analysed, Native | None]:
        """What is known of a source, and, if it compiles, what CEL made of it."""
        known = self._known.get((place, source))
        if known is None:
            known = self._compiled(place, source)
            self._known.put((place, source), known)
        return known

    def _compiled(self, place: Place, source: str) -> tuple[Analysed, Native | None]:
        engine = self._engine(place)
        try:
            compiled = engine.compile(source)
        except CompileError as error:
            return Refusal(error.findings, self._elsewhere(place, source)), None
        serialized = compiled.serialize()
        try:
            exact = compared_exactly(engine, source, compiled, serialized)
        except CompileError as error:
            return Refusal(error.findings), None
        return Analysis(compiled.result_type, read(serialized), members_read(serialized)), (engine, exact)

    def _elsewhere(self, place: Place, source: str) -> Facts | None:
        if place is Place.POLICY:
            return None
        try:
            return read(self._engine(Place.POLICY).compile(source).serialize())
        except CompileError:
            return None

    def _engine(self, place: Place) -> Engine:
        engine = self._engines.get(place)
        if engine is None:
            constants = CONSTANTS | POLICY_CONSTANTS if place is Place.POLICY else CONSTANTS
            engine = self._engines[place] = Engine(
                {name: kind for name, (kind, places) in VARIABLES.items() if place in places},
                constants,
                [function for function in FUNCTIONS if place in function.places],
                IMPLEMENTATIONS,
            )
        return engine


def to_json(analysed: Analysed) -> dict[str, object]:
    """For another process."""
    if isinstance(analysed, Analysis):
        members = sorted(analysed.members, key=repr)
        return {"type": analysed.result_type, "facts": _facts_to_json(analysed.facts), "members": members}
    return {
        "findings": [asdict(finding) for finding in analysed.findings],
        "elsewhere": None if analysed.elsewhere is None else _facts_to_json(analysed.elsewhere),
    }


def from_json(found: Mapping[str, Any]) -> Analysed:
    """What `to_json` wrote."""
    if "type" in found:
        members = frozenset((step, member) for step, member in found["members"])
        return Analysis(found["type"], _facts_from_json(found["facts"]), members)
    elsewhere = found["elsewhere"]
    return Refusal(
        tuple(Finding(**finding) for finding in found["findings"]),
        None if elsewhere is None else _facts_from_json(elsewhere),
    )


def _facts_to_json(facts: Facts) -> dict[str, object]:
    return {**asdict(facts), "overloads": sorted(facts.overloads)}


def _facts_from_json(found: Mapping[str, Any]) -> Facts:
    members = dict(found)
    selection: Mapping[str, Any] | None = members.pop("selection")
    overloads: Sequence[str] = members.pop("overloads")
    facts = Facts(**members)
    facts.overloads = set(overloads)
    if selection is not None:
        facts.selection = Selection(**{**selection, "path": tuple(selection["path"])})
    return facts
