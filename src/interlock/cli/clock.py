"""The clock of the commands. The server's clock (interlock.system) would import the event loop."""

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic time and pauses in seconds, and the wall clock."""

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
