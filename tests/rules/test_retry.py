"""When a failed attempt is worth another one."""

from hypothesis import given
from hypothesis import strategies as st

from interlock.rules.model import SECOND
from interlock.rules.retry import NO_RETRIES, WEBHOOK_RETRIES, RetryPolicy, next_attempt

NOW = 1_000 * SECOND


def test_a_webhook_is_tried_fifty_times_three_to_fifteen_seconds_apart() -> None:
    assert next_attempt(WEBHOOK_RETRIES, 1, NOW, 0.0) == NOW + 3 * SECOND
    assert next_attempt(WEBHOOK_RETRIES, 49, NOW, 0.5) == NOW + 9 * SECOND
    assert next_attempt(WEBHOOK_RETRIES, 50, NOW, 0.0) is None


def test_no_attempt_starts_after_the_last_moment() -> None:
    assert next_attempt(WEBHOOK_RETRIES, 1, NOW, 0.0, last_start=NOW + 3 * SECOND) == NOW + 3 * SECOND
    assert next_attempt(WEBHOOK_RETRIES, 1, NOW, 0.0, last_start=NOW + 3 * SECOND - 1) is None


def test_without_retries_the_first_attempt_is_the_last() -> None:
    assert next_attempt(NO_RETRIES, 1, NOW, 0.0) is None


@given(
    chance=st.floats(0, 1, exclude_max=True), low=st.integers(0, 10**9), more=st.integers(0, 10**9), n=st.integers(1, 9)
)
def test_the_gap_stays_within_the_policy(chance: float, low: int, more: int, n: int) -> None:
    start = next_attempt(RetryPolicy(10, low, low + more), n, NOW, chance)
    assert start is not None
    assert NOW + low <= start <= NOW + low + more
