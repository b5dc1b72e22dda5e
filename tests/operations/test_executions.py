"""Executions: started once, shown in C1's words, found by what they are; and our own view, which tells everything."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.contract.automations import ExecuteAutomationRequest
from interlock.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from interlock.ports import Role
from interlock.rules.model import SECOND
from tests.clocks import START, settle
from tests.engine.worlds import evaluate, run_automation
from tests.operations.operations_client import CALL, GREET, WAIT, OperationsClient

pytestmark = pytest.mark.anyio
PREFIX = "AUTOMATION_EXECUTION_STATE_"


async def shown(admin: OperationsClient, execution: int) -> Any:
    return (await admin.ask("GetAutomationExecution", id=execution)).body["automationExecution"]


# --- start ------------------------------------------------------------------------------------------------------------


async def test_a_run_has_what_it_was_given_and_answers_with_its_id_as_text(admin: OperationsClient) -> None:
    automation = await admin.make(GREET)
    reply = await admin.ask("ExecuteAutomation", {"context": {"context": {"name": "Ann", "x": None}}}, id=automation)
    assert isinstance(reply.body["executionId"], str)
    await settle()
    execution = int(reply.body["executionId"])
    assert (await admin.detail(execution))["steps"][0]["output"] == {"text": "hello Ann"}
    run = await shown(admin, execution)
    assert run["id"] == str(execution)
    assert (run["state"], run["currentVersion"], run["isDraft"]) == (f"{PREFIX}DONE", 1, False)
    assert run["context"] == {"context": {"name": "Ann", "x": None}}
    assert run["automationTemplateId"] == automation


@pytest.mark.parametrize("body", [None, {}, {"context": None}, {"context": {}}, {"context": {"context": {}}}])
async def test_a_run_needs_no_context(admin: OperationsClient, body: Any) -> None:
    automation = await admin.make(WAIT)
    reply = await admin.ask("ExecuteAutomation", body, id=automation)
    assert (await shown(admin, reply.body["executionId"]))["context"] == {"context": {}}


async def test_the_automations_context_lies_under_the_runs_own(admin: OperationsClient) -> None:
    automation = await admin.make(
        evaluate("both", a="ctx.trigger.a", b="ctx.trigger.b"), context={"context": {"a": "default", "b": "default"}}
    )
    execution = await admin.start(automation, b="own")
    assert (await admin.detail(execution))["steps"][0]["output"] == {"a": "default", "b": "own"}


async def test_a_run_by_hand_needs_no_enabled_automation_and_is_recorded(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(WAIT, enabled=False))
    [entry] = await admin.audited("execution.start")
    assert (entry.target, entry.actor.client, entry.actor.address) == (str(execution), "ann@localhost", "192.0.2.7")


@pytest.mark.parametrize("fields", [{}, {"isDraft": True, "automationSteps": [WAIT]}])
async def test_without_published_steps_nothing_can_be_run(admin: OperationsClient, fields: dict[str, Any]) -> None:
    automation = (await admin.ask("CreateAutomation", fields)).body["automation"]["id"]
    with pytest.raises(
        FailedPrecondition, match=r"has no published steps; publish its steps \(update isDraft to false\)"
    ):
        await admin.ask("ExecuteAutomation", id=automation)


async def test_an_automation_whose_steps_were_taken_away_does_not_run(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    await admin.ask("UpdateAutomation", {"automation": {}, "updateMask": "automationSteps"}, id=automation)
    with pytest.raises(FailedPrecondition, match="has no published steps"):
        await admin.ask("ExecuteAutomation", id=automation)


async def test_the_draft_is_run_when_asked_for_and_stays_as_it_was(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT, draftAutomationSteps=[WAIT, GREET])
    reply = await admin.ask("ExecuteAutomation", {"isDraft": True}, id=automation)
    await settle()
    mask = {"automation": {"draftAutomationSteps": [GREET]}, "updateMask": "draftAutomationSteps"}
    await admin.ask("UpdateAutomation", mask, id=automation)
    run = await shown(admin, reply.body["executionId"])
    assert (run["isDraft"], run["currentVersion"]) == (True, 0)
    steps = (await admin.detail(reply.body["executionId"]))["steps"]
    assert [step["name"] for step in steps] == ["hold", "greet"]


async def test_a_draft_that_could_not_run_is_refused_with_its_findings(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT, draftAutomationSteps=[{"stepName": "mail", "sendEmail": {}}])
    with pytest.raises(FailedPrecondition, match="sendEmail"):
        await admin.ask("ExecuteAutomation", {"isDraft": True}, id=automation)
    empty = await admin.make(WAIT, draftAutomationSteps=[])
    with pytest.raises(FailedPrecondition, match="draft has no steps"):
        await admin.ask("ExecuteAutomation", {"isDraft": True}, id=empty)


async def test_a_repeated_key_gives_the_first_run(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    body = {"context": {"context": {"a": 1, "b": 2}}}
    same = {"context": {"context": {"b": 2, "a": 1}}, "isDraft": False}
    first = await admin.ask("ExecuteAutomation", body, id=automation, headers={"idempotency-key": "k"})
    second = await admin.ask("ExecuteAutomation", same, id=automation, headers={"idempotency-key": "k"})
    assert first.body == second.body
    assert (first.headers, second.headers) == ({}, {"Idempotency-Replayed": "true"})
    third = await admin.ask("ExecuteAutomation", body, id=automation, headers={"idempotency-key": "K"})
    assert third.body != first.body
    await admin.wait(24 * 3600 + 1)
    assert (
        await admin.ask("ExecuteAutomation", {}, id=automation, headers={"idempotency-key": "k"})
    ).body != first.body


async def test_a_key_stands_for_the_whole_message(admin: OperationsClient) -> None:
    """Each member of the message, also one that is added tomorrow, tells two requests apart."""
    automation = await admin.make(WAIT, draftAutomationSteps=[WAIT])
    others: dict[str, dict[str, Any]] = {
        "context": {"context": {"context": {"a": 2}}},
        "is_draft": {"isDraft": True},
        "lease": {"lease": "60s"},
    }
    assert set(ExecuteAutomationRequest.model_fields) == set(others)
    body: dict[str, Any] = {"context": {"context": {"a": 1}}, "lease": "3600s"}
    key = {"idempotency-key": "k"}
    first = await admin.ask("ExecuteAutomation", body, id=automation, headers=key)
    for member, other in others.items():
        with pytest.raises(AlreadyExists):
            await admin.ask("ExecuteAutomation", body | other, id=automation, headers=key)
        left_out = {name: value for name, value in body.items() if name != member}
        if left_out != body:
            with pytest.raises(AlreadyExists):
                await admin.ask("ExecuteAutomation", left_out, id=automation, headers=key)
    same = {"lease": "3600.000s", "context": {"context": {"a": 1}}, "unknown": 7}
    assert (await admin.ask("ExecuteAutomation", same, id=automation, headers=key)).body == first.body


async def _delete(admin: OperationsClient, automation: str) -> None:
    await admin.ask("DeleteAutomation", {"terminateRunning": True}, id=automation)


async def _disable(admin: OperationsClient, automation: str) -> None:
    await admin.ask("OwnUpdateSettings", {"automationsDisabled": True})


@pytest.mark.parametrize("change", [_delete, _disable], ids=["deleted", "disabled"])
async def test_a_known_key_is_answered_whatever_became_of_the_automation(admin: OperationsClient, change: Any) -> None:
    automation = await admin.make(WAIT)
    key = {"idempotency-key": "k"}
    first = await admin.ask("ExecuteAutomation", id=automation, headers=key)
    await change(admin, automation)
    again = await admin.ask("ExecuteAutomation", id=automation, headers=key)
    assert (again.body, again.headers) == (first.body, {"Idempotency-Replayed": "true"})
    with pytest.raises(AlreadyExists):
        await admin.ask("ExecuteAutomation", {"isDraft": True}, id=automation, headers=key)


async def test_a_key_known_to_one_client_is_not_another_clients(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    key = {"idempotency-key": "k"}
    first = await admin.ask("ExecuteAutomation", id=automation, headers=key)
    second = await admin.with_role(Role.SUPER_ADMIN).ask("ExecuteAutomation", id=automation, headers=key)
    assert second.body != first.body
    with pytest.raises(NotFound):
        await (await admin.of_another_tenant()).ask("ExecuteAutomation", id=automation, headers=key)


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "tab\t", "ü"])
async def test_a_key_is_visible_ascii(admin: OperationsClient, key: str) -> None:
    automation = await admin.make(WAIT)
    with pytest.raises(InvalidArgument, match="Idempotency-Key"):
        await admin.ask("ExecuteAutomation", id=automation, headers={"idempotency-key": key})
    await admin.ask("ExecuteAutomation", id=automation, headers={"idempotency-key": "x" * 255})


# --- read -------------------------------------------------------------------------------------------------------------


async def test_a_run_that_ended_shows_when_and_how_long_it_took(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(WAIT))
    waiting = await shown(admin, execution)
    assert waiting["state"] == f"{PREFIX}WAITING"
    assert "completedAt" not in waiting
    assert "duration" not in waiting
    await admin.wait(90.5)
    await admin.ask("TerminateAutomation", id=execution)
    ended = await shown(admin, execution)
    assert (ended["duration"], ended["completedAt"]) == ("90.500s", "2025-06-15T15:08:10.500Z")
    assert START == 1_750_000_000 * SECOND


@pytest.mark.parametrize("id_", ["1_000", " 12", "+5", "0", "-1", "007", "9" * 20, str(2**63), "abc", "١٢"])
async def test_what_is_no_id_is_refused(admin: OperationsClient, id_: str) -> None:
    for name in ("GetAutomationExecution", "TerminateAutomation", "OwnGetExecution"):
        with pytest.raises(InvalidArgument, match="id: must be a whole number"):
            await admin.ask(name, id=id_)


async def test_an_unknown_run_is_not_found(admin: OperationsClient) -> None:
    with pytest.raises(NotFound):
        await admin.ask("GetAutomationExecution", id=839265)


async def test_lists_are_newest_first(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    runs = [str(await admin.start(automation)) for _ in range(12)]
    page = (await admin.ask("ListAutomationExecutions", query={"page_size": "10"})).body
    rest = (await admin.ask("ListAutomationExecutions", query={"page_token": page["nextPageToken"]})).body
    found = [row["id"] for row in page["automationExecutions"] + rest["automationExecutions"]]
    assert found == runs[::-1]


async def test_searches_narrow_down(admin: OperationsClient) -> None:
    hello, hold = await admin.make(GREET, displayName="Hello"), await admin.make(WAIT, displayName="Hold", appId="app")
    done, waiting = await admin.start(hello, name="Ann"), await admin.start(hold)
    stopped = await admin.start(hold)
    await admin.ask("TerminateAutomation", id=stopped)

    async def found(name: str = "SearchAutomationExecutions", **body: Any) -> list[int]:
        return [int(row["automationExecution"]["id"]) for row in (await admin.ask(name, body)).body["list"]]

    assert await found() == [stopped, waiting, done]
    assert await found(automationTemplateId=hold) == [stopped, waiting]
    assert await found(executionId=str(done)) == await found(query=str(done)) == [done]
    assert await found(refs=[{"id": str(done)}, {"id": str(waiting)}]) == [waiting, done]
    assert await found(query="hel") == [done]
    assert await found(executionStepStates=[f"{PREFIX}WAITING", f"{PREFIX}DONE"]) == [waiting, done]
    assert await found(executionStepStates=[f"{PREFIX}UNSPECIFIED"]) == [stopped, waiting, done]
    assert await found(executionStepStates=[f"{PREFIX}GET_STEP"]) == []
    assert await found(automationTemplateId=hold, executionId=str(done)) == []
    every = "SearchAllAutomationExecutions"
    assert await found(every, automationTemplateIds=[hello, hold], executionStates=[f"{PREFIX}DONE"]) == [done]
    assert await found(every, appIds=["app"]) == [stopped, waiting]
    assert await found(every, subjectUserIds=["unknown"]) == []
    about = [await admin.start(automation, user_id="u1") for automation in (hello, hold)]
    assert await found(every, subjectUserIds=["u1", "unknown"]) == about[::-1]
    assert await found(every, subjectUserIds=["u1"], executionStates=[f"{PREFIX}WAITING"]) == [about[1]]
    assert await found(every, subjectUserIds=["u1"], appIds=["app"]) == [about[1]]
    assert await found(every, subjectUserIds=["u1"], appIds=["another"]) == []


@pytest.mark.parametrize("field", ["subjectUserIds", "automationTemplateIds"])
async def test_a_search_that_names_too_many_ids_is_refused(admin: OperationsClient, field: str) -> None:
    with pytest.raises(InvalidArgument, match="names 1,001 ids; at most 1,000"):
        await admin.ask("SearchAllAutomationExecutions", {field: [str(number) for number in range(1_001)]})


async def test_searches_page_through_ids_and_automations_alike(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    runs = [str(await admin.start(automation)) for _ in range(13)]
    for body in ({"refs": [{"id": run} for run in runs]}, {"automationTemplateId": automation}, {}):
        first = (await admin.ask("SearchAutomationExecutions", {**body, "pageSize": 10})).body
        token = first["nextPageToken"]
        rest = (await admin.ask("SearchAutomationExecutions", {**body, "pageSize": 10, "pageToken": token})).body
        found = [row["automationExecution"]["id"] for row in first["list"] + rest["list"]]
        assert found == runs[::-1]
        assert rest["nextPageToken"] == ""


async def test_the_automation_comes_along_when_asked_for(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    await admin.start(automation)
    await admin.start(automation)
    reply = (await admin.ask("SearchAutomationExecutions", {"expandMask": {"paths": ["*"]}})).body
    assert [row["automationPath"] for row in reply["list"]] == ["$.expanded[0]"] * 2
    [expanded] = reply["expanded"]
    assert expanded["@type"] == "type.googleapis.com/c1.api.automations.v1.Automation"
    assert expanded["id"] == automation


# --- our own view -----------------------------------------------------------------------------------------------------


async def test_the_detail_tells_what_became_of_each_step(admin: OperationsClient) -> None:
    automation = await admin.make({**GREET, "skipIfTrueCel": "true"}, CALL, WAIT)
    execution = await admin.start(automation)
    running = await admin.detail(execution)
    assert (running["state"], running["step"]) == ("PROCESS_STEP", 1)
    assert [step["outcome"] for step in running["steps"]] == ["SKIPPED", "", ""]
    admin.engine.far.calls[0].answer(503, b"busy")
    await settle()
    retrying = await admin.detail(execution)
    assert (retrying["state"], retrying["waitingFor"]) == ("WAITING", "retry")
    call = retrying["steps"][1]
    assert (call["outcome"], call["attempts"][0]["outcome"], call["attempts"][0]["status"]) == ("", "FAILED", 503)
    await admin.wait(30)
    admin.engine.far.calls[1].answer()
    await settle()
    later = await admin.detail(execution)
    assert [step["outcome"] for step in later["steps"]] == ["SKIPPED", "SUCCEEDED", ""]
    assert [attempt["outcome"] for attempt in later["steps"][1]["attempts"]] == ["FAILED", "SUCCEEDED"]
    assert later["steps"][1]["output"] == {"response": {"ok": True}, "status_code": 200}
    assert (later["steps"][1]["kind"], later["steps"][1]["input"]["webhookId"]) == ("webhook", "hook")
    assert (later["waitingFor"], later["automationDisplayName"]) == ("timer", "an automation")
    assert "termination" not in later


async def test_the_detail_masks_secrets(admin: OperationsClient) -> None:
    steps = [
        evaluate("make", secret=["code"], code='"sword" + "fish"', plain='"shown"'),
        {"stepName": "send", "webhook": {"webhookId": "hook", "payload": {"text": "it is {{ ctx.make.code }}"}}},
    ]
    execution = await admin.start(await admin.make(*steps))
    detail = await admin.detail(execution)
    assert "swordfish" not in str(detail)
    assert detail["steps"][0]["output"]["plain"] == "shown"


async def test_the_detail_shows_a_stop_and_what_never_began(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(WAIT, GREET))
    await admin.ask("TerminateAutomation", {"reason": "wrong person"}, id=execution)
    detail = await admin.detail(execution)
    assert [step["outcome"] for step in detail["steps"]] == ["INTERRUPTED_WAITING", "NOT_STARTED"]
    assert detail["steps"][0]["settledAt"] == detail["completedAt"]
    stop = detail["termination"]
    assert (stop["reason"], stop["found"], stop["state"], stop["cause"]) == (
        "wrong person",
        "WAITING",
        "TERMINATE",
        "person",
    )
    assert stop["actor"] == {"client": "ann@localhost", "principal": "ann@localhost", "address": "192.0.2.7"}


async def test_the_detail_lists_children(admin: OperationsClient) -> None:
    child = await admin.make(WAIT)
    execution = await admin.start(await admin.make(run_automation("go", child, {"n": 1})))
    detail = await admin.detail(execution)
    [started] = detail["children"]
    assert (started["automationTemplateId"], started["state"]) == (child, "WAITING")
    assert started["automationDisplayName"] == (await admin.detail(int(started["id"])))["automationDisplayName"] != ""
    assert detail["steps"][0]["output"] == {"execution_id": started["id"]}
    below = await admin.detail(int(started["id"]))
    assert (below["parent"], below["root"], below["depth"]) == (str(execution), str(execution), 1)
    assert below["trigger"] == {"n": 1}
