"""The changes of a run, as whoever follows it gets them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from interlock.engine.feed import Feed
from interlock.errors import InvalidArgument, NotFound
from interlock.operations.executions.events import HEARTBEAT, MAX_STREAM_LIFETIME
from interlock.operations.operation import NoContent, Stream
from interlock.rules.model import SECOND, Actor, TerminationRequest
from tests.clocks import settle
from tests.operations.desk import BY_NAME, CALL, GREET, WAIT, Desk

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


async def every_view_shows_the_stop(ann: Desk) -> None:
    """S14: whoever reads after the 200 sees it."""
    run = await ann.start(await ann.make(CALL))
    ann.engine.far.deaf = True
    before = await views(ann, run)
    assert (before["state"], before["ours"], before["listed"]) == ("PROCESS_STEP", "PROCESS_STEP", "PROCESS_STEP")
    async with following(ann, run) as followed:
        await ann.ask("TerminateAutomation", {"reason": "enough"}, id=run)
        assert await views(ann, run) == {**before, "ours": "STOPPING", "reason": "enough"}
        await ann.wait(10)
        over = "TERMINATE"
        expected = {"state": over, "ours": over, "listed": over, "found": [str(run)], "reason": "enough"}
        assert await views(ann, run) == expected
        assert followed.states == ["PROCESS_STEP", "STOPPING", "TERMINATE"]


async def views(ann: Desk, run: int) -> dict[str, Any]:
    detail = await ann.detail(run)
    listed = (await ann.ask("ListAutomationExecutions")).body["automationExecutions"]
    state = await ann.state(run)
    wanted = {"executionStepStates": [f"AUTOMATION_EXECUTION_STATE_{state}"]}
    found = (await ann.ask("SearchAutomationExecutions", wanted)).body["list"]
    return {
        "state": state,
        "ours": detail["state"],
        "reason": detail.get("termination", {}).get("reason"),
        "listed": listed[0]["state"].removeprefix("AUTOMATION_EXECUTION_STATE_"),
        "found": [row["automationExecution"]["id"] for row in found],
    }


async def test_every_view_shows_a_stop_to_later_readers(ann: Desk) -> None:
    await every_view_shows_the_stop(ann)


class Remembering:
    """Hands everything on to the real thing, and answers the second time what it answered the first."""

    def __init__(self, real: Any, name: str) -> None:
        self._real = real
        self._name = name
        self._kept: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name != self._name:
            return found

        async def remembered(*args: Any, **more: Any) -> Any:
            asked = repr((args, more))
            if asked not in self._kept:
                self._kept[asked] = await found(*args, **more)
            return self._kept[asked]

        return remembered


class StoreThatRemembers:
    """A store whose runs are read through a cache that nobody empties."""

    def __init__(self, real: Any, name: str) -> None:
        self._real = real
        self.executions = Remembering(real.executions, name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.mark.parametrize("read", ["get", "page"])
async def test_a_view_that_shows_the_run_as_it_was_is_found_out(ann: Desk, read: str) -> None:
    stale: Any = StoreThatRemembers(ann.services.store, read)
    with pytest.raises(AssertionError):
        await every_view_shows_the_stop(replace(ann, services=replace(ann.services, store=stale)))


async def test_a_stream_that_hears_of_no_commit_is_found_out(ann: Desk) -> None:
    with pytest.raises(AssertionError):
        await every_view_shows_the_stop(replace(ann, services=replace(ann.services, feed=Feed())))


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


async def test_an_id_beyond_the_newest_event_begins_anew_and_hears_the_stop(ann: Desk) -> None:
    run = await ann.start(await ann.make(WAIT))
    async with following(ann, run, {"last-event-id": "9" * 18}) as followed:
        assert followed.states == ["WAITING"]
        await ann.ask("TerminateAutomation", id=run)
        await settle()
        assert followed.states == ["WAITING", "TERMINATE"]
    async with following(ann, run, {"last-event-id": "9" * 18}) as followed:
        assert followed.states == ["TERMINATE"]


async def test_a_client_that_has_seen_the_end_is_told_not_to_ask_again(ann: Desk) -> None:
    run = await ann.start(await ann.make(WAIT))
    async with following(ann, run) as followed:
        await ann.ask("TerminateAutomation", id=run)
        await settle()
        seen = followed.events
    operation = BY_NAME["OwnFollowExecution"]
    for last, is_over in ((seen[0][0], False), (seen[1][0], True)):
        call = ann.call(operation, {"id": str(run)}, {}, {"last-event-id": str(last)})
        answer = await operation.handler(ann.services, call, None)
        assert isinstance(answer.message, NoContent) is is_over


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
        await ann.wait(MAX_STREAM_LIFETIME / SECOND)
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
