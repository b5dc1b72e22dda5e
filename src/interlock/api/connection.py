"""A connection: uvicorn's, with bounds on how long and how large a request may be before anybody can look at it.

Without them a caller who sends half a head, or a head without its body, holds a socket for ever, and one who never ends
his head holds ever more memory. What comes after the first byte of a body is bounded where the body is read.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_PATIENCE: Final = 30.0
"""Seconds from the first byte of a request within which its head, and the first of its body, must have come."""
MAX_HEAD_BYTES: Final = 65_536
"""Bytes of a head that came in pieces, give or take one read."""

_BODY: Final = b'{"code":3,"message":"the head of the request is too large","details":[]}'
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n%s" % (len(_BODY), _BODY)
)


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._is_begun = False
        """A request has begun, and neither its end nor its body's first byte has come."""
        self._size = 0
        self._time_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        # uvicorn lets a connection be idle for so long only after its first answer; the first byte takes this away.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_begun:
            self._wait_for_more(len(data))
        elif self._time_up is not None:
            self._in_time()

    def on_message_begin(self) -> None:
        self._is_begun = True
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        self._is_begun = False
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_begun = False
        super().on_message_complete()

    def _wait_for_more(self, came: int) -> None:
        self._size += came
        if self._size > MAX_HEAD_BYTES and not self.transport.is_closing():
            if not self._is_answering():
                self.transport.write(_TOO_LARGE)
            self.transport.close()
        elif self._time_up is None:
            self._time_up = self.loop.call_later(HEAD_PATIENCE, self.transport.close)

    def _is_answering(self) -> bool:
        # Typed as if there always were one.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _in_time(self) -> None:
        self._size = 0
        if self._time_up is not None:
            self._time_up.cancel()
            self._time_up = None
