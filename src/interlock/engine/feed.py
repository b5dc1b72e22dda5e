"""The feed of changes: the commit that changes a run wakes the requests that wait for a change of that run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from interlock.engine.waiting import set_by
from interlock.ports import Clock
from interlock.rules.model import Ref


class Watch:
    """The watch of one request over one run. It misses no change after it was created."""

    __slots__ = ("_has_changed", "_news")

    def __init__(self) -> None:
        self._has_changed = False
        self._news = asyncio.Event()
        """Set by a change and by the end of the time."""

    def note(self) -> None:
        """Record that the run has changed."""
        self._has_changed = True
        self._news.set()

    async def change(self, clock: Clock, until: int) -> bool:
        """Wait for a change since the last call, or until `until` (engine time). Returns whether there was one."""
        if not self._has_changed and clock.now() < until:
            self._news.clear()
            await set_by(self._news, clock, until)
        changed, self._has_changed = self._has_changed, False
        return changed


class Feed:
    """`ports.ChangeListener` that wakes the watches of a run. Without watches a commit costs one check of a dict."""

    def __init__(self) -> None:
        self._watches: dict[tuple[int, int], list[Watch]] = {}
        self.watches = 0
        """The number of open watches."""
        self.closed = False
        """Whether the server is stopping, so that no request may wait any longer."""

    def close(self) -> None:
        """Wake every watch, so that no waiting request delays the end of the server."""
        self.closed = True
        for watches in self._watches.values():
            for watch in watches:
                watch.note()

    def changed(self, tenant: int, id: int) -> None:
        """Wake the watches of a run after the commit that changed it."""
        if self._watches:
            for watch in self._watches.get((tenant, id), ()):
                watch.note()

    @contextmanager
    def watch(self, ref: Ref) -> Iterator[Watch]:
        """Watch a run. Enter this before the read or the request whose consequences you wait for."""
        key, watch = (ref.tenant, ref.id), Watch()
        self._watches.setdefault(key, []).append(watch)
        self.watches += 1
        try:
            yield watch
        finally:
            self.watches -= 1
            watches = self._watches[key]
            watches.remove(watch)
            if not watches:
                del self._watches[key]
