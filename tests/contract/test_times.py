"""Timestamps name an instant and come out in one form; durations come out as they came in."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.contract.times import Duration, Timestamp
from tests.contract.messages import short


@pytest.mark.parametrize(
    ("sent", "emitted"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.000Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02t03:04:05.5z", "2026-01-02T03:04:05.500Z"),
        ("2026-01-02T03:04:05.678901Z", "2026-01-02T03:04:05.678901Z"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456789Z"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
        ("2026-01-01T23:04:05.25-05:30", "2026-01-02T04:34:05.250Z"),
    ],
    ids=short,
)
def test_a_timestamp_keeps_its_instant_and_is_emitted_in_utc(sent: str, emitted: str) -> None:
    assert Timestamp(sent) == emitted


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04:05Z",
        "2026-13-02T03:04:05Z",
        "2026-02-30T03:04:05Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:04:60Z",
        "2026-01-02T03:04:05.1234567890Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05+2:00",
        "2026-01-02T03:04:05Z\n",
        "٢٠٢٦-01-02T03:04:05Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "0000-01-01T00:00:00Z",
    ],
    ids=short,
)
def test_what_is_no_instant_is_refused(sent: str) -> None:
    with pytest.raises(ValueError):
        Timestamp(sent)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_survives_its_text(moment: datetime) -> None:
    timestamp = Timestamp.of(moment)
    assert timestamp.moment == moment
    assert timestamp.moment.tzinfo is UTC
    assert Timestamp(timestamp) == timestamp
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert timestamp.nanos == micros * 1000
    assert Timestamp.of_micros(micros) == timestamp


def test_a_moment_of_another_zone_is_brought_to_utc_and_one_without_is_refused() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert Timestamp.of(moment) == "2026-01-02T01:04:05Z"
    with pytest.raises(ValueError, match="zone"):
        Timestamp.of(moment.replace(tzinfo=None))


def test_nanoseconds_are_exact() -> None:
    assert Timestamp("1970-01-01T00:00:01.000000007Z").nanos == 1_000_000_007


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("3600s", 3600 * 10**9),
        ("3.5s", 3_500_000_000),
        ("3.500s", 3_500_000_000),
        ("0.000000001s", 1),
        ("-1.5s", -1_500_000_000),
        ("0s", 0),
        ("0", 0),
        ("336h", 14 * 86_400 * 10**9),
        ("1h30m", 5400 * 10**9),
        ("1.5h", 5400 * 10**9),
        (".5m", 30 * 10**9),
        ("1m2.003s4ms5us6ns", 62_007_005_006),
        ("7µs", 7000),
        ("315576000000s", 315_576_000_000 * 10**9),
    ],
    ids=short,
)
def test_a_duration_keeps_its_text_and_knows_its_value(text: str, nanos: int) -> None:
    duration = Duration(text)
    assert duration == text
    assert duration.nanos == nanos


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "3600",
        "1d",
        "1 h",
        "+5s",
        "1_000s",
        "1e3s",
        "--1s",
        "PT1H",
        "1h-5m",
        "0.0000000001s",
        "315576000001s",
        "9" * 70 + "s",
        "١s",
    ],
    ids=short,
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Duration(text)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(hours=1), "3600s"),
        (timedelta(milliseconds=3500), "3.500s"),
        (timedelta(microseconds=1), "0.000001s"),
        (timedelta(seconds=-1.5), "-1.500s"),
        (timedelta(0), "0s"),
    ],
    ids=short,
)
def test_a_length_of_time_is_printed_as_protobuf_does(length: timedelta, text: str) -> None:
    duration = Duration.of(length)
    assert duration == text
    assert duration.length == length
    assert duration.seconds == length.total_seconds()


def test_a_wait_is_never_rounded_to_a_shorter_one() -> None:
    assert Duration("0.000000001s").length == timedelta(microseconds=1)
