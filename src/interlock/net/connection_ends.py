"""How a request on a connection of the HTTP client ends, and how the connection does: reset, or idle for too long."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import Any, Final, Protocol

KEEP_ALIVE_SECONDS: Final = 15.0
"""Seconds that an idle connection is kept, unless its receiver says that it closes earlier."""
_KEEP_ALIVE_MARGIN: Final = 1.0
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Cuttable(Protocol):
    """A connection that can be reset."""

    def cut(self) -> None: ...


class Settled(asyncio.Future[None]):
    """Ends when the connection has done what was asked of it. Cancelling it cuts the connection there and then."""

    def __init__(self, connection: Cuttable, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._connection = connection

    def cancel(self, msg: Any | None = None) -> bool:
        cancelled = super().cancel(msg)
        if cancelled:
            self._connection.cut()
        return cancelled


def keep_alive_seconds(keep_alive: str) -> float:
    """Return the seconds that a connection may be idle, from the value of the receiver's `Keep-Alive`."""
    if not keep_alive:
        return KEEP_ALIVE_SECONDS
    for part in keep_alive.split(","):
        name, _, value = part.strip().lower().partition("=")
        if name == "timeout" and value.isascii() and value.isdigit() and len(value) < 10:
            return max(0.0, min(KEEP_ALIVE_SECONDS, int(value) - _KEEP_ALIVE_MARGIN))
    return KEEP_ALIVE_SECONDS


def reset(transport: asyncio.Transport) -> None:
    """Close at once. An ordinary close would write the buffer first, and wait for a receiver that reads nothing."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        try:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            # The loop closes it in its next turn. Until then it must not write what waits in its buffer.
            with socket.socket(fileno=os.dup(raw.fileno())) as same:
                same.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the receiver was first
    transport.abort()
