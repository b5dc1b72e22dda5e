"""Lanes: the priorities of requests under load.

The event loop limits how fast a terminate is. So requests are classified before any expensive work: a terminate passes
immediately; work is admitted while its queue is short; reads share two permits, and the loop serves other requests
between two pages.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Final

from interlock.api.bodies import Disconnected, Receive
from interlock.errors import TooManyRequests, Unavailable
from interlock.system import yield_to_loop

READING_PERMITS: Final = 2
WORK_PERMITS: Final = 192
PATIENCE: Final = 500_000
"""Microseconds after which a waiting request is late: later requests go first, and it is refused in its turn."""
STALLED: Final = 5_000_000
"""Microseconds that the oldest request may have waited before new ones are refused immediately."""
MOST_WAITING: Final = 10_000
REFUSALS: Final = 1
"""Late requests that are refused for each admitted request."""
BUFFERED: Final = 67_108_864
"""Maximum bytes of the bodies that wait in memory."""


class _Came(Enum):
    """What a waiter's turn brought."""

    PERMIT = "it is let in"
    REFUSAL = "it is turned away"
    NOTHING = "its caller has gone"


_Turn = asyncio.Future[_Came]


class Permits:
    """A number of permits, granted in the order of arrival to requests that have not waited too long.

    A refusal costs a large part of what serving the request costs, and a client that is refused immediately retries
    immediately: under overload the server would do nothing else. So requests wait, which costs nothing, and late ones
    are refused at the rate at which others are admitted.

    Args:
        permits: maximum number of requests that are served at once.
        now: the engine's clock, in microseconds.
        refusal: creates the error of a refused request.
        newcomers: microseconds that the oldest request may have waited before new ones are refused immediately.
        polite: whether the loop serves other requests before a permit is used.
    """

    def __init__(
        self,
        permits: int,
        now: Callable[[], int],
        refusal: Callable[[], TooManyRequests | Unavailable],
        *,
        newcomers: int = PATIENCE,
        polite: bool = False,
    ) -> None:
        self._free = permits
        self._now = now
        self._refusal = refusal
        self._newcomers = newcomers
        self._polite = polite
        self._waiting: OrderedDict[_Turn, int] = OrderedDict()
        """Since when, the oldest first."""
        self._late: OrderedDict[_Turn, int] = OrderedDict()
        self.shed = 0

    @property
    def waiting(self) -> int:
        """Return the number of requests that wait for a permit or a refusal."""
        return len(self._waiting) + len(self._late)

    def delay(self) -> int:
        """Return the microseconds that the oldest request has waited; 0 if none waits."""
        line = self._late or self._waiting
        return self._now() - line[next(iter(line))] if line else 0

    def check(self) -> None:
        """Refuse a new request before any expensive work.

        Raises:
            TooManyRequests: or whatever the refusal of this lane is.
        """
        if self.waiting and (self.waiting >= MOST_WAITING or self.delay() > self._newcomers):
            self.shed += 1
            raise self._refusal()

    async def acquire(self, receive: Receive) -> None:
        """Take a permit, or wait for one for as long as the caller stays connected; `release` gives it back.

        Args:
            receive: the ASGI channel of the caller, whose body has been read.

        Raises:
            TooManyRequests: or whatever the refusal of this lane is.
            Disconnected: The caller disconnected while it waited.
        """
        if self._free > 0 and not self.waiting:
            self._free -= 1
        else:
            self.check()
            await self._queue(receive)
        if self._polite:
            try:
                await yield_to_loop()
            except asyncio.CancelledError:
                self.release()
                raise

    def release(self) -> None:
        """Give a permit back. The oldest who is not late gets it, and some who are late are turned away; if all are
        late, the oldest of them gets it."""
        late_since = self._now() - PATIENCE
        while self._waiting:
            turn, since = self._waiting.popitem(last=False)
            if since >= late_since:
                turn.set_result(_Came.PERMIT)
                self._turn_away()
                return
            self._late[turn] = since
        if self._late:
            turn, _ = self._late.popitem(last=False)
            turn.set_result(_Came.PERMIT)
        else:
            self._free += 1

    def _turn_away(self) -> None:
        for _ in range(min(REFUSALS, len(self._late))):
            turn, _ = self._late.popitem(last=False)
            self.shed += 1
            turn.set_result(_Came.REFUSAL)

    async def _queue(self, receive: Receive) -> None:
        turn: _Turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = self._now()
        gone = asyncio.ensure_future(until_gone(receive))
        gone.add_done_callback(lambda _: self._leave(turn))
        try:
            came = await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(turn)
            elif turn.result() is _Came.PERMIT:
                self.release()
            raise
        finally:
            gone.cancel()
        # Raised here, and not through the future: an error that holds its frame, which holds the future, is a cycle.
        if came is _Came.REFUSAL:
            raise self._refusal()
        if came is _Came.NOTHING:
            raise Disconnected

    def _leave(self, turn: _Turn) -> None:
        """The caller has gone."""
        if not turn.done():
            self._forget(turn)
            turn.set_result(_Came.NOTHING)

    def _forget(self, turn: _Turn) -> None:
        (self._waiting if turn in self._waiting else self._late).pop(turn, None)


def reading(now: Callable[[], int]) -> Permits:
    """Lists, searches, large bodies."""
    return Permits(
        READING_PERMITS, now, lambda: TooManyRequests("too many are reading; try again shortly"), polite=True
    )


def work(now: Callable[[], int]) -> Permits:
    """Starts, callbacks, inbound events."""
    return Permits(
        WORK_PERMITS,
        now,
        lambda: Unavailable("the server has all the work it can take; try again shortly"),
        newcomers=STALLED,
    )


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


async def until_gone(receive: Receive) -> None:
    """Return once the caller has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
