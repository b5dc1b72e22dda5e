"""A run followed over a real connection, and a server that ends without waiting for those who follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from tests.servers import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

WAIT = {"stepName": "hold", "waitForDuration": {"duration": "1209600s"}}


async def start(api: httpx2.AsyncClient) -> str:
    body = {"displayName": "Wait", "automationSteps": [WAIT]}
    automation = (await api.post("/api/v1/automations", json=body)).json()["automation"]["id"]
    answer = await api.post(f"/api/v1/automations/{automation}/execute", json={})
    execution: str = answer.json()["executionId"]
    return execution


async def test_a_run_is_followed_to_its_end(api: httpx2.AsyncClient) -> None:
    execution, states = await start(api), []
    async with api.stream("GET", f"/interlock/v1/executions/{execution}/events") as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        async for line in stream.aiter_lines():
            if line.startswith("data: "):
                states.append(line.partition('"state":"')[2].partition('"')[0])
                if states == ["WAITING"]:
                    await api.post(f"/api/v1/automation_executions/{execution}/actions/terminate", json={})
    assert states == ["WAITING", "TERMINATE"]


async def test_a_stopping_server_does_not_wait_for_those_who_follow(tmp_path: Path) -> None:
    """It would give what is in flight ten minutes, and the test gives it half of one."""
    async with ServerProcess(tmp_path, options=["--grace", "600"]) as server, await server.api() as api:
        path = f"/interlock/v1/executions/{await start(api)}/events"
        async with api.stream("GET", path) as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            code, _ = await asyncio.gather(server.stop(), to_the_end(lines))
    assert code == 0


async def to_the_end(lines: AsyncIterator[str]) -> None:
    async for _ in lines:
        pass
