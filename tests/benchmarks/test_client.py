"""The benchmark's client counts every answer once, whole, and with its latency."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from benchmarks.client import Caller, Failed, closed, content_length, opened, request
from tests.receivers import CLOSE, Answer, Receiver

pytestmark = pytest.mark.anyio

BODY = b'{"list":[]}' * 20_000
"""More than one read of a socket gives."""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver(Answer(200, BODY)) as receiver:
        yield receiver


def requests(count: int) -> list[bytes]:
    return [request("POST", f"/{number}", b"{}", headers=[("Host", "x")]) for number in range(count)]


async def test_each_request_of_a_closed_load_is_sent_once(receiver: Receiver) -> None:
    bodies: list[bytes] = []
    load = await closed(
        ("127.0.0.1", receiver.port),
        requests(50),
        connections=7,
        answered=lambda status, body: bodies.append(body),
    )
    assert load.expect().count == load.latency.count == 50
    assert bodies == [BODY] * 50
    assert sorted(int(seen.path[1:]) for seen in receiver.requests) == list(range(50))
    assert len(receiver.connections) == 7


async def test_each_request_of_an_open_load_is_sent_once(receiver: Receiver) -> None:
    load = await opened(("127.0.0.1", receiver.port), requests(50), rate=10_000, connections=3)
    assert load.expect().count == load.latency.count == 50
    greetings, sent = receiver.requests[:3], receiver.requests[3:]
    assert {seen.path for seen in greetings} == {"/healthz"}
    assert sorted(int(seen.path[1:]) for seen in sent) == list(range(50))


async def test_other_statuses_are_counted_and_can_be_refused(receiver: Receiver) -> None:
    receiver.then(Answer(503), Answer(200))
    load = await closed(("127.0.0.1", receiver.port), requests(3), connections=1)
    assert load.statuses == {503: 1, 200: 2}
    with pytest.raises(Failed, match="503"):
        load.expect()


async def test_a_closed_connection_is_an_error_and_no_answer(receiver: Receiver) -> None:
    receiver.then(CLOSE)
    with pytest.raises(Failed, match="closed a connection"):
        await closed(("127.0.0.1", receiver.port), requests(1), connections=1)


async def test_a_caller_speaks_json_and_tells_what_was_refused(receiver: Receiver) -> None:
    receiver.then(Answer.json({"a": 1}), Answer.json({"message": "no"}, 400))
    caller = Caller(("127.0.0.1", receiver.port), [("Host", "x")])
    assert await caller.call("POST", "/", {"b": 2}) == {"a": 1}
    with pytest.raises(Failed, match="400"):
        await caller.call("GET", "/")
    caller.close()


def test_the_length_of_a_body_is_found_in_any_spelling() -> None:
    assert content_length(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\nx: y") == 12
    assert content_length(b"HTTP/1.1 200 OK\r\nx: y\r\nContent-Length: 7") == 7
    with pytest.raises(Failed, match="without Content-Length"):
        content_length(b"HTTP/1.1 200 OK\r\nx: y")
