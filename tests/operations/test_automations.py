"""Automations through their life: made, read, changed, published, deleted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from interlock.errors import Conflict, InvalidArgument, NotFound
from tests.clocks import settle
from tests.operations.operations_client import CALL, GREET, WAIT, OperationsClient, names

pytestmark = pytest.mark.anyio


async def read(admin: OperationsClient, automation: str) -> Any:
    return (await admin.ask("GetAutomation", id=automation)).body["automation"]


async def update(admin: OperationsClient, automation: str, fields: dict[str, Any], mask: object = None) -> Any:
    body = {"automation": fields, "updateMask": mask}
    return (await admin.ask("UpdateAutomation", body, id=automation)).body["automation"]


async def test_creating_publishes_the_first_version_and_copies_it_to_the_draft(admin: OperationsClient) -> None:
    made = (await admin.ask("CreateAutomation", {"displayName": "A", "automationSteps": [WAIT]})).body["automation"]
    assert (made["currentVersion"], made["isDraft"], made["enabled"]) == ("1", False, False)
    assert made["primaryTriggerType"] == "TRIGGER_TYPE_UNSPECIFIED"
    assert made["draftAutomationSteps"] == made["automationSteps"]
    assert made["automationSteps"][0]["waitForDuration"] == {"duration": "1209600s"}
    assert "lastExecutedAt" not in made
    assert await read(admin, made["id"]) == made


async def test_a_draft_is_stored_whatever_it_holds_and_publishes_nothing(admin: OperationsClient) -> None:
    body = {
        "isDraft": True,
        "automationSteps": [{"stepName": "not a name!", "skipIfTrueCel": "ctx.(", "sendEmail": {"subject": "{{ x"}}],
        "triggers": [{"userCreated": {"condition": "??"}}],
    }
    made = (await admin.ask("CreateAutomation", body)).body["automation"]
    assert made["currentVersion"] == "0"
    assert made["automationSteps"][0]["sendEmail"]["subject"] == "{{ x"
    assert made["draftTriggers"] == [{"userCreated": {"condition": "??"}}]
    assert made["primaryTriggerType"] == "TRIGGER_TYPE_USER_CREATED"


async def test_an_automation_without_steps_can_be_kept_and_has_no_version(admin: OperationsClient) -> None:
    assert (await admin.ask("CreateAutomation")).body["automation"]["currentVersion"] == "0"


async def test_lists_have_all_of_them(admin: OperationsClient) -> None:
    for name in "ABC":
        await admin.make(WAIT, displayName=name)
    assert names((await admin.ask("ListAutomations")).body["list"]) == ["A", "B", "C"]


async def test_a_run_shows_as_the_last_execution(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    await admin.start(automation)
    assert (await read(admin, automation))["lastExecutedAt"] == "2025-06-15T15:06:40Z"


@pytest.mark.parametrize(
    "mask",
    ["displayName,enabled", "display_name, enabled", {"paths": ["display_name", "enabled"]}, "displayName,enabled,id"],
)
async def test_a_mask_changes_what_it_names_in_every_spelling(admin: OperationsClient, mask: object) -> None:
    automation = await admin.make(WAIT, displayName="before", description="kept")
    sent = {"id": "other", "currentVersion": "77", "displayName": "after", "enabled": True, "description": "lost"}
    changed = await update(admin, automation, sent, mask)
    assert (changed["displayName"], changed["enabled"], changed["description"]) == ("after", True, "kept")
    assert (changed["id"], changed["currentVersion"]) == (automation, "1")


@pytest.mark.parametrize("mask", ["nonsense", "automationSteps.stepName", "displayName.x"])
async def test_a_mask_that_names_nothing_is_refused(admin: OperationsClient, mask: str) -> None:
    automation = await admin.make(WAIT)
    with pytest.raises(InvalidArgument, match="fields that can be changed"):
        await update(admin, automation, {}, mask)


async def test_without_a_mask_everything_is_replaced_but_an_absent_enabled_stays(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT, description="gone", enabled=True, appId="app", context={"context": {"a": 1}})
    changed = await update(admin, automation, {"displayName": "after", "createdAt": "2001-01-01T00:00:00Z"})
    assert (changed["displayName"], changed["description"], changed["appId"]) == ("after", "", "")
    assert (changed["automationSteps"], changed["draftAutomationSteps"]) == ([], [])
    assert "context" not in changed
    assert changed["enabled"] is True
    assert changed["createdAt"] == "2025-06-15T15:06:40Z"
    assert (await update(admin, automation, {"enabled": False}))["enabled"] is False


async def test_the_row_says_whether_triggers_may_start_runs(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT, enabled=True)
    for sent, enabled in (({"displayName": "A"}, True), ({"enabled": False}, False), ({"enabled": True}, True)):
        await update(admin, automation, sent)
        row = await admin.services.store.automations.get(admin.tenant.id, automation)
        assert row is not None
        assert row.enabled is enabled


async def test_an_update_without_an_automation_is_refused(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    with pytest.raises(InvalidArgument, match="automation: is required"):
        await admin.ask("UpdateAutomation", {"automation": None}, id=automation)
    assert (await read(admin, automation))["displayName"] == "an automation"


async def test_writing_the_published_pair_publishes_and_writing_the_draft_does_not(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    drafted = await update(admin, automation, {"draftAutomationSteps": [GREET]}, "draftAutomationSteps")
    assert drafted["currentVersion"] == "1"
    published = await update(admin, automation, {"automationSteps": [GREET]}, "automationSteps")
    assert published["currentVersion"] == "2"
    again = await update(
        admin, automation, {"automationSteps": [GREET], "displayName": "B"}, "automationSteps,displayName"
    )
    assert (again["currentVersion"], again["displayName"]) == ("2", "B")


async def test_a_draft_is_published_by_saying_that_it_is_none(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT, isDraft=True)
    assert (await update(admin, automation, {"isDraft": False}, "isDraft"))["currentVersion"] == "1"


async def test_a_run_finishes_on_the_version_it_began_with(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    execution = await admin.start(automation)
    await update(admin, automation, {"automationSteps": [WAIT, GREET]}, "automationSteps")
    await admin.wait(1_209_601)
    assert await admin.state(execution) == "DONE"
    assert [step["name"] for step in (await admin.detail(execution))["steps"]] == ["hold"]


async def test_of_two_who_change_at_once_one_is_told(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    row = await admin.services.store.automations.get(admin.tenant.id, automation)
    assert row is not None
    await update(admin, automation, {"displayName": "first"}, "displayName")
    with pytest.raises(Conflict):
        await admin.services.store.automations.update(
            row, None, (await admin.audited("automation.create"))[0], read_at=row.updated_at
        )


async def test_annotations_merge_and_an_empty_value_takes_one_away(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT, annotations={"managed_by": "terraform", "owner": "ann"})
    changed = await update(admin, automation, {"annotations": {"owner": "", "team/x": "a=b&c"}}, "annotations")
    assert changed["annotations"] == {"managed_by": "terraform", "team/x": "a=b&c"}
    assert (await update(admin, automation, {}, "annotations"))["annotations"] == {}


@pytest.mark.parametrize("mask", [None, "", {"paths": []}])
async def test_without_mask_given_annotations_replace_and_absent_ones_stay(
    admin: OperationsClient, mask: object
) -> None:
    automation = await admin.make(WAIT, annotations={"managed_by": "terraform", "owner": "ann"})
    step = {"displayName": "n", "automationSteps": [WAIT]}

    async def after(**fields: object) -> object:
        return (await update(admin, automation, {**step, **fields}, mask))["annotations"]

    assert await after() == {"managed_by": "terraform", "owner": "ann"}
    assert await after(annotations=None) == {"managed_by": "terraform", "owner": "ann"}
    assert await after(annotations={"owner": "bob", "gone": ""}) == {"owner": "bob"}
    assert await after(annotations={}) == {}


@pytest.mark.parametrize("mask", ["annotations", "*", "displayName,annotations"])
async def test_with_mask_annotations_merge_and_empty_values_delete(admin: OperationsClient, mask: str) -> None:
    automation = await admin.make(WAIT, annotations={"managed_by": "terraform", "owner": "ann"})
    sent = {"displayName": "n", "automationSteps": [WAIT], "annotations": {"owner": "", "team": "x"}}
    assert (await update(admin, automation, sent, mask))["annotations"] == {"managed_by": "terraform", "team": "x"}


@pytest.mark.parametrize(
    ("annotations", "complaint"),
    [
        ({"1a": "x"}, "begins with a letter"),
        ({"c1/a": "x"}, "reserved"),
        ({"a": "x" * 257}, "at most 256"),
        ({"a": "two words"}, "those of a URL"),
        ({f"k{n}": "x" for n in range(17)}, "at most 16"),
        ({f"k{n}": "x" * 256 for n in range(16)}, "at most 4096"),
    ],
)
async def test_annotations_keep_to_their_limits(
    admin: OperationsClient, annotations: dict[str, str], complaint: str
) -> None:
    with pytest.raises(InvalidArgument, match=complaint):
        await admin.make(WAIT, annotations=annotations)


async def test_a_deleted_automation_is_gone_and_its_runs_finish(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    execution = await admin.start(automation)
    assert (await admin.ask("DeleteAutomation", id=automation)).body == {}
    for name in ("GetAutomation", "ExecuteAutomation", "DeleteAutomation"):
        with pytest.raises(NotFound):
            await admin.ask(name, id=automation)
    await admin.wait(1_209_601)
    assert await admin.state(execution) == "DONE"


async def test_runs_can_be_terminated_together_with_their_automation(admin: OperationsClient) -> None:
    automation, other = await admin.make(WAIT), await admin.make(WAIT)
    runs = [await admin.start(automation) for _ in range(3)]
    spared = await admin.start(other)
    await admin.ask("DeleteAutomation", {"terminateRunning": True}, id=automation)
    await settle()
    assert [await admin.state(run) for run in runs] == ["TERMINATE"] * 3
    assert await admin.state(spared) == "WAITING"
    assert (await admin.detail(runs[0]))["termination"]["cause"] == "delete"


async def test_each_change_is_recorded(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    await update(admin, automation, {"displayName": "B"}, "displayName")
    await admin.ask("DeleteAutomation", id=automation)
    [changed] = await admin.audited("automation.update")
    assert (changed.actor.client, changed.actor.address, changed.target) == ("ann@localhost", "192.0.2.7", automation)
    assert json.loads(changed.details or b"")["fields"] == ["display_name"]
    assert len(await admin.audited("automation.create")) == len(await admin.audited("automation.delete")) == 1


async def test_search_filters_sorts_and_pages(admin: OperationsClient) -> None:
    first = await admin.make(WAIT, displayName="Offboard", appId="app1", enabled=True)
    second = await admin.make(WAIT, displayName="onboard", description="joiners")
    draft = await admin.make(CALL, displayName="Draft", isDraft=True, draftTriggers=[{"userCreated": {}}])

    async def found(**body: Any) -> list[str]:
        return [row["id"] for row in (await admin.ask("SearchAutomations", body)).body["list"]]

    assert await found(query="BOARD") == [first, second]
    assert await found(query="joiners") == [second]
    assert await found(query=draft) == [draft]
    assert await found(appIds=["app1", "app2"]) == await found(appId="app1") == [first]
    assert await found(isDraft=True) == [draft]
    assert await found(statuses=["AUTOMATION_STATUS_FILTER_OFF"]) == [second, draft]
    assert await found(triggerTypes=["TRIGGER_TYPE_USER_CREATED"]) == [draft]
    assert await found(refs=[{"id": draft}, {"id": "unknown"}]) == [draft]
    by_name = {"sortField": "AUTOMATION_SORT_FIELD_DISPLAY_NAME"}
    assert await found(**by_name) == [draft, first, second]
    assert await found(**by_name, direction="SORT_DIRECTION_DESC") == [second, first, draft]
    await admin.start(second)
    assert (await found(sortField="AUTOMATION_SORT_FIELD_LAST_EXECUTED_AT"))[-1] == second


async def test_a_sorted_search_pages_through_equal_keys(admin: OperationsClient) -> None:
    made = {await admin.make(WAIT) for _ in range(23)}
    body: dict[str, Any] = {
        "pageSize": 10,
        "sortField": "AUTOMATION_SORT_FIELD_DISPLAY_NAME",
        "direction": "SORT_DIRECTION_DESC",
    }
    seen: list[str] = []
    while True:
        page = (await admin.ask("SearchAutomations", body)).body
        seen += [row["id"] for row in page["list"]]
        if not page["nextPageToken"]:
            break
        body["pageToken"] = page["nextPageToken"]
    assert len(seen) == 23
    assert set(seen) == made


async def test_versions_are_found_newest_first(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    await update(admin, automation, {"automationSteps": [GREET]}, "automationSteps")
    found = (await admin.ask("SearchAutomationTemplateVersions", {"automationTemplateId": automation})).body["list"]
    assert [(row["version"], row["automationSteps"][0]["stepName"]) for row in found] == [("2", "greet"), ("1", "hold")]
    with pytest.raises(NotFound):
        await admin.ask("SearchAutomationTemplateVersions", {"automationTemplateId": "unknown"})
    with pytest.raises(InvalidArgument, match="automationTemplateId: is required"):
        await admin.ask("SearchAutomationTemplateVersions")
