"""Raw bytes to a real server over a socket, and what comes back until it closes or falls silent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 20.0
"""Seconds until a wait gives up, so that a broken test fails instead of hanging. No test passes by it."""


@dataclass
class Response:
    """One answer, as it was framed."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def tree(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str:
        return dict(self.headers).get(name, "")


@dataclass
class RawConnection:
    """A connection that says exactly what it is told to."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    interim: list[int] = field(default_factory=list)

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def response(self, *, is_head: bool = False) -> Response | None:
        """The next final answer; None if the server closes first."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await self._one(is_head=is_head)
                if found is None or found.status >= 200:
                    return found
                self.interim.append(found.status)

    async def responses(self) -> list[Response]:
        """All answers until the server closes the connection."""
        found = []
        while (response := await self.response()) is not None:
            found.append(response)
        return found

    async def _one(self, *, is_head: bool) -> Response | None:
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        line, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
        version, status, *_ = line.split(" ", 2)
        assert version == "HTTP/1.1", line
        headers = [(name.lower(), value) for name, value in (field.split(": ", 1) for field in fields)]
        named = dict(headers)
        body = b""
        if not is_head and named.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readexactly(2)
        elif not is_head and "content-length" in named:
            body = await self.reader.readexactly(int(named["content-length"]))
        return Response(int(status), headers, body)

    def abort(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def line_to(url: str) -> AsyncIterator[RawConnection]:
    """A connection to the server at a URL."""
    host, _, port = url.rpartition("/")[2].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()
