"""Values that leave and enter the room: plain JSON out, anything an engine takes in."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from interlock.expressions.failures import Unusable
from interlock.expressions.limits import MAX_DEPTH, MAX_RESULT

type_name_of: Final = {bool: "bool", int: "int", float: "double", str: "string", list: "list", dict: "map"}

ADDRESS: Final = "@address"
"""The member that marks a map as an IP address; as a result it is written as that address."""

_LARGEST: Final = 2**53 - 1
LEAST_INTEGER: Final = -(2**63)
GREATEST_INTEGER: Final = 2**64 - 1
"""Integers are exact between these two; JSON from outside is refused beyond them."""
_WHOLE: Final = 2.0**53
"""From here on a double has no fraction, and the engine would round an integer that it compares with one."""
_SMALL_WEIGHT: Final = 8
_NUL: Final = "a text that it reads holds a NUL character, which expressions cannot carry"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def plain(raw: object) -> object:
    """A result of the engine as plain JSON, copied.

    Whole doubles below 2^64 become integers, integers beyond 2^53 - 1 become text (as in proto3 JSON), times RFC 3339
    text, durations text such as `5400s`, bytes base64. Members of a map are sorted. Raises Unusable.
    """
    kind = type(raw)
    if kind is bool or raw is None:
        return raw
    if kind is str and len(raw) < MAX_RESULT // 6:  # type: ignore[arg-type]
        return raw
    return _Plain().of(raw, 0)


class _Plain:
    """One conversion, with what is left of the size cap."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_RESULT

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise Unusable(f"the result is larger than {MAX_RESULT // 1024} KiB", over_budget=True)

    def of(self, raw: object, depth: int) -> object:
        if depth > MAX_DEPTH:
            raise Unusable(f"the result is nested deeper than {MAX_DEPTH} levels")
        if isinstance(raw, str):
            return self.text(raw)
        if raw is None or isinstance(raw, bool):
            self.take(5)
            return raw
        if isinstance(raw, int):
            self.take(8)
            return _integer(raw)
        if isinstance(raw, float):
            self.take(8)
            return number(raw)
        if isinstance(raw, dict):
            return self.members(raw, depth)
        if isinstance(raw, (list, tuple)):
            self.take(2 + len(raw))
            return [self.of(item, depth + 1) for item in raw]
        if isinstance(raw, datetime):
            return self.text(timestamp_text(raw))
        if isinstance(raw, timedelta):
            return self.text(duration_text(raw))
        if isinstance(raw, (bytes, bytearray)):
            self.take(len(raw))
            return self.text(base64.b64encode(raw).decode())
        # What is left are CEL's own types, such as the result of type(1).
        return self.text(str(raw).lower())

    def text(self, value: str) -> str:
        try:
            self.take(2 + len(value.encode()))
        except UnicodeEncodeError:
            raise Unusable("the result holds text that is not valid Unicode") from None
        return value

    def members(self, raw: dict[object, object], depth: int) -> object:
        if ADDRESS in raw:
            return self.text(str(raw[ADDRESS]))
        self.take(2 + 2 * len(raw))
        members: dict[str, object] = {}
        for key, value in raw.items():
            name = key if isinstance(key, str) else text(plain(key))
            if name in members:
                raise Unusable("two keys of the resulting map are the same text")
            members[self.text(name)] = self.of(value, depth + 1)
        return dict(sorted(members.items()))


def number(value: float) -> object:
    """A double as JSON has it: an integer if it is whole. Raises Unusable for what JSON cannot say."""
    if not math.isfinite(value):
        raise Unusable("the result is not a finite number")
    whole = int(value)
    return _integer(whole) if whole == value and LEAST_INTEGER <= whole <= GREATEST_INTEGER else value


def _integer(value: int) -> object:
    return value if -_LARGEST <= value <= _LARGEST else str(value)


def exact(value: float) -> float | int:
    """A double that is compared by its value: from 2^53 on it is an integer, which the engine does not round.

    Raises Unusable for 2^64, the one double above all integers to which one of them would be rounded.
    """
    if -_WHOLE < value < _WHOLE:
        return value
    if value == 2.0**64:
        raise Unusable("what it reads holds the double 2^64, which cannot be told from the integer 2^64 - 1")
    return int(value) if LEAST_INTEGER <= value < 2.0**64 else value


def timestamp_text(value: datetime) -> str:
    """RFC 3339 in UTC, with as many digits of a second as there are."""
    moment = value.astimezone(UTC).replace(tzinfo=None)
    shown = moment.isoformat(timespec="seconds")
    return f"{shown}.{moment.microsecond:06}".rstrip("0") + "Z" if moment.microsecond else shown + "Z"


def duration_text(value: timedelta) -> str:
    """Seconds with the letter s, and 3 or 6 digits of a fraction if there is one."""
    micros = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
    sign = "-" if micros < 0 else ""
    seconds, rest = divmod(abs(micros), 1_000_000)
    if rest == 0:
        return f"{sign}{seconds}s"
    fraction = f"{rest:06}"
    return f"{sign}{seconds}.{fraction[:3] if fraction.endswith('000') else fraction}s"


def text(value: object) -> str:
    """A plain value as it is written inside a text: texts as they are, lists and maps as JSON with sorted members."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def weigh(value: object, limit: int) -> int:
    """About how much an expression has to carry: characters, with at least 8 for each member. Stops above `limit`.

    Not the size of the JSON: a list of small numbers costs an engine as much as one of short texts.
    """
    total = 0
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            total += max(_SMALL_WEIGHT, len(item))
        else:
            total += _SMALL_WEIGHT
            if isinstance(item, Mapping):
                total += sum(map(len, item))
                pending.extend(item.values())
            elif isinstance(item, Sequence):
                total += len(item) * _SMALL_WEIGHT
                if total <= limit:
                    pending.extend(item)
        if total > limit:
            return total
    return total


def fits(value: Any) -> bool:
    """Whether the engine takes a value as it is, or `readable` has to make a copy.

    Raises Unusable for a text with a NUL character, which the engine would end there, without a word.
    """
    kind = type(value)
    if kind is dict:
        fitting = True
        for key, item in value.items():
            if "\0" in key:
                raise Unusable(_NUL)
            # Texts are most of what there is: no call for each.
            if type(item) is not str or not item.isascii() or not key.isascii():
                fitting = fits(key) and fits(item) and fitting
            elif "\0" in item:
                raise Unusable(_NUL)
        return fitting
    if kind is str:
        if "\0" in value:
            raise Unusable(_NUL)
        return value.isascii() or _SURROGATE.search(value) is None
    if kind is int:
        return bool(LEAST_INTEGER <= value <= GREATEST_INTEGER)
    if kind is float:
        return bool(-_WHOLE < value < _WHOLE)
    if kind is list:
        fitting = True
        for item in value:
            fitting = fits(item) and fitting
        return fitting
    return value is None or kind is bool


def readable(value: object, depth: int = 0) -> object:
    """A copy that the engine takes: times as text, broken Unicode repaired, doubles from 2^53 on as integers.

    Integers beyond 64 bits, which no JSON from outside holds, become doubles.
    """
    if depth > 4 * MAX_DEPTH:
        raise Unusable("what it reads is nested too deeply")
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if value is None or isinstance(value, (bool, bytes)):
        return value
    if isinstance(value, float):
        return exact(value)
    if isinstance(value, int):
        return value if LEAST_INTEGER <= value <= GREATEST_INTEGER else float(value)
    if isinstance(value, datetime):
        return timestamp_text(value)
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, Mapping):
        return {readable(str(key)): readable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [readable(item, depth + 1) for item in value]
    return str(value)
