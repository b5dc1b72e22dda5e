"""How long what is recorded of runs is kept."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol


class Retention(Protocol):
    """Removes what is older than its tenant keeps it. The audit record is never touched."""

    def remove(self, at: int) -> Awaitable[int]:
        """One batch for each tenant; returns how many runs it dealt with, 0 once nothing is left to do."""
        ...
