"""The circuit breaker: it pauses new runs of an automation that starts too often."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from interlock.rules.model import SECOND
from interlock.rules.values import value


class Period(StrEnum):
    """The length of the trailing window; a month is 30 days."""

    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"


_HOUR: Final = 3_600 * SECOND
PERIOD_MICROSECONDS: Final = {
    Period.HOUR: _HOUR,
    Period.DAY: 24 * _HOUR,
    Period.WEEK: 7 * 24 * _HOUR,
    Period.MONTH: 30 * 24 * _HOUR,
}
"""Microseconds in each period."""


@value(frozen=True, slots=True)
class Trip:
    """Why a circuit breaker opened: its settings at that time, and the number of runs in the window.

    An operator who terminates many runs can open it by hand. Then `count` is zero and `period` is None.
    """

    at: int
    maximum: int
    period: Period | None
    count: int


@value(frozen=True, slots=True)
class Breaker:
    """The circuit breaker of an automation. With `maximum` zero it opens only by hand."""

    maximum: int
    period: Period | None = None
    since: int = 0
    """When the circuit breaker was last reset. The window never begins earlier."""
    trip: Trip | None = None

    def window_from(self, at: int) -> int:
        """Return the time at which the trailing window begins; only runs that started later count.

        Args:
            at: Engine time in microseconds: the end of the window.
        """
        return self.since if self.period is None else max(at - PERIOD_MICROSECONDS[self.period], self.since)


def too_many(breaker: Breaker, at: int, earlier: int | None) -> bool:
    """Return whether a run that starts now exceeds the limit of the circuit breaker.

    Args:
        breaker: The circuit breaker of the automation.
        at: Engine time in microseconds.
        earlier: The time of the start that lies `breaker.maximum` starts before this one; None if there were fewer.
    """
    return earlier is not None and earlier > breaker.window_from(at)
