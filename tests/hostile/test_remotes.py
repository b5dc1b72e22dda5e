"""Receivers that flood, drip or break the rules: cut off at a limit, while other runs are terminated as ever.

Every callback of the loop is measured by the suite (`tests.loops`), so each test here also shows that none of them was
long.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from anyio.lowlevel import checkpoint

from interlock.net.answers import AnswerReader
from interlock.net.connections import MAX_SLICE_BYTES, Connection
from interlock.net.trust import tls_context
from interlock.ports import HttpFailed, HttpFailureKind, Progress
from tests.e2e.given import WAIT, automation, call, detail, execute, post, terminate, until
from tests.net.clients import get, local
from tests.net.test_http_tls import Authority
from tests.receivers import Answer, Behaviour, Drip, Receiver
from tests.servers import ServerProcess

pytestmark = pytest.mark.anyio

INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOODS: dict[str, tuple[Behaviour, HttpFailureKind, int | None]] = {
    "interim responses": (Drip(b"", INTERIM * 500), HttpFailureKind.PROTOCOL, None),
    "interim responses, one by one": (Drip(b"", INTERIM), HttpFailureKind.PROTOCOL, None),
    "long interim responses": (
        Drip(b"", INTERIM.replace(b"style", b"s" * 30_000)),
        HttpFailureKind.TOO_LARGE,
        None,
    ),
    "fields": (Drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 5_000), HttpFailureKind.TOO_LARGE, 200),
    "a field": (Drip(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 1_000), HttpFailureKind.TOO_LARGE, 200),
    "empty lines": (Drip(b"", b"\r\n" * 10_000), HttpFailureKind.PROTOCOL, None),
    "tiny chunks": (Drip(CHUNKS, b"1\r\nx\r\n" * 20_000), HttpFailureKind.TOO_LARGE, 200),
    "chunk extensions": (
        Drip(CHUNKS, b"1;" + b"e" * 3_000 + b"\r\nx\r\n"),
        HttpFailureKind.TOO_LARGE,
        200,
    ),
    "a chunk's size": (Drip(CHUNKS, b"0" * 500), HttpFailureKind.PROTOCOL, 200),
    "a body": (Drip(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 60_000), HttpFailureKind.TOO_LARGE, 200),
    "gzip of zeros": (
        Answer(200, gzip.compress(bytes(50_000_000)), {"Content-Encoding": "gzip"}),
        HttpFailureKind.TOO_LARGE,
        200,
    ),
}
SETTLED: dict[str, Behaviour] = {
    "noise after the body": Drip(Answer(200, b"ok").encoded(), b"\x00noise" * 5_000),
    "answers after the answer": Drip(Answer(200, b"ok").encoded(), Answer(200, b"no").encoded() * 500),
    "trailers": Drip(CHUNKS + b"2\r\nok\r\n0\r\n", b"X: y\r\n" * 5_000),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_is_cut_off_and_its_status_is_recorded(name: str) -> None:
    behaviour, kind, status = FLOODS[name]
    progress = Progress()
    async with Receiver(behaviour) as receiver, local() as http:
        with pytest.raises(HttpFailed) as failed:
            await http.send(get(receiver.url(), timeout=60.0), progress)
        assert (failed.value.kind, progress.status) == (kind, status)
        await receiver.closed(0)


@pytest.mark.parametrize("name", SETTLED)
async def test_an_answer_before_a_flood_settles_the_attempt(name: str) -> None:
    async with Receiver(SETTLED[name]) as receiver, local() as http:
        response = await http.send(get(receiver.url(), timeout=60.0), Progress())
        assert (response.status, response.body) == (200, b"ok")
        await receiver.closed(0)


class Wire(asyncio.Transport):
    """A transport to a TLS server in memory: a real one would take a turn of the loop for each tiny record."""

    def __init__(self, server: ssl.SSLContext) -> None:
        super().__init__()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.is_paused = False
        self.is_aborted = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 443) if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.incoming.write(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def abort(self) -> None:
        self.is_aborted = True

    def close(self) -> None:
        self.is_aborted = True


class Forgetful:
    def opened(self, connection: Connection) -> None: ...

    def lost(self, connection: Connection) -> None: ...


async def test_a_flood_of_tiny_tls_records_is_cut_off(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    wire = Wire(authority.server("hooks.example"))
    tls = tls_context(authority.file)
    connection = Connection(asyncio.get_running_loop(), "127.0.0.1", lambda _: True, Forgetful(), tls, "hooks.example")
    connection.connection_made(wire)
    handshake = connection.shake_hands()
    while not handshake.done():
        try:
            wire.server.do_handshake()
        except ssl.SSLWantReadError:
            pass
        connection.data_received(wire.outgoing.read())
    progress = Progress()
    answer = connection.exchange(b"GET / HTTP/1.1\r\n\r\n", AnswerReader("GET", 200_000), progress, 60.0)
    wire.server.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n")
    records = turns = 0
    while not answer.done():
        if not wire.is_paused:
            for _ in range(1_000):
                wire.server.write(b"x")
            records += 1_000
            connection.data_received(wire.outgoing.read())
        turns += 1
        await checkpoint()
    failure = answer.exception()
    assert isinstance(failure, HttpFailed)
    assert failure.kind is HttpFailureKind.TOO_LARGE
    assert (progress.status, wire.is_aborted) == (200, True)
    assert records <= 120_000
    assert turns > records * 23 / MAX_SLICE_BYTES / 2  # it was taken in slices


# --- through the assembled system ---------------------------------------------------------------------------------

OK = Answer.json({"version": "v1", "context": {"n": 1}}).encoded()
TOO_LONG = b"\r\nX: " + b"y" * 70_000
ANSWERS: dict[str, tuple[bytes, str, object]] = {
    "noise": (OK + b"\r\n!", "DONE", {"response": {"n": 1}, "status_code": 200}),
    "long-head": (
        OK.replace(b"\r\n\r\n", b"\r\nX: " + b"y" * 60_000 + b"\r\n\r\n"),
        "DONE",
        {"response": {"n": 1}, "status_code": 200},
    ),
    "coding": (
        Answer(200, b"\xff\x00", {"Content-Encoding": "br"}).encoded(),
        "DONE",
        {"response": "/wA=", "content_encoding": "br", "status_code": 200},
    ),
    "too-long-head": (OK.replace(b"\r\n\r\n", TOO_LONG + b"\r\n\r\n"), "ERROR", "WEBHOOK_ANSWER_NOT_KEPT"),
    "too-large-body": (Answer(200, b"x" * 300_000).encoded(), "ERROR", "WEBHOOK_ANSWER_NOT_KEPT"),
    "no-end": (b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n", "ERROR", "WEBHOOK_ANSWER_NOT_KEPT"),
    "gone": (b"HTTP/1.1 410 Gone" + TOO_LONG + b"\r\n\r\n", "ERROR", "WEBHOOK_GONE"),
}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def server(tmp_path: Path, receiver: Receiver) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(tmp_path, egress=[f"127.0.0.1:{receiver.port}"]) as server:
        yield server


@pytest.fixture
async def api(server: ServerProcess) -> AsyncIterator[httpx2.AsyncClient]:
    async with await server.api() as api:
        yield api


async def calling(api: httpx2.AsyncClient, receiver: Receiver, path: str) -> str:
    """An automation that calls this path once."""
    made = await post(api, "/api/v1/webhooks", {"displayName": path, "url": receiver.url(path)})
    return await automation(api, f"calls {path}", call("one", made["webhook"]["id"]))


@pytest.mark.e2e
async def test_a_final_answer_settles_its_step_at_the_first_call(api: httpx2.AsyncClient, receiver: Receiver) -> None:
    for name, (wire, state, expected) in ANSWERS.items():
        receiver.on(f"/{name}", Answer.raw(wire))
        shown = await until(api, await execute(api, await calling(api, receiver, f"/{name}")), state)
        [step] = shown["steps"]
        assert (step["output"] if state == "DONE" else step["error"]["code"]) == expected, name
        assert len(step["attempts"]) == 1
    assert [request.path for request in receiver.requests] == [f"/{name}" for name in ANSWERS]


@pytest.mark.e2e
async def test_a_202_is_taken_although_its_body_never_comes(api: httpx2.AsyncClient, receiver: Receiver) -> None:
    receiver.then(Answer.raw(b"HTTP/1.1 202 Accepted\r\nContent-Length: 900000\r\n\r\nx"))
    execution = await execute(api, await calling(api, receiver, "/accepts"))
    [step] = (await until(api, execution, "WAITING"))["steps"]
    assert len(step["attempts"]) == 1
    assert len(receiver.requests) == 1


@pytest.mark.e2e
async def test_runs_are_terminated_while_receivers_flood(
    server: ServerProcess, api: httpx2.AsyncClient, receiver: Receiver
) -> None:
    for number, (behaviour, _, _) in enumerate(FLOODS.values()):
        receiver.on(f"/{number}", behaviour)
    floods = [await calling(api, receiver, f"/{number}") for number in range(len(FLOODS))]
    waiting = await automation(api, "waits", WAIT)
    for flood in floods * 4:
        await execute(api, flood)
    began = server.cpu_seconds()
    for _ in range(20):
        execution = await execute(api, waiting)
        assert (await terminate(api, execution)).startswith("accepted")
        assert (await detail(api, execution))["state"] == "TERMINATE"
    # In seconds of the server's own CPU, floods included, so that a busy machine changes nothing.
    assert server.cpu_seconds() - began < 4.0
