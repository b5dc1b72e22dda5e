"""The circuit breaker trips with the first start that is one too many within its trailing window, and not before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.rules.breaker import PERIOD_MICROSECONDS, Breaker, Period, too_many
from interlock.rules.model import SECOND

HOUR = PERIOD_MICROSECONDS[Period.HOUR]


@pytest.mark.parametrize(
    ("period", "hours"), [(Period.HOUR, 1), (Period.DAY, 24), (Period.WEEK, 168), (Period.MONTH, 720)]
)
def test_a_period_is_never_a_calendar_unit(period: Period, hours: int) -> None:
    assert PERIOD_MICROSECONDS[period] == hours * 3_600 * SECOND


@given(
    st.integers(1, 4),
    st.lists(st.integers(1, HOUR // 2), min_size=1, max_size=12),
    st.integers(0, 3 * HOUR),
)
def test_looking_at_one_earlier_start_is_as_good_as_counting_all(maximum: int, gaps: list[int], since: int) -> None:
    breaker = Breaker(maximum, Period.HOUR, since)
    starts: list[int] = []
    at = 10 * HOUR
    for gap in gaps:
        at += gap
        earlier = starts[-maximum] if len(starts) >= maximum else None
        within = [start for start in starts if start > max(at - HOUR, since)]
        assert too_many(breaker, at, earlier) == (len(within) + 1 > maximum)
        starts.append(at)


def test_the_window_begins_at_the_last_reset() -> None:
    breaker = Breaker(1, Period.DAY, since=5_000)
    assert not too_many(breaker, 6_000, 5_000)
    assert too_many(breaker, 6_000, 5_001)


def test_the_window_reaches_back_as_far_as_its_period_and_without_one_to_the_reset() -> None:
    assert Breaker(1) == Breaker(1, None, 0, None)
    assert Breaker(1, Period.HOUR, since=5).window_from(3 * HOUR) == 2 * HOUR
    assert Breaker(1, Period.HOUR, since=5).window_from(HOUR) == 5
    assert Breaker(1, None, since=5).window_from(3 * HOUR) == 5
    assert not too_many(Breaker(1, Period.HOUR), 3 * HOUR, None)
