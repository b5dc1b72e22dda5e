"""What the tests with a real server have in common: asking it in plain HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2

from tests.receivers import Receiver
from tests.servers import LOOK, PATIENCE

WAIT = {"stepName": "hold", "waitForDuration": {"duration": "1209600s"}}


def call(name: str, webhook: str, **payload: object) -> dict[str, object]:
    """A step that calls the webhook."""
    return {"stepName": name, "webhook": {"webhookId": webhook, "payload": payload}}


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


async def terminate(api: httpx2.AsyncClient, execution: int, **options: object) -> str:
    """Order a stop; returns what became of the order."""
    answer = await api.post(f"/api/v1/automation_executions/{execution}/actions/terminate", json=options)
    assert answer.status_code == 200, answer.text
    verdict: str = answer.headers["interlock-termination"]
    return verdict


async def detail(api: httpx2.AsyncClient, execution: int) -> Any:
    answer = await api.get(f"/interlock/v1/executions/{execution}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def until(api: httpx2.AsyncClient, execution: int, state: str) -> Any:
    """Look again until the run is in the state; returns its detail."""
    async with asyncio.timeout(PATIENCE):
        while (found := await detail(api, execution))["state"] != state:
            await asyncio.sleep(LOOK)
        return found
