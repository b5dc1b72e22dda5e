"""What the clients and the oracle of a world remember of each request and each run."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.rules.model import Execution


@dataclass(slots=True)
class Order:
    """A terminate that a client sent, and what it was told of it."""

    execution: int
    client: str
    reason: str
    mode: str
    cascade: bool
    deadline: str
    sent_at: int
    answered_at: int | None = None
    verdict: str = ""
    state: str = ""
    status: int = 0


@dataclass(slots=True)
class BulkOrder:
    """A bulk termination that a client sent, or a decision that stops runs."""

    client: str
    reason: str
    cascade: bool = False
    sent_at: int = 0


@dataclass(slots=True)
class Started:
    """A start that was sent."""

    automation: str
    sent_at: int
    execution: int | None = None
    answered_at: int | None = None
    key: str = ""
    lease: bool = False
    server_time: int = 0
    """When it was answered, by the clock of the server."""


@dataclass(slots=True)
class Seen:
    """A run as the last commit that was seen has left it."""

    row: Execution
    stopped_at: int | None = None
    """When the commit of its stop was seen."""
    cut: bool = False
    """Its attempt in flight was told to stop."""
    ended_at: int | None = None
    shown_over: str = ""
    """The final state that some client was shown."""
