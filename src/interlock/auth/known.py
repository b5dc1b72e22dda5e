"""The cache of what requests ask about tenants, hosts and tokens, checked against the generation of the store."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from interlock.ports import Access

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Known(Generic[K, V]):
    """Values that were read from the store, until a commit revokes anything.

    `Access.revocations` is the generation: each revoking commit raises it. A reader notes the generation before it
    reads, and a value that was read in an earlier generation is not kept.

    Args:
        access: has the generation.
        most: values kept at a time; one more empties the cache.
    """

    def __init__(self, access: Access, most: int) -> None:
        self._access = access
        self._most = most
        self._generation = access.revocations
        self._found: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._found)

    @property
    def generation(self) -> int:
        """The generation that a read begins in."""
        return self._access.revocations

    def get(self, key: K) -> V | None:
        """Return the value of this generation; None if there is none."""
        if self._generation != self._access.revocations:
            self._found.clear()
            self._generation = self._access.revocations
        return self._found.get(key)

    def keep(self, key: K, value: V, generation: int) -> None:
        """Keep a value that was read, unless anything was revoked since its generation."""
        if generation != self._access.revocations:
            return
        if self._generation != generation or len(self._found) >= self._most:
            self._found.clear()
            self._generation = generation
        self._found[key] = value

    def clear(self) -> None:
        """Forget every value."""
        self._found.clear()
