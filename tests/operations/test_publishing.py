"""What is published can run: all that would keep it from that is told at once, and a draft has it as warnings."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.contract.steps import STEP_KINDS
from interlock.contract.triggers import TRIGGER_KINDS
from interlock.errors import FailedPrecondition, InvalidArgument
from tests.operations.operations_client import CALL, GREET, WAIT, OperationsClient

pytestmark = pytest.mark.anyio

RUNNABLE = {"evaluateExpressions", "runAutomation", "waitForDuration", "webhook"}


def evaluate(name: str, source: str) -> dict[str, Any]:
    return {"stepName": name, "evaluateExpressions": {"expressions": [{"key": "x", "expressionCel": source}]}}


async def test_all_findings_are_told_with_their_place(admin: OperationsClient) -> None:
    steps = [
        {**WAIT, "skipIfTrueCel": "ctx.greet.text =="},
        evaluate("early", "ctx.greet.text"),
        {**GREET, "skipIfTrueCel": "nonsense"},
        {"stepName": "say", "webhook": {"webhookId": "hook", "payload": {"a": [{"b": "x {{ ctx.unknown }}"}]}}},
    ]
    with pytest.raises(InvalidArgument) as refused:
        await admin.make(*steps)
    found = {(row.field, row.step): (row.line, row.column, row.description) for row in refused.value.problems}
    assert set(found) == {
        ("automationSteps[0].skipIfTrueCel", "hold"),
        ("automationSteps[1].evaluateExpressions.expressions[0].expressionCel", "early"),
        ("automationSteps[2].skipIfTrueCel", "greet"),
        ("automationSteps[3].webhook.payload.a[0].b", "say"),
    }
    assert all(line == 1 for line, _, _ in found.values())
    later = found["automationSteps[1].evaluateExpressions.expressions[0].expressionCel", "early"]
    assert "comes later" in later[2]
    assert (await admin.ask("ListAutomations")).body["list"] == []


async def test_an_update_names_the_fields_below_automation(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    body = {"automation": {"automationSteps": [{**WAIT, "skipIfTrueCel": "1 +"}]}, "updateMask": "automationSteps"}
    with pytest.raises(InvalidArgument) as refused:
        await admin.ask("UpdateAutomation", body, id=automation)
    assert [row.field for row in refused.value.problems] == ["automation.automationSteps[0].skipIfTrueCel"]
    assert (await admin.ask("GetAutomation", id=automation)).body["automation"]["currentVersion"] == "1"


@pytest.mark.parametrize("kind", sorted(set(STEP_KINDS) - RUNNABLE))
async def test_a_kind_of_step_that_cannot_run_yet_is_named(admin: OperationsClient, kind: str) -> None:
    with pytest.raises(FailedPrecondition, match=kind):
        await admin.make({"stepName": "a", kind: {}})
    await admin.make({"stepName": "a", kind: {}}, isDraft=True)


@pytest.mark.parametrize("kind", [*TRIGGER_KINDS, "form"])
async def test_a_kind_of_trigger_that_cannot_run_yet_is_named(admin: OperationsClient, kind: str) -> None:
    with pytest.raises(FailedPrecondition, match=kind):
        await admin.make(WAIT, triggers=[{kind: {}}])
    await admin.make(WAIT, triggers=[{kind: {}}], isDraft=True)


async def test_on_demand_is_no_trigger_or_the_manual_one(admin: OperationsClient) -> None:
    await admin.make(WAIT, triggers=[])
    await admin.make(WAIT, triggers=[{"manual": {}}])


async def test_what_cannot_run_yet_is_told_together(admin: OperationsClient) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        await admin.make(
            {"stepName": "a", "sendEmail": {}}, {"stepName": "b", "callFunction": {}}, triggers=[{"userCreated": {}}]
        )
    assert [row.field for row in refused.value.problems] == [
        "automationSteps[0].sendEmail",
        "automationSteps[1].callFunction",
        "triggers[0].userCreated",
    ]


async def test_an_expression_that_needs_the_directory_is_named(admin: OperationsClient) -> None:
    with pytest.raises(FailedPrecondition, match="cannot be evaluated yet"):
        await admin.make(evaluate("a", 'c1.directory.users.v1.GetByID("x").display_name'))


@pytest.mark.parametrize("name", ["", "1a", "two words", "a-b", "trigger", "ä", "x" * 129])
async def test_a_step_needs_a_name_that_expressions_can_use(admin: OperationsClient, name: str) -> None:
    with pytest.raises(InvalidArgument, match="stepName"):
        await admin.make({**WAIT, "stepName": name})


async def test_two_steps_cannot_share_a_name(admin: OperationsClient) -> None:
    with pytest.raises(InvalidArgument, match="the name of an earlier step"):
        await admin.make(WAIT, WAIT)


async def test_a_step_names_a_kind_and_so_does_a_trigger(admin: OperationsClient) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await admin.make({"stepName": "a"}, triggers=[{}])
    assert [row.field for row in refused.value.problems] == ["automationSteps[0]", "triggers[0]"]


async def test_there_is_a_limit_to_the_number_of_steps(admin: OperationsClient) -> None:
    with pytest.raises(InvalidArgument, match="at most 250"):
        await admin.make(*[{**WAIT, "stepName": f"s{n}"} for n in range(251)])


async def test_our_own_view_has_the_findings_of_the_draft_as_warnings(admin: OperationsClient) -> None:
    automation = await admin.make(
        WAIT,
        draftAutomationSteps=[{**CALL, "skipIfTrueCel": "ctx.x"}, {"stepName": "mail", "sendEmail": {}}],
        draftTriggers=[{"userCreated": {"condition": "1 +"}}],
    )
    shown = (await admin.ask("OwnGetAutomation", id=automation)).body
    assert (shown["publishable"], shown["draftDiffers"]) == (False, True)
    assert [(row["kind"], row["field"]) for row in shown["warnings"]] == [
        ("problem", "draftAutomationSteps[0].skipIfTrueCel"),
        ("problem", "draftTriggers[0].userCreated.condition"),
        ("unavailable", "draftAutomationSteps[1].sendEmail"),
        ("unavailable", "draftTriggers[0].userCreated"),
    ]
    assert (shown["warnings"][0]["step"], shown["warnings"][0]["line"]) == ("call", 1)
    assert shown["automation"]["id"] == automation


async def test_our_own_view_of_what_is_ready_has_no_warnings(admin: OperationsClient) -> None:
    shown = (await admin.ask("OwnGetAutomation", id=await admin.make(WAIT))).body
    assert (shown["publishable"], shown["draftDiffers"], shown["warnings"]) == (True, False, [])
