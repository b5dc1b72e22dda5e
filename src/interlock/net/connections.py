"""One connection of the HTTP client: a transport, TLS over it if the URL says so, and one request at a time.

The loop is never held by what comes in: raw bytes are taken in slices, with a turn of the loop between two of them and
with reading paused meanwhile. TLS is done here over memory buffers instead of by the loop, so that its records are
counted and sliced as well, and a fault of a certificate keeps its name.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from interlock.net.answers import MAX_FRAMING_BYTES, MAX_HEAD_BYTES, AnswerFailed, AnswerReader
from interlock.net.connection_ends import Settled, keep_alive_seconds, reset
from interlock.net.trust import tls_fault
from interlock.ports import HttpFailed, HttpFailureKind, Phase, Progress

MAX_SLICE_BYTES: Final = 16 * 1024
"""Raw bytes of an answer that are processed in one turn of the loop."""
MAX_HANDSHAKE_BYTES: Final = 256 * 1024
"""Raw bytes of a TLS handshake that are read."""
MAX_TLS_OVERHEAD: Final = 4
"""Raw bytes of TLS per byte of the answer's own limits: many tiny records are cut off beyond it."""
PIECE_BYTES: Final = 64 * 1024
"""Bytes of a request that are handed to the transport at once."""
MAX_UNSENT_BYTES: Final = 512 * 1024
"""Bytes in the transport's buffer beyond which the connection is reset: a receiver that asks for TLS key updates
without reading the replies."""

_EARLY = "the connection was closed before an answer came"
_CUT = "the connection ended before the answer was complete"


