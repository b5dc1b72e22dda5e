"""Times by Go layouts (Go's package time, "Constants"), presets, zones and calendar units.

Microseconds are the finest that is kept. A wall clock time that a zone skips or repeats is resolved as Go's `time.Date`
does: by the offset in force at the instant that the first guess gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from interlock.expressions.failures import FunctionFailed
from interlock.expressions.limits import MAX_LAYOUT

PRESETS: Final = {
    "rfc3339": "2006-01-02T15:04:05Z07:00",
    "date": "2006-01-02",
    "datetime": "2006-01-02 15:04:05",
    "time": "15:04:05",
}

_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

_CHUNK: Final = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|2006|__2|_2(?!006)|002|0[1-6]|15|[1-5]|PM|pm"
    r"|[-Z]07:00:00|[-Z]070000|[-Z]07:00|[-Z]0700|[-Z]07|[.,]0+(?!\d)|[.,]9+(?!\d)"
)


@lru_cache(maxsize=256)
def _chunks(layout: str) -> tuple[tuple[bool, str], ...]:
    """The layout in pieces: whether each is an element, and its text."""
    if len(layout) > MAX_LAYOUT:
        raise FunctionFailed(f"a time layout is longer than {MAX_LAYOUT} characters")
    layout = PRESETS.get(layout, layout)
    pieces: list[tuple[bool, str]] = []
    end = 0
    for match in _CHUNK.finditer(layout):
        if match.start() > end:
            pieces.append((False, layout[end : match.start()]))
        pieces.append((True, match[0]))
        end = match.end()
    if end < len(layout):
        pieces.append((False, layout[end:]))
    return tuple(pieces)


def zone(name: str) -> tzinfo:
    """A zone of the IANA database by name. Raises FunctionFailed."""
    if name in ("", "UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise FunctionFailed("a time zone is not in the IANA database; write one such as America/New_York") from None


def _offset(moment: datetime, where: tzinfo) -> timedelta:
    return moment.astimezone(where).utcoffset() or timedelta()


def _instant(wall: datetime, where: tzinfo) -> datetime:
    """The instant at which the clocks of a zone show a naive time."""
    as_utc = wall.replace(tzinfo=UTC)
    try:
        return as_utc - _offset(as_utc - _offset(as_utc, where), where)
    except OverflowError:
        raise FunctionFailed("a time lies outside the years 1 to 9999") from None


def _offset_text(offset: timedelta, pattern: str) -> str:
    seconds = int(offset.total_seconds())
    if pattern[0] == "Z" and seconds == 0:
        return "Z"
    sign = "-" if seconds < 0 else "+"
    hours, rest = divmod(abs(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{hours:02}", f"{minutes:02}", f"{rest:02}"]
    colon = ":" if ":" in pattern else ""
    return sign + colon.join(parts[: len(pattern[1:].replace(":", "")) // 2])


_WRITE: Final[dict[str, Callable[[datetime], str]]] = {
    "January": lambda t: _MONTHS[t.month - 1],
    "Jan": lambda t: _MONTHS[t.month - 1][:3],
    "Monday": lambda t: _DAYS[t.weekday()],
    "Mon": lambda t: _DAYS[t.weekday()][:3],
    "MST": lambda t: t.tzname() or "UTC",
    "2006": lambda t: f"{t.year:04}",
    "06": lambda t: f"{t.year % 100:02}",
    "01": lambda t: f"{t.month:02}",
    "1": lambda t: str(t.month),
    "02": lambda t: f"{t.day:02}",
    "_2": lambda t: f"{t.day:2}",
    "2": lambda t: str(t.day),
    "002": lambda t: f"{t.timetuple().tm_yday:03}",
    "__2": lambda t: f"{t.timetuple().tm_yday:3}",
    "15": lambda t: f"{t.hour:02}",
    "03": lambda t: f"{t.hour % 12 or 12:02}",
    "3": lambda t: str(t.hour % 12 or 12),
    "04": lambda t: f"{t.minute:02}",
    "4": lambda t: str(t.minute),
    "05": lambda t: f"{t.second:02}",
    "5": lambda t: str(t.second),
    "PM": lambda t: "PM" if t.hour >= 12 else "AM",
    "pm": lambda t: "pm" if t.hour >= 12 else "am",
}


def format_time(moment: datetime, layout: str, zone_name: str = "UTC") -> str:
    """Write an instant by a Go layout or a preset, as the clocks of a zone show it."""
    try:
        shown = moment.astimezone(zone(zone_name))
    except OverflowError:
        raise FunctionFailed("a time lies outside the years 1 to 9999") from None
    parts: list[str] = []
    for element, piece in _chunks(layout):
        if not element:
            parts.append(piece)
        elif (write := _WRITE.get(piece)) is not None:
            parts.append(write(shown))
        elif piece[0] in ".,":
            digits = f"{shown.microsecond:06}000"[: len(piece) - 1].ljust(len(piece) - 1, "0")
            if piece[1] == "9":
                digits = digits.rstrip("0")
            parts.append(piece[0] + digits if digits else "")
        else:
            parts.append(_offset_text(shown.utcoffset() or timedelta(), piece))
    return "".join(parts)


_READ: Final = {
    "2006": r"(?P<year>\d{4})",
    "06": r"(?P<short_year>\d{2})",
    "01": r"(?P<month>\d{2})",
    "1": r"(?P<month>\d{1,2})",
    "02": r"(?P<day>\d{2})",
    "_2": r" ?(?P<day>\d{1,2})",
    "2": r"(?P<day>\d{1,2})",
    "002": r"(?P<year_day>\d{3})",
    "__2": r" {0,2}(?P<year_day>\d{1,3})",
    "15": r"(?P<hour>\d{2})",
    "03": r"(?P<half_hour>\d{2})",
    "3": r"(?P<half_hour>\d{1,2})",
    "04": r"(?P<minute>\d{2})",
    "4": r"(?P<minute>\d{1,2})",
    "05": r"(?P<second>\d{2})",
    "5": r"(?P<second>\d{1,2})",
    "PM": r"(?P<half>AM|PM)",
    "pm": r"(?P<half>am|pm)",
    "MST": r"(?P<zone>[A-Z]{3,5}|[+-]\d{2}(?:\d{2})?)",
    "January": f"(?i:(?P<month_name>{'|'.join(_MONTHS)}))",
    "Jan": f"(?i:(?P<month_name>{'|'.join(name[:3] for name in _MONTHS)}))",
    "Monday": f"(?i:{'|'.join(_DAYS)})",
    "Mon": f"(?i:{'|'.join(name[:3] for name in _DAYS)})",
}
_FRACTION: Final = r"(?P<fraction>[.,]\d{1,9})"


@lru_cache(maxsize=256)
def _pattern(layout: str) -> re.Pattern[str]:
    pieces = _chunks(layout)
    parts: list[str] = []
    for index, (element, piece) in enumerate(pieces):
        if not element:
            parts.append(re.escape(piece))
        elif piece in _READ:
            parts.append(_READ[piece])
            follows = pieces[index + 1][1] if index + 1 < len(pieces) else ""
            # As in Go, seconds may bring a fraction that the layout does not mention.
            if piece in ("05", "5") and follows[:1] not in (".", ","):
                parts.append(_FRACTION + "?")
        elif piece[0] in ".,":
            parts.append(rf"(?P<fraction>[.,]\d{{{len(piece) - 1}}})" if piece[1] == "0" else _FRACTION + "?")
        else:
            digits = len(piece[1:].replace(":", "")) // 2
            colon = ":" if ":" in piece else ""
            numeric = "[+-]" + colon.join([r"\d{2}"] * digits)
            parts.append(f"(?P<offset>Z|{numeric})" if piece[0] == "Z" else f"(?P<offset>{numeric})")
    try:
        return re.compile("".join(parts), re.ASCII)
    except re.error:
        raise FunctionFailed("a time layout names the same part of a time twice") from None


def parse_time(value: str, layout: str, zone_name: str = "UTC") -> datetime:
    """Read a time by a Go layout or a preset; without an offset in it, it is a time of the given zone.

    Parts that the layout lacks are those of 1 January of the year 1, 00:00. Raises FunctionFailed.
    """
    match = _pattern(layout).fullmatch(value)
    where = zone(zone_name)
    if match is None:
        raise FunctionFailed("a text does not have the form of its time layout")
    parts = match.groupdict()
    try:
        wall = _wall(parts)
        if offset := parts.get("offset"):
            return wall.replace(tzinfo=_fixed(offset)).astimezone(UTC)
        if (named := parts.get("zone")) and named[0] in "+-":
            return wall.replace(tzinfo=_fixed(named)).astimezone(UTC)
        if named in ("UTC", "GMT"):
            return wall.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise FunctionFailed("a part of a time is out of its range") from None
    return _instant(wall, where)


def _wall(parts: dict[str, str | None]) -> datetime:
    def part(name: str, default: int) -> int:
        value = parts.get(name)
        return default if value is None else int(value)

    year = part("year", 1)
    if (short := parts.get("short_year")) is not None:
        year = int(short) + (1900 if int(short) >= 69 else 2000)
    month = part("month", 1)
    if name := parts.get("month_name"):
        month = next(index for index, full in enumerate(_MONTHS, 1) if full[:3].lower() == name[:3].lower())
    hour = part("hour", 0)
    if (half_hour := parts.get("half_hour")) is not None:
        hour = int(half_hour)
        if not 0 <= hour <= 12:
            raise ValueError(hour)
    if half := parts.get("half"):
        hour = hour % 12 + (12 if half in ("PM", "pm") else 0)
    micros = int(((parts.get("fraction") or ".0")[1:] + "000000")[:6])
    wall = datetime(year, month, part("day", 1), hour, part("minute", 0), part("second", 0), micros)  # noqa: DTZ001
    if (year_day := parts.get("year_day")) is not None:
        by_day = wall.replace(month=1, day=1) + timedelta(days=int(year_day) - 1)
        if by_day.year != year or int(year_day) < 1:
            raise ValueError(year_day)
        return by_day
    return wall


def _fixed(offset: str) -> timezone:
    if offset == "Z":
        return UTC
    digits = offset[1:].replace(":", "").ljust(6, "0")
    span = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]), seconds=int(digits[4:]))
    return timezone(-span if offset[0] == "-" else span)


_UNITS: Final = ("minute", "hour", "day", "week", "month", "quarter", "year")


def _start(shown: datetime, unit: str) -> datetime:
    if unit == "minute":
        return shown.replace(second=0, microsecond=0)
    if unit == "hour":
        return shown.replace(minute=0, second=0, microsecond=0)
    day = shown.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "day":
        return day
    if unit == "week":
        return day - timedelta(days=day.weekday())
    month = {"month": day.month, "quarter": day.month - (day.month - 1) % 3, "year": 1}[unit]
    return day.replace(month=month, day=1)


def start_of(moment: datetime, unit: str, zone_name: str = "UTC") -> datetime:
    """The first instant of the minute, hour, day, week (Monday first), month, quarter or year, by a zone's clocks."""
    if unit not in _UNITS:
        raise FunctionFailed(f"a unit of time is not one of {', '.join(_UNITS)}")
    where = zone(zone_name)
    try:
        shown = moment.astimezone(where)
        if unit in ("minute", "hour"):
            # Cut from the instant, so that the second pass through a repeated hour stays the second.
            into = shown.replace(tzinfo=None) - _start(shown.replace(tzinfo=None), unit)
            return moment.astimezone(UTC) - into
        # fold=0 resolves a skipped midnight to the first instant after it, and a repeated one to the first of the two.
        return _start(shown.replace(tzinfo=None), unit).replace(tzinfo=where, fold=0).astimezone(UTC)
    except OverflowError:
        raise FunctionFailed("a time lies outside the years 1 to 9999") from None


def end_of(moment: datetime, unit: str) -> datetime:
    """The last microsecond of the unit that holds an instant, in UTC."""
    start = start_of(moment, unit)
    try:
        if unit in ("minute", "hour", "day", "week"):
            span = timedelta(weeks=1) if unit == "week" else timedelta(**{unit + "s": 1})
            return start + span - timedelta(microseconds=1)
        months = start.month - 1 + {"month": 1, "quarter": 3, "year": 12}[unit]
        following = start.replace(year=start.year + months // 12, month=months % 12 + 1)
        return following - timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise FunctionFailed("a time lies outside the years 1 to 9999") from None


def from_unix(amount: int, per_second: int) -> datetime:
    """The instant that many seconds (or, with 1000 per second, milliseconds) after 1970."""
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=amount * (1_000_000 // per_second))
    except OverflowError:
        raise FunctionFailed("a time lies outside the years 1 to 9999") from None
