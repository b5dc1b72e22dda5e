"""A start with `Prefer: wait` is answered when the run ends, or when the time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from interlock.operations.preferences import MAX_WAIT_SECONDS
from tests.clocks import settle
from tests.operations.operations_client import CALL, WAIT, OperationsClient, Reply

pytestmark = pytest.mark.anyio


def begin(admin: OperationsClient, automation: str, seconds: int, **headers: str) -> asyncio.Task[Reply]:
    asked = {"prefer": f"wait={seconds}", **headers}
    return asyncio.create_task(admin.ask("ExecuteAutomation", {}, id=automation, headers=asked))


def state_told(headers: Mapping[str, str]) -> tuple[str, str]:
    return headers["Interlock-Execution"], headers["Preference-Applied"]


async def test_the_answer_is_held_until_the_run_is_over(admin: OperationsClient) -> None:
    held = begin(admin, await admin.make(CALL), 30)
    await settle()
    assert not held.done()
    admin.engine.far.calls[0].answer()
    reply = await held
    assert state_told(reply.headers) == ("state=DONE", "wait=30")
    assert await admin.state(int(reply.body["executionId"])) == "DONE"
    assert admin.services.feed.watches == 0


@pytest.mark.parametrize("seconds", [0, 2, 86_400])
async def test_the_answer_to_a_start_is_held_no_longer_than_preferred_and_permitted(
    admin: OperationsClient, seconds: int
) -> None:
    held = begin(admin, await admin.make(WAIT), seconds)
    await settle()
    limit = min(seconds, MAX_WAIT_SECONDS)
    if limit:
        await admin.wait(limit - 1)
        assert not held.done()
        await admin.wait(1)
    reply = await held
    assert state_told(reply.headers) == ("state=WAITING", f"wait={limit}")
    assert admin.services.feed.watches == 0


async def test_a_run_that_is_terminated_answers_who_waits_for_it(admin: OperationsClient) -> None:
    held = begin(admin, await admin.make(WAIT), 30)
    await settle()
    [run] = (await admin.ask("ListAutomationExecutions")).body["automationExecutions"]
    await admin.ask("TerminateAutomation", id=run["id"])
    assert state_told((await held).headers) == ("state=TERMINATE", "wait=30")


async def test_a_server_that_stops_answers_with_how_far_the_run_is(admin: OperationsClient) -> None:
    held = begin(admin, await admin.make(WAIT), 30)
    await settle()
    admin.services.feed.close()
    assert state_told((await held).headers) == ("state=WAITING", "wait=30")


async def test_a_repeated_key_waits_for_the_run_that_was_started_first(admin: OperationsClient) -> None:
    automation = await admin.make(CALL)
    first = begin(admin, automation, 1, **{"idempotency-key": "k"})
    await settle()
    await admin.wait(1)
    assert (await first).headers["Interlock-Execution"] == "state=PROCESS_STEP"
    second = begin(admin, automation, 30, **{"idempotency-key": "k"})
    await settle()
    assert not second.done()
    admin.engine.far.calls[0].answer()
    reply = await second
    assert reply.headers["Interlock-Execution"] == "state=DONE"
    assert (reply.headers["Idempotency-Replayed"], reply.body) == ("true", (await first).body)


async def test_a_preference_that_is_not_known_holds_nothing_back(admin: OperationsClient) -> None:
    reply = await admin.ask(
        "ExecuteAutomation", {}, id=await admin.make(WAIT), headers={"prefer": "respond-async, wait=x"}
    )
    assert "Interlock-Execution" not in reply.headers
