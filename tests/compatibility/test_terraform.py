"""Terraform's life of a resource, step by step: after each of them the plan is empty."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interlock.contract.automations import Automation
from interlock.contract.base import shape_of
from tests.compatibility.forms import lost
from tests.compatibility.live_server import LiveServer
from tests.compatibility.terraform import (
    CONFIGURATIONS,
    FULL,
    HEADERS,
    RECORDED,
    RUNNABLE,
    created,
    life,
    without_empty,
)
from tests.compatibility.transcripts import load, repaired, response_of
from tests.servers import ServerProcess

SEQUENCES = load("terraform-1.5.0")["sequences"]
READ_ONLY = {"createdAt", "currentVersion", "primaryTriggerType", "lastExecutedAt", "circuitBreaker"}

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]


@pytest.fixture(scope="module")
async def live_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveServer]:
    directory: Path = tmp_path_factory.mktemp("terraform")
    async with ServerProcess(directory) as server:
        yield await LiveServer.of(server)


@pytest.mark.parametrize("sequence", SEQUENCES, ids=[f"{s['configuration']} [{s['serverMode']}]" for s in SEQUENCES])
async def test_the_recorded_calls_are_taken_in_their_order(live_server: LiveServer, sequence: dict[str, Any]) -> None:
    id_, draft, deleted = "", False, False
    for step in sequence["steps"]:
        if "operation" not in step:
            continue
        path = step["path"].replace(step["path"].partition("/automations/")[2] or "\0", id_)
        tree = json.loads(repaired(step["body"]) if step["cut"] else step["body"] or "null")
        answer = await live_server.send(
            step["method"], path, {**HEADERS, **step["headers"]}, body_of(tree, draft=draft)
        )
        if step["operation"] == "CreateAutomation" and answer.status == 400:
            assert answer.tree["code"] == 9, answer.body
            draft = True
            answer = await live_server.send(
                step["method"], path, {**HEADERS, **step["headers"]}, body_of(tree, draft=True)
            )
        assert answer.status == (404 if deleted else 200), answer.body
        assert deleted or answer.faults(response_of(step["operation"])) == []
        if step["operation"] == "CreateAutomation":
            id_ = answer.tree["automation"]["id"]
        if step["operation"] == "UpdateAutomation":
            ours = {name: value for name, value in tree["automation"].items() if name not in READ_ONLY}
            assert lost(ours, answer.tree["automation"]) == []
        deleted = deleted or step["operation"] == "DeleteAutomation"


def body_of(tree: Any, *, draft: bool) -> str | None:
    if tree is None:
        return None
    if draft:
        (tree.get("automation") or tree)["isDraft"] = True
    return json.dumps(tree)


@pytest.mark.parametrize("name", CONFIGURATIONS)
async def test_the_plan_is_empty_after_every_step(live_server: LiveServer, name: str) -> None:
    lived = await life(live_server, *CONFIGURATIONS[name])
    assert lived.plans == {"create": [], "update": [], "import": []}
    assert lived.removed
    assert lived.faults == []


async def test_old_read_only_fields_change_nothing(live_server: LiveServer) -> None:
    resource, _ = await created(live_server, RUNNABLE)
    await resource.refresh()
    assert resource.state is not None
    before = resource.state
    resource.state = before | {
        "createdAt": "2001-02-03T04:05:06Z",
        "currentVersion": "77",
        "primaryTriggerType": "TRIGGER_TYPE_SCHEDULE",
        "lastExecutedAt": "2001-02-03T04:05:06Z",
        "circuitBreaker": {"observedCount": 7, "threshold": 5, "period": "CIRCUIT_BREAKER_PERIOD_DAY"},
    }
    await resource.update(RUNNABLE)
    await resource.refresh()
    assert resource.state == before


async def test_the_first_body_is_the_recorded_one(live_server: LiveServer) -> None:
    recorded = json.loads(RECORDED["full config"]["steps"][0]["body"])
    assert without_empty(shape_of(Automation), FULL) == recorded


async def test_a_plan_names_what_did_not_come_back(live_server: LiveServer) -> None:
    resource, _ = await created(live_server, RUNNABLE)
    await resource.refresh()
    assert resource.state is not None
    resource.state["automationSteps"][0]["waitForDuration"]["duration"] = "3600.000s"
    del resource.state["description"]
    del resource.state["triggers"]
    assert resource.plan() == ["description", "triggers", "automationSteps[0].waitForDuration.duration"]
