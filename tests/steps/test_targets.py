"""What steps name: the fields that publishing checks, and the receiver and the sentence that views show."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from interlock.contract.steps import AutomationStep
from interlock.steps.registry import Compilation
from interlock.steps.targets import NamedTarget, Resource, Target
from tests.engine.worlds import ENVIRONMENT, engine, webhook

pytestmark = pytest.mark.anyio

STEPS: TypeAdapter[list[AutomationStep]] = TypeAdapter(list[AutomationStep])
BY_ID = {"stepName": "r", "runAutomation": {"automationTemplateRef": {"id": "a"}}}
HOOK = NamedTarget(Target(Resource.WEBHOOK, "hook"), "automationSteps[0].webhook.webhookId", "w")


async def compiled(*steps: dict[str, Any]) -> Compilation:
    async with engine() as world:
        return world.registry.compile(STEPS.validate_json(json.dumps(steps)), ENVIRONMENT)


async def test_each_target_that_a_message_names_is_reported_with_its_field() -> None:
    found = await compiled(webhook("w"), BY_ID)
    field = "automationSteps[1].runAutomation.automationTemplateRef.id"
    assert found.targets == (HOOK, NamedTarget(Target(Resource.AUTOMATION, "a"), field, "r"))


async def test_target_of_a_step_with_a_problem_is_reported_as_well() -> None:
    found = await compiled(webhook("w", {"x": "{{ 1 + }}"}))
    assert found.problems
    assert found.targets == (HOOK,)


@pytest.mark.parametrize(
    "step",
    [
        {"stepName": "w", "webhook": {"webhookIdCel": "'hook'"}},
        {"stepName": "r", "runAutomation": {"automationTemplateIdCel": "'a'"}},
        {"stepName": "h", "waitForDuration": {"duration": "5s"}},
    ],
)
async def test_computed_target_is_not_reported(step: dict[str, Any]) -> None:
    assert (await compiled(step)).targets == ()


async def test_kind_says_which_receiver_an_input_names() -> None:
    async with engine() as world:
        registry = world.registry
        assert registry.receiver("webhook", {"webhookId": "hook"}) == Target(Resource.WEBHOOK, "hook")
        assert registry.receiver("webhook", {"webhookId": 5}) is None
        assert registry.receiver("runAutomation", {"webhookId": "hook"}) is None
        assert registry.receiver("unknown", {"webhookId": "hook"}) is None


async def test_kind_says_what_its_success_means() -> None:
    async with engine() as world:
        account = world.registry.account
        assert account("runAutomation", {"execution_id": "7"}) == "Done: it started execution 7."
        assert account("runAutomation", None) == "Done: it started another execution."
        assert account("webhook", {"execution_id": "7"}) is None
        assert account("unknown", {}) is None
