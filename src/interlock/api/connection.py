"""A connection: uvicorn's, with a bound on everything that a caller can make it hold.

A caller decides how large a head is and how slowly it comes, how many requests it sends before it reads an answer, and
whether it reads at all. Each of these is bounded here: by bytes, by a number, or by a timer of the loop. What follows
the first byte of a body is bounded where the body is read (`api/bodies.py`), what an answer holds in `api/sending.py`.
How requests are framed is httptools' affair; what it lets through and RFC 9112 does not is refused in `api/framing.py`.
"""

from __future__ import annotations

import asyncio
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakKeyDictionary

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from interlock.api.framing import (
    BAD_REQUEST,
    CONTINUE,
    HEAD_TOO_LARGE,
    TARGET_TOO_LONG,
    Refusal,
    body_length,
    check_head,
    with_host,
)
from interlock.api.large_heads import LargeHeads

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

HEAD_PATIENCE: Final = 30.0
"""Seconds from the first byte of a request within which its head, and the first of its body, must have come."""
MAX_HEAD_BYTES: Final = 65_536
"""Bytes of a request's head, its target included; of a chunked body's framing and trailers, as many beyond eight for
each byte of the body."""
MAX_TARGET_BYTES: Final = 16_384
"""Bytes of a request's target."""
MAX_HEADER_FIELDS: Final = 128
"""Header fields of a request, and as many trailer fields, which are dropped."""
MAX_PARSED_BYTES: Final = 8_192
"""Bytes that are parsed in one go. If they hold more requests than one, the rest is parsed when those are answered."""
MAX_HELD_BYTES: Final = 65_536
"""Bytes of further requests that are held while one is answered, give or take one read; then reading pauses."""
MAX_DISCARDED_BYTES: Final = 1_048_576
"""Bytes that are read and dropped after an answer that did not wait for them; then the connection is closed."""
WRITE_PATIENCE: Final = 30.0
"""Seconds for which a caller may leave what was sent to it unread; then the connection is aborted."""
MAX_UNREAD_BYTES: Final = 16_384
"""Bytes that wait for a caller to read before no more is written, give or take one piece."""
MAX_STALLED: Final = 1_000
"""Connections at a time that have more than that to read; beyond it the one that has for longest is aborted."""
LINGER: Final = 2.0
"""Seconds for which a refused request's remainder is read and dropped, so that the refusal is not lost to a reset."""
PROBE_EVERY: Final = 1.0
"""Seconds after which a caller that closed its sending side is probed: it may have closed its receiving side, too."""
MAX_CALLER_CONNECTIONS: Final = 12_000
"""Connections at a time. Beyond it those that have been idle for longest are closed, so that a stop can come in."""
CLOSED_AT_ONCE: Final = 64
"""Idle connections that are closed together when there are too many, so that they are looked through less often."""
FRAMING_PER_BYTE: Final = 9
"""Bytes of framing that a byte of a chunked body may cost: itself, and a chunk of its own around it."""
ABORT: Final = "interlock.abort"
"""The name in a scope's extensions of the function that cuts the connection."""


_STALLED: WeakKeyDictionary[ServerState, dict[Connection, None]] = WeakKeyDictionary()
"""For each server, the connections whose callers leave too much unread, the first to do so first."""

_LARGE_HEADS: WeakKeyDictionary[ServerState, LargeHeads] = WeakKeyDictionary()


