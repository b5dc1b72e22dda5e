"""Wait for an event or a time, whichever comes first. The one place where the engine does both at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from interlock.ports import Clock


async def wait_for(news: Callable[[], Awaitable[object]], clock: Clock, until: int) -> None:
    """Return once `news` has returned, or at a time.

    Args:
        news: a function, and not its coroutine, so that a wait that never begins leaves no coroutine behind.
        until: engine time.

    Raises:
        Exception: what `news` raised.
    """
    told = asyncio.ensure_future(news())
    timer = asyncio.ensure_future(clock.sleep_until(until))
    try:
        await asyncio.wait((told, timer), return_when=asyncio.FIRST_COMPLETED)
        if told.done():
            told.result()
    finally:
        told.cancel()
        timer.cancel()
