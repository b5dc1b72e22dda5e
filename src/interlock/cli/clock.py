"""Time as a waiting command sees it. The server's clock (interlock.system) would bring the event loop with it."""

import time
from typing import Protocol


class Clock(Protocol):
    """How long something takes, and pausing between two looks at it, in seconds; and what time it is."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...

    def wall(self) -> int:
        """Microseconds since 1970."""
        ...


class WallClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wall(self) -> int:
        return time.time_ns() // 1_000
