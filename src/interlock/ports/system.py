"""The world beside the store: time, ids, chance, and how the process is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

EXECUTION_IDS_SINCE: Final = 1_704_067_200_000
"""2024-01-01T00:00:00Z in milliseconds: 41 bits from here on last until 2093."""
SEQUENCE_BITS: Final = 12


def last_execution_id(at: int) -> int:
    """Not below the id of any run that was made until then, in microseconds, by a clock that ran true."""
    return ((at // 1000 - EXECUTION_IDS_SINCE + 1) << SEQUENCE_BITS) - 1


class Clock(Protocol):
    """The time."""

    def now(self) -> int:
        """Engine time: wall time at the start of the process plus what has passed since. Only `move` makes it jump."""
        ...

    def move(self, by: int) -> None:
        """Move engine time by so many microseconds. Sleepers sleep on for the real time that is left of their sleep."""
        ...

    def boot(self) -> str:
        """Names the start of the machine: `uptime` of two processes can be compared if it is the same."""
        ...

    def uptime(self) -> int:
        """Microseconds since the start of the machine, its sleep included. It never jumps."""
        ...

    def wall(self) -> int:
        """The wall clock as it is now; for what others judge by their own clocks (tokens, assertions)."""
        ...

    async def sleep_until(self, at: int) -> None:
        """Return once as much time has passed as there is until `at` when it is called; never early."""
        ...


class Ids(Protocol):
    """New identities."""

    def execution(self) -> int:
        """41 bits of milliseconds and 12 of sequence: below 2**53, never at or below one given earlier."""
        ...

    def text(self) -> str:
        """27 characters of 0-9A-Za-z, as C1's own ids."""
        ...

    def secret(self) -> str:
        """43 characters of base64url: 256 random bits."""
        ...


class Randomness(Protocol):
    """Chance that need not be secret: back-off and the like."""

    def chance(self) -> float:
        """A number in [0, 1)."""
        ...


@dataclass(slots=True)
class Health:
    """Whether the process can serve; `reasons` says why not."""

    ready: bool = True
    reasons: dict[str, str] = field(default_factory=dict)
