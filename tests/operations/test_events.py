"""The changes of a run, as whoever follows it gets them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from interlock.errors import InvalidArgument, NotFound
from interlock.operations.events import HEARTBEAT, LONGEST
from interlock.operations.operation import Stream
from interlock.rules.model import SECOND, Actor, TerminationRequest
from tests.clocks import settle
from tests.operations.desk import BY_NAME, GREET, WAIT, Desk

pytestmark = pytest.mark.anyio


class Following:
    """What a stream has given so far."""

    def __init__(self, stream: Stream) -> None:
        self.text = ""
        self._task = asyncio.ensure_future(self._read(stream))

    async def _read(self, stream: Stream) -> None:
        async for piece in stream.pieces:
            self.text += piece.decode()

    @property
    def over(self) -> bool:
        return self._task.done()

    @property
    def events(self) -> list[tuple[int, dict[str, Any]]]:
        found = []
        for block in self.text.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            if fields.get("event") == "execution":
                found.append((int(fields["id"]), json.loads(fields["data"])))
        return found

    @property
    def states(self) -> list[str]:
        return [data["state"] for _, data in self.events]

    async def left(self) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))


@asynccontextmanager
async def following(ann: Desk, run: int | str, headers: Mapping[str, str] | None = None) -> AsyncIterator[Following]:
    operation = BY_NAME["OwnFollowExecution"]
    call = ann.call(operation, {"id": str(run)}, {}, headers or {})
    answer = await operation.handler(ann.services, call, None)
    assert isinstance(answer.message, Stream)
    made = Following(answer.message)
    await settle()
    try:
        yield made
    finally:
        await made.left()


async def test_the_run_as_it_is_comes_first_and_then_each_change_until_its_end(ann: Desk) -> None:
    run = await ann.start(await ann.make(WAIT))
    async with following(ann, run) as followed:
        assert followed.states == ["WAITING"]
        await ann.ask("TerminateAutomation", id=run)
        await settle()
        assert followed.states == ["WAITING", "TERMINATE"]
        assert followed.over
    epochs = [epoch for epoch, _ in followed.events]
    assert epochs == sorted(set(epochs))
    assert followed.events[-1][1]["completedAt"]


async def test_a_run_that_has_ended_is_told_once(ann: Desk) -> None:
    async with following(ann, await ann.start(await ann.make(GREET), name="Ann")) as followed:
        assert followed.states == ["DONE"]
        assert followed.over


async def test_it_goes_on_where_it_was_interrupted(ann: Desk) -> None:
    run = await ann.start(await ann.make(WAIT))
    async with following(ann, run) as first:
        [(seen, _)] = first.events
    await ann.ask("TerminateAutomation", id=run)
    async with following(ann, run, {"last-event-id": str(seen)}) as second:
        assert second.states == ["TERMINATE"]


async def test_a_stop_of_many_reaches_those_who_follow_one_of_them(ann: Desk) -> None:
    run = await ann.start(await ann.make(WAIT))
    async with following(ann, run) as followed:
        order = TerminationRequest(Actor("ann@localhost"), "a flood")
        await ann.services.store.executions.terminate_many(ann.tenant.id, [run], ann.engine.clock.now(), order)
        await settle()
        assert followed.states == ["WAITING", "TERMINATE"]


async def test_the_line_is_kept_alive_and_ends_in_time(ann: Desk) -> None:
    run = await ann.start(await ann.make(WAIT))
    async with following(ann, run) as followed:
        await ann.wait(HEARTBEAT / SECOND)
        assert ": still here" in followed.text
        await ann.wait(LONGEST / SECOND)
        assert followed.over
        assert followed.states == ["WAITING"]


async def test_it_ends_when_the_server_stops(ann: Desk) -> None:
    run = await ann.start(await ann.make(WAIT))
    async with following(ann, run) as followed:
        ann.services.feed.close()
        await settle()
        assert followed.over


async def test_who_leaves_is_forgotten(ann: Desk) -> None:
    run = await ann.start(await ann.make(WAIT))
    async with following(ann, run):
        assert ann.services.feed.watches == 1
    await settle()
    assert ann.services.feed.watches == 0


async def test_what_cannot_be_followed_is_refused(ann: Desk) -> None:
    run = await ann.start(await ann.make(WAIT))
    with pytest.raises(InvalidArgument, match="Last-Event-ID"):
        async with following(ann, run, {"last-event-id": "x"}):
            pass
    with pytest.raises(NotFound):
        async with following(await ann.of_another_tenant(), run):
            pass
