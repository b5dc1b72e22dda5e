"""The measured loop: it finds a callback that is too long, wherever the callback comes from."""

import asyncio
import time

import pytest

from tests.loops import METER

pytestmark = pytest.mark.anyio


def burn() -> None:
    """Use 300 ms of CPU."""
    until = time.thread_time() + 0.3
    while time.thread_time() < until:
        pass


class Burning(asyncio.Protocol):
    def __init__(self, done: asyncio.Future[None]) -> None:
        self.done = done

    def data_received(self, data: bytes) -> None:
        burn()
        self.done.set_result(None)


async def burning_task() -> None:
    burn()


async def test_a_step_of_a_task_that_is_too_long_is_found() -> None:
    await asyncio.create_task(burning_task())
    (found,) = METER.take()
    assert "burning_task" in found


async def test_a_timer_that_is_too_long_is_found() -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.call_later(0, burn)
    loop.call_later(0.001, done.set)
    await done.wait()
    (found,) = METER.take()
    assert "burn" in found


async def test_received_data_that_takes_too_long_is_found() -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    server = await loop.create_server(lambda: Burning(done), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"x")
    await done
    writer.close()
    server.close()
    (found,) = METER.take()
    assert "data_received" in found


async def test_work_of_the_test_itself_can_be_left_out() -> None:
    with METER.leaving_out():
        burn()
