"""An event loop in virtual time, in which a process can die between any two callbacks.

Callbacks run in the order in which the real loop would run them; what a seed decides is when things happen, never an
order that the real loop could not produce. Time passes only when nothing is left to do.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
from contextvars import ContextVar
from typing import Any, Protocol


class Mortal(Protocol):
    """A process of the simulated machine."""

    dead: bool


PROCESS: ContextVar[Mortal | None] = ContextVar("process", default=None)
"""To which process a callback belongs; the world around has none. Whatever belongs to a dead one never runs."""


class NothingEver(Exception):
    """No task waits for a time, and nothing is left to do: the remaining waits never end."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """The loop. `microseconds` is its time, an integer."""

    _ready: Any
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        self.microseconds = 0
        self.turns = 0
        self.set_exception_handler(_forget)

    def time(self) -> float:
        return self.microseconds / 1_000_000

    def _run_once(self) -> None:
        scheduled, ready = self._scheduled, self._ready
        while scheduled and scheduled[0].cancelled():
            heapq.heappop(scheduled)
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if not scheduled:
                raise NothingEver
            self.microseconds = max(self.microseconds, round(scheduled[0].when() * 1_000_000))
        # Times are kept as floating point numbers by asyncio, and as integers here.
        now = (self.microseconds + 0.5) / 1_000_000
        while scheduled and scheduled[0].when() < now:
            handle = heapq.heappop(scheduled)
            if not handle.cancelled():
                ready.append(handle)
        self.turns += 1
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle.cancelled():
                continue
            process = handle._context.get(PROCESS)
            if process is None or not process.dead:
                handle._run()
            else:
                _close_unbegun(getattr(handle._callback, "__self__", None))

    def close(self) -> None:
        for task in asyncio.all_tasks(self):
            _close_unbegun(task)
        super().close()

    def _process_events(self, event_list: Any) -> None: ...

    def _write_to_self(self) -> None: ...


def _close_unbegun(task: object) -> None:
    """Close the coroutine of a task that never began, so that Python does not warn of it; none of its code runs."""
    if isinstance(task, asyncio.Task):
        coroutine = task.get_coro()
        if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
            coroutine.close()


def _forget(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tasks of dead processes are destroyed while they are pending: that is what dying is.

    Raises:
        BaseException: what a callback of the world around raised.
    """
    error = context.get("exception")
    if error is not None and "handle" in context:
        raise error
