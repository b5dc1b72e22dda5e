"""What an evaluation that did not work out says of itself.

The texts never hold anything that was read: a context carries personal data and secrets, and an error is stored, logged
and shown. So the engine's own message is recognised and said again in our words, not passed on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from interlock.errors import Permanent, Problem


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an expression stands: its field, the step of that field, and its first character (1-based)."""

    NOWHERE: ClassVar[Origin]

    field: str = ""
    step: str | None = None
    line: int = 1
    column: int = 1

    def position(self, source: str, offset: int) -> tuple[int, int]:
        """Line and column in the field of the character at `offset` of the expression."""
        before = source[:offset]
        down = before.count("\n")
        along = offset - (before.rfind("\n") + 1)
        return self.line + down, along + (self.column if down == 0 else 1)

    def position_of(self, name: str, source: str, offset: int) -> tuple[int, int]:
        """The same for a name that is written at `offset` or soon after it: macros and operators stand before it."""
        found = source.find(name, offset)
        return self.position(source, offset if found < 0 else found)

    def problem(self, description: str, line: int, column: int) -> Problem:
        return Problem(self.field, description, self.step, line, column)


Origin.NOWHERE = Origin()


NO_MEMORY: Final = "it needs too much memory"
"""Reason of an expression for which the memory of an evaluator process is too small."""


class ExpressionFailed(Permanent):
    """An expression could not be evaluated.

    Permanent: the same expression over the same values fails again. `reason` is one sentence without any value read.
    """

    code: ClassVar[str] = "EXPRESSION_FAILED"

    def __init__(self, reason: str, *, source: str, origin: Origin, offset: int = 0) -> None:
        self.reason = reason
        self.source = source
        self.field = origin.field
        self.step = origin.step
        self.offset = offset
        self.line, self.column = origin.position(source, offset)
        where = f" of {origin.field}" if origin.field else ""
        shown = source if len(source) <= 200 else source[:200] + "…"
        super().__init__(f"line {self.line}, column {self.column}{where}: {reason}, in: {shown}")


class OverBudget(ExpressionFailed):
    """An expression used more time or memory than it may, or made too large a result."""

    code: ClassVar[str] = "RESOURCE_EXHAUSTED"


class Unusable(Exception):
    """A value that cannot leave the room: not JSON, too large, too deep. Its program says so as `ExpressionFailed`."""

    def __init__(self, reason: str, *, over_budget: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.over_budget = over_budget


class FunctionFailed(ValueError):
    """One of our functions refuses its arguments. The message holds no argument."""

    MARK: ClassVar[str] = "function: "

    def __init__(self, reason: str) -> None:
        super().__init__(self.MARK + reason)


_KEY = re.compile(r"Key not found in map : \"(.*)\"", re.DOTALL)
_VARIABLE = re.compile(r"No value with name \"([\w.]+)\" found in Activation")
_OVERLOAD = re.compile(r"No matching overloads found : ([\w.@]+)\(([\w, *]*)\)")
_STATUS = re.compile(r"^[A-Z_]+: ")

_KNOWN = (
    ("divide by zero", "a division by zero"),
    ("modulus by zero", "a division by zero"),
    ("overflow", "a number is out of its range"),
    ("out of range", "a number or a time is out of its range"),
    ("Index error", "an index lies outside its list"),
    ("index out of bounds", "an index lies outside its list"),
    ("Duration conversion failed", "a text is not a duration; write hours, minutes and seconds such as 36h or 1h30m"),
    ("Timestamp conversion failed", "a text is not an RFC 3339 time such as 2026-08-21T09:30:00Z"),
    ("conversion", "a value cannot be converted"),
    ("regular expression", "the regular expression is not valid RE2"),
    ("optional.none() dereference", "an empty optional has no value; give one with orValue()"),
    ("No such attribute", "a field is missing"),
    (
        "No matching overloads",
        "found no matching overload: an operand has another type; convert with int() or string()",
    ),
)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an evaluation failed, and the name in the source that it concerns, if it is one."""

    text: str
    name: str | None = None


def explain(message: str, names: frozenset[str]) -> Reason:
    """Say the engine's message in our words. A key is named only if it is one of `names`, written in the source."""
    message = _STATUS.sub("", message)
    if message.startswith(FunctionFailed.MARK):
        return Reason(message[len(FunctionFailed.MARK) :])
    if match := _KEY.search(message):
        key = match[1]
        return Reason(f"field {key!r} is missing", key) if key in names else Reason("a key is missing")
    if match := _VARIABLE.search(message):
        return Reason(f"{match[1]!r} is not known in this run", match[1])
    if match := _OVERLOAD.search(message):
        return Reason(f"found no matching overload for {match[1]!r} applied to ({match[2]})")
    for fragment, text in _KNOWN:
        if fragment in message:
            return Reason(text)
    return Reason("the expression cannot be evaluated with these values")
