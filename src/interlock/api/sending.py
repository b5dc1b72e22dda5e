"""Sends answers: large ones in pieces, each when the previous one was read, with a limit on their total size.

The server holds an answer that its caller does not read. This module limits the total of these answers;
`api/connection.py` limits the bytes of one connection beyond the current piece, and the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from interlock.api.bodies import Receive, Scope, Send
from interlock.api.connection import ABORT
from interlock.api.lanes import until_disconnect

PIECE_BYTES: Final = 65_536
"""Bytes of an answer that are written at a time."""
MAX_UNSENT_BYTES: Final = 67_108_864
"""Maximum size of all held answers that are larger than a piece, in bytes; beyond it the oldest is aborted."""


@dataclass(slots=True, eq=False)
class _Answer:
    left: int
    abort: Callable[[], None]
    is_cut: bool = False


class Outbox:
    """The answers that are sent in pieces, the oldest first."""

    def __init__(self, limit: int = MAX_UNSENT_BYTES) -> None:
        self._limit = limit
        self._answers: dict[_Answer, None] = {}
        self.unsent = 0
        """Bytes that are not sent yet."""
        self.cut = 0
        """Answers that were aborted to free memory for others."""

    async def send(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a body, after its head, while its caller reads it."""
        if len(body) <= PIECE_BYTES:
            await send({"type": "http.response.body", "body": body})
            return
        answer = _Answer(len(body), scope.get("extensions", {}).get(ABORT, {}).get("call", _nothing))
        self._make_room(answer.left)
        self._answers[answer] = None
        self.unsent += answer.left
        try:
            for begin in range(0, len(body), PIECE_BYTES):
                piece = body[begin : begin + PIECE_BYTES]
                await send({"type": "http.response.body", "body": piece, "more_body": answer.left > len(piece)})
                if answer.is_cut:
                    await until_disconnect(receive)
                    return
                answer.left -= len(piece)
                self.unsent -= len(piece)
        finally:
            self._forget(answer)

    def _make_room(self, size: int) -> None:
        while self._answers and self.unsent + size > self._limit:
            oldest = next(iter(self._answers))
            oldest.is_cut = True
            self.cut += 1
            self._forget(oldest)
            oldest.abort()

    def _forget(self, answer: _Answer) -> None:
        if answer in self._answers:
            del self._answers[answer]
            self.unsent -= answer.left


def _nothing() -> None:
    """Abort no connection, where the server has no such function."""
