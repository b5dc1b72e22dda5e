"""Retries: whether and when a failed attempt is followed by another one."""

from __future__ import annotations

from interlock.rules.model import SECOND
from interlock.rules.values import value


@value(frozen=True, slots=True)
class RetryPolicy:
    """At most `attempts` attempts (1 or more), with a random gap of `min_gap` to `max_gap` microseconds between two."""

    attempts: int
    min_gap: int
    max_gap: int


WEBHOOK_RETRIES = RetryPolicy(attempts=50, min_gap=3 * SECOND, max_gap=15 * SECOND)
NO_RETRIES = RetryPolicy(attempts=1, min_gap=0, max_gap=0)


def next_attempt(
    policy: RetryPolicy, attempt: int, at: int, chance: float, last_start: int | None = None
) -> int | None:
    """Return the time of the next attempt, or None if no attempt follows.

    Args:
        policy: The number of attempts and the gap between them.
        attempt: The number of the attempt that failed.
        at: When it failed, in microseconds of engine time.
        chance: A random number in [0, 1), which selects the gap.
        last_start: The latest time at which an attempt may start; None if there is no limit.
    """
    if attempt >= policy.attempts:
        return None
    start = at + policy.min_gap + int(chance * (policy.max_gap - policy.min_gap))
    return None if last_start is not None and start > last_start else start
