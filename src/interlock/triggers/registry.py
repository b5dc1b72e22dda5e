"""The trigger kinds there are, and compiling all triggers of an automation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pydantic.alias_generators import to_camel

from interlock.contract.base import Message
from interlock.contract.triggers import AutomationTrigger
from interlock.errors import Problem
from interlock.expressions.check import Checker
from interlock.expressions.environment import Environment
from interlock.expressions.names import Kind, Place
from interlock.expressions.program import Program
from interlock.rules.values import value
from interlock.triggers import manual
from interlock.triggers.kind import Trigger, TriggerContext, TriggerKind

RELEASED: Final[tuple[TriggerKind[Any], ...]] = (manual.kind(),)
"""The kinds of this release that need nothing but their file."""

CONDITION: Final = "condition"
_RESULTS: Final = {CONDITION: Kind.BOOL, "skip_if_true_cel": Kind.BOOL, "app_id_cel": Kind.STRING}
"""What the expression in a member has to give; the others give a list of references."""


@value(frozen=True, slots=True)
class TriggerCompilation:
    """The triggers of an automation, compiled.

    `problems` must be fixed before it can be published; `unavailable` is valid, and cannot start runs on this server.
    `triggers` is complete only if both are empty.
    """

    triggers: tuple[Trigger[Any], ...]
    problems: tuple[Problem, ...]
    unavailable: tuple[Problem, ...]

    @property
    def on_demand(self) -> bool:
        """Whether no trigger starts a run by itself."""
        return all(trigger.on_demand for trigger in self.triggers)

    def next_fire_at(self, after: int) -> int | None:
        """Return the first time after `after` at which one of the triggers starts a run by itself."""
        times = (trigger.next_fire_at(after) for trigger in self.triggers)
        return min((time for time in times if time is not None), default=None)


class TriggerRegistry:
    """The kinds that this server has, and compiling triggers of them."""

    def __init__(self, kinds: Iterable[TriggerKind[Any]]) -> None:
        self._kinds = {kind.name: kind for kind in kinds}

    @property
    def released(self) -> frozenset[str]:
        """The names of the kinds that can start runs on this server."""
        return frozenset(self._kinds)

    @property
    def starts_runs(self) -> bool:
        """Whether a kind on this server starts runs by itself."""
        return any(not kind.trigger.on_demand for kind in self._kinds.values())

    def compile(
        self, triggers: Sequence[AutomationTrigger], environment: Environment, field: str = "triggers"
    ) -> TriggerCompilation:
        """Compile every trigger, collecting every finding. `field` begins the paths in them.

        Every expression is compiled, also that of a kind which is not registered: a draft shows its faults.
        """
        checker = Checker(environment, ())
        compiled: list[Trigger[Any]] = []
        for index, trigger in enumerate(triggers):
            path, arm = f"{field}[{index}]", trigger.kind
            if arm is None:
                checker.problems.append(Problem(path, "names no kind of trigger"))
                continue
            name, message = arm
            path = f"{path}.{name}"
            programs = _compile_expressions(checker, path, message)
            kind = self._kinds.get(name)
            if kind is None:
                text = f"triggers of the kind {name} cannot start runs on this server yet; a draft may contain it"
                checker.unavailable.append(Problem(path, text))
                continue
            made = kind.compile(message, TriggerContext(path, programs, checker.problems))
            if made is not None:
                compiled.append(made)
        return TriggerCompilation(tuple(compiled), tuple(checker.problems), tuple(checker.unavailable))


def expressions(message: Message, below: str = "") -> Iterator[tuple[str, str, str]]:
    """(path, name of the member, source) of each expression in a message: `condition`, and what ends in `Cel`."""
    for name in type(message).model_fields:
        value, path = getattr(message, name), f"{below}{to_camel(name)}"
        if isinstance(value, Message):
            yield from expressions(value, f"{path}.")
        elif isinstance(value, str) and value and (name == CONDITION or name.endswith("_cel")):
            yield path, name, value


def _compile_expressions(checker: Checker, field: str, message: Message) -> dict[str, Program]:
    programs: dict[str, Program] = {}
    for path, name, source in expressions(message):
        place = Place.CONDITION if name == CONDITION else Place.STEP
        program = checker.expression(source, _RESULTS.get(name, Kind.LIST), field=f"{field}.{path}", place=place)
        if program is not None:
            programs[path] = program
    return programs
