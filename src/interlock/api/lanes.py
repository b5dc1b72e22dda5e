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
LATE_MICROSECONDS: Final = 500_000
"""Microseconds after which a waiting request is late: later requests go first, and it is refused in its turn."""
STALLED_MICROSECONDS: Final = 5_000_000
"""Microseconds that the oldest request may have waited before new ones are refused immediately."""
MAX_WAITING_REQUESTS: Final = 10_000
"""Requests of one lane that wait at a time; beyond it new ones are refused immediately."""
REFUSALS_PER_RELEASE: Final = 1
"""Late requests that are refused for each admitted request."""
MAX_BUFFERED_BYTES: Final = 67_108_864
"""Maximum size of the bodies that wait in memory, in bytes."""


class _Granted(Enum):
    """The end of a request's wait."""

    PERMIT = "the request is admitted"
    REFUSAL = "the request is refused"
    NOTHING = "its caller has disconnected"


_Turn = asyncio.Future[_Granted]


class Permits:
    """A number of permits, granted in the order of arrival to requests that have not waited too long.

    A refusal costs a large part of what serving the request costs, and a client that is refused immediately retries
    immediately: under overload the server would do nothing else. So requests wait, which costs nothing, and late ones
    are refused at the rate at which others are admitted.

    Args:
        permits: maximum number of requests that are served at once.
        now: the engine's clock, in microseconds.
        refusal: creates the error of a refused request.
        refuse_after: microseconds that the oldest request may have waited before new ones are refused immediately.
        yields: whether the loop serves other requests before a permit is used.
    """

    def __init__(
        self,
        permits: int,
        now: Callable[[], int],
        refusal: Callable[[], TooManyRequests | Unavailable],
        *,
        refuse_after: int = LATE_MICROSECONDS,
        yields: bool = False,
    ) -> None:
        self._free = permits
        self._now = now
        self._refusal = refusal
        self._refuse_after = refuse_after
        self._yields = yields
        self._waiting: OrderedDict[_Turn, int] = OrderedDict()
        """When each request began to wait, the oldest first."""
        self._late: OrderedDict[_Turn, int] = OrderedDict()
        self.shed = 0

    @property
    def waiting(self) -> int:
        """Return the number of requests that wait for a permit or a refusal."""
        return len(self._waiting) + len(self._late)

    def delay(self) -> int:
        """Return the microseconds that the oldest request has waited; 0 if none waits."""
        queue = self._late or self._waiting
        return self._now() - queue[next(iter(queue))] if queue else 0

    def check(self) -> None:
        """Refuse a new request before any expensive work.

        Raises:
            TooManyRequests: or whatever the refusal of this lane is.
        """
        if self.waiting and (self.waiting >= MAX_WAITING_REQUESTS or self.delay() > self._refuse_after):
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
        if self._yields:
            try:
                await yield_to_loop()
            except asyncio.CancelledError:
                self.release()
                raise

    def release(self) -> None:
        """Return a permit. The oldest request that is not late gets it, and late ones are refused; if all are late, the
        oldest gets it."""
        late_since = self._now() - LATE_MICROSECONDS
        while self._waiting:
            turn, since = self._waiting.popitem(last=False)
            if since >= late_since:
                turn.set_result(_Granted.PERMIT)
                self._refuse_late()
                return
            self._late[turn] = since
        if self._late:
            turn, _ = self._late.popitem(last=False)
            turn.set_result(_Granted.PERMIT)
        else:
            self._free += 1

    def _refuse_late(self) -> None:
        for _ in range(min(REFUSALS_PER_RELEASE, len(self._late))):
            turn, _ = self._late.popitem(last=False)
            self.shed += 1
            turn.set_result(_Granted.REFUSAL)

    async def _queue(self, receive: Receive) -> None:
        turn: _Turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = self._now()
        disconnected = asyncio.ensure_future(until_disconnect(receive))
        disconnected.add_done_callback(lambda _: self._disconnected(turn))
        try:
            granted = await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(turn)
            elif turn.result() is _Granted.PERMIT:
                self.release()
            raise
        finally:
            disconnected.cancel()
        # Raised here and not through the future: the error, its frame and the future would be a reference cycle.
        if granted is _Granted.REFUSAL:
            raise self._refusal()
        if granted is _Granted.NOTHING:
            raise Disconnected

    def _disconnected(self, turn: _Turn) -> None:
        """End the wait of a request whose caller has disconnected."""
        if not turn.done():
            self._forget(turn)
            turn.set_result(_Granted.NOTHING)

    def _forget(self, turn: _Turn) -> None:
        (self._waiting if turn in self._waiting else self._late).pop(turn, None)


def reading(now: Callable[[], int]) -> Permits:
    """Return the lane of lists, searches and large bodies."""
    return Permits(
        READING_PERMITS, now, lambda: TooManyRequests("too many reads are in progress; try again shortly"), yields=True
    )


def work(now: Callable[[], int]) -> Permits:
    """Return the lane of starts, callbacks and inbound events."""
    return Permits(
        WORK_PERMITS,
        now,
        lambda: Unavailable("the server has as much work as it can do; try again shortly"),
        refuse_after=STALLED_MICROSECONDS,
    )


class Buffer:
    """The memory for the bodies of waiting requests."""

    def __init__(self, limit: int = MAX_BUFFERED_BYTES) -> None:
        self._left = limit

    def take(self, size: int) -> None:
        """Reserve `size` bytes.

        Raises:
            Unavailable: Less than `size` bytes are left.
        """
        if size > self._left:
            raise Unavailable("the server is reading as many large bodies as it can; try again shortly")
        self._left -= size

    def release(self, size: int) -> None:
        self._left += size


async def until_disconnect(receive: Receive) -> None:
    """Return when the caller has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
