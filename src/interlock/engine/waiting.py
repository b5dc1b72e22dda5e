"""Waits of the engine for an event or a time, whichever comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from interlock.ports import Clock


async def wait_for(news: Callable[[], Awaitable[object]], clock: Clock, until: int) -> None:
    """Wait until `news` returns, or until a time.

    Args:
        news: Returns the awaitable to wait for. It is a function, so that a wait that never begins leaves no coroutine.
        clock: Measures the time.
        until: Engine time in microseconds.

    Raises:
        Exception: The exception that `news` raised.
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
