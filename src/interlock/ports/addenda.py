"""Addenda: what somebody learned later of a step whose outcome was in doubt. Added to the record, and never edited."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from interlock.ports.audit import AuditEntry
from interlock.rules.model import Actor, Ref


class AddendumFinding(StrEnum):
    """What the far end, once asked, turned out to have done."""

    HAPPENED = "HAPPENED"
    DID_NOT_HAPPEN = "DID_NOT_HAPPEN"
    STILL_UNKNOWN = "STILL_UNKNOWN"
    """Somebody asked, and it could not be found out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addendum:
    """One finding about one step. The recorded outcome stays as it is beside it."""

    ref: Ref
    position: int
    finding: AddendumFinding
    actor: Actor
    at: int
    attempt: int = 0
    """The attempt that it is about, from 1; 0: all of them."""
    item: str = ""
    """Which of several items; empty: the step as a whole."""
    note: str = ""
    number: int = 0
    """Its place among those of its run, from 1; given by the store."""


class AddendumReads(Protocol):
    """The reads of addenda."""

    async def of(self, ref: Ref) -> list[Addendum]:
        """Oldest first."""
        ...


class Addenda(AddendumReads, Protocol):
    """The addenda of runs. They go with their run when it is no longer kept, and not before."""

    def add(self, addendum: Addendum, audit: AuditEntry) -> Awaitable[Addendum | None]:
        """Add it behind those that there are; returns it with its number. None: there is no such run.

        A caller who did not hear the answer asks again. So what the newest one about the same thing says already, by
        the same client and within a day, is not added twice: that one is returned, and nothing is written.

        Raises:
            FailedPrecondition: the run has as many as it can have.
            Unavailable: the disk is full, or the store is closing.
        """
        ...
