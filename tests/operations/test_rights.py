"""Who may do what; a refusal is recorded, and tells nothing of what exists."""

from __future__ import annotations

import pytest

from interlock.errors import NotFound, PermissionDenied
from interlock.ports import Role
from tests.operations.operations_client import WAIT, OperationsClient

pytestmark = pytest.mark.anyio


async def test_a_reader_may_read_and_nothing_else(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    execution = await admin.start(automation)
    reader = admin.with_role(Role.READ_ONLY)
    assert (await reader.ask("GetAutomation", id=automation)).body["automation"]["id"] == automation
    assert await reader.state(execution) == "WAITING"
    for name, id_ in (("ExecuteAutomation", automation), ("DeleteAutomation", automation), ("UpdateAutomation", "x")):
        with pytest.raises(PermissionDenied):
            await reader.ask(name, id=id_)


async def test_a_refused_stop_is_recorded_and_stops_nothing(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(WAIT))
    reader = admin.with_role(Role.READ_ONLY)
    for id_ in (execution, 839265):
        with pytest.raises(PermissionDenied, match=r"executions\.terminate"):
            await reader.ask("TerminateAutomation", id=id_)
    assert await admin.state(execution) == "WAITING"
    denied = await admin.audited("c1.api.automations.v1.AutomationExecutionActionsService.TerminateAutomation")
    assert [(row.target, row.outcome) for row in denied] == [(str(execution), "denied"), ("839265", "denied")]
    assert denied[0].actor.client == "bob@localhost"


async def test_another_tenants_things_are_not_found(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    execution = await admin.start(automation)
    eve = await admin.of_another_tenant()
    for name, id_ in (
        ("GetAutomation", automation),
        ("DeleteAutomation", automation),
        ("ExecuteAutomation", automation),
        ("OwnGetAutomation", automation),
        ("GetAutomationExecution", execution),
        ("TerminateAutomation", execution),
        ("OwnGetExecution", execution),
        ("OwnCreateAddendum", execution),
        ("GetWebhook", "hook"),
        ("DeleteWebhook", "hook"),
    ):
        with pytest.raises(NotFound) as foreign:
            await eve.ask(name, id=id_)
        with pytest.raises(NotFound) as unknown:
            await eve.ask(name, id=839265)
        assert foreign.value.message == unknown.value.message == "not found"
    assert await admin.state(execution) == "WAITING"
    assert (await eve.ask("ListAutomations")).body == {"list": [], "nextPageToken": ""}
    assert (await eve.ask("SearchAllAutomationExecutions")).body["list"] == []
