"""A remote endpoint that behaves badly, in a process of its own.

    python -m benchmarks.hostile_receiver --ready-file FILE

- `POST /interim`: interim responses (103) without end.
- `POST /early`: calls the callback URL first, and then answers 202.
- `POST /number`: 200 with a number that no double holds.
- `POST /nulls`: 200 with a list of 20,000 nulls.
- `POST /slow`: 200 after ten seconds.
- `POST /quick`: 200 at once.
- `GET /calls`: how many requests each path got, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from benchmarks.client import Caller, content_length, request
from benchmarks.processes import serve_until_ended
from benchmarks.receiver import ANSWER, response

SLOW_SECONDS = 10.0
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n" * 256
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
ANSWERS = {
    "/quick": ANSWER,
    "/number": response(b'{"n":1e400}'),
    "/nulls": response(b'{"manager":[' + b",".join([b"null"] * 20_000) + b"]}"),
}


class Receiver:
    """Answers by path, and counts."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it ends."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
                await reader.readexactly(content_length(head) if b"ength: " in head else 0)
                path = head.split(b" ", 2)[1].decode()
                self.calls[path] += path != "/calls"
                await self.answer(path, head, writer)
                await writer.drain()
        writer.close()

    async def answer(self, path: str, head: bytes, writer: asyncio.StreamWriter) -> None:
        """What this path does."""
        if path == "/interim":
            while True:
                writer.write(INTERIM)
                await writer.drain()
        elif path == "/early":
            await call_back(head)
            writer.write(ACCEPTED)
        elif path == "/slow":
            await asyncio.sleep(SLOW_SECONDS)
            writer.write(ANSWER)
        elif path == "/calls":
            writer.write(response(json.dumps(self.calls).encode()))
        else:
            writer.write(ANSWERS[path])


async def call_back(head: bytes) -> None:
    """Answer at the callback URL that stands in the head."""
    lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    url = urlsplit({name.lower(): value for name, value in lines.items()}[b"webhook-callback-url"].decode())
    caller = Caller((str(url.hostname), int(url.port or 80)))
    fields = [("Host", url.netloc), ("Content-Type", "application/json")]
    await caller.send(request("POST", url.path, b'{"ticket":"INC-1"}', headers=fields))
    caller.close()


async def serve(ready_file: Path) -> None:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, backlog=2048)
    await serve_until_ended(server, ready_file)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ready-file", type=Path, required=True)
    uvloop.run(serve(parser.parse_args().ready_file))


if __name__ == "__main__":
    main()
