"""Terraform's life of a resource, step by step: after each of them the plan is empty."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from interlock.contract.automations import Automation
from interlock.contract.base import shape_of
from tests.compatibility.ground import Ground
from tests.compatibility.terraform import Refused, Resource, without_empty
from tests.compatibility.transcripts import load
from tests.servers import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

RECORDED: Final = {
    sequence["configuration"]: sequence
    for sequence in load("terraform-1.5.0")["sequences"]
    if sequence["serverMode"] == "deep"
}
# The recorded body of the create tells what was configured, but for empty lists, which the provider leaves out: the one
# that the recorded plans name is put back.
FULL: Final[dict[str, Any]] = json.loads(RECORDED["full config"]["steps"][0]["body"])
FULL["automationSteps"][3]["sendEmail"]["userRefs"] = []

RUNNABLE: Final[dict[str, Any]] = {
    "displayName": "n",
    "description": "",
    "enabled": False,
    "isDraft": False,
    "annotations": {"team": "x"},
    "circuitBreakerMax": 0,
    "triggers": [],
    "automationSteps": [
        {"stepName": "w", "stepDisplayName": "Wait", "waitForDuration": {"duration": "3600s"}},
        {
            "stepName": "e",
            "evaluateExpressions": {"expressions": [{"key": "k", "expressionCel": "1", "isSecret": False}]},
        },
        {"stepName": "h", "skipIfTrueCel": "", "webhook": {"webhookId": "wh", "payload": {}}},
        {"stepName": "c", "runAutomation": {"automationTemplateRef": {"id": "other"}}},
    ],
}
CONFIGURATIONS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "runnable steps, published": (RUNNABLE, {**RUNNABLE, "displayName": "n2"}),
    "full": (FULL, {**FULL, "displayName": "n2"}),
    "full, switched on": (FULL, {**FULL, "enabled": True, "circuitBreakerMax": 5}),
    "steps changed, triggers no longer configured": (
        FULL,
        {name: value for name, value in FULL.items() if name != "triggers"}
        | {"automationSteps": [{"stepName": "w", "waitForDuration": {"duration": "60s"}}]},
    ),
    "steps cleared": (FULL, {**FULL, "automationSteps": [], "triggers": []}),
    "minimal": ({"displayName": "min"}, {"displayName": "min2"}),
    "webhook trigger": ({"displayName": "wh", "triggers": [{"webhook": {"hmac": {}}}]},) * 2,
}


@pytest.fixture(scope="module")
async def ground(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    directory: Path = tmp_path_factory.mktemp("terraform")
    async with ServerProcess(directory) as server:
        yield await Ground.of(server)


async def created(ground: Ground, configured: dict[str, Any]) -> tuple[Resource, bool]:
    """The resource, and whether it had to be a draft: what cannot run here yet cannot be published."""
    resource = Resource(ground, configured)
    try:
        await resource.create()
    except Refused as refused:
        if refused.answer.tree["code"] != 9:
            raise
        resource = Resource(ground, {**configured, "isDraft": True})
        await resource.create()
        return resource, True
    return resource, False


@pytest.mark.parametrize("name", CONFIGURATIONS)
async def test_the_plan_is_empty_after_every_step(ground: Ground, name: str) -> None:
    configured, changed = CONFIGURATIONS[name]
    resource, draft = await created(ground, configured)
    await resource.refresh()
    assert resource.plan() == []
    await resource.update({**changed, "isDraft": True} if draft else changed)
    await resource.refresh()
    assert resource.plan() == []
    await resource.import_()
    assert resource.plan() == []
    await resource.delete()
    await resource.refresh()
    assert resource.state is None
    await resource.delete()
    assert resource.faults == []


async def test_old_read_only_fields_change_nothing(ground: Ground) -> None:
    resource, _ = await created(ground, RUNNABLE)
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


async def test_the_first_body_is_the_recorded_one(ground: Ground) -> None:
    recorded = json.loads(RECORDED["full config"]["steps"][0]["body"])
    assert without_empty(shape_of(Automation), FULL) == recorded


async def test_a_plan_names_what_did_not_come_back(ground: Ground) -> None:
    resource, _ = await created(ground, RUNNABLE)
    await resource.refresh()
    assert resource.state is not None
    resource.state["automationSteps"][0]["waitForDuration"]["duration"] = "3600.000s"
    del resource.state["description"]
    del resource.state["triggers"]
    assert resource.plan() == ["description", "triggers", "automationSteps[0].waitForDuration.duration"]
