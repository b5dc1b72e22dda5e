"""The receiver, in a process of its own: answers webhooks, or holds them open and tells when they are closed.

    python -m benchmarks.receiver --ready-file FILE

- `POST /answer`: 200 with a small context, at once.
- `POST /hold`: no answer.
- `GET /arrived`, `GET /closed`: JSON, from execution id to the time at which a held request had arrived in full, and at
  which its connection was seen closed, in seconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import cast

import httptools
import uvloop

from benchmarks.processes import serve_until_ended


def response(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("ascii") + body


ANSWER = response(b'{"version":"v1","context":{"ticket":"INC-1"}}')
KEY = b"idempotency-key"


class Seen:
    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}
        self.closed: dict[str, float] = {}


class Line(asyncio.Protocol):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._path = b""
        self._execution = ""
        self._is_held = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_held:
            self._seen.closed[self._execution] = time.perf_counter()

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_header(self, name: bytes, value: bytes) -> None:
        # {installation}:{execution}:{step}:{occurrence}
        if name.lower() == KEY:
            self._execution = value.decode("ascii").split(":")[1]

    def on_message_complete(self) -> None:
        assert self._transport is not None
        if self._path == b"/hold":
            self._is_held = True
            self._seen.arrived[self._execution] = time.perf_counter()
        elif self._path == b"/arrived":
            self._transport.write(response(json.dumps(self._seen.arrived).encode()))
        elif self._path == b"/closed":
            self._transport.write(response(json.dumps(self._seen.closed).encode()))
        else:
            self._transport.write(ANSWER)


async def serve(ready_file: Path) -> None:
    seen = Seen()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Line(seen), "127.0.0.1", 0, backlog=2048)
    await serve_until_ended(server, ready_file)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ready-file", type=Path, required=True)
    uvloop.run(serve(parser.parse_args().ready_file))


if __name__ == "__main__":
    main()
