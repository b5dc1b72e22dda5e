"""The circuit breaker: when an automation has been started too often."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from interlock.rules.model import SECOND
from interlock.rules.values import value


class Period(StrEnum):
    """How far the trailing window reaches back; a month is 30 days."""

    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"


_HOUR: Final = 3_600 * SECOND
LENGTH: Final = {Period.HOUR: _HOUR, Period.DAY: 24 * _HOUR, Period.WEEK: 7 * 24 * _HOUR, Period.MONTH: 30 * 24 * _HOUR}
"""In microseconds."""


@value(frozen=True, slots=True)
class Trip:
    """How a breaker came to trip: the settings as they were then, and how many runs there were with the last one.

    Somebody who terminates many runs can trip it by hand: then there is no number, and no period.
    """

    at: int
    maximum: int
    period: Period | None
    count: int


@value(frozen=True, slots=True)
class Breaker:
    """An automation's breaker. With `maximum` zero it never trips by itself."""

    maximum: int
    period: Period | None = None
    since: int = 0
    """The window never reaches back behind this moment: the last time it was reset."""
    trip: Trip | None = None

    def window_from(self, at: int) -> int:
        """Where the trailing window begins; what was started before, or at, that moment does not count."""
        return self.since if self.period is None else max(at - LENGTH[self.period], self.since)


def too_many(breaker: Breaker, at: int, earlier: int | None) -> bool:
    """Whether a run that starts now is one too many.

    Args:
        earlier: when the run was started that lies `breaker.maximum` starts before this one; None if there were fewer.
    """
    return earlier is not None and earlier > breaker.window_from(at)
