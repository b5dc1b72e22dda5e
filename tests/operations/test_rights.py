"""Who may do what; a refusal is recorded, and tells nothing of what exists."""

from __future__ import annotations

import pytest

from interlock.errors import NotFound, PermissionDenied
from interlock.ports import Role
from tests.operations.desk import WAIT, Desk

pytestmark = pytest.mark.anyio


async def test_a_reader_may_read_and_nothing_else(ann: Desk) -> None:
    automation = await ann.make(WAIT)
    execution = await ann.start(automation)
    reader = ann.with_role(Role.READ_ONLY)
    assert (await reader.ask("GetAutomation", id=automation)).body["automation"]["id"] == automation
    assert await reader.state(execution) == "WAITING"
    for name, id_ in (("ExecuteAutomation", automation), ("DeleteAutomation", automation), ("UpdateAutomation", "x")):
        with pytest.raises(PermissionDenied):
            await reader.ask(name, id=id_)


async def test_a_refused_stop_is_recorded_and_stops_nothing(ann: Desk) -> None:
    execution = await ann.start(await ann.make(WAIT))
    reader = ann.with_role(Role.READ_ONLY)
    for id_ in (execution, 839265):
        with pytest.raises(PermissionDenied, match=r"executions\.terminate"):
            await reader.ask("TerminateAutomation", id=id_)
    assert await ann.state(execution) == "WAITING"
    denied = await ann.audited("c1.api.automations.v1.AutomationExecutionActionsService.TerminateAutomation")
    assert [(row.target, row.outcome) for row in denied] == [(str(execution), "denied"), ("839265", "denied")]
    assert denied[0].actor.client == "bob@localhost"


async def test_another_tenants_things_are_not_found(ann: Desk) -> None:
    automation = await ann.make(WAIT)
    execution = await ann.start(automation)
    eve = await ann.of_another_tenant()
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
    assert await ann.state(execution) == "WAITING"
    assert (await eve.ask("ListAutomations")).body == {"list": [], "nextPageToken": ""}
    assert (await eve.ask("SearchAllAutomationExecutions")).body["list"] == []
