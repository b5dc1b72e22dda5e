"""A request that never gets to the application takes no more than its time and its place."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from interlock.api.connection import (
    HEAD_TIMEOUT_SECONDS,
    LINGER_SECONDS,
    MAX_DISCARDED_BYTES,
    MAX_HEAD_BYTES,
    MAX_PARSED_BYTES,
    MAX_STALLED,
    MAX_UNREAD_BYTES,
    WRITE_TIMEOUT_SECONDS,
    Connection,
)
from interlock.api.idle_connections import CONNECTIONS_CLOSED_AT_ONCE, close_idle
from interlock.api.large_heads import MAX_LARGE_HEADS_BYTES

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

    def time(self) -> float:
        return 0.0

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
        self.is_aborted = False
        self.reads = True
        self.high = 0
        self.unread = 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0

    def get_write_buffer_size(self) -> int:
        return self.unread

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.written += b"<end>"

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

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
    state: ServerState = field(default_factory=ServerState)

    def __post_init__(self) -> None:
        config = Config(application, timeout_keep_alive=KEEP_ALIVE, log_config=None)
        self.connection = Connection(config, self.state, {}, cast(asyncio.AbstractEventLoop, self.loop))
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
    assert line.loop.pending == [HEAD_TIMEOUT_SECONDS]
    line.loop.let_pass(HEAD_TIMEOUT_SECONDS)
    assert line.transport.is_closed


def test_another_piece_gives_no_more_time() -> None:
    line = Line()
    line.send(HEAD)
    line.send(b"X-Another: 1\r\n")
    assert line.loop.pending == [HEAD_TIMEOUT_SECONDS]


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
    while not line.transport.written:
        line.send(piece)
        sent += len(piece)
    assert MAX_HEAD_BYTES - len(HEAD) < sent + len(HEAD) <= MAX_HEAD_BYTES + len(piece)
    assert line.transport.written.startswith(b"HTTP/1.1 431 ")
    assert line.transport.written.endswith(b"<end>")
    assert line.loop.requests == 0
    assert line.loop.pending == [LINGER_SECONDS]
    line.loop.let_pass(LINGER_SECONDS)
    assert line.transport.is_closed


def test_what_follows_a_refused_request_is_dropped_up_to_a_bound() -> None:
    line = Line()
    line.send(b"nonsense\r\n\r\n")
    assert line.transport.written.startswith(b"HTTP/1.1 400 ")
    written = line.transport.written
    for _ in range(MAX_DISCARDED_BYTES // 65_536):
        line.send(bytes(65_536))
        assert not line.transport.is_closed
    line.send(b"x")
    assert line.transport.is_aborted
    assert line.transport.written == written


def test_an_empty_line_keeps_no_connection_open() -> None:
    line = Line()
    line.send(b"\r\n")
    line.loop.let_pass(KEEP_ALIVE)
    assert line.transport.is_closed


@pytest.mark.parametrize("piece", [b"x", b"x" * 500], ids=["a byte", "some"])
def test_a_body_that_comes_after_its_answer_keeps_no_connection_open(piece: bytes) -> None:
    line = Line()
    line.send(HEAD.replace(b" 2", b" 2000") + b"\r\n{")
    line.connection.cycle.response_started = line.connection.cycle.response_complete = True
    line.connection.on_response_complete()
    for _ in range(3):
        line.send(piece)
        assert line.loop.pending == [KEEP_ALIVE]
    line.loop.let_pass(KEEP_ALIVE)
    assert line.transport.is_closed


def test_a_caller_that_reads_nothing_is_cut_off() -> None:
    line = Line()
    assert line.transport.high == MAX_UNREAD_BYTES
    line.send(HEAD + b"\r\n{}")
    line.connection.pause_writing()
    assert line.loop.pending == [WRITE_TIMEOUT_SECONDS]
    line.connection.resume_writing()
    assert line.loop.pending == []
    line.connection.pause_writing()
    line.loop.let_pass(WRITE_TIMEOUT_SECONDS)
    assert line.transport.is_aborted


def test_an_idle_connection_that_is_closed_is_not_kept_for_what_it_has_not_read() -> None:
    line = Line()
    line.transport.unread = 1
    line.loop.let_pass(KEEP_ALIVE)
    assert line.loop.pending == [KEEP_ALIVE, WRITE_TIMEOUT_SECONDS]
    line.loop.let_pass(WRITE_TIMEOUT_SECONDS)
    assert line.transport.is_aborted


def test_of_too_many_that_do_not_read_the_first_is_cut_off() -> None:
    state = ServerState()
    lines = [Line(state=state) for _ in range(MAX_STALLED + 1)]
    for line in lines:
        line.connection.pause_writing()
    assert [line.transport.is_aborted for line in lines] == [True] + [False] * MAX_STALLED
    lines[0].connection.connection_lost(None)
    lines[1].connection.resume_writing()
    Line(state=state).connection.pause_writing()
    assert not any(line.transport.is_aborted for line in lines[1:])


LARGE_HEAD_BYTES = 64_000


def large_head(line: Line) -> None:
    line.send(HEAD.replace(b" 2", b" 9"))
    for _ in range(8):
        line.send(b"X: " + b"y" * (LARGE_HEAD_BYTES // 8 - 5) + b"\r\n")


@pytest.mark.parametrize("rest", [b"", b"\r\n", b"\r\n{"], ids=["in the head", "before the body", "in the body"])
def test_of_too_many_large_heads_the_oldest_is_cut_off(rest: bytes) -> None:
    """However far their requests have come: a head is held until its request is answered."""
    state = ServerState()
    small = Line(state=state)
    small.send(HEAD)
    lines: list[Line] = []
    while not any(line.transport.is_aborted for line in lines):
        lines.append(Line(state=state))
        large_head(lines[-1])
        lines[-1].send(rest)
    assert [line.transport.is_aborted for line in lines] == [True] + [False] * (len(lines) - 1)
    assert (len(lines) - 1) * LARGE_HEAD_BYTES <= MAX_LARGE_HEADS_BYTES < len(lines) * MAX_HEAD_BYTES
    assert not small.transport.is_aborted


@pytest.mark.parametrize("end", ["answered", "answered before its body", "lost"])
def test_a_large_head_is_held_no_longer_than_its_request(end: str) -> None:
    state = ServerState()
    for _ in range(MAX_LARGE_HEADS_BYTES // MAX_HEAD_BYTES * 2):
        line = Line(state=state)
        large_head(line)
        line.send(b"\r\n" + b"{" * (9 if end == "answered" else 0))
        if end == "lost":
            line.connection.connection_lost(None)
        else:
            line.connection.cycle.response_started = line.connection.cycle.response_complete = True
            line.connection.on_response_complete()
            line.send(b"{" if end == "answered before its body" else b"")
        assert not line.transport.is_aborted


def test_requests_behind_one_that_is_answered_are_held_up_to_a_bound() -> None:
    line = Line()
    request = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"
    line.send(request * (3 * MAX_PARSED_BYTES // len(request)))
    assert line.loop.requests == 1
    assert len(line.connection.pipeline) < MAX_PARSED_BYTES / len(request)
    assert not line.transport.reads
    line.transport.reads = True
    line.connection.flow.read_paused = False
    waiting = len(line.connection.pipeline)
    while line.transport.reads:
        line.send(request * 100)
    assert len(line.connection.pipeline) == waiting
    assert line.loop.requests == 1


def test_idle_connections_make_room_for_new_ones() -> None:
    state = ServerState()
    lines = [Line(state=state) for _ in range(CONNECTIONS_CLOSED_AT_ONCE + 3)]
    lines[0].send(HEAD + b"\r\n{}")
    for number, line in enumerate(lines):
        line.connection.idle_since = float(number)
    connections = {line.connection for line in lines}
    close_idle(connections, lines[-1].connection)
    assert [line.transport.is_aborted for line in lines] == [False] + [True] * CONNECTIONS_CLOSED_AT_ONCE + [
        False,
        False,
    ]


@pytest.mark.parametrize(
    "sent", [b"", HEAD, HEAD + b"\r\n{", HEAD + b"\r\n{}"], ids=["nothing", "a head", "half", "all"]
)
def test_a_lost_connection_is_freed_without_a_search_for_cycles(sent: bytes) -> None:
    line = Line()
    line.send(sent)
    kept = weakref.ref(line.connection)
    gc.collect()
    gc.disable()
    try:
        line.connection.connection_lost(None)
        line.loop.timers.clear()  # this loop keeps those that were cancelled
        del line
        assert kept() is None
    finally:
        gc.enable()


def test_who_leaves_takes_his_timers_along() -> None:
    line = Line()
    line.send(HEAD)
    line.connection.connection_lost(None)
    assert line.loop.pending == []
