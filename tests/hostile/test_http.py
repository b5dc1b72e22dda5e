"""Requests framed in odd, old and dishonest ways, sent byte by byte to a real socket (RFC 9110, RFC 9112)."""

from __future__ import annotations

import asyncio

import pytest

from interlock.api.connection import MAX_HEAD_BYTES, MAX_HEADER_FIELDS, MAX_TARGET_BYTES
from interlock.api.framing import with_host
from interlock.system import yield_to_loop
from tests.hostile.conftest import Port
from tests.hostile.lines import line_to
from tests.operations.operations_client import WAIT

pytestmark = pytest.mark.anyio

HOST = b"Host: localhost\r\n"
GET = b"GET /healthz HTTP/1.1\r\n" + HOST
CLOSE = b"Connection: close\r\n\r\n"
POST = b"POST /auth/v1/token HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"

# A POST to the token endpoint without a form is 400 in the form of OAuth, and a request that is no HTTP is 400 in ours:
# `o` marks the answers of the application.
FORMS: dict[str, tuple[bytes, list[int | str]]] = {
    "plain": (GET + CLOSE, [200]),
    "HTTP/1.0": (b"GET /healthz HTTP/1.0\r\n" + HOST + b"\r\n", [200]),
    "empty lines first": (b"\r\n\r\n" + GET + CLOSE, [200]),
    "three in a row": (GET + b"\r\n" + GET + b"\r\n" + GET + CLOSE, [200, 200, 200]),
    "more after close": (GET + CLOSE + GET + CLOSE, [200]),
    "garbage after a request": (GET + b"\r\n" + b"\x00\x01garbage\r\n\r\n", [200, 400]),
    "no host": (b"GET /healthz HTTP/1.1\r\n" + CLOSE, [400]),
    "two hosts": (GET + b"Host: other.example\r\n" + CLOSE, [400]),
    "two equal hosts": (GET + HOST + CLOSE, [400]),
    "an empty host": (b"GET /healthz HTTP/1.1\r\nHost:\r\n" + CLOSE, [400]),
    "a host with a path": (b"GET /healthz HTTP/1.1\r\nHost: localhost/x\r\n" + CLOSE, [400]),
    "a host with a user": (b"GET /healthz HTTP/1.1\r\nHost: a@localhost\r\n" + CLOSE, [400]),
    "absolute form": (b"GET http://localhost:1/healthz HTTP/1.1\r\n" + HOST + CLOSE, [200]),
    "absolute form without a path": (b"GET http://localhost HTTP/1.1\r\n" + HOST + CLOSE, [404]),
    "absolute form, other Host": (b"GET http://localhost/healthz HTTP/1.1\r\nHost: x.example\r\n" + CLOSE, [200]),
    "absolute form of another": (b"GET http://x.example/healthz HTTP/1.1\r\n" + HOST + CLOSE, [404]),
    "absolute form, no Host": (b"GET http://localhost/healthz HTTP/1.1\r\n" + CLOSE, [400]),
    "absolute form, two Hosts": (b"GET http://localhost/healthz HTTP/1.1\r\n" + HOST + HOST + CLOSE, [400]),
    "absolute form with a user": (b"GET http://a@localhost/healthz HTTP/1.1\r\n" + HOST + CLOSE, [400]),
    "absolute form of FTP": (b"GET ftp://localhost/healthz HTTP/1.1\r\n" + HOST + CLOSE, [400]),
    "a fragment": (b"GET /healthz#x HTTP/1.1\r\n" + HOST + CLOSE, [400]),
    "CONNECT": (b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n", [501]),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\n" + HOST + CLOSE, [204]),
    "GET *": (b"GET * HTTP/1.1\r\n" + HOST + CLOSE, [400]),
    "an unknown method": (b"BREW /healthz HTTP/1.1\r\n" + HOST + CLOSE, [400]),
    "HTTP/0.9": (b"GET /healthz\r\n\r\n", [505]),
    "HTTP/1.2": (b"GET /healthz HTTP/1.2\r\n" + HOST + b"\r\n", [400]),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), [400]),
    "bare line feeds": (b"GET /healthz HTTP/1.1\nHost: localhost\n\n", [400]),
    "a bare carriage return": (GET + b"X: a\rY: b\r\n" + CLOSE, [400]),
    "a folded header": (GET + b"X: a\r\n b\r\n" + CLOSE, [400]),
    "a blank before the colon": (GET + b"X : a\r\n" + CLOSE, [400]),
    "no name": (GET + b": a\r\n" + CLOSE, [400]),
    "a zero byte": (GET + b"X: a\x00b\r\n" + CLOSE, [400]),
    "a line without a colon": (GET + b"X\r\n" + CLOSE, [400]),
    "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n" + CLOSE + b"ab", [400]),
    "two equal lengths": (POST + b"Content-Length: 1\r\nContent-Length: 1\r\n" + CLOSE + b"a", [400]),
    "a list of lengths": (POST + b"Content-Length: 1, 1\r\n" + CLOSE + b"a", [400]),
    "a signed length": (POST + b"Content-Length: +1\r\n" + CLOSE + b"a", [400]),
    "a hexadecimal length": (POST + b"Content-Length: 0x1\r\n" + CLOSE + b"a", [400]),
    "an endless length": (POST + b"Content-Length: 99999999999999999999\r\n" + CLOSE, [400]),
    "an empty length": (POST + b"Content-Length:\r\n" + CLOSE, [400]),
    "length and coding": (CHUNKED + b"Content-Length: 1\r\n" + CLOSE + b"0\r\n\r\n", [400]),
    "coding and length": (POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n" + CLOSE + b"0\r\n\r\n", [400]),
    "gzip, chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n" + CLOSE + b"0\r\n\r\n", [501]),
    "chunked, gzip": (POST + b"Transfer-Encoding: chunked, gzip\r\n" + CLOSE + b"0\r\n\r\n", [400]),
    "gzip and chunked": (POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n" + CLOSE, [501]),
    "identity": (POST + b"Transfer-Encoding: identity\r\n" + CLOSE, [501]),
    "chunked twice": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" + CLOSE, [400]),
    "a blank in the coding": (POST + b"Transfer-Encoding: \x0bchunked\r\n" + CLOSE + b"0\r\n\r\n", [400]),
    "chunked in HTTP/1.0": (b"POST /auth/v1/token HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
    "chunked": (CHUNKED + CLOSE + b"1\r\na\r\n0\r\n\r\n", ["o400"]),
    "Chunked": (POST + b"Transfer-Encoding: Chunked\r\n" + CLOSE + b"1\r\na\r\n0\r\n\r\n", ["o400"]),
    "a negative chunk": (CHUNKED + CLOSE + b"-1\r\na\r\n0\r\n\r\n", [400]),
    "a chunk that is too short": (CHUNKED + CLOSE + b"2\r\na\r\n0\r\n\r\n", [400]),
    "a chunk of 2^64": (CHUNKED + CLOSE + b"10000000000000000\r\na", [400]),
    "a chunk extension": (CHUNKED + CLOSE + b"1;a=b\r\na\r\n0\r\n\r\n", ["o400"]),
    "an extension over lines": (CHUNKED + CLOSE + b'1;a="b\r\nc"\r\na\r\n0\r\n\r\n', [400]),
    "an expectation": (POST + b"Expect: 200-ok\r\n" + CLOSE, [417]),
    "HEAD": (b"HEAD /healthz HTTP/1.1\r\n" + HOST + CLOSE, [200]),
    "an upgrade": (GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n" + GET + CLOSE, [200, 200]),
    "an upgrade of chunks": (CHUNKED + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n0\r\n\r\n", [501]),
    "a long target": (b"GET /" + b"a" * MAX_TARGET_BYTES + b" HTTP/1.1\r\n" + HOST + CLOSE, [414]),
    "a long field": (GET + b"X: " + b"a" * MAX_HEAD_BYTES + b"\r\n" + CLOSE, [431]),
    "a field without end": (GET + b"X: " + b"a" * 3 * MAX_HEAD_BYTES, [431]),
    "many fields": (GET + b"X: a\r\n" * MAX_HEADER_FIELDS + CLOSE, [431]),
    "many trailers": (CHUNKED + CLOSE + b"0\r\n" + b"X: a\r\n" * 9_000 + b"\r\n", [431]),
    "a trailer without end": (CHUNKED + CLOSE + b"0\r\nX: " + b"a" * 3 * MAX_HEAD_BYTES, [431]),
    "an extension without end": (CHUNKED + CLOSE + b"1;" + b"a" * 3 * MAX_HEAD_BYTES, [431]),
}


@pytest.mark.parametrize("split", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("form", FORMS)
async def test_framing(port: Port, form: str, split: bool) -> None:
    raw, expected = FORMS[form]
    if split and len(raw) > 1_000:
        raw_pieces = [raw[begin : begin + 1_000] for begin in range(0, len(raw), 1_000)]
    else:
        raw_pieces = [raw[begin : begin + 1] for begin in range(len(raw))] if split else [raw]
    async with line_to(port.url) as line:
        await line.send(*raw_pieces)
        found = []
        for _ in expected:
            response = await line.response(is_head=raw.startswith(b"HEAD"))
            assert response is not None
            names = [name for name, _ in response.headers]
            assert len(names) == len(set(names))
            is_oauth = b'"error"' in response.body
            found.append(f"o{response.status}" if is_oauth else response.status)
            if not is_oauth and response.status >= 400:
                assert response.tree["message"]
        assert found == expected
        assert await line.response() is None, "the server says more, or keeps the connection"


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        (b"/x?y", b"/x?y", b"given"),
        (b"*", b"*", b"given"),
        (b"http://a", b"/", b"a"),
        (b"http://a:81?q=1", b"/?q=1", b"a:81"),
        (b"HTTPS://[::1]:8/x?y", b"/x?y", b"[::1]:8"),
        (b"http://a//b", b"//b", b"a"),
    ],
)
def test_a_target_in_absolute_form_names_the_host(target: bytes, path: bytes, host: bytes) -> None:
    assert with_host(target, [(b"host", b"given"), (b"x", b"y")]) == (path, [(b"host", host), (b"x", b"y")])


async def authorised(port: Port, tail: bytes) -> tuple[bytes, int]:
    """A chunked terminate that ends in `tail`, and the run that it is for."""
    operations_client = port.app_client.operations_client
    run = await operations_client.start(await operations_client.make(WAIT))
    head = b"POST /api/v1/automation_executions/%d/actions/terminate HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" % run
    return head + tail, run


async def test_a_trailer_is_no_header(port: Port) -> None:
    token = port.app_client.token.encode()
    for field, trailer, status in (
        (HOST, b"Authorization: Bearer " + token, 401),
        (b"Authorization: Bearer " + token + b"\r\n", b"Host: localhost", 400),
        (HOST + b"Authorization: Bearer " + token + b"\r\n", b"Prefer: return=representation", 200),
    ):
        raw, _ = await authorised(port, field + CLOSE + b"2\r\n{}\r\n0\r\n" + trailer + b"\r\n\r\n")
        async with line_to(port.url) as line:
            await line.send(raw)
            response = await line.response()
        assert response is not None
        assert response.status == status
        assert "preference-applied" not in dict(response.headers)


@pytest.mark.parametrize("upgrade", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"], ids=["plain", "with Upgrade"])
async def test_a_body_is_read_whatever_else_is_asked(port: Port, upgrade: bytes) -> None:
    """Some clients offer an upgrade with each first request: its body must not be lost."""
    body = b'{"reason": "a flood"}'
    operations_client = port.app_client.operations_client
    run = await operations_client.start(await operations_client.make(WAIT))
    raw = (
        b"POST /api/v1/automation_executions/%d/actions/terminate HTTP/1.1\r\n" % run
        + HOST
        + b"Authorization: Bearer %b\r\nContent-Length: %d\r\n" % (port.app_client.token.encode(), len(body))
        + upgrade
        + b"\r\n"
    )
    async with line_to(port.url) as line:
        await line.send(raw, body[:5])
        await line.send(body[5:] + GET + CLOSE)
        found = await line.responses()
    assert [response.status for response in found] == [200, 200]
    assert (await operations_client.detail(run))["termination"]["reason"] == "a flood"


async def test_a_half_closed_caller_gets_its_answers(port: Port) -> None:
    async with line_to(port.url) as line:
        await line.send(GET + b"\r\n" + GET + b"\r\n")
        line.writer.write_eof()
        assert [response.status for response in await line.responses()] == [200, 200]


async def test_a_half_closed_caller_waits_for_a_held_answer(port: Port) -> None:
    operations_client = port.app_client.operations_client
    operations_client.engine.far.deaf = True
    run = await operations_client.start(
        await operations_client.make({"stepName": "call", "webhook": {"webhookId": "hook", "payload": {}}})
    )
    raw = (
        b"POST /api/v1/automation_executions/%d/actions/terminate HTTP/1.1\r\n" % run
        + HOST
        + b"Authorization: Bearer %b\r\nPrefer: wait=30\r\n\r\n" % port.app_client.token.encode()
    )
    async with line_to(port.url) as line:
        await line.send(raw)
        line.writer.write_eof()
        while not operations_client.services.feed.watches:
            await yield_to_loop()
        await operations_client.wait(10)
        found = await line.responses()
    assert [response.status for response in found] == [200]
    assert found[0].header("interlock-termination") == "accepted; state=TERMINATE"


async def test_a_request_that_is_cut_off_changes_nothing(port: Port) -> None:
    token = port.app_client.token.encode()
    raw, run = await authorised(port, HOST + b"Authorization: Bearer " + token + b"\r\n\r\n2\r\n{}\r\n")
    async with line_to(port.url) as line:
        await line.send(raw)
        line.writer.write_eof()
        assert await line.response() is None
    assert await port.app_client.operations_client.state(run) == "WAITING"


async def test_many_requests_in_one_read_are_answered_in_order(port: Port) -> None:
    count = 5_000
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with line_to(port.url) as line:
        sending = asyncio.ensure_future(line.send(request * (count - 1) + GET + CLOSE))
        found = await line.responses()
        await sending
    assert [response.status for response in found] == [200] * count
