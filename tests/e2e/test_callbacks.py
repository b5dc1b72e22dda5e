"""A receiver that answers 202 and calls back later: in time, too late, and after the stop."""

from __future__ import annotations

import httpx2
import pytest

from tests.e2e.given import automation, call, detail, execute, terminate, until, webhook
from tests.receivers import Answer, Receiver
from tests.servers import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

USE = {
    "stepName": "use",
    "evaluateExpressions": {"expressions": [{"key": "ticket", "expressionCel": "ctx.ask.response.ticket"}]},
}


async def waiting(api: httpx2.AsyncClient, receiver: Receiver) -> tuple[int, str]:
    """A run that waits for its callback, and where that has to go."""
    receiver.then(Answer(202))
    execution = await execute(api, await automation(api, "ask", call("ask", await webhook(api, receiver)), USE))
    await until(api, execution, "WAITING")
    return execution, receiver.requests[0].headers["webhook-callback-url"]


async def call_back(url: str, ticket: str) -> httpx2.Response:
    async with httpx2.AsyncClient() as client:
        return await client.post(url, json={"version": "v1", "context": {"ticket": ticket}})


async def test_the_run_goes_on_with_what_the_callback_brought(api: httpx2.AsyncClient, receiver: Receiver) -> None:
    execution, url = await waiting(api, receiver)
    assert (await call_back(url, "INC-7")).status_code == 200
    shown = await until(api, execution, "DONE")
    assert [step["outcome"] for step in shown["steps"]] == ["SUCCEEDED", "SUCCEEDED"]
    assert shown["steps"][1]["output"] == {"ticket": "INC-7"}
    assert (await call_back(url, "INC-8")).status_code == 400
    assert (await detail(api, execution))["steps"][1]["output"] == {"ticket": "INC-7"}


async def test_a_callback_finds_its_run_after_a_crash(
    server: ServerProcess, api: httpx2.AsyncClient, receiver: Receiver
) -> None:
    execution, url = await waiting(api, receiver)
    await server.kill()
    await server.start()
    assert (await call_back(url, "INC-7")).status_code == 200
    assert (await until(api, execution, "DONE"))["steps"][1]["output"] == {"ticket": "INC-7"}
    assert len(receiver.requests) == 1


async def test_after_a_stop_the_callback_is_refused_and_kept_as_evidence(
    api: httpx2.AsyncClient, receiver: Receiver
) -> None:
    execution, url = await waiting(api, receiver)
    assert await terminate(api, execution) == "accepted; state=TERMINATE"
    assert (await call_back(url, "INC-7")).status_code == 400
    shown = await detail(api, execution)
    assert [step["outcome"] for step in shown["steps"]] == ["INTERRUPTED_WAITING", "NOT_STARTED"]
    [late] = shown["steps"][0]["attempts"][0]["late"]
    assert late["outcome"] == "LATE_SUCCEEDED"
    receipt = (await api.get(f"/interlock/v1/executions/{execution}/receipt")).json()
    assert [entry["step"] for entry in receipt["late"]] == ["ask"]


async def test_a_forged_callback_moves_nothing(api: httpx2.AsyncClient, receiver: Receiver) -> None:
    execution, url = await waiting(api, receiver)
    for forged in (f"{url}x", url[:-1], f"{url[:-1]}{'A' if url[-1] != 'A' else 'B'}"):
        assert (await call_back(forged, "INC-0")).status_code in {400, 404}
    assert (await detail(api, execution))["state"] == "WAITING"
