"""Many executions by one order, from the command line: planned, shown, asked for, followed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from interlock.cli.failures import Exit
from tests.cli.conftest import CommandLine, Server, lines, ok, refusal

PATH = "/interlock/v1/bulkTerminations"
PLAN = {
    "id": "p",
    "total": 2,
    "states": [{"state": "WAITING", "count": 2}],
    "executions": [{"executionId": "7", "automationDisplayName": "Offboard", "state": "WAITING", "doneSteps": ["a"]}],
}


def order(state: str, accepted: int) -> dict[str, Any]:
    return {"bulkTermination": {"id": "p", "state": state, "total": 2, "accepted": accepted}}


@pytest.fixture
def planned(server: Server) -> Server:
    server.on("GET", "/api/v1/automations/a1", ok({"automation": {"id": "a1"}}))
    server.on("POST", f"{PATH}/plan", ok(PLAN))
    server.on("POST", PATH, ok(order("RUNNING", 0)))
    server.on("GET", f"{PATH}/p", ok(order("RUNNING", 1)), ok(order("DONE", 2)))
    server.on("POST", f"{PATH}/p/actions/abort", ok(order("ABORTED", 1)))
    return server


def test_a_filter_is_planned_and_the_plan_is_ordered(planned: Server, interlock: CommandLine) -> None:
    result = interlock(
        "executions", "terminate", "--automation", "a1", "--state", "waiting", "--older-than", "10m",
        "--reason", "a flood",
    )  # fmt: skip
    assert result.exit_code == Exit.OK
    [asked] = planned.asked("POST", f"{PATH}/plan")
    assert asked.body["filter"] == {
        "automationTemplateIds": ["a1"],
        "states": ["AUTOMATION_EXECUTION_STATE_WAITING"],
        "olderThan": "600s",
        "allExecutions": False,
    }
    [given] = planned.asked("POST", PATH)
    assert given.body == {"planId": "p", "reason": "a flood"}


def test_an_order_that_pauses_is_given_by_its_filter(planned: Server, interlock: CommandLine) -> None:
    """What was started since the plan is found too: the server holds back first, and then looks."""
    result = interlock("executions", "terminate", "--automation", "a1", "--pause-automation", "--reason", "a flood")
    assert result.exit_code == Exit.OK
    [asked] = planned.asked("POST", f"{PATH}/plan")
    [given] = planned.asked("POST", PATH)
    assert given.body == {"filter": asked.body["filter"], "reason": "a flood", "pauseAutomation": True}


def test_a_subject_and_an_expression_narrow_down_and_need_no_all(planned: Server, interlock: CommandLine) -> None:
    expression = 'ctx.trigger.site == "Bern"'
    result = interlock("executions", "terminate", "--subject", "u1", "--subject", "u2", "--where", expression, "--plan")
    assert result.exit_code == Exit.OK
    [asked] = planned.asked("POST", f"{PATH}/plan")
    assert asked.body["filter"]["subjectUserIds"] == ["u1", "u2"]
    assert asked.body["filter"]["expressionCel"] == expression


@pytest.mark.parametrize(("option", "field"), [("--subject", "subjectUserIds"), ("--where", "expressionCel")])
def test_what_is_given_and_empty_is_sent_and_widens_nothing(
    planned: Server, interlock: CommandLine, option: str, field: str
) -> None:
    planned.on("POST", f"{PATH}/plan", refusal(400, "must not be empty"))
    assert interlock("executions", "terminate", "--all", option, "").exit_code == Exit.ERROR
    [asked] = planned.asked("POST", f"{PATH}/plan")
    assert field in asked.body["filter"]
    assert not planned.asked("POST", PATH)


def test_a_failed_expression_is_reported_with_its_execution(planned: Server, interlock: CommandLine) -> None:
    failures = {"count": 3, "executionId": "8", "error": "line 1, column 5: field 'site' is missing"}
    planned.on("POST", f"{PATH}/plan", ok({**PLAN, "expressionFailures": failures}))
    result = interlock("executions", "terminate", "--where", "ctx.trigger.site == 1")
    assert result.exit_code == Exit.OK
    assert "failed for 3" in result.stderr
    assert "execution 8: line 1, column 5: field 'site' is missing" in result.stderr


def test_a_plan_alone_orders_nothing(planned: Server, interlock: CommandLine) -> None:
    assert lines(interlock("executions", "terminate", "--all", "--plan"))[0]["total"] == 2
    shown = interlock("executions", "terminate", "--all", "--plan", person=True)
    assert "Offboard" in shown.stdout
    assert "2 would be stopped: 2 WAITING (the first 1 are shown)" in shown.stderr
    assert not planned.asked("POST", PATH)


def test_a_person_sees_the_plan_and_is_asked(planned: Server, interlock: CommandLine) -> None:
    refused = interlock("executions", "terminate", "--all", person=True, stdin="n\n")
    assert refused.exit_code == Exit.ERROR
    assert "Offboard" in refused.stdout
    assert "Terminate 2 executions?" in refused.stderr
    assert not planned.asked("POST", PATH)
    assert interlock("executions", "terminate", "--all", person=True, stdin="y\n").exit_code == Exit.OK
    assert len(planned.asked("POST", PATH)) == 1


def test_with_wait_the_order_is_followed_to_its_end(planned: Server, interlock: CommandLine) -> None:
    result = interlock("executions", "terminate", "--all", "--wait", "30")
    assert [row["state"] for row in lines(result)] == ["DONE"]


def test_nothing_found_is_told_by_the_exit_code(planned: Server, interlock: CommandLine) -> None:
    planned.on("POST", f"{PATH}/plan", ok({**PLAN, "total": 0, "executions": []}))
    assert interlock("executions", "terminate", "--all").exit_code == Exit.NOT_FOUND


@pytest.mark.parametrize("arguments", [(), ("7", "--all"), ("7", "--pause-automation")])
def test_what_cannot_be_meant_is_a_wrong_command_line(
    planned: Server, interlock: CommandLine, arguments: tuple[str, ...]
) -> None:
    assert interlock("executions", "terminate", *arguments).exit_code == Exit.USAGE
    assert not planned.asked("POST", PATH)


def test_a_plan_of_named_executions_stops_nothing(planned: Server, interlock: CommandLine) -> None:
    result = interlock("executions", "terminate", "7", "8", "7", "--cascade", "--plan")
    assert result.exit_code == Exit.OK
    [asked] = planned.asked("POST", f"{PATH}/plan")
    assert asked.body == {"executionIds": ["7", "8"], "cascade": True}
    assert lines(result)[0]["total"] == 2
    assert [call.path for call in planned.calls if call.method == "POST"] == ["/auth/v1/token", f"{PATH}/plan"]


@pytest.mark.parametrize(("total", "code"), [(0, Exit.NOT_FOUND), (1, Exit.PARTLY)])
def test_a_plan_of_executions_that_are_not_there_says_so(
    planned: Server, interlock: CommandLine, total: int, code: Exit
) -> None:
    planned.on("POST", f"{PATH}/plan", ok({**PLAN, "total": total, "notFound": 1}))
    result = interlock("executions", "terminate", "7", "8", "--plan")
    assert result.exit_code == code
    assert "not found" in result.stderr


def test_a_cascade_is_planned_and_asked_for_with_its_descendants(planned: Server, interlock: CommandLine) -> None:
    planned.on("POST", f"{PATH}/plan", ok({**PLAN, "descendants": 4}))
    result = interlock("executions", "terminate", "--all", "--cascade", person=True, stdin="n\n")
    assert planned.asked("POST", f"{PATH}/plan")[0].body["cascade"] is True
    assert "2 would be stopped: 2 WAITING (the first 1 are shown), and 4 descendants of them." in result.stderr
    assert "Terminate 2 executions, and 4 descendants of them?" in result.stderr
    execution = {"id": "7", "state": "AUTOMATION_EXECUTION_STATE_WAITING"}
    planned.on("GET", "/api/v1/automation_executions/7", ok({"automationExecution": execution}))
    planned.on("POST", f"{PATH}/plan", ok({**PLAN, "total": 1, "descendants": 4}))
    named = interlock("executions", "terminate", "7", "--cascade", person=True, stdin="n\n")
    assert "Terminate execution 7, and 4 descendants of it?" in named.stderr
    for more, said in (
        ({"descendants": 100_000, "moreDescendants": True}, "at least 100,000 descendants of it"),
        ({"descendants": 0}, "no descendants of it"),
    ):
        planned.on("POST", f"{PATH}/plan", ok({**PLAN, "total": 1, **more}))
        asked = interlock("executions", "terminate", "7", "--cascade", person=True, stdin="n\n")
        assert f"Terminate execution 7, and {said}?" in asked.stderr
    planned.on("POST", f"{PATH}/plan", refusal(404, "not found"))
    elsewhere = interlock("executions", "terminate", "7", "--cascade", person=True, stdin="n\n")
    assert "Terminate execution 7, and all descendants of it?" in elsewhere.stderr


def test_orders_are_listed_watched_and_aborted(planned: Server, interlock: CommandLine) -> None:
    planned.on("GET", PATH, ok({"list": [order("DONE", 2)["bulkTermination"]], "nextPageToken": ""}))
    assert "2/2" in interlock("bulk-terminations", "list", person=True).stdout
    assert lines(interlock("bulk-terminations", "watch", "p"))[0]["state"] == "DONE"
    assert lines(interlock("bulk-terminations", "abort", "p"))[0]["state"] == "ABORTED"
    planned.on("GET", f"{PATH}/p", ok(order("RUNNING", 1)))
    assert interlock("bulk-terminations", "watch", "p", "--timeout", "2").exit_code == Exit.TIMEOUT


def test_a_person_is_told_that_an_abort_came_too_late(planned: Server, interlock: CommandLine) -> None:
    planned.on("POST", f"{PATH}/p/actions/abort", ok(order("DONE", 2)))
    assert "Nothing to abort" in interlock("bulk-terminations", "abort", "p", person=True).stderr
    planned.on("POST", f"{PATH}/p/actions/abort", ok(order("ABORTED", 1)))
    assert "Nothing to abort" not in interlock("bulk-terminations", "abort", "p", person=True).stderr


def test_who_pauses_automations_is_told_how_they_go_on(planned: Server, interlock: CommandLine) -> None:
    result = interlock("executions", "terminate", "--all", "--pause-automation", person=True, stdin="y\n")
    assert "interlock automations clear-breaker" in result.stderr


def test_former_name_of_the_command_works_and_is_not_listed(planned: Server, interlock: CommandLine) -> None:
    planned.on("GET", PATH, ok({"list": [order("DONE", 2)["bulkTermination"]], "nextPageToken": ""}))
    assert "2/2" in interlock("terminations", "list", person=True).stdout
    shown = interlock("--help").stdout
    assert "bulk-terminations" in shown
    assert not re.search(r"^ *terminations", shown, re.MULTILINE)
