"""A clock that moves only when a test moves it, and its helpers."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, pairwise

from anyio.lowlevel import checkpoint

from interlock.system import TURNS_BETWEEN_SLICES

SECOND = 1_000_000
START = 1_750_000_000 * SECOND


class ManualClock:
    """`ports.Clock` in virtual time: sleepers wake in the order of their times, equal ones in the order they came."""

    def __init__(self, at: int = START) -> None:
        self._now = at
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._moved = at
        self.wall_ahead = 0
        """Microseconds by which the wall differs from the engine's time."""
        self.booted = "boot"

    def now(self) -> int:
        return self._now

    def wall(self) -> int:
        return self._now + self.wall_ahead

    def move(self, by: int) -> None:
        self._now += by
        self.wall_ahead -= by
        self._moved += by
        self._sleepers = [(at + by, order, future) for at, order, future in self._sleepers]

    def boot(self) -> str:
        return self.booted

    def uptime(self) -> int:
        return self._now - self._moved

    @property
    def sleeping(self) -> int:
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep_until(self, at: int) -> None:
        if at <= self._now:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (at, next(self._order), future))
        await future

    def advance(self, seconds: float) -> None:
        """Advance the clock; sleepers whose time has come continue at the next turn of the loop."""
        self.set(self._now + round(seconds * SECOND))

    def set(self, at: int) -> None:
        assert at >= self._now, "engine time never goes back"
        self._now = at
        while self._sleepers and self._sleepers[0][0] <= at:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)

    async def pass_time(self, seconds: float) -> None:
        """Move on from one sleeper's time to the next, and let everything run that can run at each."""
        end = self._now + round(seconds * SECOND)
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.set(max(self._now, self._sleepers[0][0]))
            await settle()
        self.set(end)
        await settle()

    async def jump(self, seconds: float) -> None:
        """Move on in one leap, and let everything run that can run then."""
        await settle()
        self.advance(seconds)
        await settle()


class SequentialIds:
    """`ports.Ids` that can be foretold."""

    def __init__(self, after: int = 1000) -> None:
        self._last = after

    def execution(self) -> int:
        self._last += 1
        return self._last

    def text(self) -> str:
        self._last += 1
        return f"{self._last:027d}"

    def secret(self) -> str:
        self._last += 1
        return f"{self._last:043d}"


class FixedChance:
    """`ports.Randomness` that always draws the same number."""

    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def chance(self) -> float:
        return self.value


async def settle(turns: int = 40) -> None:
    """Let the loop turn until everything that can go on without time passing has gone on."""
    for _ in range(turns):
        await checkpoint()


class Turns:
    """Counts the turns of the loop."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()

        def turn() -> None:
            self.count += 1
            self._next = loop.call_soon(turn)

        self._next = loop.call_soon(turn)
        yield
        self._next.cancel()


def expect_apart(turns: list[int]) -> None:
    """Each large piece of work was done turns of the loop after the one before."""
    for one, next_one in pairwise(turns):
        assert next_one - one >= TURNS_BETWEEN_SLICES
