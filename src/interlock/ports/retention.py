"""Retention: the removal of old records of runs."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol


class Retention(Protocol):
    """Removes records that are older than the retention of their tenant. It never removes audit rows."""

    def remove(self, at: int) -> Awaitable[int]:
        """Remove one batch of each tenant, and return the number of processed runs; 0 when nothing is left."""
        ...
