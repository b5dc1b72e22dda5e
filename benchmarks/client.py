"""A cheap HTTP/1.1 client: requests are bytes made beforehand, answers are cut by Content-Length, and nothing else is
looked at. It costs a fraction of what any server does, so that the server is what is measured.

Two ways to load a server:

- `closed`: a number of connections, each sending its next request when it has its answer. For throughput.
- `opened`: requests come due at a constant rate whether or not the server has answered the last one (no coordinated
  omission): what has to wait for a free connection waits within its latency. For latencies under load.
"""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from benchmarks.histogram import Histogram

Address = tuple[str, int]
Answered = Callable[[int, bytes], None]
"""Told the status and the body of each answer."""

REFUSALS = {429: 8, 503: 14}
"""HTTP status and google.rpc.Code of what is turned away for now."""
LIMIT = 600.0
"""Seconds after which a load that has not ended is given up."""
TICK = 0.001


class Failed(Exception):
    """The server did not do what the benchmark rests on."""


@dataclass(slots=True)
class Load:
    """What came of a load. `seconds` is from the first request to the last answer."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latency: Histogram = field(default_factory=Histogram)
    client_cpu: float = 0.0
    unsent: int = 0
    """Requests that came due while every connection was busy, if such are not kept."""
    bare_refusals: int = 0
    """Answers 429 and 503 without `Retry-After`, or whose body is not a google.rpc.Status."""

    @property
    def count(self) -> int:
        return self.statuses.total()

    @property
    def rate(self) -> float:
        return self.count / self.seconds if self.seconds else 0.0

    def expect(self, status: int = 200) -> Load:
        """Raises Failed if any answer had another status."""
        if set(self.statuses) - {status}:
            raise Failed(f"expected only {status}, got {dict(self.statuses)}")
        return self


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in progress."""

    __slots__ = ("_buffer", "_needed", "_transport", "done", "head", "lost", "since")

    def __init__(self) -> None:
        self.done: Callable[[Connection, int, bytes], None] = _ignore
        self.lost: Callable[[Exception], None] | None = None
        """Told once if the peer closes the connection; code that closes it here sets it to None before."""
        self.since = 0.0
        self.head = b""
        """Of the newest answer."""
        self._buffer = b""
        self._needed = 0
        self._transport: asyncio.Transport | None = None

    def send(self, request: bytes, since: float) -> None:
        assert self._transport is not None
        self.since = since
        self._transport.write(request)

    def close(self) -> None:
        self.lost = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        if len(data) < self._needed:
            self._buffer = data
            return
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._buffer = data
            return
        self.head = data[:end]
        length = content_length(self.head)
        self._needed = end + 4 + length
        if len(data) < self._needed:
            self._buffer = data
            return
        body = data[end + 4 : self._needed]
        self._buffer, self._needed = b"", 0
        self.done(self, int(data[9:12]), body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.lost is not None:
            self.lost(Failed(f"the server closed a connection: {exc or 'end of stream'}"))


def content_length(head: bytes) -> int:
    """The length of the body that follows a head. Raises Failed if the head does not say (RFC 9112 section 6.3)."""
    start = head.find(b"content-length: ")
    if start < 0:
        head = head.lower()
        start = head.find(b"content-length: ")
        if start < 0:
            raise Failed(f"an answer without Content-Length: {head[:200]!r}")
    end = head.find(b"\r\n", start)
    return int(head[start + 16 : end if end >= 0 else len(head)])


def _is_told(head: bytes, status: int, body: bytes) -> bool:
    """Whether a refusal says when to come back, and is the body that its status asks for."""
    try:
        told = json.loads(body)
    except ValueError:
        return False
    is_status = isinstance(told, dict) and told.keys() == {"code", "message", "details"}
    return is_status and told["code"] == REFUSALS[status] and b"\r\nretry-after: " in head.lower()


def _ignore(connection: Connection, status: int, body: bytes) -> None:
    pass


def request(method: str, path: str, body: bytes = b"", *, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A request as bytes. `headers` hold everything but the framing."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if body or method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


async def _connect(address: Address, count: int) -> list[Connection]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Connection, *address))[1] for _ in range(count)]


async def _accept(address: Address, lines: list[Connection]) -> None:
    """Wait until the server has answered once on each line. To be connected is not yet to be accepted: hundreds of new
    connections are a load of their own, and what is measured begins after it."""
    run = _Run(None)
    left = len(lines)

    def done(connection: Connection, status: int, body: bytes) -> None:
        nonlocal left
        left -= 1
        if not left and not run.ended.done():
            run.ended.set_result(None)

    greeting = request("GET", "/healthz", headers=[("Host", f"{address[0]}:{address[1]}")])
    for line in lines:
        line.done, line.lost = done, run.lost
        line.send(greeting, time.perf_counter())
    async with asyncio.timeout(LIMIT):
        await run.ended


