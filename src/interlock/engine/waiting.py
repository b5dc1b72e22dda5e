"""Waits of the engine: for an event or a time, whichever comes first, and for tasks that were cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

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


async def set_by(event: asyncio.Event, clock: Clock, until: int) -> None:
    """Wait until an event is set, and set it at a time (engine time in microseconds) at the latest.

    No task is around the event, so that the caller continues one turn of the loop after it was set.
    """

    def expire(timer: asyncio.Future[None]) -> None:
        event.set()

    timer = asyncio.ensure_future(clock.sleep_until(until))
    timer.add_done_callback(expire)
    try:
        await event.wait()
    finally:
        timer.remove_done_callback(expire)
        timer.cancel()


async def all_ended(tasks: Sequence[asyncio.Task[None]]) -> bool:
    """Wait until the tasks have ended, also if the caller is cancelled meanwhile, and return whether it was."""
    cancelled = False
    while left := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError:
            cancelled = True
    for task in tasks:
        if not task.cancelled():
            # What it raised went to its own caller; retrieving it here avoids a warning.
            task.exception()
    return cancelled
