"""Work that would block the event loop runs here: in a thread, or in a double of one in tests."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Offload(Protocol):
    """Runs one piece of work after another, not on the event loop."""

    def run(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Run `work`, which never raises, and then call `then` with its result on the loop. Call this on the loop."""
        ...

    def close(self) -> None:
        """Return when all work has ended. No work may be added afterwards."""
        ...


class ThreadOffload:
    """One thread, which starts with the first piece of work."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        loop = asyncio.get_running_loop()

        def task() -> None:
            loop.call_soon_threadsafe(then, work())

        if self._thread is None:
            self._thread = threading.Thread(target=self._run_all, name=self._name, daemon=True)
            self._thread.start()
        self._work.put(task)

    def close(self) -> None:
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None

    def _run_all(self) -> None:
        while (task := self._work.get()) is not None:
            task()
