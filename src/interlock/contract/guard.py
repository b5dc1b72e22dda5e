"""The JSON guard: it parses external bytes into a tree that the rest of the server can trust.

Python's parser is tolerant where RFC 8259 leaves room, and each tolerance permits an attack or loses data: it accepts
NaN, keeps the last of two members with one name, builds lone surrogates that no database stores, and overflows its
stack. The guard refuses all of these and names the places. It uses the parser of the standard library; only a refused
body is scanned a second time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from math import isinf
from typing import Any, Final

from interlock.errors import InvalidArgument, Problem

MAX_DEPTH: Final = 64
"""Levels of nesting of JSON that comes from outside."""
MAX_STORED_DEPTH: Final = 128
"""Levels of nesting of JSON that is stored: templates and results put what came from outside into further levels."""
MAX_MEMBERS: Final = 50_000
"""Items, members, lists and objects of one document that comes from outside: it bounds the work on what is read."""
MAX_STORED_MEMBERS: Final = 70_000
"""Items and members of a stored document; a run builds documents from several others."""
MAX_PROBLEMS: Final = 100
"""Maximum number of problems in an error."""
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**64 - 1
_SAFE_DIGITS: Final = 18
_BOM: Final = b"\xef\xbb\xbf"
_TO_PARENTHESES: Final = bytes.maketrans(b"[{]}", b"(())")
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[{]}")
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

Path = tuple[str | int, ...]


class NotJson(InvalidArgument):
    """The bytes are no JSON at all, as opposed to JSON beyond a limit."""


class _Refused(Exception):
    """Something in the body is refused; a second look will say what and where."""


class _Poison:
    """Stands where a refused number stood."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why


class _Doubled(dict[str, Any]):
    """An object in which a name occurred twice."""

    names: tuple[str, ...] = ()


def loads(raw: bytes, *, max_depth: int = MAX_DEPTH, max_members: int = MAX_MEMBERS) -> Any:
    """The JSON value in `raw`, any kind of it.

    Refuses (with InvalidArgument) what is not UTF-8, a byte order mark, NaN and infinities, numbers beyond a double or
    whole numbers beyond 64 bits, names given twice in one object, half surrogate pairs, nesting beyond `max_depth`
    levels, and more than `max_members` members. Takes time in proportion to the length; the caller has limited that.
    """
    check_structure(raw, max_depth, max_members)
    text = _decode(raw)
    try:
        tree = _STRICT.decode(text)
    except json.JSONDecodeError as error:
        raise _not_json(error) from None
    except _Refused:
        raise _second_look(text) from None
    if ("\\ud" in text or "\\uD" in text) and (halves := tuple(islice(_half_pairs(tree, ()), MAX_PROBLEMS))):
        raise InvalidArgument(problems=halves)
    return tree


