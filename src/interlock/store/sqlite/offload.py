"""The place of work that would block the event loop: a thread, or a double of it in tests."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Offload(Protocol):
    """Carries out one piece of work after the other, away from the loop."""

    def run(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do the work, which never raises, and tell `then` on the loop what came of it. To be called on the loop."""
        ...

    def close(self) -> None:
        """Return once nothing is under way; nothing more may be given to it."""
        ...


class ThreadOffload:
    """One thread, started when it is first needed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        loop = asyncio.get_running_loop()

        def order() -> None:
            loop.call_soon_threadsafe(then, work())

        if self._thread is None:
            self._thread = threading.Thread(target=self._obey, name=self._name, daemon=True)
            self._thread.start()
        self._orders.put(order)

    def close(self) -> None:
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join()
            self._thread = None

    def _obey(self) -> None:
        while (order := self._orders.get()) is not None:
            order()