class _Run:
    """What both ways of loading share: connections, the record, and the end."""

    def __init__(self, answered: Answered | None) -> None:
        self.load = Load()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answered = answered

    def lost(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)

    def record(self, connection: Connection, status: int, body: bytes) -> float:
        now = time.perf_counter()
        self.load.latency.add(now - connection.since)
        self.load.statuses[status] += 1
        if status in REFUSALS and not _is_told(connection.head, status, body):
            self.load.bare_refusals += 1
        if self._answered is not None:
            self._answered(status, body)
        return now

    async def wait(self, connections: list[Connection]) -> Load:
        started, cpu = time.perf_counter(), _cpu()
        try:
            async with asyncio.timeout(LIMIT):
                await self.ended
        finally:
            for connection in connections:
                connection.close()
        self.load.seconds = time.perf_counter() - started
        self.load.client_cpu = _cpu() - cpu
        return self.load


async def closed(
    address: Address,
    requests: Iterable[bytes],
    *,
    connections: int = 64,
    answered: Answered | None = None,
    pause: float = 0.0,
) -> Load:
    """Send every request once, each connection its next one when it has its answer.

    Args:
        pause: seconds a connection waits after a refusal (any status but 200) before it goes on, as callers do.

    Raises:
        Failed: the server closed a connection, or sent what is not an answer.
        TimeoutError: not all was answered within `LIMIT`.
    """
    run = _Run(answered)
    left: Iterator[bytes] = iter(requests)
    idle = 0

    def go_on(connection: Connection, now: float) -> None:
        nonlocal idle
        following = next(left, None)
        if following is not None:
            connection.send(following, now)
            return
        idle += 1
        if idle == len(lines) and not run.ended.done():
            run.ended.set_result(None)

    def done(connection: Connection, status: int, body: bytes) -> None:
        now = run.record(connection, status, body)
        if pause and status != 200:
            loop.call_later(pause, lambda: go_on(connection, time.perf_counter()))
        else:
            go_on(connection, now)

    loop = asyncio.get_running_loop()
    lines = await _connect(address, connections)
    for line in lines:
        line.done, line.lost = done, run.lost
    for line in lines:
        go_on(line, time.perf_counter())
    return await run.wait(lines)


async def opened(
    address: Address,
    requests: Iterable[bytes],
    *,
    rate: float,
    connections: int = 256,
    answered: Answered | None = None,
    begun: Callable[[], None] | None = None,
    is_kept: bool = True,
) -> Load:
    """Send requests at a constant rate, whatever the server does. Latency counts from the moment a request was due, or
    from when this generator saw that it was, if its own timer was late (at most a tick of 1 ms on a quiet machine).

    Args:
        begun: told when the connections are open and the first request comes due.
        is_kept: what comes due while every connection is busy is sent when one is free; otherwise it is a caller who
            found no line, and counted as `unsent`.
    """
    run = _Run(answered)
    left: Iterator[bytes] = iter(requests)
    waiting: deque[tuple[bytes, float]] = deque()
    sent = 0
    is_over = False

    def done(connection: Connection, status: int, body: bytes) -> None:
        run.record(connection, status, body)
        if waiting:
            connection.send(*waiting.popleft())
        else:
            free.append(connection)
            if is_over and len(free) == len(lines) and not run.ended.done():
                run.ended.set_result(None)

    def tick() -> None:
        nonlocal sent, is_over
        now = time.perf_counter()
        for _ in range(int((now - started) * rate) - sent):
            following = next(left, None)
            if following is None:
                is_over = True
                if len(free) == len(lines) and not run.ended.done():
                    run.ended.set_result(None)
                return
            sent += 1
            if free:
                free.pop().send(following, time.perf_counter())
            elif is_kept:
                waiting.append((following, now))
            else:
                run.load.unsent += 1
        if not run.ended.done():
            loop.call_later(TICK, tick)

    loop = asyncio.get_running_loop()
    lines = await _connect(address, connections)
    await _accept(address, lines)
    free = list(lines)
    for line in lines:
        line.done, line.lost = done, run.lost
    if begun is not None:
        begun()
    started = time.perf_counter()
    loop.call_soon(tick)
    return await run.wait(lines)


class Caller:
    """One connection for one request at a time: what prepares and checks a measurement, and single latencies."""

    def __init__(self, address: Address, headers: Iterable[tuple[str, str]] = ()) -> None:
        self._address = address
        self._headers = tuple(headers)
        self._connection: Connection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def send(self, wire: bytes) -> tuple[int, bytes]:
        """Send a request made beforehand; returns status and body."""
        if self._connection is None:
            (self._connection,) = await _connect(self._address, 1)
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._connection.done = lambda _, status, body: answer.set_result((status, body))
        self._connection.lost = answer.set_exception
        self._connection.send(wire, 0.0)
        try:
            async with asyncio.timeout(LIMIT):
                return await answer
        finally:
            if self._connection is not None:
                self._connection.lost = None

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """Send JSON; returns the JSON of the answer. Raises Failed unless it is 200."""
        wire = request(method, path, b"" if body is None else json.dumps(body).encode(), headers=self._headers)
        status, content = await self.send(wire)
        if status != 200:
            raise Failed(f"{method} {path}: {status} {content[:500].decode(errors='replace')}")
        return json.loads(content)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
