"""What wakes the work in the background, on this node or by another one."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Signal(StrEnum):
    """What there may be news of."""

    CASCADES = "cascades"
    """Orders to terminate a very large tree."""
    BULK_ACTIONS = "bulk_actions"
    """Decisions about many runs."""
    BULK_TERMINATIONS = "bulk_terminations"
    LEASES = "leases"
    AUDIT = "audit"
    """Rows of the audit record without a seal."""


class Signals(Protocol):
    """One flag for each signal. A signal says that there may be something; what there is stands in the store."""

    def send(self, signal: Signal) -> None:
        """Wake who waits for it, or the next one who does."""
        ...

    async def wait(self, signal: Signal) -> None:
        """Return once it was sent since the last call."""
        ...
