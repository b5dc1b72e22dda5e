"""A request that never gets to the application takes no more than its time and its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from interlock.api.connection import HEAD_PATIENCE, MAX_HEAD_BYTES, Connection

HEAD = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
KEEP_ALIVE = 75


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Never run: these tests end where it would begin."""


@dataclass
class Timer:
    delay: float
    call: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


@dataclass(eq=False)
class Loop:
    """Keeps what it is asked for."""

    timers: list[Timer] = field(default_factory=list)
    requests: int = 0

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(delay, call))
        return self.timers[-1]

    def create_task(self, work: Any) -> Any:
        work.close()
        self.requests += 1
        return self

    def add_done_callback(self, call: object) -> None:
        """As a task has it."""

    @property
    def pending(self) -> list[float]:
        return [timer.delay for timer in self.timers if not timer.is_cancelled]

    def let_pass(self, delay: float) -> None:
        for timer in self.timers:
            if timer.delay <= delay and not timer.is_cancelled:
                timer.call()


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50_000), "sockname": ("127.0.0.1", 8_080)})
        self.written = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


@dataclass
class Line:
    """A connection that has just been made."""

    loop: Loop = field(default_factory=Loop)
    transport: Transport = field(default_factory=Transport)

    def __post_init__(self) -> None:
        config = Config(application, timeout_keep_alive=KEEP_ALIVE, log_config=None)
        self.connection = Connection(config, ServerState(), {}, cast(asyncio.AbstractEventLoop, self.loop))
        self.connection.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)


def test_who_says_nothing_is_given_as_long_as_who_has_been_answered() -> None:
    line = Line()
    assert line.loop.pending == [KEEP_ALIVE]
    line.loop.let_pass(KEEP_ALIVE)
    assert line.transport.is_closed


@pytest.mark.parametrize("begun", [HEAD, HEAD + b"\r\n", b"POST"], ids=["half a head", "no body", "a word"])
def test_a_request_that_does_not_come_to_its_body_in_time_is_cut_off(begun: bytes) -> None:
    line = Line()
    line.send(begun)
    line.connection.data_received(b"")
    assert line.loop.pending == [HEAD_PATIENCE]
    line.loop.let_pass(HEAD_PATIENCE)
    assert line.transport.is_closed


def test_another_piece_gives_no_more_time() -> None:
    line = Line()
    line.send(HEAD)
    line.send(b"X-Another: 1\r\n")
    assert line.loop.pending == [HEAD_PATIENCE]


@pytest.mark.parametrize("rest", [b"\r\n{", b"\r\n{}"], ids=["the body has begun", "the body is whole"])
def test_what_has_come_to_its_body_is_the_applications_affair(rest: bytes) -> None:
    line = Line()
    line.send(HEAD)
    line.send(rest)
    assert line.loop.pending == []
    assert line.loop.requests == 1
    assert not line.transport.is_closed


def test_a_request_that_comes_in_one_piece_costs_no_timer() -> None:
    line = Line()
    line.send(HEAD + b"\r\n{}")
    assert [timer.delay for timer in line.loop.timers] == [KEEP_ALIVE]
    assert line.loop.pending == []


def test_a_head_without_end_is_refused() -> None:
    line = Line()
    line.send(HEAD)
    piece = b"X-Another: " + b"x" * 1_000 + b"\r\n"
    sent = 0
    while not line.transport.is_closed:
        line.send(piece)
        sent += len(piece)
    assert MAX_HEAD_BYTES - len(HEAD) < sent <= MAX_HEAD_BYTES + len(piece)
    assert line.transport.written.startswith(b"HTTP/1.1 431 ")
    assert line.loop.requests == 0


def test_who_leaves_takes_his_timers_along() -> None:
    line = Line()
    line.send(HEAD)
    line.connection.connection_lost(None)
    assert line.loop.pending == []
