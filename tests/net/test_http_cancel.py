"""Interrupting a request: the remote sees it immediately, and `Progress` is true about the bytes that were sent.

On both loops: they buffer and close in different ways.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence

import pytest
from anyio.lowlevel import checkpoint

from interlock.net.egress import EgressPolicy
from interlock.net.http import GuardedHttp
from interlock.ports import HttpRequest, HttpResponse, Phase, Progress
from tests.net.clients import get, local, post, until
from tests.receivers import HANG, Answer, Cut, Held, Receiver

pytestmark = pytest.mark.anyio

LARGE = b"x" * 32_000_000  # more than two kernels' socket buffers hold


@pytest.fixture(
    params=[pytest.param(True, id="uvloop"), pytest.param(False, id="asyncio")],
    scope="module",
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
async def http() -> AsyncIterator[GuardedHttp]:
    async with local() as client:
        yield client


def start(http: GuardedHttp, request: HttpRequest) -> tuple[asyncio.Task[HttpResponse], Progress]:
    progress = Progress()
    return asyncio.create_task(http.send(request, progress)), progress


async def cancel(task: asyncio.Task[HttpResponse]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_before_it_started_nothing_is_opened(http: GuardedHttp) -> None:
    async with Receiver() as receiver:
        task, progress = start(http, post(receiver.url()))
        await cancel(task)
        assert progress == Progress(Phase.IDLE, 0, None)
        await http.send(get(receiver.url()), Progress())
        assert [request.method for request in receiver.requests] == ["GET"]
        assert len(receiver.connections) == 1


async def test_while_the_name_is_looked_up_nothing_is_opened() -> None:
    class Slow:
        def __init__(self) -> None:
            self.asked = asyncio.Event()

        async def resolve(self, host: str, port: int) -> Sequence[str]:
            self.asked.set()
            await asyncio.Event().wait()
            raise AssertionError

    names = Slow()
    async with Receiver() as receiver, GuardedHttp(EgressPolicy.parse(["slow.example"]), resolver=names) as http:
        task, progress = start(http, post(f"http://slow.example:{receiver.port}/"))
        await names.asked.wait()
        await cancel(task)
        assert progress == Progress(Phase.RESOLVING, 0, None)
        assert receiver.connections == []


async def test_while_connecting_nothing_was_sent(http: GuardedHttp) -> None:
    # A listening socket whose queue is full answers no further connection attempt, so that one hangs.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        task, progress = start(http, post(f"http://127.0.0.1:{full.getsockname()[1]}/"))
        await until(lambda: progress.phase is Phase.CONNECTING)
        await cancel(task)
        assert progress == Progress(Phase.CONNECTING, 0, None)
        for filler in fillers:
            filler.close()


async def test_while_the_handshake_hangs_nothing_of_the_request_was_sent() -> None:
    async with Receiver(stalled=True) as receiver, local() as http:
        task, progress = start(http, post(receiver.url().replace("http:", "https:")))
        await receiver.connected(1)
        await until(lambda: progress.phase is Phase.TLS)
        await cancel(task)
        assert progress == Progress(Phase.TLS, 0, None)


@pytest.mark.parametrize("name", ["waiting", "kept"])
async def test_an_interrupt_while_waiting_is_unknown_and_seen_by_the_remote(http: GuardedHttp, name: str) -> None:
    async with Receiver(HANG) as receiver:
        if name == "kept":
            receiver.then(Answer(), HANG)
            await http.send(post(receiver.url()), Progress())
        task, progress = start(http, post(receiver.url("/slow")))
        await receiver.received(2 if name == "kept" else 1)
        before = receiver.bytes_received if name == "waiting" else None
        await cancel(task)
        await receiver.closed(0)
        assert progress.phase is Phase.WAITING
        assert progress.bytes_written > 0
        assert before is None or progress.bytes_written == before
        assert progress.status is None
        assert len(receiver.connections) == 1


async def test_the_receiver_sees_the_end_before_the_loop_turns_again(http: GuardedHttp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task, progress = start(http, post(f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        await until(lambda: progress.phase is Phase.WAITING)
        for _ in range(3):  # what was handed over is written by then
            await checkpoint()
        peer, _ = listener.accept()
        with peer:
            assert len(peer.recv(65_536)) == progress.bytes_written
            task.cancel()
            try:
                assert peer.recv(1, socket.MSG_DONTWAIT) == b""
            except ConnectionResetError:
                pass
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_cut_before_the_loop_wrote_anything_nothing_leaves(http: GuardedHttp) -> None:
    """On uvloop a request waits in a buffer until the end of the turn; asyncio writes at once."""
    async with Receiver(Answer(), HANG) as receiver:
        await http.send(post(receiver.url()), Progress())
        before = receiver.bytes_received
        progress = Progress()
        request = http.send(post(receiver.url()), progress)
        waiting = request.send(None)  # runs it to where it waits for the answer, without a turn of the loop
        assert isinstance(waiting, asyncio.Future)
        waiting.cancel()
        request.close()
        await receiver.closed(0)
        assert receiver.bytes_received - before == progress.bytes_written


async def test_a_request_without_a_body_is_counted_too(http: GuardedHttp) -> None:
    async with Receiver(HANG) as receiver:
        task, progress = start(http, get(receiver.url("/a?b=c")))
        await receiver.received(1)
        await cancel(task)
        await receiver.closed(0)
        assert progress == Progress(Phase.WAITING, receiver.bytes_received, None)


async def test_an_interrupt_while_writing_to_a_remote_that_does_not_read(http: GuardedHttp) -> None:
    async with Receiver(stalled=True) as receiver:
        task, progress = start(http, post(receiver.url(), LARGE))
        await receiver.connected(1)
        await until(lambda: progress.bytes_written > 0)
        await cancel(task)
        assert progress.phase is Phase.WRITING
        assert 0 < progress.bytes_written < len(LARGE)
        receiver.resume()
        await receiver.closed(0)
        assert receiver.bytes_received <= progress.bytes_written
        assert receiver.requests == []
        assert isinstance(receiver.connections[0].error, ConnectionResetError)  # an end would come after all that


async def test_while_the_answer_is_read_its_status_is_known(http: GuardedHttp) -> None:
    async with Receiver(Cut(Answer(201, b"x" * 1000), keep=10)) as receiver:
        task, progress = start(http, post(receiver.url()))
        await until(lambda: progress.phase is Phase.READING)
        await cancel(task)
        await receiver.closed(0)
        assert progress.status == 201
        assert progress.bytes_written == receiver.bytes_received


async def test_after_the_answer_its_connection_serves_the_next_request(http: GuardedHttp) -> None:
    async with Receiver(Held(Answer.json({"n": 1})), Answer.json({"n": 2})) as receiver:
        task, progress = start(http, post(receiver.url()))
        await receiver.received(1)
        receiver.release()
        assert (await task).body == b'{"n": 1}'
        assert progress == Progress(Phase.DONE, receiver.bytes_received, 200)
        assert (await http.send(post(receiver.url()), Progress())).body == b'{"n": 2}'
        assert len(receiver.connections) == 1


async def test_one_interrupt_leaves_the_others_alone(http: GuardedHttp) -> None:
    async with Receiver(Held()) as receiver:
        tasks = [start(http, post(receiver.url(f"/{number}"))) for number in range(8)]
        await receiver.received(8)
        await cancel(tasks[3][0])
        gone = next(request.connection for request in receiver.requests if request.path == "/3")
        await receiver.closed(gone)
        receiver.release()
        others = [task for number, (task, _) in enumerate(tasks) if number != 3]
        assert [response.status for response in await asyncio.gather(*others)] == [200] * 7
        assert sum(connection.is_closed for connection in receiver.connections) == 1


async def test_cancelled_at_every_turn_it_claims_nothing_sent_only_if_nothing_arrived() -> None:
    """NOT_SENT is a proof: whatever turn of the loop the interrupt falls into, 0 means that the remote saw nothing."""
    claims = set()
    for turns in range(40):
        async with Receiver(HANG) as receiver, local() as http:
            task, progress = start(http, post(receiver.url()))
            for _ in range(turns):
                await checkpoint()
            await cancel(task)
            for connection in range(len(receiver.connections)):
                await receiver.closed(connection)
            claims.add(progress.bytes_written > 0)
            if progress.bytes_written == 0:
                assert receiver.bytes_received == 0
            assert receiver.bytes_received <= progress.bytes_written
    assert claims == {False, True}
