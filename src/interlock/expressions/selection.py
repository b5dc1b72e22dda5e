"""Plain selections: constants and paths such as `ctx.a["b"]`, evaluated by Python of our own.

Most templates and conditions are this, so most runs never need an evaluator process. A selection answers only where its
meaning is certain: a value that is there, or a member that is missing from a map. In every other case (a member of
something that is not a map, a large value) it says `ELSEWHERE`, and the expression goes to an evaluator, which has the
meaning of CEL by having CEL. What it reads is what it selects: the rest of a step's output is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from interlock.expressions.context import Context
from interlock.expressions.limits import MAX_SELECTED_TEXT, MAX_SELECTED_WEIGHT
from interlock.expressions.values import fits, plain, readable, weigh

_ABSENT: Final = object()
ELSEWHERE: Final = object()
"""The answer of a selection whose meaning CEL alone can tell."""


class MissingError(Exception):
    """A map does not have the member `name`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True, slots=True)
class Selection:
    """A path into what a run may read.

    `root` is a variable, None for a constant. From the member number `optional_from` on, a missing member is an empty
    optional, and then `default` is the result. `present` makes it `has(…)`.
    """

    root: str | None
    path: tuple[str, ...] = ()
    optional_from: int | None = None
    present: bool = False
    default: object = None

    def of(self, context: Context) -> object:
        """The value as plain JSON, or ELSEWHERE. Raises MissingError, Unusable."""
        root = self.root
        if root is None:
            return _small(self.default)
        value = _variable(context, root)
        last = len(self.path) - 1
        optional_from = self.optional_from
        for number, name in enumerate(self.path):
            if type(value) is not dict:
                return ELSEWHERE
            value = value.get(name, _ABSENT)
            if value is _ABSENT:
                if self.present and number == last:
                    return False
                if optional_from is None or number < optional_from:
                    raise MissingError(name)
                return False if self.present else _small(self.default)
        return True if self.present else _small(value)


def _variable(context: Context, name: str) -> object:
    ctx = context.ctx
    if name == "ctx":
        return ctx
    if name == "trigger":
        return ctx.get("trigger", {})
    if name == "subject" and context.subject is not None:
        return context.subject
    return ELSEWHERE


def _small(value: object) -> object:
    """A value as a result; ELSEWHERE if it is large. Raises Unusable."""
    kind = type(value)
    if kind is bool or value is None:
        return value
    if kind is str:
        if len(value) > MAX_SELECTED_TEXT:  # type: ignore[arg-type]
            return ELSEWHERE
    elif weigh(value, MAX_SELECTED_WEIGHT) > MAX_SELECTED_WEIGHT:
        return ELSEWHERE
    return plain(value if fits(value) else readable(value))
