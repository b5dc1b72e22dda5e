"""Numbers that are written out with a fraction or exponent and may be compared: from 2^53 on they become integers.

The engine compares an integer with a double by rounding the integer: `ctx.trigger.n == 9007199254740992.0` would be
true of …993. As an integer, which it is, such a literal is compared exactly, wherever it comes from: a list, a map, a
choice, a bound name. Data are changed in the same way (`values.exact`). An operand of arithmetic and an argument of a
function stay as they are.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from typing import Final

from interlock.expressions.cel import Compiled, CompileError, Engine, Finding
from interlock.expressions.checked import Fields, _bytes, _each, _fields, _int, _text
from interlock.expressions.values import LEAST_INTEGER

_COMPARISONS: Final = frozenset(
    {"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "@in", "_in_", "in", "math.@max", "math.@min"}
)
_ARITHMETIC: Final = frozenset({"_+_", "_-_", "_*_", "_/_", "_%_", "-_"})
_HANDS_ON: Final = frozenset(
    {"_?_:_", "_[_]", "_[?_]", "_?._", "dyn", "optional.of", "optional.ofNonZeroValue", "or", "orValue", "value"}
)
"""Functions whose result may be one of their arguments."""
_LITERAL: Final = re.compile(r"-?\s*(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_WHOLE: Final = 2.0**53
_BEYOND: Final = 2.0**64
_AMBIGUOUS: Final = "this number is 2^64 as a double and cannot be told from 2^64 - 1; write 18446744073709551615u"
MAX_EXACT_TRIES: Final = 8
"""Literals that are tried one by one if not all of them can be integers; each try compiles the expression."""


def compared_exactly(engine: Engine, source: str, compiled: Compiled, serialized: bytes) -> Compiled:
    """The expression with such literals as integers; as it is if there are none, as in nearly every source.

    Raises CompileError for 2^64, the one double above all integers to which one of them would be rounded.
    """
    if not any(mark in source for mark in ".eE") or not any(digit in source for digit in "123456789"):
        return compiled
    literals, computes = _compared(serialized)
    # From the back, so that the offsets of those before stay true.
    found = [*_written(source, literals)]
    if not found:
        return compiled
    if not computes:
        # Beside doubles an integer needs dyn(), which arithmetic would not survive.
        found = [(begin, end, f"dyn({text})") for begin, end, text in found]
    try:
        return engine.compile(_replaced(source, found))
    except CompileError:
        pass
    # Some are compared with doubles for certain: there is no integer that could be rounded.
    for one in found[:MAX_EXACT_TRIES]:
        changed = _replaced(source, [one])
        try:
            compiled = engine.compile(changed)
        except CompileError:
            continue
        source = changed
    return compiled


def _written(source: str, literals: Sequence[tuple[int, float]]) -> Iterator[tuple[int, int, str]]:
    """Begin, end and integer of each such literal, from the back. Raises CompileError."""
    for offset, number in sorted(literals, reverse=True):
        written = _LITERAL.match(source, offset)
        if written is None or not _is_written(written[0], number):
            continue
        if number == _BEYOND:
            before = source[:offset]
            column = offset - (before.rfind("\n") + 1) + 1
            raise CompileError([Finding(before.count("\n") + 1, column, _AMBIGUOUS)])
        yield written.start(), written.end(), f"{int(number)}u" if number >= 2.0**63 else str(int(number))


def _replaced(source: str, literals: Sequence[tuple[int, int, str]]) -> str:
    for begin, end, text in literals:
        source = source[:begin] + text + source[end:]
    return source


def _is_written(found: str, number: float) -> bool:
    try:
        return float("".join(found.split())) == number
    except ValueError:
        return False


def _compared(serialized: bytes) -> tuple[list[tuple[int, float]], bool]:
    """Offset (in characters) and value of each double literal that may be compared and is whole by its size.

    And whether the expression computes with numbers.
    """
    checked = _fields(_bytes(_fields(serialized), 2))
    positions: dict[int, int] = {}
    for number, value in _fields(_bytes(checked, 5)):
        if number == 4 and isinstance(value, bytes):
            entry = _fields(value)
            positions[_int(entry, 1)] = _int(entry, 2)
    found: list[tuple[int, float]] = []
    computes = False
    pending = [(_bytes(checked, 4), True)]
    while pending:
        data, compared = pending.pop()
        fields = _fields(data)
        for number, value in fields:
            if not isinstance(value, bytes):
                continue
            node = _fields(value)
            if number == 3 and compared:
                identity = _int(fields, 2)
                for kind, constant in node:
                    if kind == 5 and isinstance(constant, bytes):
                        (double,) = struct.unpack("<d", constant)
                        if abs(double) >= _WHOLE and LEAST_INTEGER <= double <= _BEYOND:
                            found.append((positions.get(identity, 0), double))
            elif number in (5, 6, 7, 8, 9):
                computes |= number == 6 and _text(node, 2) in _ARITHMETIC
                pending.extend(_parts(number, node, compared))
    return found, computes


def _parts(number: int, node: Fields, compared: bool) -> Iterator[tuple[bytes, bool]]:
    """The expressions inside another one, and whether their values may be compared."""
    if number == 5:
        yield _bytes(node, 1), compared
    elif number == 6:
        name = _text(node, 2)
        inside = name in _COMPARISONS or (compared and name in _HANDS_ON)
        for argument in (*_each(node, 1), *_each(node, 3)):
            yield argument, inside
    elif number == 7:
        for item in _each(node, 1):
            yield item, compared
    elif number == 8:
        for entry in _each(node, 2):
            fields = _fields(entry)
            for part in (*_each(fields, 3), *_each(fields, 4)):
                yield part, compared
    else:
        # What a macro goes through is compared inside it, if anywhere.
        for member in (2, 4, 5, 6, 7):
            for part in _each(node, member):
                yield part, True
