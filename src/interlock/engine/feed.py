"""News after a commit: whoever waits for a run to change is woken by the commit that changed it, and by that alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from interlock.engine.waiting import wait_for
from interlock.ports import Clock
from interlock.rules.model import Ref


class Watch:
    """Somebody's interest in one run, from its creation on: no change after that is missed."""

    __slots__ = ("_changed",)

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def note(self) -> None:
        self._changed.set()

    async def change(self, clock: Clock, until: int) -> bool:
        """Return once the run has changed since the last call, or at `until` (engine time); whether it has changed."""
        if not self._changed.is_set() and clock.now() < until:
            await wait_for(self._changed.wait, clock, until)
        changed = self._changed.is_set()
        self._changed.clear()
        return changed


class Feed:
    """`ports.ChangeListener` that wakes those who watch a run. Costs one look at an empty dict while nobody does."""

    def __init__(self) -> None:
        self._watches: dict[tuple[int, int], list[Watch]] = {}
        self.watches = 0
        """How many watch."""
        self.closed = False
        """The server is stopping: there is nothing to wait for any more."""

    def close(self) -> None:
        """Wake everybody, so that nobody holds up the end."""
        self.closed = True
        for watches in self._watches.values():
            for watch in watches:
                watch.note()

    def changed(self, tenant: int, id: int) -> None:
        if self._watches:
            for watch in self._watches.get((tenant, id), ()):
                watch.note()

    @contextmanager
    def watch(self, ref: Ref) -> Iterator[Watch]:
        """Watch a run. Begin before the reading or the order whose consequences are waited for."""
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