class _Refused(Exception):
    """Stops the parser: the request is refused before the application sees it."""


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.idle_since = self.loop.time()
        """By the loop's clock: when it was made, or its last answer was sent."""
        self._is_begun = False
        """A request has begun, and neither its end nor its body's first byte has come."""
        self._is_open = False
        """A request has begun, and its end has not come."""
        self._framing = 0
        """Bytes of the open request that were no body, less what its body may cost in framing."""
        self._is_head = False
        """The parser is in a head; header fields that come outside of one are trailers."""
        self._size = 0
        self._fields = 0
        self._raw_left = 0
        """Bytes of a body that the parser does not see: it takes a request with `Upgrade` for one without a body."""
        self._running: RequestResponseCycle | None = None
        """The request that is being answered; uvicorn's `cycle` is the newest one, which may wait behind it."""
        self._held: bytearray | None = None
        """Bytes of further requests, to be parsed when what was parsed has been answered."""
        self._refusal: Refusal | None = None
        self._is_refused = False
        self._is_half_closed = False
        self._stalled = _STALLED.setdefault(self.server_state, {})
        self._large_heads = _LARGE_HEADS.setdefault(self.server_state, LargeHeads())
        self._discarded = 0
        self._time_up: asyncio.TimerHandle | None = None
        self._write_up: asyncio.TimerHandle | None = None
        self._probe_at: asyncio.TimerHandle | None = None

    # --- the transport ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        # uvicorn lets a connection be idle for so long only after its first answer; the first byte takes this away.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        transport.set_write_buffer_limits(high=MAX_UNREAD_BYTES)
        limit = getattr(self.config, "max_connections", MAX_CALLER_CONNECTIONS)
        if len(self.connections) > limit:
            make_room(cast("set[Connection]", self.connections), self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        self._unset_keepalive_if_required()
        for timer in (self._write_up, self._probe_at):
            if timer is not None:
                timer.cancel()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        self._stalled.pop(self, None)
        self._large_heads.release(self)
        self.pipeline.clear()
        self._held = None
        super().connection_lost(exc)
        # Each of these leads back here. Cycles are collected so rarely that what callers sent would pile up until then;
        # a request that is still being answered is held by its own task.
        self.scope = self.cycle = self._running = None  # type: ignore[assignment]
        self.headers = []

    def eof_received(self) -> bool | None:  # type: ignore[override]  # asyncio's meaning, which uvicorn does not use
        """The caller sends nothing more: what it asked is answered, unless that has no end or it speaks TLS."""
        if not self.is_answering or self.cycle.more_body or self.is_stream or self.scheme == "https":
            return None
        self._is_half_closed = True
        self._probe_at = self.loop.call_later(PROBE_EVERY, self._probe)
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reader()
        self._stalled[self] = None
        if len(self._stalled) > MAX_STALLED:
            next(iter(self._stalled)).abort()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stalled.pop(self, None)
        if self._write_up is not None and not self.transport.is_closing():
            self._write_up.cancel()
            self._write_up = None

    def abort(self) -> None:
        """Cut the connection, and drop what it has not sent."""
        self.transport.abort()

    def shutdown(self) -> None:
        super().shutdown()
        self._expect_reader_if_closing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._expect_reader_if_closing()

    # --- what comes in ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._is_refused:
            self._discard(len(data))
        elif self._held is not None:
            self._held += data
            if len(self._held) > MAX_HELD_BYTES:
                self.flow.pause_reading()
        else:
            self._feed(data)
        if not self._is_refused:
            self._expect_more()

    def _feed(self, data: bytes) -> None:
        begin = 0
        while begin < len(data) and not self._is_refused:
            if self.pipeline:
                self._held = bytearray(data[begin:])
                self.flow.pause_reading()
                return
            begin += self._parse(data[begin : begin + MAX_PARSED_BYTES])

    def _parse(self, data: bytes) -> int:
        """Parse, and return how much of it was."""
        if self._raw_left:
            return self._take_raw(data[: self._raw_left])
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return int(upgrade.args[0])
        except httptools.HttpParserError:
            self._refuse(self._refusal or BAD_REQUEST)
            return len(data)
        if self._is_open:
            self._framing += len(data)
            if self._framing > MAX_HEAD_BYTES:
                self._refuse(HEAD_TOO_LARGE)
            elif self._is_begun and self._framing >= MAX_PARSED_BYTES:
                self._large_heads.hold(self, self._framing)
        return len(data)

    def _take_raw(self, data: bytes) -> int:
        self._raw_left -= len(data)
        self._is_begun = False
        super().on_body(data)
        if not self._raw_left:
            self._is_open = False
            super().on_message_complete()
        return len(data)

    def on_message_begin(self) -> None:
        self._is_begun = self._is_open = self._is_head = True
        self._size = self._fields = self._framing = self._discarded = 0
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"call": self.abort}}

    def on_url(self, url: bytes) -> None:
        self._size += len(url)
        if self._size > MAX_TARGET_BYTES:
            self._stop_parser(TARGET_TOO_LONG)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._size += len(name) + len(value) + 4
        self._fields += 1
        if self._size > MAX_HEAD_BYTES or self._fields > MAX_HEADER_FIELDS:
            self._stop_parser(HEAD_TOO_LARGE)
        # A trailer is no header: it comes after the request was judged by its headers.
        if self._is_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_head = False
        self._fields = 0
        refusal = check_head(self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers)
        if refusal is not None:
            self._stop_parser(refusal)
        self.url, self.headers[:] = with_host(self.url, self.headers)
        if self.parser.should_upgrade():
            self._raw_left = body_length(self.headers)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._is_begun = False
        self._framing -= FRAMING_PER_BYTE * len(body)
        if self.cycle.response_complete:
            self._large_heads.release(self)
            self._discard(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._raw_left:
            return
        self._is_begun = self._is_open = False
        super().on_message_complete()

    def _discard(self, count: int) -> None:
        self._discarded += count
        if self._discarded > MAX_DISCARDED_BYTES:
            self.transport.abort()

    # --- refusing -----------------------------------------------------------------------------------------------------

    def _stop_parser(self, refusal: Refusal) -> None:
        self._refusal = refusal
        raise _Refused

    def _refuse(self, refusal: Refusal) -> None:
        """Answer a request that is none, after those before it; then the connection ends."""
        self._is_refused = True
        self._is_begun = False
        self._refusal = refusal
        newest: RequestResponseCycle | None = self.cycle
        if newest is None or newest.response_complete or not newest.more_body:
            # The head could not be read; what was asked before it may still be in progress.
            if not self.is_answering:
                self._write_refusal()
        elif self.pipeline:
            # The newest request has begun, and is broken in its body.
            self.pipeline.popleft()
        elif not newest.response_started:
            newest.disconnected = True
            newest.message_event.set()
            self._write_refusal()
        else:
            newest.keep_alive = False

    def _write_refusal(self) -> None:
        refusal, self._refusal = self._refusal, None
        if refusal is None or self.transport.is_closing():
            return
        self.transport.write(refusal.answer)
        if self.transport.can_write_eof():
            # The caller may still be sending: a close now would reset the connection, and the refusal be lost.
            self.transport.write_eof()
            self._in_time()
            self._time_up = self.loop.call_later(LINGER, self.transport.close)
            self.flow.resume_reading()
        else:
            self.transport.close()

    # --- answering ----------------------------------------------------------------------------------------------------

    @property
    def is_answering(self) -> bool:
        """Whether a request is being answered, or waits for that."""
        # Typed as if there always were one.
        cycle: RequestResponseCycle | None = self.cycle
        return bool(self.pipeline) or (cycle is not None and not cycle.response_complete)

    @property
    def is_stream(self) -> bool:
        """Whether the answer in progress is an event stream, or another without a length."""
        return self._running is not None and bool(self._running.chunked_encoding) and self.is_answering

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.idle_since = self.loop.time()
        if not self._is_begun:
            self._large_heads.release(self)
        super().on_response_complete()
        self._expect_reader_if_closing()
        if self.pipeline or self.transport.is_closing():
            return
        held, self._held = self._held, None
        if held:
            self._unset_keepalive_if_required()
            self._feed(bytes(held))
            self._expect_more()
        if self.is_answering:
            return
        if self._is_refused:
            self._write_refusal()
        elif self._is_half_closed:
            self.transport.close()
            self._expect_reader_if_closing()

    def _probe(self) -> None:
        """Send an interim response, which a caller must pass over: if it has left altogether, this tells."""
        running = self._running
        if running is None or self.transport.is_closing():
            return
        if running.scope["http_version"] == "1.1" and not running.response_started:
            self.transport.write(CONTINUE)
        self._probe_at = self.loop.call_later(PROBE_EVERY, self._probe)

    # --- timers -------------------------------------------------------------------------------------------------------

    def _expect_more(self) -> None:
        """Give a request that has begun its time, and a connection without one the time of an idle one."""
        if self._is_begun:
            if self._time_up is None and not self.transport.is_closing():
                self._time_up = self.loop.call_later(HEAD_PATIENCE, self.transport.close)
            return
        self._in_time()
        # A request that was answered before the rest of its body came is idle, too: nothing waits for that rest.
        if not self.is_answering and self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _expect_reader(self) -> None:
        if self._write_up is None:
            self._write_up = self.loop.call_later(WRITE_PATIENCE, self.abort)

    def _expect_reader_if_closing(self) -> None:
        """A closed connection still sends what was written: no longer than one that is open."""
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._expect_reader()

    def _in_time(self) -> None:
        if self._time_up is not None:
            self._time_up.cancel()
            self._time_up = None


def make_room(connections: set[Connection], newcomer: Connection) -> None:
    """Close the connections that have been idle for longest; if none is idle, the oldest streams, which can resume."""
    others = [connection for connection in connections if connection is not newcomer]
    found = [connection for connection in others if not connection.is_answering]
    if not found:
        found = [connection for connection in others if connection.is_stream]
    for connection in nsmallest(CLOSED_AT_ONCE, found, key=lambda connection: connection.idle_since):
        connection.abort()
