"""uvicorn's connection with limits on all memory and time that a caller can make it use.

A caller determines the size of a head and how slowly it arrives, how many requests it sends before it reads an answer,
and whether it reads at all. This module limits each of these by bytes, by a number or by a timer. `api/bodies.py`
limits the time of a body after its first byte, and `api/sending.py` the memory of answers. httptools parses the framing
of requests; `api/framing.py` refuses what it accepts against RFC 9112.
"""

from __future__ import annotations

import asyncio
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
from interlock.api.idle_connections import MAX_CALLER_CONNECTIONS, close_idle
from interlock.api.large_heads import LargeHeads

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

HEAD_TIMEOUT_SECONDS: Final = 30.0
"""Seconds from the first byte of a request within which its head, and the first byte of its body, must arrive."""
MAX_HEAD_BYTES: Final = 65_536
"""Bytes of a request's head with its target. The framing and trailers of a chunked body may have as many, beyond eight
for each byte of the body."""
MAX_TARGET_BYTES: Final = 16_384
"""Bytes of a request's target."""
MAX_HEADER_FIELDS: Final = 128
"""Header fields of a request, and as many trailer fields, which are dropped."""
MAX_PARSED_BYTES: Final = 8_192
"""Bytes that are parsed at once. If they contain several requests, the rest is parsed when those are answered."""
MAX_HELD_BYTES: Final = 65_536
"""Bytes of further requests that are held while one is answered, up to one more read; then reading pauses."""
MAX_DISCARDED_BYTES: Final = 1_048_576
"""Bytes that are read and dropped after an early answer; beyond it the connection is closed."""
WRITE_TIMEOUT_SECONDS: Final = 30.0
"""Seconds for which a caller may leave an answer unread; then the connection is aborted."""
MAX_UNREAD_BYTES: Final = 16_384
"""Unread bytes of a connection beyond which no more is written, up to one more piece."""
MAX_STALLED: Final = 1_000
"""Maximum number of connections with more unread bytes than that; beyond it the oldest of them is aborted."""
LINGER_SECONDS: Final = 2.0
"""Seconds for which the rest of a refused request is read and dropped, so that a reset does not lose the refusal."""
PROBE_SECONDS: Final = 1.0
"""Interval of the probes to a caller that closed its sending side, in seconds: it may have disconnected altogether."""
FRAMING_PER_BYTE: Final = 9
"""Bytes of framing that a byte of a chunked body may cost: itself, and a chunk of its own around it."""
ABORT: Final = "interlock.abort"
"""Name of the function that aborts the connection, in the extensions of an ASGI scope."""


_STALLED: WeakKeyDictionary[ServerState, dict[Connection, None]] = WeakKeyDictionary()
"""For each server, the connections with too many unread bytes, the oldest first."""

_LARGE_HEADS: WeakKeyDictionary[ServerState, LargeHeads] = WeakKeyDictionary()


class _Refused(Exception):
    """Stops the parser: the request is refused before the application sees it."""


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.idle_since = self.loop.time()
        """When the connection was made or its last answer was sent, by the loop's clock."""
        self._is_begun = False
        """Whether a request has begun, without its end or the first byte of its body."""
        self._is_open = False
        """Whether a request has begun and not ended."""
        self._framing = 0
        """Bytes of the open request outside its body, minus the allowed framing of its body."""
        self._is_head = False
        """Whether the parser is in a head; header fields outside of a head are trailers."""
        self._size = 0
        self._fields = 0
        self._raw_left = 0
        """Bytes of a body that the parser does not read: it assumes that a request with `Upgrade` has no body."""
        self._running: RequestResponseCycle | None = None
        """The request that is being answered; uvicorn's `cycle` is the newest one, which may wait for it."""
        self._held: bytearray | None = None
        """Bytes of further requests, which are parsed when the parsed requests have been answered."""
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
        # uvicorn sets this timer only after the first answer; the first byte of a request cancels it.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        transport.set_write_buffer_limits(high=MAX_UNREAD_BYTES)
        limit = getattr(self.config, "max_connections", MAX_CALLER_CONNECTIONS)
        if len(self.connections) > limit:
            close_idle(cast("set[Connection]", self.connections), self)

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
        # Each of these refers back to this object. Cycles are collected so rarely that requests would accumulate; the
        # task of a request that is still being answered holds it.
        self.scope = self.cycle = self._running = None  # type: ignore[assignment]
        self.headers = []

    def eof_received(self) -> bool | None:  # type: ignore[override]  # asyncio's meaning, which uvicorn does not use
        """Answer the requests of a caller that sends no more, unless the answer is a stream or over TLS."""
        if not self.is_answering or self.cycle.more_body or self.is_stream or self.scheme == "https":
            return None
        self._is_half_closed = True
        self._probe_at = self.loop.call_later(PROBE_SECONDS, self._probe)
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
        """Abort the connection, and drop unsent data."""
        self.transport.abort()

    def shutdown(self) -> None:
        super().shutdown()
        self._expect_reader_if_closing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._expect_reader_if_closing()

    # --- requests -----------------------------------------------------------------------------------------------------

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
        """Parse data, and return the number of parsed bytes."""
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
        # Trailers are dropped: the request has already been checked by its headers.
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

    # --- refusals -----------------------------------------------------------------------------------------------------

    def _stop_parser(self, refusal: Refusal) -> None:
        self._refusal = refusal
        raise _Refused

    def _refuse(self, refusal: Refusal) -> None:
        """Refuse a malformed request after the answers to earlier ones, and close the connection."""
        self._is_refused = True
        self._is_begun = False
        self._refusal = refusal
        newest: RequestResponseCycle | None = self.cycle
        if newest is None or newest.response_complete or not newest.more_body:
            # The head is malformed; earlier requests may still be in progress.
            if not self.is_answering:
                self._write_refusal()
        elif self.pipeline:
            # The newest request has begun, and its body is malformed.
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
            # The caller may still be sending: closing now would reset the connection and lose the refusal.
            self.transport.write_eof()
            self._in_time()
            self._time_up = self.loop.call_later(LINGER_SECONDS, self.transport.close)
            self.flow.resume_reading()
        else:
            self.transport.close()

    # --- answers ------------------------------------------------------------------------------------------------------

    @property
    def is_answering(self) -> bool:
        """Whether a request is being answered, or waits for its answer."""
        # uvicorn's type says that there always is one.
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
        """Send an interim response, which a caller must ignore; writing fails if the caller has disconnected."""
        running = self._running
        if running is None or self.transport.is_closing():
            return
        if running.scope["http_version"] == "1.1" and not running.response_started:
            self.transport.write(CONTINUE)
        self._probe_at = self.loop.call_later(PROBE_SECONDS, self._probe)

    # --- timers -------------------------------------------------------------------------------------------------------

    def _expect_more(self) -> None:
        """Start the timer of a request that has begun, or the idle timer of a connection without one."""
        if self._is_begun:
            if self._time_up is None and not self.transport.is_closing():
                self._time_up = self.loop.call_later(HEAD_TIMEOUT_SECONDS, self.transport.close)
            return
        self._in_time()
        # After an early answer the connection is idle, too: the server does not wait for the rest of the body.
        if not self.is_answering and self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _expect_reader(self) -> None:
        if self._write_up is None:
            self._write_up = self.loop.call_later(WRITE_TIMEOUT_SECONDS, self.abort)

    def _expect_reader_if_closing(self) -> None:
        """Start the write timer of a closing connection, which still sends what was written."""
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._expect_reader()

    def _in_time(self) -> None:
        if self._time_up is not None:
            self._time_up.cancel()
            self._time_up = None
