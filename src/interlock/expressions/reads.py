"""Which members of which steps an expression reads, from its checked form: what a secret can get into its result by.

It errs towards more: a name that a macro binds counts as the variable of the same name, and a step whose member is
computed is read as a whole.
"""

from __future__ import annotations

from typing import Final

from interlock.expressions.checked import _bytes, _constant, _each, _fields, _string_constant, _text

Member = tuple[str | None, str | None]
"""A step (or `trigger`; None: any) and its member (None: all of it)."""

_INDEX: Final = frozenset({"_[_]", "_[?_]", "_?._"})
_OUTPUT: Final = "output"


def members_read(serialized: bytes) -> frozenset[Member]:
    """The members of steps that an expression serialised by the engine may read."""
    found: set[Member] = set()
    pending = [_bytes(_fields(_bytes(_fields(serialized), 2)), 4)]
    while pending:
        data = pending.pop()
        path = _path(data)
        if path is not None:
            root, names = path
            if root == "ctx" or root == "steps":
                step = names[0] if names else None
                names = names[1:]
                if root == "steps" and names:
                    names = names[1:] if names[0] == _OUTPUT else ()
                found.add((step, names[0] if names else None))
            elif root == "trigger":
                found.add(("trigger", names[0] if names else None))
            continue
        for number, value in _fields(data):
            if isinstance(value, bytes):
                pending.extend(_parts(number, value))
    return frozenset(found)


def _path(data: bytes) -> tuple[str, tuple[str, ...]] | None:
    """A variable with the members that are selected by a name that is written out; None for anything else."""
    names: list[str] = []
    while True:
        inner: bytes | None = None
        for number, value in _fields(data):
            if not isinstance(value, bytes):
                continue
            if number == 4:
                return _text(_fields(value), 1).removeprefix("."), tuple(reversed(names))
            if number == 5:
                node = _fields(value)
                names.append(_text(node, 2))
                inner = _bytes(node, 1)
            elif number == 6:
                node = _fields(value)
                arguments = [*_each(node, 1), *_each(node, 3)]
                if _text(node, 2) not in _INDEX or len(arguments) != 2:
                    return None
                name = _string_constant(_constant(arguments[1]))
                if name is None:
                    return None
                names.append(name)
                inner = arguments[0]
        if inner is None:
            return None
        data = inner


def _parts(number: int, value: bytes) -> list[bytes]:
    """The expressions inside another one."""
    if number not in (5, 6, 7, 8, 9):
        return []
    node = _fields(value)
    if number == 5:
        return [_bytes(node, 1)]
    if number == 6:
        return [*_each(node, 1), *_each(node, 3)]
    if number == 7:
        return _each(node, 1)
    if number == 8:
        return [part for entry in _each(node, 2) for field in (3, 4) for part in _each(_fields(entry), field)]
    return [part for field in (2, 4, 5, 6, 7) for part in _each(node, field)]
