"""How many connections callers may have, and which ones are closed to make room for another."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest
from typing import Final, Protocol

MAX_CALLER_CONNECTIONS: Final = 12_000
"""Maximum number of connections. Beyond it the connections that are idle for longest are closed, so that a terminate
can still connect."""
CONNECTIONS_CLOSED_AT_ONCE: Final = 64
"""Idle connections that are closed together when there are too many, so that the search for them is rare."""


class CallerConnection(Protocol):
    """What decides which connections are closed."""

    idle_since: float

    @property
    def is_answering(self) -> bool: ...

    @property
    def is_stream(self) -> bool: ...

    def abort(self) -> None: ...


def close_idle(connections: Iterable[CallerConnection], newcomer: CallerConnection) -> None:
    """Close a batch of connections to make room for a new one.

    The connections that are idle for longest are closed. If none is idle, the oldest event streams are closed, which
    clients can resume.

    Args:
        connections: All open connections.
        newcomer: The new connection, which is not closed.
    """
    others = [connection for connection in connections if connection is not newcomer]
    found = [connection for connection in others if not connection.is_answering]
    if not found:
        found = [connection for connection in others if connection.is_stream]
    for connection in nsmallest(CONNECTIONS_CLOSED_AT_ONCE, found, key=lambda connection: connection.idle_since):
        connection.abort()
