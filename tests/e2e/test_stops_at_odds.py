"""A stop works although a resource that the run needs is gone, or every slot is taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from tests.e2e.given import WAIT, automation, call, detail, execute, terminate, until, webhook
from tests.receivers import HANG, Answer, Receiver
from tests.servers import LOOK, PATIENCE, ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

SLOTS = 2
TAKEN = 1
"""Slots that one host can take: the last one is left to a host that asks later."""


async def delete(api: httpx2.AsyncClient, path: str) -> None:
    answer = await api.request("DELETE", path, json={})
    assert answer.status_code == 200, answer.text
    assert (await api.get(path)).status_code == 404


async def until_attempted(api: httpx2.AsyncClient, execution: int) -> None:
    """Look again until the first attempt has failed and the second is waited for."""
    async with asyncio.timeout(PATIENCE):
        while (shown := await detail(api, execution))["state"] != "WAITING" or not shown["steps"][0]["attempts"]:
            await asyncio.sleep(LOOK)


async def test_with_its_webhook_deleted_a_call_in_flight_is_cut(api: httpx2.AsyncClient, receiver: Receiver) -> None:
    receiver.then(HANG)
    hook = await webhook(api, receiver)
    execution = await execute(api, await automation(api, "call", call("one", hook)))
    await receiver.received(1)
    await delete(api, f"/api/v1/webhooks/{hook}")
    assert (await terminate(api, execution)).startswith("accepted")
    await receiver.closed(0)
    shown = await until(api, execution, "TERMINATE")
    assert shown["steps"][0]["outcome"] == "INTERRUPTED_OUTCOME_UNKNOWN"


async def test_with_its_webhook_deleted_a_retry_is_never_made(api: httpx2.AsyncClient, receiver: Receiver) -> None:
    receiver.then(Answer(503))
    hook = await webhook(api, receiver)
    execution = await execute(api, await automation(api, "call", call("one", hook)))
    await until_attempted(api, execution)
    await delete(api, f"/api/v1/webhooks/{hook}")
    assert await terminate(api, execution) == "accepted; state=TERMINATE"
    assert (await detail(api, execution))["state"] == "TERMINATE"
    assert len(receiver.requests) == 1


async def test_with_their_automation_deleted_waiting_and_calling_runs_are_stopped(
    api: httpx2.AsyncClient, receiver: Receiver
) -> None:
    receiver.then(HANG)
    hook = await webhook(api, receiver)
    resting, calling = await automation(api, "rest", WAIT), await automation(api, "call", call("one", hook))
    at_rest, in_flight = await execute(api, resting), await execute(api, calling)
    await receiver.received(1)
    for each in (resting, calling):
        await delete(api, f"/api/v1/automations/{each}")
    assert await terminate(api, at_rest) == "accepted; state=TERMINATE"
    assert (await terminate(api, in_flight)).startswith("accepted")
    await receiver.closed(0)
    for execution in (at_rest, in_flight):
        await until(api, execution, "TERMINATE")


@pytest.fixture
async def narrow(tmp_path: Path, receiver: Receiver) -> AsyncIterator[httpx2.AsyncClient]:
    """Asks a server with so many slots."""
    egress, options = [f"127.0.0.1:{receiver.port}"], ["--slots", str(SLOTS)]
    async with ServerProcess(tmp_path, egress=egress, options=options) as server, await server.api() as api:
        yield api


async def test_with_all_slots_taken_by_hanging_receivers_every_run_can_be_stopped(
    narrow: httpx2.AsyncClient, receiver: Receiver
) -> None:
    receiver.then(HANG)
    calling = await automation(narrow, "call", call("one", await webhook(narrow, receiver)))
    in_flight = [await execute(narrow, calling) for _ in range(TAKEN)]
    await receiver.received(TAKEN)
    in_line = [await execute(narrow, calling) for _ in range(3)]
    first, *others = in_line
    assert (await detail(narrow, first))["state"] == "PENDING"
    assert await terminate(narrow, first) == "accepted; state=TERMINATE"
    assert (await terminate(narrow, in_flight[0])).startswith("accepted")
    await until(narrow, in_flight[0], "TERMINATE")
    # Its slot went to the next in line, who is still wanted.
    await receiver.received(TAKEN + 1)
    for execution in (*others, *in_flight[1:]):
        assert (await terminate(narrow, execution)).startswith("accepted")
    for execution in (*in_flight, *in_line):
        await until(narrow, execution, "TERMINATE")
    assert (await detail(narrow, first))["steps"][0]["outcome"] == "NOT_STARTED"
    for number in range(len(receiver.connections)):
        await receiver.closed(number)
