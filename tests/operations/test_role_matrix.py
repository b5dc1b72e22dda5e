"""Who may do what: every operation for every role. An operation without a row here fails."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.errors import InterlockError, NotFound, PermissionDenied
from interlock.ports import Role
from tests.operations.operations_client import BY_NAME, WAIT, OperationsClient, names

pytestmark = pytest.mark.anyio

CALLERS = {
    "super admin": ((Role.SUPER_ADMIN,), ()),
    "admin of the app": ((Role.APP_ADMIN,), ("crm",)),
    "admin of another app": ((Role.APP_ADMIN,), ("erp",)),
    "reader": ((Role.READ_ONLY,), ()),
    "basic": ((Role.BASIC,), ()),
    "none": ((), ()),
}
MATRIX = """
                                    super  app    other  reader basic  none
ListAutomations                     yes    yes    yes    yes    403    403
CreateAutomation                    yes    yes    403    403    403    403
GetAutomation                       yes    yes    404    yes    403    403
UpdateAutomation                    yes    yes    404    403    403    403
DeleteAutomation                    yes    yes    404    403    403    403
ExecuteAutomation                   yes    yes    404    403    403    403
ClearAutomationCircuitBreaker       yes    yes    404    403    403    403
ResolvePausedAutomationExecutions   yes    yes    404    403    403    403
SearchAutomations                   yes    yes    yes    yes    403    403
SearchAutomationTemplateVersions    yes    yes    404    yes    403    403
ListAutomationExecutions            yes    yes    yes    yes    403    403
GetAutomationExecution              yes    yes    404    yes    403    403
TerminateAutomation                 yes    yes    404    403    403    403
SearchAutomationExecutions          yes    yes    yes    yes    403    403
SearchAllAutomationExecutions       yes    yes    yes    yes    403    403
ListWebhook                         yes    yes    yes    yes    403    403
CreateWebhook                       yes    403    403    403    403    403
GetWebhook                          yes    yes    yes    yes    403    403
UpdateWebhook                       yes    403    403    403    403    403
DeleteWebhook                       yes    403    403    403    403    403
SearchWebhook                       yes    yes    yes    yes    403    403
OwnReceiveCallback                  404    404    404    404    404    404
OwnGetAutomation                    yes    yes    404    yes    403    403
OwnGetExecution                     yes    yes    404    yes    403    403
OwnGetReceipt                       yes    yes    404    yes    403    403
OwnFollowExecution                  yes    yes    404    yes    403    403
OwnRenewLease                       yes    yes    404    403    403    403
OwnCreateAddendum                   yes    yes    404    403    403    403
OwnPlanBulkTermination              yes    yes    yes    403    403    403
OwnCreateBulkTermination            yes    yes    yes    403    403    403
OwnListBulkTerminations             yes    403    403    yes    403    403
OwnGetBulkTermination               404    404    404    404    403    403
OwnAbortBulkTermination             404    404    404    403    403    403
OwnListAuditEvents                  yes    403    403    yes    403    403
OwnVerifyAudit                      yes    403    403    yes    403    403
OwnGetSettings                      yes    403    403    yes    403    403
OwnUpdateSettings                   yes    403    403    403    403    403
OwnListClients                      yes    403    403    yes    403    403
OwnCreateClient                     yes    403    403    403    403    403
OwnRevokeClient                     404    403    403    403    403    403
OwnListTenants                      yes    403    403    yes    403    403
OwnCreateTenant                     yes    403    403    403    403    403
OwnRevokeTenant                     404    403    403    403    403    403
"""
"""404 for a super admin: the operation is open, and there is no such callback, order, client or tenant."""

ROWS = {line.split()[0]: line.split()[1:] for line in MATRIX.strip().splitlines()[1:]}
TENANTS = {"OwnListTenants", "OwnCreateTenant", "OwnRevokeTenant"}


def test_every_operation_has_a_row() -> None:
    assert ROWS.keys() == BY_NAME.keys()


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("name", ROWS)
async def test_an_operation_is_open_to_whom_the_table_says(admin: OperationsClient, name: str, caller: str) -> None:
    automation = await admin.make(WAIT, appId="crm")
    execution = await admin.start(automation)
    roles, apps = CALLERS[caller]
    bob = admin.with_role(*roles, apps=apps)
    expected = ROWS[name][list(CALLERS).index(caller)]
    assert await outcome(bob, name, automation, execution) == expected
    denied = [
        row.entry for row in await admin.services.store.audit.rows(admin.tenant.id) if row.entry.outcome == "denied"
    ]
    assert [entry.actor.client for entry in denied] == (["bob@localhost"] if expected == "403" else [])


async def outcome(bob: OperationsClient, name: str, automation: str, execution: int) -> str:
    """`yes` if the operation was open to the caller, whatever came of it."""
    path = {"id": automation}
    if "Execution" in name or name in {"TerminateAutomation", "OwnGetReceipt", "OwnRenewLease", "OwnCreateAddendum"}:
        path = {"id": str(execution)}
    if name == "ResolvePausedAutomationExecutions":
        path = {"id": automation}
    if name.endswith("Webhook"):
        path = {"id": "hook"}
    if name == "OwnReceiveCallback":
        path = {"execution": str(execution), "token": "wrong"}
    if name == "OwnRevokeTenant":
        path = {"name": "unknown"}
    bodies: dict[str, Any] = {
        "CreateAutomation": {"appId": "crm", "automationSteps": [WAIT]},
        "UpdateAutomation": {"automation": {"displayName": "B"}, "updateMask": "displayName"},
        "SearchAutomationTemplateVersions": {"automationTemplateId": automation},
    }
    try:
        await bob.ask(name, bodies.get(name, {}), path=path, headers={"host": "localhost"})
    except PermissionDenied as refused:
        return "yes" if name in TENANTS and "default tenant" in refused.message else "403"
    except NotFound:
        return "404"
    except InterlockError:
        return "yes"
    return "yes"


async def test_an_app_admin_sees_its_own_automations_and_their_runs_and_no_others(admin: OperationsClient) -> None:
    ours, theirs = [await admin.make(WAIT, displayName=app, appId=app) for app in ("crm", "erp")]
    run, _ = await admin.start(ours), await admin.start(theirs)
    bob = admin.with_role(Role.APP_ADMIN, apps=("crm",))
    assert names((await bob.ask("ListAutomations")).body["list"]) == ["crm"]
    assert names((await bob.ask("SearchAutomations")).body["list"]) == ["crm"]
    listed = (await bob.ask("ListAutomationExecutions")).body["automationExecutions"]
    assert [row["id"] for row in listed] == [str(run)]
    for search in ("SearchAutomationExecutions", "SearchAllAutomationExecutions"):
        found = (await bob.ask(search)).body["list"]
        assert [row["automationExecution"]["id"] for row in found] == [str(run)]
    stranger = admin.with_role(Role.APP_ADMIN, apps=("hr",))
    assert (await stranger.ask("ListAutomationExecutions")).body["automationExecutions"] == []


async def test_an_app_admin_pages_through_its_own(admin: OperationsClient) -> None:
    for number in range(60):
        await admin.make(WAIT, displayName=str(number), appId=("crm", "erp")[number % 2])
    bob, seen, token = admin.with_role(Role.APP_ADMIN, apps=("crm",)), [], ""
    for _ in range(4):
        page = (await bob.ask("ListAutomations", query={"page_size": "10", "page_token": token})).body
        seen += names(page["list"])
        token = page["nextPageToken"]
        if not token:
            break
    assert sorted(map(int, seen)) == list(range(0, 60, 2))


async def test_an_app_admin_cannot_move_an_automation_to_another_app(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT, appId="crm")
    bob = admin.with_role(Role.APP_ADMIN, apps=("crm",))
    body = {"automation": {"appId": "erp"}, "updateMask": "appId"}
    with pytest.raises(PermissionDenied, match="crm"):
        await bob.ask("UpdateAutomation", body, id=automation)


async def test_the_runs_of_a_deleted_automation_stay_with_its_app(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT, appId="crm")
    run = await admin.start(automation)
    await admin.ask("DeleteAutomation", id=automation)
    await admin.with_role(Role.APP_ADMIN, apps=("crm",)).ask("TerminateAutomation", id=run)
    assert await admin.state(run) == "TERMINATE"
