"""The stream of the changes of a run."""

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
from tests.operations.operations_client import BY_NAME, CALL, GREET, WAIT, OperationsClient

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
async def following(
    admin: OperationsClient, run: int | str, headers: Mapping[str, str] | None = None
) -> AsyncIterator[Following]:
    operation = BY_NAME["OwnFollowExecution"]
    call = admin.call(operation, {"id": str(run)}, {}, headers or {})
    answer = await operation.handler(admin.services, call, None)
    assert isinstance(answer.message, Stream)
    made = Following(answer.message)
    await settle()
    try:
        yield made
    finally:
        await made.left()


async def every_view_shows_the_stop(admin: OperationsClient) -> None:
    """S14: every read that begins after the 200 shows the stop."""
    run = await admin.start(await admin.make(CALL))
    admin.engine.far.deaf = True
    before = await views(admin, run)
    assert (before["state"], before["ours"], before["listed"]) == ("PROCESS_STEP", "PROCESS_STEP", "PROCESS_STEP")
    async with following(admin, run) as followed:
        await admin.ask("TerminateAutomation", {"reason": "enough"}, id=run)
        assert await views(admin, run) == {**before, "ours": "STOPPING", "reason": "enough"}
        await admin.wait(10)
        over = "TERMINATE"
        expected = {"state": over, "ours": over, "listed": over, "found": [str(run)], "reason": "enough"}
        assert await views(admin, run) == expected
        assert followed.states == ["PROCESS_STEP", "STOPPING", "TERMINATE"]


async def views(admin: OperationsClient, run: int) -> dict[str, Any]:
    detail = await admin.detail(run)
    listed = (await admin.ask("ListAutomationExecutions")).body["automationExecutions"]
    state = await admin.state(run)
    wanted = {"executionStepStates": [f"AUTOMATION_EXECUTION_STATE_{state}"]}
    found = (await admin.ask("SearchAutomationExecutions", wanted)).body["list"]
    return {
        "state": state,
        "ours": detail["state"],
        "reason": detail.get("termination", {}).get("reason"),
        "listed": listed[0]["state"].removeprefix("AUTOMATION_EXECUTION_STATE_"),
        "found": [row["automationExecution"]["id"] for row in found],
    }


async def test_every_view_shows_a_stop_to_later_readers(admin: OperationsClient) -> None:
    await every_view_shows_the_stop(admin)


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
    """A store whose runs are read through a cache that is never invalidated."""

    def __init__(self, real: Any, name: str) -> None:
        self._real = real
        self.executions = Remembering(real.executions, name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.mark.parametrize("read", ["get", "page"])
async def test_a_view_that_shows_the_run_as_it_was_is_found_out(admin: OperationsClient, read: str) -> None:
    stale: Any = StoreThatRemembers(admin.services.store, read)
    with pytest.raises(AssertionError):
        await every_view_shows_the_stop(replace(admin, services=replace(admin.services, store=stale)))


async def test_a_stream_that_hears_of_no_commit_is_found_out(admin: OperationsClient) -> None:
    with pytest.raises(AssertionError):
        await every_view_shows_the_stop(replace(admin, services=replace(admin.services, feed=Feed())))


async def test_the_run_as_it_is_comes_first_and_then_each_change_until_its_end(admin: OperationsClient) -> None:
    run = await admin.start(await admin.make(WAIT))
    async with following(admin, run) as followed:
        assert followed.states == ["WAITING"]
        await admin.ask("TerminateAutomation", id=run)
        await settle()
        assert followed.states == ["WAITING", "TERMINATE"]
        assert followed.over
    epochs = [epoch for epoch, _ in followed.events]
    assert epochs == sorted(set(epochs))
    assert followed.events[-1][1]["completedAt"]


async def test_a_run_that_has_ended_is_told_once(admin: OperationsClient) -> None:
    async with following(admin, await admin.start(await admin.make(GREET), name="Ann")) as followed:
        assert followed.states == ["DONE"]
        assert followed.over


async def test_it_goes_on_where_it_was_interrupted(admin: OperationsClient) -> None:
    run = await admin.start(await admin.make(WAIT))
    async with following(admin, run) as first:
        [(seen, _)] = first.events
    await admin.ask("TerminateAutomation", id=run)
    async with following(admin, run, {"last-event-id": str(seen)}) as second:
        assert second.states == ["TERMINATE"]


async def test_an_id_beyond_the_newest_event_begins_anew_and_hears_the_stop(admin: OperationsClient) -> None:
    run = await admin.start(await admin.make(WAIT))
    async with following(admin, run, {"last-event-id": "9" * 18}) as followed:
        assert followed.states == ["WAITING"]
        await admin.ask("TerminateAutomation", id=run)
        await settle()
        assert followed.states == ["WAITING", "TERMINATE"]
    async with following(admin, run, {"last-event-id": "9" * 18}) as followed:
        assert followed.states == ["TERMINATE"]


async def test_a_client_that_has_seen_the_end_is_told_not_to_ask_again(admin: OperationsClient) -> None:
    run = await admin.start(await admin.make(WAIT))
    async with following(admin, run) as followed:
        await admin.ask("TerminateAutomation", id=run)
        await settle()
        seen = followed.events
    operation = BY_NAME["OwnFollowExecution"]
    for last, is_over in ((seen[0][0], False), (seen[1][0], True)):
        call = admin.call(operation, {"id": str(run)}, {}, {"last-event-id": str(last)})
        answer = await operation.handler(admin.services, call, None)
        assert isinstance(answer.message, NoContent) is is_over


async def test_a_stop_of_many_reaches_those_who_follow_one_of_them(admin: OperationsClient) -> None:
    run = await admin.start(await admin.make(WAIT))
    async with following(admin, run) as followed:
        order = TerminationRequest(Actor("ann@localhost"), "a flood")
        await admin.services.store.executions.terminate_many(admin.tenant.id, [run], admin.engine.clock.now(), order)
        await settle()
        assert followed.states == ["WAITING", "TERMINATE"]


async def test_the_line_is_kept_alive_and_ends_in_time(admin: OperationsClient) -> None:
    run = await admin.start(await admin.make(WAIT))
    async with following(admin, run) as followed:
        await admin.wait(HEARTBEAT / SECOND)
        assert ": still here" in followed.text
        await admin.wait(MAX_STREAM_LIFETIME / SECOND)
        assert followed.over
        assert followed.states == ["WAITING"]


async def test_it_ends_when_the_server_stops(admin: OperationsClient) -> None:
    run = await admin.start(await admin.make(WAIT))
    async with following(admin, run) as followed:
        admin.services.feed.close()
        await settle()
        assert followed.over


async def test_who_leaves_is_forgotten(admin: OperationsClient) -> None:
    run = await admin.start(await admin.make(WAIT))
    async with following(admin, run):
        assert admin.services.feed.watches == 1
    await settle()
    assert admin.services.feed.watches == 0


async def test_what_cannot_be_followed_is_refused(admin: OperationsClient) -> None:
    run = await admin.start(await admin.make(WAIT))
    with pytest.raises(InvalidArgument, match="Last-Event-ID"):
        async with following(admin, run, {"last-event-id": "x"}):
            pass
    with pytest.raises(NotFound):
        async with following(await admin.of_another_tenant(), run):
            pass
