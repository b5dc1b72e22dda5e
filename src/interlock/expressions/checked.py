"""Reads a checked expression: which steps and functions it uses, and what can make it dear.

The engine serialises a checked expression as `cel.expr.CheckedExpr` (google/cel-spec, checked.proto), wrapped in a
`google.protobuf.Any`. This is a reader for the members we need; the wire format is protobuf's: varints and
length-delimited fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_ADD_SCALAR = frozenset(
    {
        "add_int64",
        "add_uint64",
        "add_double",
        "add_duration_duration",
        "add_duration_timestamp",
        "add_timestamp_duration",
    }
)
_OPTIONAL = frozenset({"_?._", "_[?_]", "optional.of", "optional.none", "optional.ofNonZeroValue"})
_SEARCH = frozenset({"contains", "indexOf", "lastIndexOf", "split", "startsWith", "endsWith"})
_GROW = frozenset({"join", "format"})
_MATCH = frozenset({"matches", "_=~_"})
_INDEX = frozenset({"_[_]", "_[?_]", "_?._"})
_CONTEXT_ROOTS = frozenset({"ctx", "steps"})

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
    strong: int = 0
    soft: int = 0
    optional: bool = False
    patterns: dict[str, int] = field(default_factory=dict)
    """Regular expressions that are written out."""


def read(serialized: bytes) -> Facts:
    """The facts of an expression serialised by the engine."""
    checked = _fields(_bytes(_fields(serialized), 2))
    overloads: dict[int, tuple[str, ...]] = {}
    types: dict[int, bytes] = {}
    for number, value in checked:
        if number in (2, 3) and isinstance(value, bytes):
            entry = _fields(value)
            if number == 2:
                reference = _fields(_bytes(entry, 2))
                overloads[_int(entry, 1)] = tuple(v.decode() for n, v in reference if n == 3 and isinstance(v, bytes))
            else:
                types[_int(entry, 1)] = _bytes(entry, 2)
    positions: dict[int, int] = {}
    for number, value in _fields(_bytes(checked, 5)):
        if number == 4 and isinstance(value, bytes):
            entry = _fields(value)
            positions[_int(entry, 1)] = _int(entry, 2)
    facts = Facts(overloads={key for keys in overloads.values() for key in keys})
    _Walk(facts, overloads, types, positions).expression(_bytes(checked, 4), frozenset(), 0)
    return facts


class _Walk:
    def __init__(
        self,
        facts: Facts,
        overloads: dict[int, tuple[str, ...]],
        types: dict[int, bytes],
        positions: dict[int, int],
    ) -> None:
        self.facts = facts
        self.overloads = overloads
        self.types = types
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
                self.call(node, _int(fields, 2), offset, bound, depth)
            elif number == 7:
                for item in _each(node, 1):
                    self.element(item, bound, depth)
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

    def call(self, node: Fields, identity: int, offset: int, bound: frozenset[str], depth: int) -> None:
        name = _text(node, 2)
        arguments = [*_each(node, 1), *_each(node, 3)]
        facts = self.facts
        facts.functions.setdefault(name, offset)
        facts.optional |= name in _OPTIONAL
        constants = [_string_constant(_constant(argument)) for argument in arguments]
        if name in _INDEX and len(arguments) == 2 and (key := constants[1]) is not None:
            self.member(arguments[0], key, self.offset_of(arguments[1], offset), bound, depth)
            return
        if name == "_+_":
            plain = all(overload in _ADD_SCALAR for overload in self.overloads.get(identity, ("dyn",)))
            facts.soft += not plain and _identifier(arguments[0]) != "@result"
        elif name == "replace":
            old, new = (*constants[1:3], None, None)[:2]
            facts.strong += old is None or new is None or len(new.encode()) > max(1, len(old.encode())) or not old
        elif name in _GROW or (name in _SEARCH and None in constants[1:2]):
            facts.strong += 1
        elif name in _MATCH:
            if (pattern := constants[1]) is None:
                facts.strong += 1
            else:
                facts.patterns.setdefault(pattern, self.offset_of(arguments[1], offset))
        for argument in arguments:
            self.expression(argument, bound, depth)

    def element(self, item: bytes, bound: frozenset[str], depth: int) -> None:
        """An element of a list or map literal: what is not a scalar there multiplies the size of the result."""
        kind = _fields(self.types.get(_int(_fields(item), 2), b""))
        scalar = any(number in (2, 3, 5) and not (number == 3 and value in (5, 6)) for number, value in kind)
        self.facts.soft += not scalar and not _constant(item)
        self.expression(item, bound, depth)

    def entry(self, node: Fields, bound: frozenset[str], depth: int) -> None:
        for key in _each(node, 3):
            self.expression(key, bound, depth)
        for value in _each(node, 4):
            self.element(value, bound, depth)

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
