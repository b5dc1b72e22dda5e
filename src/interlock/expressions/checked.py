"""Reads a checked expression: which steps and functions it uses, how it loops, and whether it is a plain selection.

The engine serialises a checked expression as `cel.expr.CheckedExpr` (google/cel-spec, checked.proto), wrapped in a
`google.protobuf.Any`. This is a reader for the members we need; the wire format is protobuf's: varints and
length-delimited fields.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Final

from interlock.expressions.selection import Selection

_OPTIONAL = frozenset({"_?._", "_[?_]", "optional.of", "optional.none", "optional.ofNonZeroValue"})
_MATCH = frozenset({"matches", "_=~_"})
_INDEX = frozenset({"_[_]", "_[?_]", "_?._"})
_CONTEXT_ROOTS = frozenset({"ctx", "steps"})
_SELECTABLE = frozenset({"ctx", "trigger", "subject"})
_NO_LITERAL = object()
_PLAIN_NAME = re.compile(r"[^\x00-\x1f\x7f-\U0010ffff\"'\\]*")
"""A name that the engine writes as it is when it says that it is missing."""

# Numbers of fields: google/protobuf/any.proto, and checked.proto and syntax.proto of google/cel-spec.
_ANY_VALUE: Final = 2
_MAP_KEY: Final = 1
_MAP_VALUE: Final = 2
_CHECKED_REFERENCES: Final = 2
_CHECKED_EXPRESSION: Final = 4
_CHECKED_SOURCE: Final = 5
_REFERENCE_OVERLOAD: Final = 3
_SOURCE_POSITIONS: Final = 4
_EXPRESSION_ID: Final = 2
_CONSTANT: Final = 3
_IDENTIFIER: Final = 4
_SELECT: Final = 5
_CALL: Final = 6
_LIST: Final = 7
_STRUCT: Final = 8
_COMPREHENSION: Final = 9
_NULL_VALUE: Final = 1
_BOOL_VALUE: Final = 2
_INT64_VALUE: Final = 3
_DOUBLE_VALUE: Final = 5
_STRING_VALUE: Final = 6
_IDENTIFIER_NAME: Final = 1
_SELECT_OPERAND: Final = 1
_SELECT_FIELD: Final = 2
_SELECT_TEST_ONLY: Final = 3
_CALL_TARGET: Final = 1
_CALL_FUNCTION: Final = 2
_CALL_ARGUMENTS: Final = 3
_LIST_ELEMENTS: Final = 1
_STRUCT_ENTRIES: Final = 2
_ENTRY_MAP_KEY: Final = 3
_ENTRY_VALUE: Final = 4
_LOOP_VARIABLE: Final = 1
_LOOP_RANGE: Final = 2
_LOOP_ACCUMULATOR: Final = 3
_LOOP_INITIAL: Final = 4
_LOOP_CONDITION: Final = 5
_LOOP_STEP: Final = 6
_LOOP_RESULT: Final = 7
_LOOP_SECOND_VARIABLE: Final = 8

_WIRE_VARINT: Final = 0
_WIRE_64_BIT: Final = 1
_WIRE_BYTES: Final = 2
_WIRE_32_BIT: Final = 5
_WIRES_WITH_VARINT: Final = frozenset({_WIRE_VARINT, _WIRE_BYTES})

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
    checked = _fields(_bytes(_fields(serialized), _ANY_VALUE))
    overloads: dict[int, tuple[str, ...]] = {}
    for number, value in checked:
        if number == _CHECKED_REFERENCES and isinstance(value, bytes):
            entry = _fields(value)
            reference = _fields(_bytes(entry, _MAP_VALUE))
            names = _each(reference, _REFERENCE_OVERLOAD)
            overloads[_int(entry, _MAP_KEY)] = tuple(name.decode() for name in names)
    positions: dict[int, int] = {}
    for number, value in _fields(_bytes(checked, _CHECKED_SOURCE)):
        if number == _SOURCE_POSITIONS and isinstance(value, bytes):
            entry = _fields(value)
            positions[_int(entry, _MAP_KEY)] = _int(entry, _MAP_VALUE)
    facts = Facts(overloads={key for keys in overloads.values() for key in keys})
    root = _bytes(checked, _CHECKED_EXPRESSION)
    _Walk(facts, positions).expression(root, frozenset(), 0)
    facts.selection = _selection(root)
    return facts


class _Walk:
    def __init__(self, facts: Facts, positions: dict[int, int]) -> None:
        self.facts = facts
        self.positions = positions

    def expression(self, data: bytes, bound: frozenset[str], depth: int) -> None:
        fields = _fields(data)
        offset = self.positions.get(_int(fields, _EXPRESSION_ID), 0)
        for number, value in fields:
            if not isinstance(value, bytes):
                continue
            node = _fields(value)
            if number == _CONSTANT:
                if (literal := _string_constant(node)) is not None:
                    self.facts.names.setdefault(literal, offset)
            elif number == _IDENTIFIER:
                self.variable(_text(node, _IDENTIFIER_NAME), offset, bound)
            elif number == _SELECT:
                self.select(node, offset, bound, depth)
            elif number == _CALL:
                self.call(node, offset, bound, depth)
            elif number == _LIST:
                for item in _each(node, _LIST_ELEMENTS):
                    self.expression(item, bound, depth)
            elif number == _STRUCT:
                for entry in _each(node, _STRUCT_ENTRIES):
                    self.entry(_fields(entry), bound, depth)
            elif number == _COMPREHENSION:
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
        self.member(_bytes(node, _SELECT_OPERAND), _text(node, _SELECT_FIELD), offset + 1, bound, depth)

    def call(self, node: Fields, offset: int, bound: frozenset[str], depth: int) -> None:
        name = _text(node, _CALL_FUNCTION)
        arguments = [*_each(node, _CALL_TARGET), *_each(node, _CALL_ARGUMENTS)]
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
        for key in _each(node, _ENTRY_MAP_KEY):
            self.expression(key, bound, depth)
        for value in _each(node, _ENTRY_VALUE):
            self.expression(value, bound, depth)

    def loop(self, node: Fields, bound: frozenset[str], depth: int) -> None:
        self.facts.loops += 1
        iterated = _bytes(node, _LOOP_RANGE)
        binds_only = _text(node, _LOOP_VARIABLE) == "#unused"
        inner = depth if binds_only else depth + 1
        self.facts.nesting = max(self.facts.nesting, inner)
        self.expression(iterated, bound, depth)
        # The initial value of cel.bind is evaluated outside of what it binds.
        self.expression(_bytes(node, _LOOP_INITIAL), bound, depth)
        local = bound | {_text(node, name) for name in (_LOOP_VARIABLE, _LOOP_ACCUMULATOR, _LOOP_SECOND_VARIABLE)}
        for part in (_LOOP_CONDITION, _LOOP_STEP, _LOOP_RESULT):
            self.expression(_bytes(node, part), local, inner)

    def offset_of(self, data: bytes, default: int) -> int:
        return self.positions.get(_int(_fields(data), _EXPRESSION_ID), default)


def _selection(data: bytes) -> Selection | None:
    """The expression as a selection, or None if it is anything else."""
    fields = _fields(data)
    constant = _literal(fields)
    if constant is not _NO_LITERAL:
        return Selection(None, default=constant)
    for number, value in fields:
        if not isinstance(value, bytes):
            continue
        node = _fields(value)
        if number == _SELECT and _int(node, _SELECT_TEST_ONLY):
            path = _path(_bytes(node, _SELECT_OPERAND))
            name = _text(node, _SELECT_FIELD)
            return None if path is None else _of_path(path.member(name, optional=False), present=True)
        if number == _CALL and _text(node, _CALL_FUNCTION) == "orValue":
            path = _path(_bytes(node, _CALL_TARGET))
            given = [_literal(_fields(argument)) for argument in _each(node, _CALL_ARGUMENTS)]
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
        if number == _IDENTIFIER:
            return _Path(_text(node, _IDENTIFIER_NAME).removeprefix("."))
        if number == _SELECT:
            operand = None if _int(node, _SELECT_TEST_ONLY) else _path(_bytes(node, _SELECT_OPERAND))
            return None if operand is None else operand.member(_text(node, _SELECT_FIELD), optional=False)
        if number == _CALL and (function := _text(node, _CALL_FUNCTION)) in _INDEX:
            arguments = [*_each(node, _CALL_TARGET), *_each(node, _CALL_ARGUMENTS)]
            name = _string_constant(_constant(arguments[1])) if len(arguments) == 2 else None
            operand = None if name is None else _path(arguments[0])
            return None if operand is None or name is None else operand.member(name, optional=function != "_[_]")
    return None


def _literal(fields: Fields) -> object:
    """The value of a literal: a text, a number, true, false, null, an empty list or map."""
    for number, value in fields:
        if number == _CONSTANT and isinstance(value, bytes):
            return _scalar(_fields(value))
        if number == _LIST and value == b"":
            return []
        if number == _STRUCT and value == b"":
            return {}
    return _NO_LITERAL


def _scalar(constant: Fields) -> object:
    for number, value in constant:
        if number == _NULL_VALUE:
            return None
        if number == _BOOL_VALUE:
            return bool(value)
        if number == _INT64_VALUE and isinstance(value, int):
            return value - 2**64 if value >= 2**63 else value
        if number == _DOUBLE_VALUE and isinstance(value, bytes):
            return struct.unpack("<d", value)[0]
        if number == _STRING_VALUE and isinstance(value, bytes):
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
        if wire in _WIRES_WITH_VARINT:
            value = data[at]
            at += 1
            if value > 0x7F:
                value, at = _varint(data, at - 1)
            if wire == _WIRE_VARINT:
                found.append((key >> 3, value))
                continue
            size = value
        elif wire == _WIRE_64_BIT:
            size = 8
        elif wire == _WIRE_32_BIT:
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
    found = _each(_fields(data), _IDENTIFIER)
    return _text(_fields(found[0]), _IDENTIFIER_NAME) if found else None


def _constant(data: bytes) -> Fields:
    found = _each(_fields(data), _CONSTANT)
    return _fields(found[0]) if found else []


def _string_constant(constant: Fields) -> str | None:
    found = _each(constant, _STRING_VALUE)
    return found[0].decode() if found else None
