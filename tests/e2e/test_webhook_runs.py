"""Runs that reach out: a real receiver on the other end, called once, and cut off when the run is stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.receivers import Answer, Held, Receiver
from tests.servers import ServerProcess, until_state

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver(Answer.json({"version": "v1", "context": {"ticket": "INC-1"}})) as receiver:
        yield receiver


@pytest.fixture
async def server(tmp_path: Path, receiver: Receiver) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(tmp_path, egress=[f"127.0.0.1:{receiver.port}"]) as server:
        yield server


@pytest.fixture
async def api(server: ServerProcess) -> AsyncIterator[httpx2.AsyncClient]:
    async with await server.api() as api:
        yield api


async def post(api: httpx2.AsyncClient, path: str, body: object) -> Any:
    answer = await api.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def automation(api: httpx2.AsyncClient, name: str, *steps: object) -> str:
    made = await post(api, "/api/v1/automations", {"displayName": name, "enabled": True, "automationSteps": steps})
    found: str = made["automation"]["id"]
    return found


async def webhook(api: httpx2.AsyncClient, receiver: Receiver) -> str:
    made = await post(api, "/api/v1/webhooks", {"displayName": "tickets", "url": receiver.url("/tickets")})
    found: str = made["webhook"]["id"]
    return found


async def execute(api: httpx2.AsyncClient, automation: str, **trigger: object) -> int:
    body = {"context": {"context": trigger}}
    return int((await post(api, f"/api/v1/automations/{automation}/execute", body))["executionId"])


async def detail(api: httpx2.AsyncClient, execution: int) -> Any:
    answer = await api.get(f"/interlock/v1/executions/{execution}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def call(name: str, webhook: str, **payload: object) -> dict[str, object]:
    return {"stepName": name, "webhook": {"webhookId": webhook, "payload": payload}}


async def test_a_run_calls_out_once_uses_the_answer_skips_and_starts_a_child(
    server: ServerProcess, api: httpx2.AsyncClient, receiver: Receiver
) -> None:
    hook = await webhook(api, receiver)
    child = await automation(api, "child", call("told", hook, ticket="{{ ctx.trigger.ticket }}"))
    parent = await automation(
        api,
        "parent",
        call("open", hook, who="{{ ctx.trigger.name }}"),
        {**call("never", hook), "skipIfTrueCel": 'ctx.open.response.ticket == "INC-1"'},
        {
            "stepName": "start",
            "runAutomation": {
                "automationTemplateRef": {"id": child},
                "context": {"context": {"ticket": "{{ ctx.open.response.ticket }}"}},
            },
        },
    )
    execution = await execute(api, parent, name="Ann")
    sdk = await server.sdk()
    await until_state(sdk, execution, "DONE")
    await receiver.received(2)
    first, second = receiver.requests
    assert first.json()["payload"]["context"] == {"who": "Ann"}
    assert second.json()["payload"]["context"] == {"ticket": "INC-1"}
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]
    shown = await detail(api, execution)
    assert [step["outcome"] for step in shown["steps"]] == ["SUCCEEDED", "SKIPPED", "SUCCEEDED"]
    [started] = shown["children"]
    await until_state(sdk, int(started["id"]), "DONE")
    assert len(receiver.requests) == 2


async def test_a_terminate_cuts_the_call_in_flight_and_nothing_follows(
    server: ServerProcess, api: httpx2.AsyncClient, receiver: Receiver
) -> None:
    receiver.then(Held())
    hook = await webhook(api, receiver)
    two = await automation(api, "two calls", call("first", hook), call("second", hook))
    execution = await execute(api, two)
    await receiver.received(1)
    answer = await api.post(
        f"/api/v1/automation_executions/{execution}/actions/terminate", json={"reason": "wrong person"}
    )
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["interlock-termination"].startswith("accepted")
    await receiver.closed(0)
    run = await until_state(await server.sdk(), execution, "TERMINATE")
    assert run.completed_at is not None
    shown = await detail(api, execution)
    assert [step["outcome"] for step in shown["steps"]] == ["INTERRUPTED_OUTCOME_UNKNOWN", "NOT_STARTED"]
    assert shown["termination"]["reason"] == "wrong person"
    assert len(receiver.requests) == 1
