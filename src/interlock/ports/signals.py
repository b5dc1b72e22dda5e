"""Signals that wake background jobs, sent by this node or by another one."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Signal(StrEnum):
    """The subject of a signal."""

    CASCADES = "cascades"
    """Cascades through very large trees."""
    BULK_ACTIONS = "bulk_actions"
    """Decisions about many runs (`ports.bulk`)."""
    BULK_TERMINATIONS = "bulk_terminations"
    LEASES = "leases"
    AUDIT = "audit"
    """Rows of the audit record without a seal."""


class Signals(Protocol):
    """One flag for each signal. A signal says that there may be work; the store has the work."""

    def send(self, signal: Signal) -> None:
        """Wake the job that waits for the signal, or the next one that does."""
        ...

    async def wait(self, signal: Signal) -> None:
        """Return when the signal was sent since the last call."""
        ...