def check_structure(raw: bytes, max_depth: int, max_members: int) -> None:
    """Refuse JSON that is nested too deeply or holds too many members, without parsing it.

    Raises:
        InvalidArgument: it is beyond a limit, or no parser could tell how deeply it is nested.
    """
    opening = raw.count(b"[") + raw.count(b"{")
    if opening <= max_depth and opening + raw.count(b",") <= max_members:
        return
    outside_strings = b"".join(raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    brackets = outside_strings.translate(_TO_PARENTHESES, delete=_NOT_BRACKETS)
    too_deep = b"(" * (max_depth + 1)
    if too_deep not in brackets and brackets.count(b"(") + outside_strings.count(b",") > max_members:
        raise InvalidArgument.at("", f"the JSON must not hold more than {max_members:,} items and members")
    # Innermost pairs of brackets are peeled off, all at once.
    for _ in range(max_depth):
        if too_deep in brackets:
            break
        peeled = brackets.replace(b"()", b"")
        if len(peeled) == len(brackets):
            break
        brackets = peeled
    # What is left of well-formed JSON is nested too deeply; what is left of other text the parser will complain about,
    # unless it would run out of stack first.
    if b"()" in brackets or too_deep in brackets or brackets.count(b"(") > max_depth:
        raise InvalidArgument.at("", f"the JSON must not be nested deeper than {max_depth} levels")


def path_text(path: Path, prefix: str = "") -> str:
    """A path as it is shown: `automation.automationSteps[2].webhook.webhookId`."""
    shown = prefix
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        elif _PLAIN_NAME.fullmatch(part):
            shown += f".{part}" if shown else part
        else:
            shown += f"[{json.dumps(part[:80])}]"
    return shown


def _decode(raw: bytes) -> str:
    if raw.startswith(_BOM):
        raise InvalidArgument.at("", "the JSON must not begin with a byte order mark; remove it")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument.at("", f"the JSON must be UTF-8; the byte at offset {error.start} is not") from None


def _not_json(error: json.JSONDecodeError) -> NotJson:
    reason = error.msg[:1].lower() + error.msg[1:]
    return NotJson(problems=(Problem("", f"the body is not JSON: {reason}", line=error.lineno, column=error.colno),))


# ── hooks of the parser ──────────────────────────────────────────────────────────────────────────────────────────────


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Refused
    return members


def _float(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise _Refused
    return number


def _int(text: str) -> int:
    if len(text) > _SAFE_DIGITS and (len(text) > 20 or not _INT_MIN <= int(text) <= _INT_MAX):
        raise _Refused
    return int(text)


def _constant(text: str) -> Any:
    raise _Refused


class _Marking:
    """The hooks of a second look, which mark as many places as are named and let the rest pass."""

    def __init__(self) -> None:
        self.left = MAX_PROBLEMS
        self.decoder = json.JSONDecoder(
            object_pairs_hook=self.object,
            parse_float=self.number(_float, "the number is too large for a double"),
            parse_int=self.number(_int, "the whole number does not fit into 64 bits; send it as text"),
            parse_constant=lambda text: self.poison(f"{text} is not a JSON number"),
        )

    def poison(self, why: str) -> Any:
        self.left -= 1
        return _Poison(why) if self.left >= 0 else 0

    def number(self, read: Callable[[str], Any], why: str) -> Callable[[str], Any]:
        def marked(text: str) -> Any:
            try:
                return read(text)
            except _Refused:
                return self.poison(why)

        return marked

    def object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) == len(pairs) or self.left <= 0:
            return members
        doubled = _Doubled(members)
        seen: set[str] = set()
        names = dict.fromkeys(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        doubled.names = tuple(names)
        self.left -= len(names)
        return doubled


_STRICT: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=_constant
)

# ── the second look ──────────────────────────────────────────────────────────────────────────────────────────────────


def _second_look(text: str) -> InvalidArgument:
    try:
        tree = _Marking().decoder.decode(text)
    except json.JSONDecodeError as error:
        return _not_json(error)  # broken as well, further on
    return InvalidArgument(problems=tuple(islice(_problems(tree, ()), MAX_PROBLEMS)))


def _problems(tree: Any, path: Path) -> Iterator[Problem]:
    if isinstance(tree, _Poison):
        yield Problem(path_text(path), tree.why)
    elif isinstance(tree, dict):
        if isinstance(tree, _Doubled):
            for name in tree.names:
                yield Problem(path_text((*path, name)), "is given twice in one object; give it once")
        for name, value in tree.items():
            yield from _problems(value, (*path, name))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _problems(value, (*path, index))


def _half_pairs(tree: Any, path: Path) -> Iterator[Problem]:
    if isinstance(tree, str):
        if not _encodes(tree):
            yield Problem(path_text(path), "holds half of a surrogate pair (\\ud800 to \\udfff stand only in pairs)")
    elif isinstance(tree, dict):
        for name, value in tree.items():
            if not _encodes(name):
                shown = name.encode(errors="replace").decode()
                yield Problem(path_text((*path, shown)), "the name holds half of a surrogate pair")
            yield from _half_pairs(value, (*path, name))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _half_pairs(value, (*path, index))


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
