"""What an outbound call costs: the guarded client beside a bare protocol without limits, over kept connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import cast

import httptools

from benchmarks.processes import Started, module, running
from benchmarks.report import Figure, Section, at_most
from benchmarks.scale import Setting
from interlock.net.egress import EgressPolicy
from interlock.net.http import GuardedHttp
from interlock.ports import HttpRequest, Progress

AT_ONCE = 64
WARM_UP = 50
BODY = b'{"version":"v1","payload":{"context":{"ticket":"INC-1","who":"Ann"}}}' * 4
HEADERS = {
    "Content-Type": "application/json",
    "Webhook-Version": "v1",
    "Webhook-Id": "7f0c:123456:open:1",
    "Webhook-Event": "c1.webhooks.v1.PayloadWorkflowStep",
    "Webhook-Callback-Url": "http://127.0.0.1:8080/interlock/v1/callbacks/0123456789abcdef0123456789abcdef",
    "Idempotency-Key": "7f0c:123456:open:1",
}

TEXT = (
    "CPU of the calling process for one POST to a local receiver that answers at once, 64 calls at a time over kept "
    "connections. The bare protocol writes prepared bytes and feeds what comes to httptools: no guard, no limits, no "
    "time limit, no account of what was written. The two are measured alternately; shown are their lowest figures."
)


class Bare(asyncio.Protocol):
    """The least that a client on this stack can do."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[bytes] | None = None
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body = body

    def on_message_complete(self) -> None:
        if self._answer is not None:
            self._answer.set_result(self._body)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def call(self, wire: bytes) -> asyncio.Future[bytes]:
        self._answer = asyncio.get_running_loop().create_future()
        if self._transport is not None:
            self._transport.write(wire)
        return self._answer


async def measure(setting: Setting) -> Section:
    directory = setting.directory / "called"
    directory.mkdir(parents=True, exist_ok=True)
    bare: list[float] = []
    ours: list[float] = []
    with running(Started(module("benchmarks.receiver"), directory)) as receiver:
        for _ in range(5):
            bare.append(await _bare(receiver.address, setting.scale.http // 3))
            ours.append(await _ours(receiver.address, setting.scale.http // 3))
    section = Section("Outbound calls", TEXT)
    section.figures.append(
        Figure(
            "CPU of a call",
            f"{min(ours) * 1e6:.0f} µs",
            f"bare protocol {min(bare) * 1e6:.0f} µs",
            f"{min(ours) / min(bare):.1f}",
            at_most(min(ours), 60e-6, "60 µs"),
        )
    )
    return section


async def _bare(address: tuple[str, int], count: int) -> float:
    loop = asyncio.get_running_loop()
    lines = [f"POST /answer HTTP/1.1\r\nHost: {address[0]}:{address[1]}"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    wire = "\r\n".join([*lines, f"Content-Length: {len(BODY)}", "", ""]).encode("ascii") + BODY
    connections = [(await loop.create_connection(Bare, *address))[1] for _ in range(AT_ONCE)]
    free = list(connections)

    async def call() -> None:
        connection = free.pop()
        await connection.call(wire)
        free.append(connection)

    taken = await _cpu(call, count)
    for connection in connections:
        connection.close()
    return taken


async def _ours(address: tuple[str, int], count: int) -> float:
    url = f"http://{address[0]}:{address[1]}/answer"
    async with GuardedHttp(EgressPolicy.parse([address[0]])) as http:

        async def call() -> None:
            await http.send(HttpRequest("POST", url, HEADERS, BODY), Progress())

        await http.send(HttpRequest("POST", url, HEADERS, BODY), Progress())
        return await _cpu(call, count)


async def _cpu(call: Callable[[], Awaitable[None]], count: int) -> float:
    """Seconds of this process's CPU for each call."""

    async def calls(number: int) -> None:
        for _ in range(number):
            await call()

    await asyncio.gather(*(calls(WARM_UP) for _ in range(AT_ONCE)))
    began = time.process_time()
    await asyncio.gather(*(calls(count // AT_ONCE) for _ in range(AT_ONCE)))
    return (time.process_time() - began) / (count // AT_ONCE * AT_ONCE)
