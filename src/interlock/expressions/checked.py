"""Reads a checked expression: which steps and functions it uses, how it loops, and whether it is a plain selection.

The engine serialises a checked expression as `cel.expr.CheckedExpr` (google/cel-spec, checked.proto), wrapped in a
`google.protobuf.Any`. This is a reader for the members we need; the wire format is protobuf's: varints and
length-delimited fields.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

from interlock.expressions.selection import Selection

_OPTIONAL = frozenset({"_?._", "_[?_]", "optional.of", "optional.none", "optional.ofNonZeroValue"})
_MATCH = frozenset({"matches", "_=~_"})
_INDEX = frozenset({"_[_]", "_[?_]", "_?._"})
_CONTEXT_ROOTS = frozenset({"ctx", "steps"})
_SELECTABLE = frozenset({"ctx", "trigger", "subject"})
_NO_LITERAL = object()
_PLAIN_NAME = re.compile(r"[^\x00-\x1f\x7f-\U0010ffff\"'\\]*")
"""A name that the engine writes as it is when it says that it is missing."""

Fields = list[tuple[int, int | bytes]]


@dataclass(slots=True)
class Facts:
    """What a checked expression uses, each name with the offset (in characters) where it is first used."""

    variables: dict[str, int] = field(default_factory=dict)
    """Names of variables, without those a macro or a constant brings."""
    steps: dict[str, int] = field(default_factory=dict)
    """Members read of `ctx` (or of `steps`), by `.`, `[""]`, `.?` or `[?""]`; `has()` counts."""
    whole_context: bool = False
    """`ctx` is used otherwise than by naming a member: `"a" in ctx`, `ctx[x]`, `ctx` itself."""
    functions: dict[str, int] = field(default_factory=dict)
    overloads: set[str] = field(default_factory=set)
    """Keys of the overloads that calls may resolve to."""
    names: dict[str, int] = field(default_factory=dict)
    """Every field and key that is written out."""
    loops: int = 0
    nesting: int = 0
    optional: bool = False
    patterns: dict[str, int] = field(default_factory=dict)
    """Regular expressions that are written out."""
    selection: Selection | None = None
    """The whole expression, if it is a constant or a plain selection."""


def read(serialized: bytes) -> Facts:
    """The facts of an expression serialised by the engine."""
    checked = _fields(_bytes(_fields(serialized), 2))
    overloads: dict[int, tuple[str, ...]] = {}
    for number, value in checked:
        if number == 2 and isinstance(value, bytes):
            entry = _fields(value)
            reference = _fields(_bytes(entry, 2))
            overloads[_int(entry, 1)] = tuple(v.decode() for n, v in reference if n == 3 and isinstance(v, bytes))
    positions: dict[int, int] = {}
    for number, value in _fields(_bytes(checked, 5)):
        if number == 4 and isinstance(value, bytes):
            entry = _fields(value)
            positions[_int(entry, 1)] = _int(entry, 2)
    facts = Facts(overloads={key for keys in overloads.values() for key in keys})
    root = _bytes(checked, 4)
    _Walk(facts, positions).expression(root, frozenset(), 0)
    facts.selection = _selection(root)
    return facts


class _Walk:
    def __init__(self, facts: Facts, positions: dict[int, int]) -> None:
        self.facts = facts
        self.positions = positions

    def expression(self, data: bytes, bound: frozenset[str], depth: int) -> None:
        fields = _fields(data)
        offset = self.positions.get(_int(fields, 2), 0)
        for number, value in fields:
            if not isinstance(value, bytes):
                continue
            node = _fields(value)
            if number == 3:
                if (literal := _string_constant(node)) is not None:
                    self.facts.names.setdefault(literal, offset)
            elif number == 4:
                self.variable(_text(node, 1), offset, bound)
            elif number == 5:
                self.select(node, offset, bound, depth)
            elif number == 6:
                self.call(node, offset, bound, depth)
            elif number == 7:
                for item in _each(node, 1):
                    self.expression(item, bound, depth)
            elif number == 8:
                for entry in _each(node, 2):
                    self.entry(_fields(entry), bound, depth)
            elif number == 9:
                self.loop(node, bound, depth)

    def variable(self, name: str, offset: int, bound: frozenset[str]) -> None:
        if name in bound:
            return
        self.facts.variables.setdefault(name.removeprefix("."), offset)
        if name in _CONTEXT_ROOTS:
            self.facts.whole_context = True

    def member(self, operand: bytes, name: str, offset: int, bound: frozenset[str], depth: int) -> None:
        """One member is read of an operand; of `ctx` that is a step."""
        self.facts.names.setdefault(name, offset)
        root = _identifier(operand)
        if root in _CONTEXT_ROOTS and root not in bound:
            self.facts.variables.setdefault(root, offset)
            self.facts.steps.setdefault(name, offset)
        else:
            self.expression(operand, bound, depth)

    def select(self, node: Fields, offset: int, bound: frozenset[str], depth: int) -> None:
        # A selection stands at its dot; the name of the field follows it.
        self.member(_bytes(node, 1), _text(node, 2), offset + 1, bound, depth)

    def call(self, node: Fields, offset: int, bound: frozenset[str], depth: int) -> None:
        name = _text(node, 2)
        arguments = [*_each(node, 1), *_each(node, 3)]
        facts = self.facts
        facts.functions.setdefault(name, offset)
        facts.optional |= name in _OPTIONAL
        constants = [_string_constant(_constant(argument)) for argument in arguments]
        if name in _INDEX and len(arguments) == 2 and (key := constants[1]) is not None:
            self.member(arguments[0], key, self.offset_of(arguments[1], offset), bound, depth)
            return
        if name in _MATCH and (pattern := constants[1]) is not None:
            facts.patterns.setdefault(pattern, self.offset_of(arguments[1], offset))
        for argument in arguments:
            self.expression(argument, bound, depth)

    def entry(self, node: Fields, bound: frozenset[str], depth: int) -> None:
        for key in _each(node, 3):
            self.expression(key, bound, depth)
        for value in _each(node, 4):
            self.expression(value, bound, depth)

    def loop(self, node: Fields, bound: frozenset[str], depth: int) -> None:
        self.facts.loops += 1
        iterated = _bytes(node, 2)
        binds_only = _text(node, 1) == "#unused"
        inner = depth if binds_only else depth + 1
        self.facts.nesting = max(self.facts.nesting, inner)
        self.expression(iterated, bound, depth)
        # The initial value of cel.bind is evaluated outside of what it binds.
        self.expression(_bytes(node, 4), bound, depth)
        local = bound | {_text(node, 1), _text(node, 3), _text(node, 8)}
        for part in (5, 6, 7):
            self.expression(_bytes(node, part), local, inner)

    def offset_of(self, data: bytes, default: int) -> int:
        return self.positions.get(_int(_fields(data), 2), default)


def _selection(data: bytes) -> Selection | None:
    """The expression as a selection, or None if it is anything else."""
    fields = _fields(data)
    constant = _literal(fields)
    if constant is not _NO_LITERAL:
        return Selection(None, default=constant)
    for number, value in fields:
        if number == 5 and isinstance(value, bytes) and _int(_fields(value), 3):
            node = _fields(value)
            path = _path(_bytes(node, 1))
            return None if path is None else _of_path(path.member(_text(node, 2), optional=False), present=True)
        if number == 6 and isinstance(value, bytes) and _text(_fields(value), 2) == "orValue":
            node = _fields(value)
            path = _path(_bytes(node, 1))
            given = [_literal(_fields(argument)) for argument in _each(node, 3)]
            if path is None or path.optional_from is None or len(given) != 1 or given[0] is _NO_LITERAL:
                return None
            return _of_path(path, default=given[0])
    path = _path(data)
    # The result of an optional path is an optional, which nothing may be.
    return None if path is None or path.optional_from is not None else _of_path(path)


@dataclass(frozen=True, slots=True)
class _Path:
    root: str
    names: tuple[str, ...] = ()
    optional_from: int | None = None

    def member(self, name: str, *, optional: bool) -> _Path:
        begins = len(self.names) if optional and self.optional_from is None else self.optional_from
        return _Path(self.root, (*self.names, name), begins)


def _of_path(path: _Path, *, present: bool = False, default: object = None) -> Selection | None:
    root, names, optional_from = path.root, path.names, path.optional_from
    if root == "steps":
        # What `steps` shows of a step is one member, `output`.
        if len(names) < 3 or names[0] == "trigger" or names[1] != "output" or optional_from in (0, 1):
            return None
        root, names = "ctx", (names[0], *names[2:])
        optional_from = None if optional_from is None else optional_from - 1
    if root not in _SELECTABLE or not all(map(_PLAIN_NAME.fullmatch, names)) or (not names and root != "trigger"):
        return None
    return Selection(root, names, optional_from, present, default)


def _path(data: bytes) -> _Path | None:
    """A variable with members selected by name."""
    for number, value in _fields(data):
        if not isinstance(value, bytes):
            continue
        node = _fields(value)
        if number == 4:
            return _Path(_text(node, 1).removeprefix("."))
        if number == 5:
            operand = None if _int(node, 3) else _path(_bytes(node, 1))
            return None if operand is None else operand.member(_text(node, 2), optional=False)
        if number == 6 and (function := _text(node, 2)) in _INDEX:
            arguments = [*_each(node, 1), *_each(node, 3)]
            name = _string_constant(_constant(arguments[1])) if len(arguments) == 2 else None
            operand = None if name is None else _path(arguments[0])
            return None if operand is None or name is None else operand.member(name, optional=function != "_[_]")
    return None


def _literal(fields: Fields) -> object:
    """The value of a literal: a text, a number, true, false, null, an empty list or map."""
    for number, value in fields:
        if number == 3 and isinstance(value, bytes):
            return _scalar(_fields(value))
        if number == 7 and value == b"":
            return []
        if number == 8 and value == b"":
            return {}
    return _NO_LITERAL


def _scalar(constant: Fields) -> object:
    for number, value in constant:
        if number == 1:
            return None
        if number == 2:
            return bool(value)
        if number == 3 and isinstance(value, int):
            return value - 2**64 if value >= 2**63 else value
        if number == 5 and isinstance(value, bytes):
            return struct.unpack("<d", value)[0]
        if number == 6 and isinstance(value, bytes):
            return value.decode()
    return _NO_LITERAL


def _fields(data: bytes) -> Fields:
    """The fields of a message in order: number, and a varint or bytes."""
    found: Fields = []
    at, end = 0, len(data)
    while at < end:
        # Nearly every varint here is of one byte.
        key = data[at]
        at += 1
        if key > 0x7F:
            key, at = _varint(data, at - 1)
        wire = key & 7
        if wire == 0 or wire == 2:
            value = data[at]
            at += 1
            if value > 0x7F:
                value, at = _varint(data, at - 1)
            if wire == 0:
                found.append((key >> 3, value))
                continue
            size = value
        elif wire == 1:
            size = 8
        elif wire == 5:
            size = 4
        else:
            raise ValueError(f"wire type {wire} in a checked expression")
        found.append((key >> 3, data[at : at + size]))
        at += size
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7


def _int(fields: Fields, number: int) -> int:
    for n, value in fields:
        if n == number and type(value) is int:
            return value
    return 0


def _bytes(fields: Fields, number: int) -> bytes:
    for n, value in fields:
        if n == number and type(value) is bytes:
            return value
    return b""


def _text(fields: Fields, number: int) -> str:
    return _bytes(fields, number).decode()


def _each(fields: Fields, number: int) -> list[bytes]:
    return [value for n, value in fields if n == number and isinstance(value, bytes)]


def _identifier(data: bytes) -> str | None:
    return next((_text(_fields(v), 1) for n, v in _fields(data) if n == 4 and isinstance(v, bytes)), None)


def _constant(data: bytes) -> Fields:
    return next((_fields(v) for n, v in _fields(data) if n == 3 and isinstance(v, bytes)), [])


def _string_constant(constant: Fields) -> str | None:
    return next((value.decode() for n, value in constant if n == 6 and isinstance(value, bytes)), None)
