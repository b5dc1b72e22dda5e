"""uvicorn with an orderly end, and the open files that its connections need."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import uvicorn

ANSWER_PATIENCE: Final = 2.0
"""Seconds for which the port stays open after the drain, for requests in progress."""
ANSWER_POLL_SECONDS: Final = 0.02
"""Seconds between two checks for requests in progress."""
OPEN_FILES: Final = 65_536
"""Open files that the server requests: each connection needs one, and many systems permit only 1,024 by default."""

RESERVED_FILES: Final = 512
"""Open files that are reserved for the database, evaluators and calls to remotes, if the system permits."""
MIN_CONNECTIONS: Final = 64
"""Connections that are accepted even if the limit on open files is lower than the reserve."""


class Server(uvicorn.Server):
    """uvicorn without its signal handlers, and with a callback when the port accepts."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._ready = ready

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await self._serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer requests in progress, then close the port; until then runs can be terminated."""
        loop = asyncio.get_running_loop()
        until = loop.time() + ANSWER_PATIENCE
        while self._is_answering() and not self.force_exit and loop.time() < until:  # noqa: ASYNC110  # no event says so
            await asyncio.sleep(ANSWER_POLL_SECONDS)
        await super().shutdown(sockets)

    def _is_answering(self) -> bool:
        return any(getattr(connection, "is_answering", False) for connection in self.server_state.connections)


class ServerConfig(uvicorn.Config):
    """uvicorn's settings, and the maximum number of connections."""

    max_connections = MIN_CONNECTIONS


def connections_within(most: int) -> int:
    """Return the number of connections that the limit on open files permits, less the reserve of the server."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(MIN_CONNECTIONS, min(most, soft - RESERVED_FILES))


def permit_files() -> None:
    """Raise the limit on open files to what the server requests, as far as the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
