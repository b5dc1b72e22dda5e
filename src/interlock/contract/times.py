"""Timestamp and Duration: text that knows its exact value.

Both are `str`, so that they compare, store and serialise as what is on the wire. A Timestamp is put into one canonical
form (clients parse it); a Duration keeps the very text that was given (Terraform compares it).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from interlock.contract.scalars import kind_of, refused

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = 1_000_000_000
_UNITS: Final = {
    "h": 3600 * _SECOND,
    "m": 60 * _SECOND,
    "s": _SECOND,
    "ms": 1_000_000,
    "us": 1_000,
    "µs": 1_000,  # micro sign
    "μs": 1_000,  # Greek letter mu, which Go accepts too
    "ns": 1,
}
_PART = r"(?:\d+(?:\.\d*)?|\.\d+)(?:h|ms|m|s|us|µs|μs|ns)"
_DURATION = re.compile(rf"-?(?:0|(?:{_PART})+)", re.ASCII)
_DURATION_PART = re.compile(r"(\d*)(?:\.(\d*))?([a-zµμ]+)", re.ASCII)
_DURATION_LIMIT: Final = 315_576_000_000 * _SECOND
_DURATION_TEXT_LIMIT: Final = 64
_TOO_LONG: Final = "must not be longer than 10,000 years (315576000000s)"


def _fraction(nanos: int) -> str:
    """`nanos` below one second as protobuf prints it: with 0, 3, 6 or 9 digits."""
    if not nanos:
        return ""
    digits = f"{nanos:09d}"
    if digits.endswith("000000"):
        return f".{digits[:3]}"
    return f".{digits[:6]}" if digits.endswith("000") else f".{digits}"


@lru_cache(maxsize=4_096)
def _minute(minutes: int) -> str:
    """`2026-01-02T03:04:`, from minutes since 1970. Times shown together share few of them."""
    return (_EPOCH + timedelta(minutes=minutes)).isoformat()[:17]


class Timestamp(str):
    """A moment in UTC, `2026-01-02T03:04:05Z` with 0, 3, 6 or 9 digits of a second (RFC 3339).

    Constructed from any RFC 3339 text with a zone; raises ValueError for anything else.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        match = _RFC3339.fullmatch(text)
        if match is None:
            raise ValueError("expected a time with a zone, such as 2026-01-02T03:04:05Z (RFC 3339)")
        date, clock, digits, _, sign, hours, minutes = match.groups()
        moment = datetime.fromisoformat(f"{date}T{clock}+00:00")  # refuses what no calendar has
        if sign is not None:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            try:
                moment = moment - offset if sign == "+" else moment + offset
            except OverflowError:
                raise ValueError("must lie between the years 1 and 9999") from None
        nanos = int(digits.ljust(9, "0")) if digits else 0
        return str.__new__(cls, f"{moment.isoformat()[:19]}{_fraction(nanos)}Z")

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """From an aware datetime."""
        if moment.tzinfo is not UTC:
            if moment.tzinfo is None:
                raise ValueError("a moment needs a zone")
            moment = moment.astimezone(UTC)
        micros = moment.microsecond
        if micros == 0:
            return str.__new__(cls, moment.isoformat(timespec="seconds")[:19] + "Z")
        if micros % 1000 == 0:
            return str.__new__(cls, moment.isoformat(timespec="milliseconds")[:23] + "Z")
        return str.__new__(cls, moment.isoformat(timespec="microseconds")[:26] + "Z")

    @classmethod
    def of_micros(cls, micros: int) -> Self:
        """From microseconds since 1970."""
        seconds, fraction = divmod(micros, 1_000_000)
        minutes, second = divmod(seconds, 60)
        return str.__new__(cls, f"{_minute(minutes)}{second:02d}{_fraction(fraction * 1000)}Z")

    @property
    def moment(self) -> datetime:
        """In UTC, to the microsecond (nanoseconds are cut off; `nanos` has them)."""
        return datetime.fromisoformat(f"{self[:-1][:26]}+00:00").astimezone(UTC)

    @property
    def nanos(self) -> int:
        """Nanoseconds since 1970, exact."""
        whole = datetime.fromisoformat(f"{self[:19]}+00:00") - _EPOCH
        return (whole.days * 86_400 + whole.seconds) * _SECOND + int(self[20:-1].ljust(9, "0"))

    @classmethod
    def _read(cls, value: Any) -> Self:
        if isinstance(value, cls):
            return value
        if isinstance(value, datetime) and value.tzinfo is not None:
            return cls.of(value)
        if not isinstance(value, str):
            raise refused(f'expected a time as text, such as "2026-01-02T03:04:05Z"; got {kind_of(value)}')
        try:
            return cls(value)
        except ValueError as error:
            raise refused(str(error)) from None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._read, serialization=core_schema.simple_ser_schema("str")
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}


class Duration(str):
    """A length of time, as the text that was given: protobuf's `3600s`, `3.500s`, or Go's `336h`, `1h30m`.

    At most 10,000 years, exact to the nanosecond. Raises ValueError for anything else.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check and keep the text of a duration.

        Raises:
            ValueError: The text is not a duration, or the duration is too long.
        """
        if len(text) > _DURATION_TEXT_LIMIT or not _DURATION.fullmatch(text):
            raise ValueError('expected a duration, such as "3600s", "3.500s" or "336h"')
        if abs(_nanos_of(text)) > _DURATION_LIMIT:
            raise ValueError(_TOO_LONG)
        return str.__new__(cls, text)

    @classmethod
    def of(cls, length: timedelta) -> Self:
        """As protobuf prints it."""
        return cls.of_nanos((length.days * 86_400 + length.seconds) * _SECOND + length.microseconds * 1000)

    @classmethod
    def of_nanos(cls, nanos: int) -> Self:
        """As protobuf prints it."""
        if abs(nanos) > _DURATION_LIMIT:
            raise ValueError(_TOO_LONG)
        seconds, rest = divmod(abs(nanos), _SECOND)
        return str.__new__(cls, f"{'-' if nanos < 0 else ''}{seconds}{_fraction(rest)}s")

    @property
    def nanos(self) -> int:
        """The whole of it in nanoseconds, exact."""
        return _nanos_of(self)

    @property
    def seconds(self) -> float:
        """The whole of it in seconds."""
        return _nanos_of(self) / _SECOND

    @property
    def length(self) -> timedelta:
        """To the microsecond; what lies below is rounded up, so that a wait is never too short."""
        return timedelta(microseconds=-(-_nanos_of(self) // 1000))

    @classmethod
    def _read(cls, value: Any) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise refused(f'expected a duration as text, such as "3600s"; got {kind_of(value)}')
        try:
            return cls(value)
        except ValueError as error:
            raise refused(str(error)) from None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._read, serialization=core_schema.simple_ser_schema("str")
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        # Not "format: duration", which is ISO 8601's.
        return {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"}


def _nanos_of(text: str) -> int:
    total = 0
    for whole, digits, unit in _DURATION_PART.findall(text):
        scale = _UNITS[unit]
        total += int(whole or "0") * scale
        if digits:
            part, lost = divmod(int(digits) * scale, 10 ** len(digits))
            if lost:
                raise ValueError("must not be finer than a nanosecond")
            total += part
    return -total if text.startswith("-") else total


def _not_negative(duration: Duration) -> Duration:
    if duration.nanos < 0:
        raise refused("must not be negative")
    return duration


NonNegativeDuration = Annotated[Duration, AfterValidator(_not_negative)]
"""A duration of zero or more."""