class Owner(Protocol):
    """Who keeps the connections."""

    def opened(self, connection: Connection) -> None: ...

    def lost(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """A connection to `address`, which the policy permits."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: str,
        permitted: Callable[[tuple[Any, ...]], bool],
        owner: Owner,
        tls: ssl.SSLContext | None,
        host: str,
    ) -> None:
        self.address = address
        self.is_permitted = False
        """Whether the address that the kernel names as the peer is permitted too."""
        self.is_closed = False
        self.keep_seconds = 0.0
        """How long it may be idle; 0: it must not be used again."""
        self._loop = loop
        self._permitted = permitted
        self._owner = owner
        self._host = host
        self._transport: asyncio.Transport | None = None
        self._is_full = False
        # TLS
        self._tls: ssl.SSLObject | None = None
        self._shaken = tls is None
        if tls is not None:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        # what has come in and is not processed
        self._backlog: deque[memoryview] = deque()
        self._ended: list[Exception | None] = []
        """How the connection ended, while a backlog is still to be read."""
        self._raw = 0
        self._raw_limit = MAX_HANDSHAKE_BYTES
        # the request in progress
        self._settled: Settled | None = None
        self._reader: AnswerReader | None = None
        self._progress = Progress()
        self._timer: asyncio.TimerHandle | None = None
        self._timeout = 0.0
        self._unsent: memoryview | None = None
        self._handed = 0
        self._sealed = 0
        """Raw bytes of the request that the transport was handed: with TLS more than `_handed`."""

    # --- for the client -------------------------------------------------------------------------------------------

    def shake_hands(self) -> asyncio.Future[None]:
        """Begin TLS. The future raises HttpFailed if the receiver cannot be trusted."""
        settled = self._settled = Settled(self, self._loop)
        if self.is_closed:
            self._fail(HttpFailed(HttpFailureKind.TLS, tls_fault(self._host, None)))
        else:
            self._handshake()
        return settled

    def exchange(self, request: bytes, reader: AnswerReader, progress: Progress, timeout: float) -> Settled:
        """Send `request` and read its answer into `reader`, within `timeout` seconds from now.

        The future raises HttpFailed if no complete answer comes. `progress` is final when it is done, or cancelled.
        """
        settled = self._settled = Settled(self, self._loop)
        self._reader, self._progress, self._timeout = reader, progress, timeout
        self._handed = self._sealed = self._raw = 0
        self._raw_limit = MAX_TLS_OVERHEAD * (MAX_HEAD_BYTES + reader.limit + MAX_FRAMING_BYTES)
        self.keep_seconds = 0.0
        progress.phase = Phase.WRITING
        if self.is_closed:
            self._settle(HttpFailed(HttpFailureKind.RESET, _EARLY))
            return settled
        self._timer = self._loop.call_later(timeout, self._out_of_time)
        if len(request) <= PIECE_BYTES and self._tls is None and self._transport is not None:
            # The usual case, without the detour.
            progress.bytes_written = self._handed = self._sealed = len(request)
            self._transport.write(request)
            progress.phase = Phase.WAITING
        else:
            self._unsent = memoryview(request)
            self._write_on()
        return settled

    def cut(self) -> None:
        """Reset the connection now (TCP RST). What the transport has not handed to the kernel stays here."""
        self._fail(HttpFailed(HttpFailureKind.RESET, "the connection was closed by this server"))

    def close(self) -> None:
        """Close an idle connection in order."""
        self.is_closed = True
        if self._transport is not None:
            self._transport.close()

    # --- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so
        self._owner.opened(self)
        peer = transport.get_extra_info("peername")
        self.is_permitted = peer is not None and self._permitted(peer)
        if not self.is_permitted:
            self._reset()

    def data_received(self, data: bytes) -> None:
        if self._backlog:
            self._backlog.append(memoryview(data))
        elif len(data) <= MAX_SLICE_BYTES:
            self._take(data)
        else:
            self._backlog.append(memoryview(data))
            if self._transport is not None:
                self._transport.pause_reading()
            self._next_slice()

    def eof_received(self) -> None:
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        self._transport = None
        self._end(exc)
        self._owner.lost(self)

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._write_on()

    # --- reading --------------------------------------------------------------------------------------------------

    def _next_slice(self) -> None:
        if self._settled is None:  # settled or cut since; or nothing was asked, and what came is not dropped in silence
            self._backlog.clear()
            if not self.is_closed:
                self._reset()
        if self._backlog:
            first = self._backlog[0]
            if len(first) > MAX_SLICE_BYTES:
                self._backlog[0] = first[MAX_SLICE_BYTES:]
            else:
                self._backlog.popleft()
            self._take(bytes(first[:MAX_SLICE_BYTES]))
        if self._backlog:
            self._loop.call_soon(self._next_slice)
        elif self._ended:
            self._end(self._ended.pop())
        elif self._transport is not None and not self.is_closed:
            self._transport.resume_reading()

    def _take(self, data: bytes) -> None:
        if self._tls is None:
            if self._settled is None:  # nothing was asked: the connection is in no state for another request
                self._reset()
            else:
                self._read(data)
            return
        self._raw += len(data)
        if self._raw > self._raw_limit:
            kind = HttpFailureKind.TOO_LARGE if self._shaken else HttpFailureKind.TLS
            self._fail(HttpFailed(kind, f"{self._host} sends too many bytes of TLS for what it says; ask its operator"))
            return
        self._incoming.write(data)
        if not self._shaken:
            self._handshake()
        elif self._settled is not None:
            self._decrypt()
        elif not self._is_quiet():
            self._reset()

    def _read(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            return
        try:
            is_complete = reader.feed(data)
        except AnswerFailed as failed:
            self._progress.status = reader.status
            self._fail(HttpFailed(failed.kind, failed.message))
            return
        if is_complete:
            self._complete(reader)
        elif reader.is_head_read and self._progress.phase is not Phase.READING:
            self._progress.status, self._progress.phase = reader.status, Phase.READING

    def _end(self, error: Exception | None) -> None:
        """Nothing more comes."""
        if self._backlog:
            self._ended.append(error)
            return
        if self._settled is None:
            if not self.is_closed:
                self.close()
            return
        reader = self._reader
        if reader is None or not self._shaken:
            self._fail(HttpFailed(HttpFailureKind.TLS, tls_fault(self._host, None)))
            return
        try:
            is_complete = error is None and reader.end()
        except AnswerFailed as failed:
            self._fail(HttpFailed(failed.kind, failed.message))
            return
        if is_complete:
            self._complete(reader)
        else:
            self._fail(HttpFailed(HttpFailureKind.RESET, _EARLY if reader.status is None else _CUT))

    def _complete(self, reader: AnswerReader) -> None:
        self._progress.status = reader.status
        if self._unsent is not None:  # answered before the request was written to its end
            self._count_what_left()
            self._reset()
        elif self._backlog or not self._is_quiet():
            self._reset()
        elif not reader.is_reusable or self.is_closed:
            self.close()
        else:
            self.keep_seconds = keep_alive_seconds(reader.headers.get("keep-alive", ""))
        self._settle(None)

    # --- writing --------------------------------------------------------------------------------------------------

    def _write_on(self) -> None:
        while self._unsent is not None and not self._is_full and self._transport is not None:
            piece = self._unsent[:PIECE_BYTES]
            raw: bytes | memoryview = piece
            if self._tls is not None:
                self._tls.write(piece)
                raw = self._outgoing.read()
            self._handed += len(piece)
            self._sealed += len(raw)
            self._progress.bytes_written = self._handed
            self._unsent = self._unsent[len(piece) :] if len(self._unsent) > len(piece) else None
            self._transport.write(raw)
            if self._unsent is None and self._progress.phase is Phase.WRITING:
                self._progress.phase = Phase.WAITING

    def _count_what_left(self) -> None:
        """Bytes that wait in the transport's buffer go nowhere any more; the kernel's may have left."""
        if self._reader is not None and self._transport is not None:
            left = self._sealed - self._transport.get_write_buffer_size()
            self._progress.bytes_written = max(0, min(self._handed, left))

    # --- TLS ------------------------------------------------------------------------------------------------------

    def _handshake(self) -> None:
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, ssl.CertificateError) as fault:
            self._flush()  # the alert, which a reset would discard
            self.close()
            self._settle(HttpFailed(HttpFailureKind.TLS, tls_fault(self._host, fault)))
            return
        self._shaken = True
        self._flush()
        self._settle(None)

    def _decrypt(self) -> None:
        assert self._tls is not None
        while self._reader is not None:
            try:
                data = self._tls.read(MAX_SLICE_BYTES)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                data = b""
            except ssl.SSLError as fault:
                self._progress.status = self._reader.status
                self._fail(HttpFailed(HttpFailureKind.TLS, tls_fault(self._host, fault)))
                return
            if not data:
                self._backlog.clear()
                self._end(None)
                return
            self._read(data)
        self._flush()

    def _is_quiet(self) -> bool:
        """Whether no byte of an answer waits between two requests; TLS's own messages may."""
        if self._tls is None:
            return True
        try:
            self._tls.read(1)
        except ssl.SSLWantReadError:
            self._flush()
            return True
        except ssl.SSLError:
            pass
        return False

    def _flush(self) -> None:
        if self._outgoing.pending and self._transport is not None:
            self._transport.write(self._outgoing.read())
            if self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
                self._fail(HttpFailed(HttpFailureKind.TLS, f"{self._host} asks for TLS key updates and reads none"))

    # --- the end of a request -------------------------------------------------------------------------------------

    def _out_of_time(self) -> None:
        self._timer = None
        reader = self._reader
        if reader is not None:
            self._progress.status = reader.status
        self._fail(
            HttpFailed(
                HttpFailureKind.TIMEOUT, f"no complete answer within {self._timeout:g} s after the request was sent"
            )
        )

    def _fail(self, failure: HttpFailed) -> None:
        self._count_what_left()
        self._reset()
        self._settle(failure)

    def _settle(self, failure: HttpFailed | None) -> None:
        settled = self._forget()
        if settled is not None and not settled.done():
            if failure is None:
                settled.set_result(None)
            else:
                settled.set_exception(failure)
                settled.exception()  # seen, even if the task is cancelled before it is

    def _forget(self) -> Settled | None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        settled, self._settled = self._settled, None
        self._reader = self._unsent = None
        return settled

    def _reset(self) -> None:
        self.is_closed = True
        if self._transport is not None:
            reset(self._transport)
