"""kill -9 under load: nothing acknowledged is lost, no confirmed step is repeated, and every run ends."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from tests.receivers import Answer, Received, Receiver
from tests.servers import LOOK, PATIENCE, ServerProcess, http_client

pytestmark = [pytest.mark.anyio, pytest.mark.crash]

KILLS = 20
CLIENTS = 8
STEPS = 3
SEED = 20_260_820


@dataclass
class Ledger:
    """The answers that the clients received, and the answers that the receiver sent in full."""

    started: set[int] = field(default_factory=set)
    terminated: set[int] = field(default_factory=set)
    answered: Counter[str] = field(default_factory=Counter)


async def load(server: ServerProcess, automation: str, ledger: Ledger, chance: random.Random) -> None:
    """One client: start a run, and stop every third one; whatever is not acknowledged is forgotten."""
    headers = {"Authorization": f"Bearer {await server.token()}"}
    async with http_client(server.url, headers) as api:
        while True:
            try:
                answer = await api.post(f"/api/v1/automations/{automation}/execute", json={})
                if answer.status_code != 200:
                    continue
                execution = int(answer.json()["executionId"])
                ledger.started.add(execution)
                if chance.random() < 0.33:
                    path = f"/api/v1/automation_executions/{execution}/actions/terminate"
                    if (await api.post(path, json={"reason": "load"})).status_code == 200:
                        ledger.terminated.add(execution)
            except httpx2.HTTPError:
                return


async def settle(api: httpx2.AsyncClient, execution: int) -> dict[str, object]:
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await api.get(f"/interlock/v1/executions/{execution}")
            assert answer.status_code == 200, (execution, answer.text)
            shown: dict[str, object] = answer.json()
            if shown["state"] in {"DONE", "ERROR", "TERMINATE"}:
                return shown
            await asyncio.sleep(LOOK)


async def test_twenty_kills_at_random_moments_under_load(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    ledger = Ledger()

    def answer(request: Received) -> Answer:
        ledger.answered[request.headers["idempotency-key"]] += 1
        return Answer.json({"version": "v1", "context": {}})

    async with Receiver(answer) as receiver:
        server = ServerProcess(tmp_path, egress=[f"127.0.0.1:{receiver.port}"])
        async with server:
            async with await server.api() as api:
                made = await api.post("/api/v1/webhooks", json={"displayName": "far", "url": receiver.url()})
                hook = made.json()["webhook"]["id"]
                steps = [{"stepName": f"s{n}", "webhook": {"webhookId": hook}} for n in range(STEPS)]
                body = {"displayName": "three calls", "enabled": True, "automationSteps": steps}
                automation = (await api.post("/api/v1/automations", json=body)).json()["automation"]["id"]
            for _ in range(KILLS):
                before = len(ledger.started)
                async with asyncio.TaskGroup() as clients:
                    for _ in range(CLIENTS):
                        clients.create_task(load(server, automation, ledger, chance))
                    while len(ledger.started) < before + 5:
                        await asyncio.sleep(LOOK)
                    await asyncio.sleep(chance.random() * 0.2)
                    await server.kill()
                await server.start()
            async with await server.api() as api:
                for execution in sorted(ledger.started):
                    shown = await settle(api, execution)
                    if execution in ledger.terminated:
                        assert shown["state"] in {"TERMINATE", "DONE", "ERROR"}
                    check(shown, ledger)
            assert await server.stop() == 0
    assert len(ledger.started) > KILLS * 5


def check(shown: dict[str, object], ledger: Ledger) -> None:
    """Compare the receipt of a run with the requests that the receiver saw."""
    steps = shown["steps"]
    assert isinstance(steps, list)
    for step in steps:
        seen = ledger.answered[step["idempotencyKey"]] if step.get("idempotencyKey") else 0
        attempts = len(step["attempts"])
        assert seen <= max(attempts, 0), (shown["id"], step)
        if step["outcome"] == "SUCCEEDED":
            assert seen >= 1, (shown["id"], step)
        if step["outcome"] in {"NOT_STARTED", "INTERRUPTED_NOT_SENT"}:
            assert seen == 0, (shown["id"], step)
        confirmed = [attempt for attempt in step["attempts"] if attempt["outcome"] == "SUCCEEDED"]
        assert len(confirmed) <= 1, (shown["id"], step)
        if confirmed:
            assert confirmed[0] is step["attempts"][-1], (shown["id"], step)
    if shown["state"] == "DONE":
        assert [step["outcome"] for step in steps] == ["SUCCEEDED"] * STEPS
