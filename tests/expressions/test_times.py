"""Time functions: Go layouts, presets, zones and units."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.expressions.failures import ExpressionFailed
from interlock.expressions.times import end_of, format_time, parse_time, start_of
from tests.expressions.given import evaluate

AFTERNOON = datetime(2026, 2, 3, 16, 5, 6, 7000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("layout", "shown"),
    [
        ("rfc3339", "2026-02-03T16:05:06Z"),
        ("date", "2026-02-03"),
        ("datetime", "2026-02-03 16:05:06"),
        ("time", "16:05:06"),
        ("Monday, January 2 2006", "Tuesday, February 3 2026"),
        ("Mon Jan _2 15:04:05 2006", "Tue Feb  3 16:05:06 2026"),
        ("Month Janet", "Month Janet"),
        ("3:04PM 03:04 pm", "4:05PM 04:05 pm"),
        ("1/2/06", "2/3/26"),
        ("002 __2", "034  34"),
        ("15:04:05.000", "16:05:06.007"),
        ("15:04:05.999999", "16:05:06.007"),
        ("15:04:05,000000000", "16:05:06,007000000"),
        ("Z07:00 -07:00 Z0700 -0700 -07 MST", "Z +00:00 Z +0000 +00 UTC"),
    ],
)
def test_layouts_are_those_of_go(layout: str, shown: str) -> None:
    assert format_time(AFTERNOON, layout) == shown


def test_a_zone_decides_what_its_clocks_show() -> None:
    assert format_time(AFTERNOON, "2006-01-02 15:04 Z07:00 MST", "America/New_York") == "2026-02-03 11:05 -05:00 EST"
    assert format_time(AFTERNOON, "15:04 -0700", "Asia/Kolkata") == "21:35 +0530"


@pytest.mark.parametrize(
    ("text", "layout", "zone", "instant"),
    [
        ("2026-05-20", "date", "UTC", "2026-05-20T00:00:00Z"),
        ("2026-05-20T10:00:00+02:00", "rfc3339", "UTC", "2026-05-20T08:00:00Z"),
        ("2026-05-20T10:00:00.5Z", "rfc3339", "UTC", "2026-05-20T10:00:00.5Z"),
        ("2026-08-21 05:30:00", "datetime", "America/New_York", "2026-08-21T09:30:00Z"),
        ("Aug 5, 2026 at 3:04pm", "Jan 2, 2006 at 3:04pm", "UTC", "2026-08-05T15:04:00Z"),
        ("12:00 AM 1/2/70", "03:04 PM 1/2/06", "UTC", "1970-01-02T00:00:00Z"),
        ("2026-060", "2006-002", "UTC", "2026-03-01T00:00:00Z"),
        # A time that is skipped, and one that happens twice: as Go resolves them.
        ("2026-03-08 02:30:00", "datetime", "America/New_York", "2026-03-08T06:30:00Z"),
        ("2026-03-29 02:30:00", "datetime", "Europe/Berlin", "2026-03-29T01:30:00Z"),
        ("2026-11-01 01:30:00", "datetime", "America/New_York", "2026-11-01T05:30:00Z"),
    ],
)
def test_texts_are_read_by_the_same_layouts(text: str, layout: str, zone: str, instant: str) -> None:
    assert evaluate(f'time.parse("{text}", "{layout}", "{zone}")') == instant


@pytest.mark.parametrize(
    "call",
    [
        'time.parse("2026-13-01", TimeFormat.DATE)',
        'time.parse("2026-02-30", TimeFormat.DATE)',
        'time.parse("x", TimeFormat.DATE)',
        'time.parse("1 1", "2 02")',
        'time.format(now(), "2006", "Mars/Olympus")',
        'time.format(now(), "2006", "../../etc/passwd")',
        'time.start_of(now(), "decade")',
        "time.unix(9223372036854775807)",
        'time.end_of(timestamp("9999-12-31T00:00:00Z"), "year") + duration("1h")',
    ],
)
def test_what_cannot_be_a_time_fails(call: str) -> None:
    with pytest.raises(ExpressionFailed):
        evaluate(call)


def test_a_default_instead_of_a_failure() -> None:
    assert evaluate('time.try_parse("not a date", TimeFormat.DATE, now()) == now()') is True
    assert evaluate('time.try_parse("2026-01-02", TimeFormat.DATE, now())') == "2026-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("unit", "start", "end"),
    [
        ("minute", "2026-06-10T14:30:00Z", "2026-06-10T14:30:59.999999Z"),
        ("hour", "2026-06-10T14:00:00Z", "2026-06-10T14:59:59.999999Z"),
        ("day", "2026-06-10T00:00:00Z", "2026-06-10T23:59:59.999999Z"),
        ("week", "2026-06-08T00:00:00Z", "2026-06-14T23:59:59.999999Z"),
        ("month", "2026-06-01T00:00:00Z", "2026-06-30T23:59:59.999999Z"),
        ("quarter", "2026-04-01T00:00:00Z", "2026-06-30T23:59:59.999999Z"),
        ("year", "2026-01-01T00:00:00Z", "2026-12-31T23:59:59.999999Z"),
    ],
)
def test_units_begin_and_end(unit: str, start: str, end: str) -> None:
    assert evaluate(f'[time.start_of(now(), "{unit}"), time.truncate(now(), "{unit}")]') == [start, start]
    assert evaluate(f'time.end_of(now(), "{unit}")') == end


def test_a_day_begins_by_the_clocks_of_its_zone() -> None:
    assert evaluate('time.start_of(now(), "day", "America/New_York")') == "2026-06-10T04:00:00Z"
    # Cairo skips from 00:00 to 01:00 on this day: its first instant is 01:00.
    cairo = start_of(datetime(2026, 4, 24, 12, tzinfo=UTC), "day", "Africa/Cairo")
    assert format_time(cairo, "2006-01-02 15:04", "Africa/Cairo") == "2026-04-24 01:00"


def test_the_second_pass_through_a_repeated_hour_stays_the_second() -> None:
    second = datetime(2026, 11, 1, 6, 30, tzinfo=UTC)
    assert start_of(second, "hour", "America/New_York") == datetime(2026, 11, 1, 6, tzinfo=UTC)


def test_unix_times() -> None:
    assert evaluate("time.unix_ms(1787305800000) == time.unix(1787305800)") is True
    assert evaluate("time.unix(1787305800)") == "2026-08-21T09:50:00Z"


INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
UNITS = st.sampled_from(["minute", "hour", "day", "week", "month", "quarter", "year"])
ZONES = st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Africa/Cairo", "Pacific/Auckland"])


@given(INSTANTS, ZONES)
def test_what_is_written_with_its_offset_is_read_back(instant: datetime, zone: str) -> None:
    layout = "2006-01-02T15:04:05.000000Z07:00:00"
    assert parse_time(format_time(instant, layout, zone), layout) == instant


@given(INSTANTS, UNITS, ZONES)
def test_a_unit_holds_its_instant(instant: datetime, unit: str, zone: str) -> None:
    assert start_of(instant, unit, zone) <= instant
    assert start_of(start_of(instant, unit, zone), unit, zone) == start_of(instant, unit, zone)
    assert start_of(instant, unit) <= instant <= end_of(instant, unit)
    assert start_of(end_of(instant, unit) + timedelta(microseconds=1), unit) == end_of(instant, unit) + timedelta(
        microseconds=1
    )
