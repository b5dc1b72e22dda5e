"""Ports to the machine: time, ids, random numbers, and the health of the process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

EXECUTION_IDS_SINCE: Final = 1_704_067_200_000
"""2024-01-01T00:00:00Z in milliseconds: 41 bits from here on last until 2093."""
SEQUENCE_BITS: Final = 12


def last_execution_id(at: int) -> int:
    """Return an id that is at least that of every run created until `at`, in microseconds, by a correct clock."""
    return ((at // 1000 - EXECUTION_IDS_SINCE + 1) << SEQUENCE_BITS) - 1


class Clock(Protocol):
    """The time."""

    def now(self) -> int:
        """Return engine time: wall time at the start of the process plus the time since. Only `move` makes it jump."""
        ...

    def move(self, by: int) -> None:
        """Move engine time by so many microseconds. Sleeping tasks keep the remaining real time of their sleep."""
        ...

    def boot(self) -> str:
        """Identify the boot of the machine: the `uptime` of two processes is comparable if it is the same."""
        ...

    def uptime(self) -> int:
        """Return the microseconds since the boot of the machine, including its sleep. It never jumps."""
        ...

    def wall(self) -> int:
        """Return wall time; for tokens and assertions, which others check by their own clocks."""
        ...

    async def sleep_until(self, at: int) -> None:
        """Sleep until engine time `at`, as of the call; never return early."""
        ...


class Ids(Protocol):
    """New identities."""

    def execution(self) -> int:
        """Return an id of 41 bits of milliseconds and 12 of sequence: below 2**53, and greater than all earlier ids."""
        ...

    def text(self) -> str:
        """Return 27 characters of 0-9A-Za-z, as in C1's ids."""
        ...

    def secret(self) -> str:
        """Return 43 characters of base64url: 256 random bits."""
        ...


class Randomness(Protocol):
    """Random numbers that need not be secret, such as for back-off."""

    def chance(self) -> float:
        """Return a number in [0, 1)."""
        ...


@dataclass(slots=True)
class Health:
    """Whether the process can serve requests; `reasons` says what is wrong."""

    ready: bool = True
    reasons: dict[str, str] = field(default_factory=dict)
