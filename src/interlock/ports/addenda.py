"""Addenda: later findings about steps whose outcome was in doubt. They are added to the record, and never changed."""

from __future__ import annotations

from collections.abc import Awaitable
from enum import StrEnum
from typing import Protocol

from interlock.ports.audit import AuditEntry
from interlock.rules.model import Actor, Ref
from interlock.rules.values import value


class AddendumFinding(StrEnum):
    """The result of asking the receiver."""

    HAPPENED = "HAPPENED"
    DID_NOT_HAPPEN = "DID_NOT_HAPPEN"
    STILL_UNKNOWN = "STILL_UNKNOWN"
    """The receiver was asked, without an answer."""


@value(frozen=True, slots=True, kw_only=True)
class Addendum:
    """One finding about one step. It does not change the recorded outcome."""

    ref: Ref
    position: int
    finding: AddendumFinding
    actor: Actor
    at: int
    attempt: int = 0
    """The attempt that it is about, from 1; 0: all attempts."""
    item: str = ""
    """The item; empty for the step as a whole."""
    note: str = ""
    number: int = 0
    """Its number among the addenda of its run, from 1; the store assigns it."""


class AddendumReads(Protocol):
    """The reads of addenda."""

    async def of(self, ref: Ref) -> list[Addendum]:
        """Return the addenda of a run, oldest first."""
        ...


class Addenda(AddendumReads, Protocol):
    """The addenda of runs. They are deleted together with their run."""

    def add(self, addendum: Addendum, audit: AuditEntry) -> Awaitable[Addendum | None]:
        """Append an addendum, and return it with its number; None if there is no such run.

        A caller that lost the answer retries. So an addendum that repeats the newest one about the same entry, by the
        same client and within a day, is not added: the method returns the newest one and writes nothing.

        Raises:
            FailedPrecondition: The run has the maximum number of addenda.
            Unavailable: The disk is full, or the store is closing.
        """
        ...
