"""A small real HTTP/1.1 server on 127.0.0.1: the receiver of every test that sends something.

    async with Receiver(Answer.json({"ok": True})) as receiver:
        ...                               # send to receiver.url("/path")
        await receiver.received(1)        # until one request has arrived in full
        assert receiver.requests[0].json() == {...}

It does as it is told by its behaviours, one per request in order, the last one for all that follow: an `Answer`, a
`Held` one (given when the test says `release()`), `Cut` short, `Drip`ped, `HANG`, `RESET`, `CLOSE`, or a function of
the request that returns one of these. Nothing here sleeps: each `await` ends with an event.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Self, cast

import httptools

PATIENCE = 10.0
"""Seconds until a wait gives up, so that a broken test fails instead of hanging. No test passes by it."""

_REASONS = {200: "OK", 202: "Accepted", 204: "No Content", 302: "Found", 404: "Not Found", 500: "Internal Server Error"}


@dataclass(slots=True)
class Received:
    """A request as it arrived. `at` is in seconds of the loop's clock, when its last byte came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    connection: int

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer, at once."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    wire: bytes = b""

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Answer:
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    @classmethod
    def raw(cls, wire: bytes) -> Answer:
        """These very bytes, for what an honest server would not say."""
        return cls(wire=wire)

    def encoded(self) -> bytes:
        return self.wire or self.head() + self.body

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


@dataclass(frozen=True, slots=True)
class Held:
    """An answer that is given when the test calls `release()`."""

    answer: Answer = Answer()


@dataclass(frozen=True, slots=True)
class Cut:
    """The head and the first `keep` bytes of the body; then nothing, and the connection stays open."""

    answer: Answer
    keep: int = 0


@dataclass(frozen=True, slots=True)
class Drip:
    """`head`, then `piece` once in every turn of the loop, without end."""

    head: bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece: bytes = b"1\r\nx\r\n"


class Refusal(Enum):
    """Ways to give no answer."""

    HANG = "keep the connection open and say nothing"
    RESET = "reset the connection (RST)"
    CLOSE = "close the connection (FIN)"


HANG, RESET, CLOSE = Refusal.HANG, Refusal.RESET, Refusal.CLOSE

Fixed = Answer | Held | Cut | Drip | Refusal
Behaviour = Fixed | Callable[[Received], Fixed]


