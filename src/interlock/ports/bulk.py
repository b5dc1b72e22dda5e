"""Decisions about many runs at once, which are carried out in the background and outlive a restart."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from interlock.rules.model import Actor


class BulkKind(StrEnum):
    """What is to become of which runs of an automation."""

    RUN_PAUSED = "run_paused"
    """Let those go that its circuit breaker holds back, oldest first."""
    CANCEL_PAUSED = "cancel_paused"
    """Terminate those that its circuit breaker holds back."""
    TERMINATE_ACTIVE = "terminate_active"
    """Terminate all that are active."""


PAUSED: frozenset[BulkKind] = frozenset({BulkKind.RUN_PAUSED, BulkKind.CANCEL_PAUSED})


EVERY_AUTOMATION: Final = ""
"""No automation has this id: a decision with it is about a whole tenant, which is revoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkAction:
    """Who decided what. It is about the runs there are when it is stored, and no later ones."""

    id: str
    automation: str
    """`EVERY_AUTOMATION`: the runs of all automations of the tenant."""
    kind: BulkKind
    actor: Actor
    reason: str = ""


class Bulk(Protocol):
    """The decisions that are not carried out yet."""

    def left(self) -> Awaitable[None]:
        """Wait until there may be one; at first there may."""
        ...

    def proceed(self, at: int) -> Awaitable[int]:
        """Carry out the next batch of each tenant's oldest decision.

        Returns how many decisions were worked on; 0: there are none.
        """
        ...
