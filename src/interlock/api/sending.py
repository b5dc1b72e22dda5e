"""Answers on their way out: large ones in pieces, each sent when the one before has left, and all of them bounded.

A caller that does not read makes the server hold what it was sent. Here that is bounded in total; what one connection
holds beyond the piece that is being sent, and for how long, is bounded in `api/connection.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from interlock.api.bodies import Receive, Scope, Send
from interlock.api.connection import ABORT
from interlock.api.lanes import until_gone

PIECE_BYTES: Final = 65_536
"""Bytes of an answer that are handed to the connection at a time."""
MAX_UNSENT_BYTES: Final = 67_108_864
"""Bytes of answers larger than a piece that are held at a time; beyond it the oldest is cut off."""


@dataclass(slots=True, eq=False)
class _Answer:
    left: int
    abort: Callable[[], None]
    is_cut: bool = False


class Outbox:
    """The answers that are being sent in pieces, the oldest first."""

    def __init__(self, limit: int = MAX_UNSENT_BYTES) -> None:
        self._limit = limit
        self._answers: dict[_Answer, None] = {}
        self.unsent = 0
        """Bytes that are held."""
        self.cut = 0
        """Answers that were cut off because others needed their room."""

    async def send(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a body, whose head has been sent, for as long as its caller reads it."""
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
                    await until_gone(receive)
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
    """Cut no connection: there is none."""
