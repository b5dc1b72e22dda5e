"""A cache of rows that are read far more often than written; a commit that changes a row removes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, Protocol, TypeVar


class Documented(Protocol):
    """A row whose size is that of its document."""

    @property
    def document(self) -> bytes: ...


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Documented)

MAX_KEPT_ROWS: Final = 512
MAX_KEPT_DOCUMENT_BYTES: Final = 64 * 1024
"""Maximum size of a cached row, so that the cache stays below 32 MiB. A larger row is read each time."""


class Kept(Generic[K, V]):
    """The rows that `read` returned, until they are removed.

    Misses are not cached: callers choose the keys and could flood the cache. A row that was read during a change is not
    cached either, because it may be the row before the change.
    """

    def __init__(self, read: Callable[[K], Awaitable[V | None]]) -> None:
        self._read = read
        self._found: dict[K, V] = {}
        self._changes = 0

    async def get(self, key: K) -> V | None:
        found = self._found.get(key)
        if found is None:
            changes = self._changes
            found = await self._read(key)
            if found is not None and len(found.document) <= MAX_KEPT_DOCUMENT_BYTES and changes == self._changes:
                if len(self._found) >= MAX_KEPT_ROWS:
                    self._found.clear()
                self._found[key] = found
        return found

    def forget(self, key: K) -> None:
        """Remove a row. The commit that changes the row calls this before any caller has an answer."""
        self._changes += 1
        self._found.pop(key, None)
