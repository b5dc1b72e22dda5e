"""Rows read far more often than written: kept in memory until a commit of this process changes one."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Generic, Protocol, TypeVar


class Documented(Protocol):
    """A row whose size is that of its document."""

    @property
    def document(self) -> bytes: ...


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Documented)

MOST_KEPT: Final = 512
LARGEST_KEPT: Final = 64 * 1024
"""Bytes of a document; a larger row is read each time, so that all rows kept stay below 32 MiB."""


class Kept(Generic[K, V]):
    """What `read` gave for a key, until it is forgotten. This process alone writes, so nothing else can make it stale.

    What is not there is not kept: strangers choose such keys.
    """

    def __init__(self, read: Callable[[K], V | None]) -> None:
        self._read = read
        self._found: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        found = self._found.get(key)
        if found is None:
            found = self._read(key)
            if found is not None and len(found.document) <= LARGEST_KEPT:
                if len(self._found) >= MOST_KEPT:
                    self._found.clear()
                self._found[key] = found
        return found

    def forget(self, key: K) -> None:
        """To be called by the commit that changes the row, before anybody is told."""
        self._found.pop(key, None)
