"""Connections: opened, kept for the next request, limited in number, and closed with the client."""

from __future__ import annotations

import asyncio

import pytest

from interlock.net.egress import EgressPolicy
from interlock.net.http import GuardedHttp
from interlock.ports import HttpFailed, HttpFailureKind, HttpRequest, Progress
from tests.net.clients import LOCAL, Names, local, post
from tests.receivers import CLOSE, HANG, RESET, Answer, Behaviour, Receiver

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
@pytest.mark.parametrize("end", [RESET, CLOSE])
async def test_nothing_is_sent_twice_when_a_kept_connection_turns_out_dead(method: str, end: Behaviour) -> None:
    async with Receiver(Answer(), end, Answer()) as receiver, local() as http:
        await http.send(post(receiver.url("/first")), Progress())
        progress = Progress()
        with pytest.raises(HttpFailed) as failed:
            await http.send(HttpRequest(method, receiver.url("/second"), {}, b"x"), progress)
        assert failed.value.kind is HttpFailureKind.RESET
        assert progress.bytes_written > 0
        assert [request.path for request in receiver.requests] == ["/first", "/second"]
        assert len(receiver.connections) == 1


async def test_a_connection_that_the_remote_closed_is_not_used_again() -> None:
    async with Receiver(Answer(headers={"Connection": "close"})) as receiver, local() as http:
        for number in range(3):
            assert (await http.send(post(receiver.url()), Progress())).status == 200
            receiver.connections[number].reset()
            await receiver.closed(number)
        assert len(receiver.connections) == 3


async def test_a_name_without_an_address_and_a_port_without_a_listener() -> None:
    async with GuardedHttp(LOCAL, resolver=Names()) as http:
        async with Receiver() as receiver:
            shut = receiver.url()
        with pytest.raises(HttpFailed) as connect:
            await http.send(post(shut), Progress())
        with pytest.raises(HttpFailed) as resolve:
            await http.send(post("https://nowhere.example/"), Progress())
    assert connect.value.kind is HttpFailureKind.CONNECT
    assert connect.value.message == "could not connect to 127.0.0.1; is it up, and the port right?"
    assert resolve.value.kind is HttpFailureKind.RESOLVE


async def test_no_request_waits_for_another() -> None:
    """Who may call how often at once is decided before an attempt is announced; nothing waits here, unseen."""
    async with Receiver(HANG) as receiver, local() as http:
        tasks = [asyncio.create_task(http.send(post(receiver.url()), Progress())) for _ in range(200)]
        await receiver.received(200)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_open_connections_have_a_last_limit() -> None:
    async with Receiver(HANG) as receiver, GuardedHttp(LOCAL, connections=1) as http:
        first = asyncio.create_task(http.send(post(receiver.url()), Progress()))
        await receiver.received(1)
        progress = Progress()
        with pytest.raises(HttpFailed) as failed:
            await http.send(post(receiver.url()), progress)
        assert failed.value.kind is HttpFailureKind.CONNECT
        assert progress.bytes_written == 0
        first.cancel()
        await asyncio.wait([first])


async def test_an_idle_connection_makes_room_for_another_host() -> None:
    async with Receiver() as one, Receiver() as two, GuardedHttp(LOCAL, connections=1) as http:
        for receiver in (one, two):
            assert (await http.send(post(receiver.url()), Progress())).status == 200
        await one.closed(0)


async def test_connections_are_kept_for_the_next_requests() -> None:
    async with Receiver() as receiver, local() as http:
        for turn in range(3):
            answers = await asyncio.gather(*(http.send(post(receiver.url(f"/{n}")), Progress()) for n in range(20)))
            assert [answer.status for answer in answers] == [200] * 20, turn
        assert len(receiver.connections) == 20


@pytest.mark.parametrize("seconds", ["1", "0"])
async def test_a_receiver_that_keeps_connections_briefly_is_believed(seconds: str) -> None:
    async with Receiver(Answer(headers={"Keep-Alive": f"timeout={seconds}, max=5"})) as receiver, local() as http:
        for _ in range(2):
            await http.send(post(receiver.url()), Progress())
        assert len(receiver.connections) == 2


async def test_a_connection_is_not_used_after_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if another one, which is kept for longer, is what the client looks at next."""
    brief = Receiver(Answer(headers={"Keep-Alive": "timeout=3"}))
    async with Receiver(Answer()) as long, brief, local() as http:
        for receiver in (long, brief):
            await http.send(post(receiver.url()), Progress())
        loop = asyncio.get_running_loop()
        time = loop.time
        monkeypatch.setattr(loop, "time", lambda: time() + 2.5)
        for receiver in (long, brief):
            await http.send(post(receiver.url()), Progress())
        assert [len(receiver.connections) for receiver in (long, brief)] == [1, 2]


@pytest.mark.parametrize("size", [1, 20_000, 300_000])
async def test_bytes_between_two_requests_end_the_connection(size: int) -> None:
    """However many come at once: what follows them could be taken for the next answer."""
    async with Receiver(Answer()) as receiver, local() as http:
        await http.send(post(receiver.url()), Progress())
        receiver.connections[0].write(b"x" * size)
        await receiver.closed(0)
        await http.send(post(receiver.url()), Progress())
        assert len(receiver.connections) == 2


async def test_closing_the_client_ends_its_requests() -> None:
    async with Receiver(HANG) as receiver:
        async with local() as http:
            progress = Progress()
            task = asyncio.create_task(http.send(post(receiver.url()), progress))
            await receiver.received(1)
        with pytest.raises(HttpFailed) as failed:
            await task
        assert failed.value.kind is HttpFailureKind.RESET
        assert progress.bytes_written == receiver.bytes_received
        await receiver.closed(0)


async def test_closing_the_client_closes_its_connections() -> None:
    async with Receiver() as receiver:
        async with GuardedHttp(EgressPolicy.parse(["127.0.0.1"])) as http:
            await http.send(post(receiver.url()), Progress())
        await receiver.closed(0)
