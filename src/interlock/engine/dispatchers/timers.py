"""Timers: a bounded heap of the nearest times at which runs are due. The store has the later times."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from interlock.rules.model import Ref


class Timers:
    """At most `most` runs, each with the nearest time that it was given."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[int, int, int]] = []
        self._at: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self._at)

    @property
    def next_at(self) -> int | None:
        """The nearest time; None if there are no timers."""
        heap = self._heap
        while heap and self._at.get((heap[0][1], heap[0][2])) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def put(self, ref: Ref, at: int) -> bool:
        """Keep the time unless a nearer one is known. Returns False if there is no room."""
        key = (ref.tenant, ref.id)
        known = self._at.get(key)
        if known is None and len(self._at) >= self._most:
            return False
        if known is None or at < known:
            self._at[key] = at
            heapq.heappush(self._heap, (at, *key))
            if len(self._heap) > 2 * self._most:
                self._rebuild()
        return True

    def forget(self, ref: Ref) -> None:
        """Remove the timer of a run."""
        self._at.pop((ref.tenant, ref.id), None)

    def due(self, now: int) -> Iterator[Ref]:
        """Remove and yield the runs that are due, the earliest first."""
        while (at := self.next_at) is not None and at <= now:
            _, tenant, id_ = heapq.heappop(self._heap)
            del self._at[tenant, id_]
            yield Ref(tenant, id_)

    def _rebuild(self) -> None:
        # A run that got a nearer time leaves its old entry in the heap.
        self._heap = [(at, *key) for key, at in self._at.items()]
        heapq.heapify(self._heap)
