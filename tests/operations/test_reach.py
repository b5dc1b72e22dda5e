"""What an automation reaches by reference: no more than its publisher might, when it is published and when it runs."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.errors import InvalidArgument
from interlock.ports import Role
from tests.clocks import settle
from tests.operations.operations_client import WAIT, OperationsClient

pytestmark = pytest.mark.anyio


def begin(automation: str) -> dict[str, Any]:
    return {"stepName": "begin", "runAutomation": {"automationTemplateRef": {"id": automation}}}


def begin_by_cel(automation: str) -> dict[str, Any]:
    return {"stepName": "begin", "runAutomation": {"automationTemplateIdCel": f"'{automation}'"}}


def call(webhook: str) -> dict[str, Any]:
    return {"stepName": "call", "webhook": {"webhookId": webhook, "payload": {}}}


def call_by_cel(webhook: str) -> dict[str, Any]:
    return {"stepName": "call", "webhook": {"webhookIdCel": f"'{webhook}'", "payload": {}}}


def app_admin(admin: OperationsClient, *apps: str) -> OperationsClient:
    return admin.with_role(Role.APP_ADMIN, apps=apps)


async def hook(admin: OperationsClient, *apps: str) -> str:
    body = {"displayName": "tickets", "url": "https://far.example/in", "appIds": list(apps)}
    made: str = (await admin.ask("CreateWebhook", body)).body["webhook"]["id"]
    return made


async def outcome(operations_client: OperationsClient, automation: str, **body: Any) -> tuple[str, str]:
    """How the first step of a run ended, and the code of its error."""
    run = int((await operations_client.ask("ExecuteAutomation", body, id=automation)).body["executionId"])
    await settle()
    step = (await operations_client.detail(run))["steps"][0]
    return step["outcome"], (step.get("error") or {}).get("code", "")


TARGETS = ["a", "b", "", "unknown"]
"""Apps of what is referred to, as seen by a client that administers the apps a and c."""


async def targets(admin: OperationsClient, app: str) -> tuple[str, str]:
    """An automation and a webhook of an app."""
    if app == "unknown":
        return "839265", "839265"
    return await admin.make(WAIT, appId=app), await hook(admin, *([app] if app else []))


@pytest.mark.parametrize("app", TARGETS)
async def test_a_reference_is_published_only_within_the_publishers_apps(admin: OperationsClient, app: str) -> None:
    automation, webhook = await targets(admin, app)
    bob = app_admin(admin, "a", "c")
    for step, path in (
        (begin(automation), "runAutomation.automationTemplateRef.id"),
        (call(webhook), "webhook.webhookId"),
    ):
        if app == "a":
            await bob.make(step, appId="a")
            continue
        with pytest.raises(InvalidArgument, match=rf"automationSteps\[1\].{path} .*: must be "):
            await bob.make(WAIT | {"stepName": "first"}, step, appId="a")
        mine = await bob.make(WAIT, appId="a")
        with pytest.raises(InvalidArgument, match=rf"automation.automationSteps\[0\].{path} .*: must be "):
            await bob.ask("UpdateAutomation", {"automation": {"appId": "a", "automationSteps": [step]}}, id=mine)
        draft = await bob.make(WAIT, appId="a", draftAutomationSteps=[step])
        with pytest.raises(InvalidArgument, match=rf"draftAutomationSteps\[0\].{path} .*: must be "):
            await bob.ask("ExecuteAutomation", {"isDraft": True}, id=draft)
        assert not (await bob.ask("OwnGetAutomation", id=draft)).body["publishable"]
        assert (await admin.ask("OwnGetAutomation", id=draft)).body["publishable"]


@pytest.mark.parametrize("draft", [False, True], ids=["published", "draft"])
@pytest.mark.parametrize("app", TARGETS)
async def test_a_reference_that_is_computed_reaches_no_further(admin: OperationsClient, app: str, draft: bool) -> None:
    automation, webhook = await targets(admin, app)
    bob = app_admin(admin, "a", "c")
    body = {"isDraft": draft}
    starts = await bob.make(begin_by_cel(automation), WAIT, appId="c")
    calls = await bob.make(call_by_cel(webhook), WAIT, appId="c")
    for operations_client in (bob, admin) if not draft else (bob,):
        if app == "a":
            assert await outcome(operations_client, starts, **body) == ("SUCCEEDED", "")
            assert await outcome(operations_client, calls, **body) == ("", "")
            assert admin.engine.far.calls
        else:
            assert await outcome(operations_client, starts, **body) == ("FAILED", "CHILD_NOT_FOUND")
            assert await outcome(operations_client, calls, **body) == ("FAILED", "WEBHOOK_NOT_FOUND")
            assert not admin.engine.far.calls


async def test_what_an_administrator_of_everything_published_reaches_everything(admin: OperationsClient) -> None:
    """The reach is that of the publisher, whichever client starts the run."""
    other, webhook = await admin.make(WAIT, appId="b"), await hook(admin)
    starts = await admin.make(begin(other), WAIT, appId="a")
    calls = await admin.make(call(webhook), WAIT, appId="a")
    bob = app_admin(admin, "a")
    assert await outcome(bob, starts) == ("SUCCEEDED", "")
    assert await outcome(bob, calls) == ("", "")


async def test_a_target_that_moves_to_another_app_is_out_of_reach(admin: OperationsClient) -> None:
    target = await admin.make(WAIT, appId="a")
    bob = app_admin(admin, "a")
    starts = await bob.make(begin(target), WAIT, appId="a")
    assert await outcome(bob, starts) == ("SUCCEEDED", "")
    body = {"automation": {"appId": "b", "automationSteps": [WAIT]}}
    await admin.ask("UpdateAutomation", body, id=target)
    assert await outcome(bob, starts) == ("FAILED", "CHILD_NOT_FOUND")


async def test_a_webhook_keeps_its_apps_when_a_client_writes_it_that_does_not_know_them(
    admin: OperationsClient,
) -> None:
    webhook = await hook(admin, "a")
    body = {"webhook": {"displayName": "renamed", "url": "https://far.example/in"}}
    assert (await admin.ask("UpdateWebhook", body, id=webhook)).body["webhook"]["appIds"] == ["a"]
    body["webhook"]["appIds"] = []  # type: ignore[assignment]
    assert (await admin.ask("UpdateWebhook", body, id=webhook)).body["webhook"]["appIds"] == []
