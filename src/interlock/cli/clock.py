"""Time as a waiting command sees it. The server's clock (interlock.system) would bring the event loop with it."""

import time
from typing import Protocol


class Clock(Protocol):
    """How long something takes, and pausing between two looks at it. Unit: seconds."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class WallClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
