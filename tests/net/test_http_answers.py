"""What comes back: complete answers, and hostile ones within bounds of size and time."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from dataclasses import replace
from functools import partial

import pytest

from interlock.ports import HttpFailed, HttpFailureKind, HttpRequest, HttpResponse, Phase, Progress
from tests.net.clients import get, local, post, until
from tests.receivers import CLOSE, HANG, RESET, Answer, Behaviour, Cut, Drip, Receiver

pytestmark = pytest.mark.anyio

ENDLESS = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"


async def fetch(
    behaviour: Behaviour, *, timeout: float = 10.0, max_response: int = 250_000
) -> tuple[HttpResponse | HttpFailed, Progress]:
    progress = Progress()
    async with Receiver(behaviour) as receiver, local() as http:
        try:
            answer: HttpResponse | HttpFailed = await http.send(
                get(receiver.url(), timeout=timeout, max_response=max_response), progress
            )
        except HttpFailed as failed:
            answer = failed
            if isinstance(behaviour, Drip):
                await receiver.closed(0)
        return answer, progress


async def kind_of(behaviour: Behaviour, *, timeout: float = 10.0, max_response: int = 250_000) -> HttpFailureKind:
    answer, _ = await fetch(behaviour, timeout=timeout, max_response=max_response)
    assert isinstance(answer, HttpFailed), answer
    return answer.kind


async def test_what_is_sent_arrives_as_it_was_given() -> None:
    async with Receiver(Answer.json({"ok": True}, 202)) as receiver, local() as http:
        headers = {"Idempotency-Key": "i:1:2:3", "Content-Type": "application/json"}
        request = HttpRequest("POST", receiver.url("/a%20b?c=d"), headers, b'{"n":1}')
        response = await http.send(request, Progress())
        assert (response.status, response.body) == (202, b'{"ok": true}')
        assert response.headers["content-type"] == "application/json"
        (received,) = receiver.requests
        assert (received.method, received.path, received.body) == ("POST", "/a%20b?c=d", b'{"n":1}')
        assert received.headers["idempotency-key"] == "i:1:2:3"
        assert received.headers["content-length"] == "7"
        assert received.headers["host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
async def test_each_method_goes_with_and_without_a_body(method: str) -> None:
    async with Receiver(Answer(204)) as receiver, local() as http:
        for body in (b"", b"x", b"y" * 3_000_000):
            progress = Progress()
            response = await http.send(HttpRequest(method, receiver.url(), {}, body), progress)
            assert response.status == 204
            assert progress.phase is Phase.DONE
            assert receiver.requests[-1].method == method
            assert receiver.requests[-1].body == body


async def test_every_byte_is_counted() -> None:
    async with Receiver() as receiver, local() as http:
        for request in (get(receiver.url()), post(receiver.url()), post(receiver.url(), b"x" * 200_000)):
            before, progress = receiver.bytes_received, Progress()
            await http.send(request, progress)
            assert progress.bytes_written == receiver.bytes_received - before


async def test_an_answer_in_gzip_is_unpacked() -> None:
    body = gzip.compress(b"hello" * 100)
    answer, _ = await fetch(Answer(200, body, {"Content-Encoding": "gzip"}))
    assert isinstance(answer, HttpResponse)
    assert answer.body == b"hello" * 100


async def test_an_answer_of_just_the_allowed_size_is_complete() -> None:
    answer, _ = await fetch(Answer(200, b"x" * 250_000))
    assert isinstance(answer, HttpResponse)
    assert len(answer.body) == 250_000


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("wire", "body", "coding"),
    [
        pytest.param(OK + b"!!!", b"ok", "", id="three bytes after the body"),
        pytest.param(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"ok", "", id="a second answer"),
        pytest.param(OK + b"x" * 400_000, b"ok", "", id="a flood after the body"),
        pytest.param(OK.replace(b"\r\n\r\n", b"\r\nX: " + b"y" * 60_000 + b"\r\n\r\n"), b"ok", "", id="a long field"),
        pytest.param(OK.replace(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * 9_000 + b"\r\n"), b"ok", "", id="many fields"),
        pytest.param(OK.replace(b"\r\n", b"\n"), b"ok", "", id="bare line feeds"),
        pytest.param(OK.replace(b"\r\n\r\n", b"\r\nX\x00Y: 1\r\n\r\n"), b"ok", "", id="a field that is none"),
        pytest.param(OK.replace(b"\r\n\r\n", b"\r\nX: a\x01b\r\n y\r\n\r\n"), b"ok", "", id="a folded field"),
        pytest.param(OK.replace(b"\r\n\r\n", b"\r\ncontent-length: 2\r\n\r\n"), b"ok", "", id="the length twice"),
        pytest.param(OK.replace(b": 2", b":\r\n\t2"), b"ok", "", id="a folded length"),
        pytest.param(
            CHUNKED.replace(b" ch", b"\n \r\n ch") + b"\r\n2\r\nok\r\n0\r\n\r\n", b"ok", "", id="a folded coding"
        ),
        pytest.param(OK.replace(b" OK", b""), b"ok", "", id="no reason"),
        pytest.param(OK.replace(b"Length:", b"Length :"), b"ok", "", id="a space before the colon"),
        pytest.param(OK.replace(b"1.1", b"1.0"), b"ok", "", id="HTTP/1.0"),
        pytest.param(b"\r\n\r\n" + OK, b"ok", "", id="empty lines before it"),
        pytest.param(CHUNKED + b"\r\n2\r\nok\r\n0\r\n\r\n", b"ok", "", id="chunks"),
        pytest.param(CHUNKED + b"\r\n2 ;a=b\nok\n0\r\n", b"ok", "", id="sloppy chunks"),
        pytest.param(CHUNKED + b"\r\n2\r\nok\r\n0\r\nDigest: x\r\n\r\n", b"ok", "", id="trailers"),
        pytest.param(CHUNKED + b"\r\n2\r\nok\r\n0\r\n\x00\xff", b"ok", "", id="broken trailers"),
        pytest.param(CHUNKED + b"\r\n2\r\nok\r\n0\r\n" + b"X: y\r\n" * 99_999, b"ok", "", id="endless trailers"),
        pytest.param(OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: br\r\n\r\n"), b"ok", "br", id="br"),
        pytest.param(
            OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"), b"ok", "gzip", id="no gzip at all"
        ),
        pytest.param(
            OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: " + b"a," * 999 + b"\xff\r\n\r\n"),
            b"ok",
            "unknown",
            id="a coding without a name",
        ),
        pytest.param(
            OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip, br\r\n\r\n"), b"ok", "gzip, br", id="two codings"
        ),
        pytest.param(OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: identity\r\n\r\n"), b"ok", "", id="identity"),
        pytest.param(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b"", "", id="204 with a length"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"", "", id="304 with a length"),
        pytest.param(b"HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n", b"", "", id="a status of no class"),
    ],
)
async def test_a_final_status_and_a_framed_body_settle_the_attempt(wire: bytes, body: bytes, coding: str) -> None:
    """Whatever follows, and however sloppy the rest is. Only a strict answer leaves its connection in use."""
    async with Receiver(Answer.raw(wire), Answer()) as receiver, local() as http:
        progress = Progress()
        response = await http.send(post(receiver.url()), progress)
        assert (response.body, response.coding) == (body, coding)
        assert (response.status, progress.phase) == (progress.status, Phase.DONE)
        assert (await http.send(post(receiver.url()), Progress())).body == b""


def _is_reading(progress: Progress) -> bool:
    return progress.phase is Phase.READING


async def test_an_answer_that_ends_with_its_connection_is_complete_only_if_that_ends_in_order() -> None:
    for is_reset in (False, True):
        async with Receiver(Answer.raw(b"HTTP/1.1 200 OK\r\n\r\nall")) as receiver, local() as http:
            progress = Progress()
            task = asyncio.create_task(http.send(post(receiver.url()), progress))
            await until(partial(_is_reading, progress))
            receiver.connections[0].end(is_reset=is_reset)
            if is_reset:
                with pytest.raises(HttpFailed) as failed:
                    await task
                assert failed.value.kind is HttpFailureKind.RESET
            else:
                assert (await task).body == b"all"
            assert progress.status == 200


async def test_interim_answers_are_passed_over() -> None:
    answer, progress = await fetch(
        Answer.raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    )
    assert isinstance(answer, HttpResponse)
    assert (answer.body, progress.status) == (b"ok", 200)


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(Answer(200, b"x" * 250_001), id="a byte too many"),
        pytest.param(Drip(piece=ENDLESS), id="endless chunks"),
        pytest.param(
            Drip(head=b"HTTP/1.1 200 OK\r\n\r\n", piece=b"x" * 10_000), id="endless until the connection ends"
        ),
        pytest.param(
            Answer(200, gzip.compress(bytes(50_000_000)), {"Content-Encoding": "gzip"}), id="gzip of 50 MB of zeros"
        ),
        pytest.param(
            Answer(200, gzip.compress(gzip.compress(bytes(9_000_000))) * 30, {"Content-Encoding": "gzip"}),
            id="many gzip members",
        ),
        pytest.param(Answer.raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"), id="a long field"),
        pytest.param(Answer.raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 15_000 + b"\r\n"), id="many fields"),
        pytest.param(
            Answer(200, zlib.compress(bytes(50_000_000)), {"Content-Encoding": "deflate"}), id="deflate of 50 MB"
        ),
        pytest.param(Answer(200, b"", {f"X-{n}": "y" * 1000 for n in range(70)}), id="a large head"),
    ],
)
async def test_too_large_is_cut_off(behaviour: Behaviour) -> None:
    answer, progress = await fetch(behaviour, max_response=250_000 if "many" not in str(behaviour) else 1000)
    assert isinstance(answer, HttpFailed)
    assert answer.kind is HttpFailureKind.TOO_LARGE
    assert progress.status == 200


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_not_http_is_a_protocol_failure(wire: bytes) -> None:
    assert await kind_of(Answer.raw(wire)) is HttpFailureKind.PROTOCOL


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 200),
        (b"HTTP/1.1 500 No\r\nContent-Length: -1\r\n\r\nxx", 500),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 410),
        (CHUNKED + b"\r\nzz\r\n", 200),
        (CHUNKED + b"\r\n" + b"1" * 5_000, 200),
        (b"HTTP/1.1 201 OK\r\nX: " + b"y" * 70_000, 201),
        (b"HTTP/1.1 201 OK\r\nContent-Length: 99999999999999999999999999\r\n\r\n", 201),
        (b"HTTP/1.1 103 Hints\r\nX: " + b"y" * 70_000, None),
        (b"HTTP/1.1 103 Hints\r\n\r\n" * 65, None),
        (b"SSH-2.0-OpenSSH_9.2\r\n", None),
    ],
)
async def test_a_violation_still_records_the_status(wire: bytes, status: int | None) -> None:
    answer, progress = await fetch(Answer.raw(wire))
    assert isinstance(answer, HttpFailed)
    assert answer.kind in (HttpFailureKind.PROTOCOL, HttpFailureKind.TOO_LARGE)
    assert progress.status == status


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(HANG, id="nothing"),
        pytest.param(Cut(Answer(200, b"x" * 100), keep=3), id="the head and a bit"),
        pytest.param(Drip(), id="a byte at a time"),
        pytest.param(Drip(head=b"", piece=b"H"), id="a head without end"),
    ],
)
async def test_the_deadline_covers_everything(behaviour: Behaviour) -> None:
    kind = await kind_of(behaviour, timeout=0.3, max_response=10**9)
    assert kind in (HttpFailureKind.TIMEOUT, HttpFailureKind.PROTOCOL)
    assert kind is HttpFailureKind.TIMEOUT or behaviour == Drip(head=b"", piece=b"H")


async def test_the_time_limit_starts_when_the_request_is_sent() -> None:
    """Each limit is zero once: only what it covers can then fail by it."""
    for kept in (False, True):
        async with Receiver(*([Answer()] if kept else []), HANG) as receiver, local() as http:
            if kept:
                await http.send(post(receiver.url()), Progress())
            progress = Progress()
            with pytest.raises(HttpFailed) as failed:
                await http.send(post(receiver.url(), timeout=0.0), progress)
            assert (failed.value.kind, progress.phase) == (HttpFailureKind.TIMEOUT, Phase.WAITING)
            assert failed.value.message == "no complete answer within 0 s after the request was sent"


async def test_the_time_limit_of_connecting_covers_everything_before_that() -> None:
    async with Receiver(Answer()) as receiver, local() as http:
        request = replace(post(receiver.url()), connect_timeout=0.0)
        progress = Progress()
        with pytest.raises(HttpFailed) as failed:
            await http.send(request, progress)
        assert failed.value.kind is HttpFailureKind.CONNECT
        assert (progress.bytes_written, receiver.bytes_received) == (0, 0)
        await http.send(post(receiver.url()), Progress())
        assert (await http.send(request, Progress())).status == 200  # a kept connection needs none of it


@pytest.mark.parametrize("behaviour", [RESET, CLOSE, Answer.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")])
async def test_a_connection_that_ends_early_is_a_reset(behaviour: Behaviour) -> None:
    if isinstance(behaviour, Answer):
        progress = Progress()
        async with Receiver(behaviour) as receiver, local() as http:
            task = asyncio.create_task(http.send(get(receiver.url()), progress))
            await receiver.received(1)
            receiver.connections[0].reset()
            with pytest.raises(HttpFailed) as failed:
                await task
            assert failed.value.kind is HttpFailureKind.RESET
    else:
        assert await kind_of(behaviour) is HttpFailureKind.RESET


async def test_an_early_answer_to_a_long_request_is_taken_and_the_rest_not_sent() -> None:
    """The remote refuses a body without reading it."""
    refused = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
    async with Receiver(stalled=True) as receiver, local() as http:
        progress = Progress()
        task = asyncio.create_task(http.send(post(receiver.url(), b"x" * 32_000_000), progress))
        await receiver.connected(1)
        receiver.connections[0].write(refused)
        assert (await task).status == 413
        receiver.resume()
        await receiver.closed(0)
        assert receiver.bytes_received <= progress.bytes_written < 32_000_000
