"""Lanes: who waits for whom under load.

The event loop decides how fast a stop is. So requests are sorted before anything costly is done for them: a stop goes
straight through; work is admitted while it need not queue for long; reading shares two permits, and lets the loop look
at everybody else between two pages.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from interlock.api.bodies import Disconnected, Receive
from interlock.errors import TooManyRequests, Unavailable

READING_PERMITS: Final = 2
WORK_PERMITS: Final = 192
PATIENCE: Final = 500_000
"""Microseconds the oldest waiter of a lane may have waited before newcomers are turned away."""
MOST_WAITING: Final = 2_000
BUFFERED: Final = 67_108_864
"""Bytes of bodies that may wait in memory at a time."""


class Permits:
    """A number of permits, handed out in the order of arrival.

    Args:
        permits: how many may be at it at once.
        now: the engine's clock, in microseconds.
        refusal: makes the error for those who are turned away.
        polite: let the loop serve everybody else before a permit is used.
    """

    def __init__(
        self,
        permits: int,
        now: Callable[[], int],
        refusal: Callable[[], TooManyRequests | Unavailable],
        *,
        polite: bool = False,
    ) -> None:
        self._free = permits
        self._now = now
        self._refusal = refusal
        self._polite = polite
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.shed = 0

    @property
    def waiting(self) -> int:
        """How many wait for a permit."""
        return len(self._waiting)

    def delay(self) -> int:
        """Microseconds that the oldest waiter has waited; 0 if nobody waits."""
        return self._now() - self._waiting[0][0] if self._waiting else 0

    def check(self) -> None:
        """Turn a newcomer away before anything costly is done for it.

        Raises:
            TooManyRequests: or whatever the refusal of this lane is.
        """
        if self._waiting and (len(self._waiting) >= MOST_WAITING or self.delay() > PATIENCE):
            self.shed += 1
            raise self._refusal()

    async def acquire(self, receive: Receive) -> None:
        """Take a permit, or wait for one for as long as the caller stays connected; `release` gives it back.

        Args:
            receive: the ASGI channel of the caller, whose body has been read.

        Raises:
            TooManyRequests: or whatever the refusal of this lane is.
            Disconnected: the caller went away while it waited.
        """
        if self._free > 0 and not self._waiting:
            self._free -= 1
        else:
            self.check()
            await self._queue(receive)
        if self._polite:
            try:
                await _everybody_else()
            except asyncio.CancelledError:
                self.release()
                raise

    def release(self) -> None:
        """Give a permit back; the oldest waiter gets it."""
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return
        self._free += 1

    async def _queue(self, receive: Receive) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self._now(), turn)
        self._waiting.append(entry)
        gone = asyncio.ensure_future(until_gone(receive))
        try:
            await asyncio.wait((turn, gone), return_when=asyncio.FIRST_COMPLETED)
            if not turn.done():
                raise Disconnected
        except (asyncio.CancelledError, Disconnected):
            if turn.done():
                self.release()
            else:
                self._waiting.remove(entry)
            raise
        finally:
            gone.cancel()


def reading(now: Callable[[], int]) -> Permits:
    """Lists, searches, large bodies."""
    return Permits(
        READING_PERMITS, now, lambda: TooManyRequests("too many are reading; try again shortly"), polite=True
    )


def work(now: Callable[[], int]) -> Permits:
    """Starts, callbacks, inbound events."""
    return Permits(WORK_PERMITS, now, lambda: Unavailable("the server has all the work it can take; try again shortly"))


class Buffer:
    """The memory that bodies of waiting requests may take."""

    def __init__(self, limit: int = BUFFERED) -> None:
        self._left = limit

    def take(self, size: int) -> None:
        """
        Raises:
            Unavailable: there is not so much left.
        """
        if size > self._left:
            raise Unavailable("the server is reading all the large bodies it can take; try again shortly")
        self._left -= size

    def give_back(self, size: int) -> None:
        self._left += size


async def _everybody_else() -> None:
    """One full turn of the loop for everybody else."""
    loop = asyncio.get_running_loop()
    turn: asyncio.Future[None] = loop.create_future()
    loop.call_soon(turn.set_result, None)
    await turn


async def until_gone(receive: Receive) -> None:
    """Return once the caller has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
