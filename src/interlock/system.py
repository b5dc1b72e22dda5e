"""The real clock, ids and random numbers, and a turn of the loop; no other module takes them from the machine."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import deque
from pathlib import Path
from typing import Final

from interlock.ports import Clock
from interlock.ports.system import EXECUTION_IDS_SINCE, SEQUENCE_BITS

_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_LONGEST_NAP: Final = 5.0
"""Seconds. The loop's own timers stop while the machine sleeps, and engine time does not."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TEXT_LENGTH: Final = 27
_TEXT_IDS_SINCE: Final = 1_400_000_000


async def yield_to_loop() -> None:
    """Let the loop run every other ready callback once.

    anyio's checkpoint would do the same, but loads a back end at its first use for as long as 100 terminates take.
    """
    loop = asyncio.get_running_loop()
    turn: asyncio.Future[None] = loop.create_future()
    loop.call_soon(_end_turn, turn)
    await turn


def _end_turn(turn: asyncio.Future[None]) -> None:
    # The waiting task may have been cancelled in this very turn.
    if not turn.done():
        turn.set_result(None)


MAX_BYTES_A_TURN: Final = 64 * 1024
"""Data of runs on which a turn of the loop begins no further work, in bytes; each piece has a limit of its own."""


TURNS_BETWEEN_SLICES: Final = 8
"""Turns of the loop until there is further work: about as many as a termination takes, which so meets one piece."""


class Slices:
    """Spreads pieces of work over turns of the loop, however many become ready in the same one.

    Ask for a `turn` before a piece, and say afterwards what was `spent`. Only the first pieces of a turn go on at once.
    """

    __slots__ = ("_counting", "_left", "_rest", "_waiting")

    def __init__(self) -> None:
        self._left = MAX_BYTES_A_TURN
        self._rest = TURNS_BETWEEN_SLICES
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._counting = False

    async def turn(self) -> None:
        """Wait until a piece of work may begin."""
        if self._left > 0 and not self._waiting:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._count()
        await turn

    def spent(self, size: int) -> None:
        """A piece of work on so many bytes was done in this turn of the loop."""
        self._left -= size
        self._count()
        if self._left > 0:
            self._wake()

    def _count(self) -> None:
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._counting = False
        if self._left <= 0 and self._rest > 0:
            self._rest -= 1
            self._count()
            return
        self._left, self._rest = MAX_BYTES_A_TURN, TURNS_BETWEEN_SLICES
        self._wake()
        if self._waiting:
            self._count()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


class SystemClock:
    """`ports.Clock`: engine time is anchored to the wall at the start, and counts on until it is moved."""

    def __init__(self) -> None:
        self._anchor = time.time_ns() - time.clock_gettime_ns(_CLOCK)
        self._boot = _boot_id()

    def now(self) -> int:
        return (self._anchor + time.clock_gettime_ns(_CLOCK)) // 1000

    def wall(self) -> int:
        return time.time_ns() // 1000

    def move(self, by: int) -> None:
        self._anchor += by * 1000

    def boot(self) -> str:
        return self._boot

    def uptime(self) -> int:
        return time.clock_gettime_ns(_CLOCK) // 1000

    async def sleep_until(self, at: int) -> None:
        # Counted in uptime: a sleep lasts as long as it was to last, whatever is done to the anchor meanwhile.
        left = at - self.now()
        end = self.uptime() + left
        while left > 0:
            await asyncio.sleep(min(left / 1_000_000, _LONGEST_NAP))
            # The loop's timers are coarse and may ring a little early.
            left = end - self.uptime()


def _boot_id() -> str:
    """The system's name of its present start; one that is never met again where it has none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return secrets.token_hex(16)


class SystemIds:
    """`ports.Ids`. `start_after` is the greatest execution id that was ever stored: none at or below it is given."""

    def __init__(self, clock: Clock, start_after: int = 0) -> None:
        self._clock = clock
        self._last = start_after

    def execution(self) -> int:
        """One sequence for all tenants. It runs ahead of the clock rather than repeat itself."""
        milliseconds = self._clock.now() // 1000 - EXECUTION_IDS_SINCE
        self._last = max(milliseconds << SEQUENCE_BITS, self._last + 1)
        return self._last

    def text(self) -> str:
        """A KSUID: 32 bits of seconds, so that ids sort by age, and 128 random ones."""
        number = ((self._clock.now() // 1_000_000 - _TEXT_IDS_SINCE) << 128) | secrets.randbits(128)
        digits = []
        for _ in range(_TEXT_LENGTH):
            number, digit = divmod(number, 62)
            digits.append(_DIGITS[digit])
        return "".join(reversed(digits))

    def secret(self) -> str:
        return secrets.token_urlsafe(32)


class SystemRandomness:
    """`ports.Randomness`."""

    def __init__(self) -> None:
        self._random = random.Random()

    def chance(self) -> float:
        return self._random.random()
