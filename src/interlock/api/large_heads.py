"""The large heads that a server holds at a time: bounded in total, so that slow callers cannot fill its memory.

A head is held from its first byte until its request is answered. One that fits into a single parse is not counted: all
connections together hold little of those, and a terminate is such a request.
"""

from __future__ import annotations

from typing import Final, Protocol

MAX_LARGE_HEADS_BYTES: Final = 67_108_864
"""Bytes of large request heads that are held at a time; beyond it the connection with the oldest is aborted."""


class Holder(Protocol):
    """A connection."""

    def abort(self) -> None: ...


class LargeHeads:
    """The connections that hold a large head, the oldest first."""

    def __init__(self, limit: int = MAX_LARGE_HEADS_BYTES) -> None:
        self._limit = limit
        self._sizes: dict[Holder, int] = {}
        self.total = 0
        """Bytes."""

    def hold(self, holder: Holder, size: int) -> None:
        """Count the head of a connection, which is `size` bytes by now."""
        self.total += size - self._sizes.get(holder, 0)
        self._sizes[holder] = size
        while self.total > self._limit:
            oldest = next(iter(self._sizes))
            self.release(oldest)
            oldest.abort()

    def release(self, holder: Holder) -> None:
        """Count the head of a connection no more."""
        self.total -= self._sizes.pop(holder, 0)
