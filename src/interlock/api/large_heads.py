"""Limits the memory of large request heads, so that slow callers cannot fill it.

A head is held from its first byte until its request is answered. A head that is parsed at once is not counted: all
connections together hold few bytes of these, and a terminate has such a head.
"""

from __future__ import annotations

from typing import Final, Protocol

MAX_LARGE_HEADS_BYTES: Final = 67_108_864
"""Bytes of large request heads that are held at a time; beyond it the connection with the oldest is aborted."""


class Holder(Protocol):
    """A connection that can be aborted."""

    def abort(self) -> None: ...


class LargeHeads:
    """The connections with a large head, the oldest first."""

    def __init__(self, limit: int = MAX_LARGE_HEADS_BYTES) -> None:
        self._limit = limit
        self._sizes: dict[Holder, int] = {}
        self.total = 0
        """Bytes of all large heads."""

    def hold(self, holder: Holder, size: int) -> None:
        """Count the head of a connection, which has `size` bytes so far."""
        self.total += size - self._sizes.get(holder, 0)
        self._sizes[holder] = size
        while self.total > self._limit:
            oldest = next(iter(self._sizes))
            self.release(oldest)
            oldest.abort()

    def release(self, holder: Holder) -> None:
        """Stop counting the head of a connection."""
        self.total -= self._sizes.pop(holder, 0)
