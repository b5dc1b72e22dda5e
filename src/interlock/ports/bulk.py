"""Decisions about many runs, which a background job carries out and continues after a restart."""

from __future__ import annotations

from collections.abc import Awaitable
from enum import StrEnum
from typing import Final, Protocol

from interlock.rules.model import Actor
from interlock.rules.values import value


class BulkKind(StrEnum):
    """A decision about a set of runs of an automation."""

    RUN_PAUSED = "run_paused"
    """Start the runs that its circuit breaker has paused, oldest first."""
    CANCEL_PAUSED = "cancel_paused"
    """Terminate the runs that its circuit breaker has paused."""
    TERMINATE_ACTIVE = "terminate_active"
    """Terminate all active runs."""


PAUSED: frozenset[BulkKind] = frozenset({BulkKind.RUN_PAUSED, BulkKind.CANCEL_PAUSED})


EVERY_AUTOMATION: Final = ""
"""The `automation` of a decision about all runs of a revoked tenant. No automation has this id."""


@value(frozen=True, slots=True, kw_only=True)
class BulkAction:
    """A decision and its actor. It applies to the runs that exist when it is stored, and to no later ones."""

    id: str
    automation: str
    """`EVERY_AUTOMATION`: the runs of all automations of the tenant."""
    kind: BulkKind
    actor: Actor
    reason: str = ""


class Bulk(Protocol):
    """The decisions in progress."""

    def left(self) -> Awaitable[None]:
        """Wait until a decision may be in progress. The first call returns immediately."""
        ...

    def proceed(self, at: int) -> Awaitable[int]:
        """Carry out the next batch of each tenant's oldest decision.

        Returns:
            The number of decisions that it continued; 0 if none is in progress.
        """
        ...
