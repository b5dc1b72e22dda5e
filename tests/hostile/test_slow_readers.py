"""Callers that ask and do not read: what they make the server hold is bounded, by bytes, by number and by time."""

from __future__ import annotations

import asyncio

import pytest

from interlock.api.connection import ABORT, MAX_STALLED, MAX_UNREAD_BYTES, WRITE_TIMEOUT_SECONDS
from interlock.api.sending import MAX_UNSENT_BYTES, PIECE_BYTES, Outbox
from simulation.asgi import Caller
from tests.clocks import settle

pytestmark = pytest.mark.anyio


class Reader(Caller):
    """A caller that reads only when it is let, and whose connection can be cut."""

    def __init__(self) -> None:
        super().__init__([])
        self.may_read = asyncio.Event()
        self.scope = {"extensions": {ABORT: {"call": self.gone.set}}}

    async def send(self, message: object) -> None:
        if not self.gone.is_set():
            reading, leaving = asyncio.ensure_future(self.may_read.wait()), asyncio.ensure_future(self.gone.wait())
            await asyncio.wait((reading, leaving), return_when=asyncio.FIRST_COMPLETED)
            reading.cancel()
            leaving.cancel()
        if not self.gone.is_set():
            await super().send(message)

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent)


def sent_to(outbox: Outbox, reader: Reader, body: bytes) -> asyncio.Task[None]:
    return asyncio.ensure_future(outbox.send(body, reader.scope, reader.receive, reader.send))


async def test_a_large_answer_goes_out_in_pieces_and_is_counted_down() -> None:
    outbox, reader, body = Outbox(), Reader(), bytes(range(256)) * 1_000
    task = sent_to(outbox, reader, body)
    await settle()
    assert outbox.unsent == len(body)
    reader.may_read.set()
    await task
    assert outbox.unsent == 0
    assert reader.body == body
    assert max(len(message["body"]) for message in reader.sent) == PIECE_BYTES
    assert [message.get("more_body", False) for message in reader.sent] == [True] * 3 + [False]


async def test_a_small_answer_is_one_message_and_takes_no_room() -> None:
    outbox, reader = Outbox(0), Reader()
    reader.may_read.set()
    await sent_to(outbox, reader, b"x" * PIECE_BYTES)
    assert len(reader.sent) == 1
    assert outbox.cut == 0


async def test_the_oldest_unread_answer_is_cut_when_others_need_its_room() -> None:
    body = b"x" * (PIECE_BYTES * 4)
    outbox = Outbox(len(body) * 3)
    readers = [Reader() for _ in range(40)]
    tasks = []
    for reader in readers:
        tasks.append(sent_to(outbox, reader, body))
        await settle()
        assert outbox.unsent <= len(body) * 3
    assert outbox.cut == 37
    assert [reader.gone.is_set() for reader in readers] == [True] * 37 + [False] * 3
    for reader in readers:
        reader.may_read.set()
    await asyncio.gather(*tasks)
    assert [reader.body == body for reader in readers] == [False] * 37 + [True] * 3
    assert outbox.unsent == 0


async def test_an_answer_larger_than_the_room_is_sent_alone() -> None:
    outbox, reader = Outbox(PIECE_BYTES), Reader()
    reader.may_read.set()
    body = b"x" * (PIECE_BYTES * 5)
    await sent_to(outbox, reader, body)
    assert reader.body == body


async def test_a_reader_that_leaves_gives_its_room_back() -> None:
    outbox, reader = Outbox(), Reader()
    task = sent_to(outbox, reader, b"x" * (PIECE_BYTES * 3))
    await settle()
    task.cancel()
    await settle()
    assert outbox.unsent == 0


def test_all_that_readers_can_make_the_server_hold_is_a_few_hundred_megabytes() -> None:
    assert MAX_UNSENT_BYTES + MAX_STALLED * (PIECE_BYTES + MAX_UNREAD_BYTES) < 200_000_000
    assert WRITE_TIMEOUT_SECONDS <= 30