class Receiver:
    """The server. `tls` makes it speak HTTPS; `stalled` makes it accept connections and read nothing."""

    def __init__(
        self, *behaviours: Behaviour, tls: ssl.SSLContext | None = None, stalled: bool = False, name: str = "127.0.0.1"
    ) -> None:
        self.requests: list[Received] = []
        self.connections: list[ReceiverConnection] = []
        self.stalled = stalled
        self._behaviours = list(behaviours or (Answer(),))
        self._next = 0
        self._paths: dict[str, Behaviour] = {}
        self._held: list[tuple[ReceiverConnection, Answer]] = []
        self._released = 0
        self._tls = tls
        self._name = name
        self._server: asyncio.Server | None = None
        self._changed: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: ReceiverConnection(self), "127.0.0.1", 0, ssl=self._tls, backlog=1024
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self.connections:
            connection.reset()
        await self._until(lambda: all(connection.is_closed for connection in self.connections))

    # what the test tells it

    def url(self, path: str = "/") -> str:
        return f"{'https' if self._tls else 'http'}://{self._name}:{self.port}{path}"

    def then(self, *behaviours: Behaviour) -> None:
        """From the next request on, these instead of what was left."""
        self._behaviours = list(behaviours)
        self._next = 0

    def on(self, path: str, behaviour: Behaviour) -> None:
        """One behaviour for every request to `path` (compared without its query), whatever the others are."""
        self._paths[path] = behaviour

    def release(self) -> None:
        """Give every answer that is held."""
        held, self._held = self._held, []
        for connection, answer in held:
            connection.write(answer.encoded())

    def resume(self) -> None:
        """Read again, after `stalled`."""
        self.stalled = False
        for connection in self.connections:
            connection.resume_reading()

    # what it has seen

    @property
    def bytes_received(self) -> int:
        """Of plain text, over all connections."""
        return sum(connection.bytes_received for connection in self.connections)

    async def connected(self, count: int) -> None:
        """Wait until `count` connections have been made in all."""
        await self._until(lambda: len(self.connections) >= count)

    async def received(self, count: int) -> None:
        """Wait until `count` requests have arrived in full."""
        await self._until(lambda: len(self.requests) >= count)

    async def got_bytes(self, count: int) -> None:
        """Wait until `count` bytes have arrived in all."""
        await self._until(lambda: self.bytes_received >= count)

    async def closed(self, index: int = 0) -> None:
        """Wait until the peer has closed or reset connection `index`, counted from 0."""
        await self._until(lambda: len(self.connections) > index and self.connections[index].is_closed)

    # what its connections tell it

    def behaviour(self, request: Received) -> Fixed:
        chosen = self._paths.get(request.path.partition("?")[0])
        if chosen is None:
            chosen = self._behaviours[min(self._next, len(self._behaviours) - 1)]
            self._next += 1
        return chosen(request) if callable(chosen) else chosen

    def hold(self, connection: ReceiverConnection, answer: Answer) -> None:
        self._held.append((connection, answer))

    def changed(self) -> None:
        waiting, self._changed = self._changed, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def _until(self, condition: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            while not condition():
                future: asyncio.Future[None] = loop.create_future()
                self._changed.append(future)
                await future


class ReceiverConnection(asyncio.Protocol):
    """One connection, and what came over it."""

    def __init__(self, receiver: Receiver) -> None:
        self.bytes_received = 0
        self.is_closed = False
        self.is_readable = True
        """False once the peer sent something that is not HTTP/1.1; it is counted, and not answered."""
        self.error: Exception | None = None
        """Set once closed, if the peer reset the connection."""
        self._receiver = receiver
        self._index = -1
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._writable = True
        self._begin()

    def _begin(self) -> None:
        self._path = b""
        self._fields: dict[str, str] = {}
        self._body: list[bytes] = []

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so
        self._index = len(self._receiver.connections)
        self._receiver.connections.append(self)
        if self._receiver.stalled:
            self._loop.call_soon(self._stall)  # uvloop begins to read only after this returns
        self._receiver.changed()

    def data_received(self, data: bytes) -> None:
        self.bytes_received += len(data)
        if self.is_readable:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError:
                self.is_readable = False
        self._receiver.changed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        self.error = exc
        self._transport = None
        self._receiver.changed()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True

    # httptools

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        request = Received(
            method=self._parser.get_method().decode("ascii"),
            path=self._path.decode("ascii"),
            headers=self._fields,
            body=b"".join(self._body),
            at=self._loop.time(),
            connection=self._index,
        )
        self._begin()
        self._receiver.requests.append(request)
        self._answer(self._receiver.behaviour(request))

    def _answer(self, behaviour: Fixed) -> None:
        match behaviour:
            case Answer():
                self.write(behaviour.encoded())
            case Held(answer):
                self._receiver.hold(self, answer)
            case Cut(answer, keep):
                self.write(answer.head() + answer.body[:keep])
            case Drip(head, piece):
                self.write(head)
                self._drip(piece)
            case Refusal.HANG:
                pass
            case Refusal.RESET:
                self.reset()
            case Refusal.CLOSE:
                if self._transport is not None:
                    self._transport.close()

    # what the receiver does with it

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _stall(self) -> None:
        if self._transport is not None and self._receiver.stalled:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def reset(self) -> None:
        if self._transport is not None:
            linger = struct.pack("ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()

    def end(self, *, is_reset: bool) -> None:
        """Close the connection in order, or reset it."""
        if is_reset:
            self.reset()
        elif self._transport is not None:
            self._transport.close()

    def _drip(self, piece: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if self._writable:
                self._transport.write(piece)
            self._loop.call_soon(self._drip, piece)
