"""`interlock executions`: watching, and stopping."""

from typing import Any

import pytest

from interlock.cli.failures import Exit
from tests.cli.conftest import Answer, CommandLine, Server, lines, ok, refusal

ALL = "/api/v1/automation_executions"
SEARCH = "/api/v1/search/all_automation_executions"


def in_state(state: str, ident: str = "7") -> Answer:
    return ok({"automationExecution": {"id": ident, "state": f"AUTOMATION_EXECUTION_STATE_{state}"}})


def stopped(result: str = "accepted", state: str = "TERMINATE", body: dict[str, Any] | None = None) -> Answer:
    return ok(body, Interlock_Termination=f"{result}; state={state}")


def terminating(ident: str) -> str:
    return f"{ALL}/{ident}/actions/terminate"


def test_list_filters_by_automation_state_and_person_and_shows_names(server: Server, interlock: CommandLine) -> None:
    server.on("GET", "/api/v1/automations/a1", ok({"automation": {"id": "a1"}}))
    row = {"id": "7", "state": "AUTOMATION_EXECUTION_STATE_WAITING", "createdAt": "2026-01-02T03:04:05.678901Z"}
    deleted = {"id": "6", "state": "AUTOMATION_EXECUTION_STATE_DONE", "automationTemplateId": "a0"}
    views = [{"automationExecution": row, "automationPath": "$.expanded[1]"}, {"automationExecution": deleted}]
    expanded = [{"displayName": "Onboard"}, {"displayName": "Offboard"}]
    server.on("POST", SEARCH, ok({"list": views, "expanded": expanded}))
    arguments = ["--automation", "a1", "--state", "waiting", "--state", "PROCESS_STEP", "--subject", "u1"]
    assert lines(interlock("executions", "list", *arguments)) == [{**row, "automationDisplayName": "Offboard"}, deleted]
    table = interlock("executions", "list", person=True).stdout
    assert [line.split() for line in table.splitlines()[1:]] == [
        ["7", "WAITING", "Offboard", "2026-01-02T03:04:05Z"],
        ["6", "DONE", "a0"],
    ]
    body = server.asked("POST", SEARCH)[0].body
    assert (body["automationTemplateIds"], body["subjectUserIds"]) == (["a1"], ["u1"])
    assert body["executionStates"] == [
        "AUTOMATION_EXECUTION_STATE_WAITING",
        "AUTOMATION_EXECUTION_STATE_PROCESS_STEP",
    ]


def test_watch_prints_each_state_once_until_the_end(server: Server, interlock: CommandLine) -> None:
    looks = [in_state(state) for state in ("PENDING", "WAITING", "WAITING", "DONE")]
    server.on("GET", f"{ALL}/7", *looks)
    result = interlock("executions", "watch", "7")
    assert [row["state"].rpartition("_")[2] for row in lines(result)] == ["PENDING", "WAITING", "DONE"]


def test_watch_gives_up_in_time_and_tells_how_the_run_ended_if_asked(server: Server, interlock: CommandLine) -> None:
    server.on("GET", f"{ALL}/7", in_state("WAITING"))
    assert interlock("executions", "watch", "7", "--timeout", "3").exit_code == Exit.TIMEOUT
    assert interlock.clock.now == pytest.approx(3)
    server.on("GET", f"{ALL}/7", in_state("TERMINATE"))
    assert interlock("executions", "watch", "7").exit_code == Exit.OK
    assert interlock("executions", "watch", "7", "--exit-status").exit_code == Exit.ERROR


def test_terminate_sends_what_was_asked_for_and_prints_the_verdict(server: Server, interlock: CommandLine) -> None:
    server.on("POST", terminating("7"), stopped(body={"id": "t1"}))
    result = interlock(
        "executions", "terminate", "7", "--reason", "wrong person", "--mode", "drain", "--deadline", "2m", "--cascade"
    )
    assert result.exit_code == Exit.OK
    [row] = lines(result)
    assert row == {"executionId": "7", "result": "accepted", "state": "TERMINATE", "termination": {"id": "t1"}}
    [call] = server.asked("POST", terminating("7"))
    assert call.body == {"reason": "wrong person", "mode": "drain", "deadline": "120s", "cascade": True}
    assert call.headers["prefer"] == "return=representation"


@pytest.mark.parametrize(
    ("given", "sent"), [("0", "0s"), ("10", "10s"), ("1.5s", "1.5s"), ("500ms", "0.5s"), ("0.5m", "30s")]
)
def test_a_deadline_may_be_written_shortly(given: str, sent: str, server: Server, interlock: CommandLine) -> None:
    server.on("POST", terminating("7"), stopped())
    interlock("executions", "terminate", "7", "--deadline", given)
    assert server.asked("POST", terminating("7"))[0].body == {"deadline": sent}


def test_a_deadline_that_is_none_is_refused_here(server: Server, interlock: CommandLine) -> None:
    assert interlock("executions", "terminate", "7", "--deadline", "soon").exit_code == Exit.USAGE
    assert not server.calls


@pytest.mark.parametrize("ident", ["1_000", " 12", "+5", "0", "1" * 20, "abc", "٣"])
def test_what_is_no_id_is_refused_before_anything_is_stopped(
    ident: str, server: Server, interlock: CommandLine
) -> None:
    server.on("POST", terminating("7"), stopped())
    assert interlock("executions", "terminate", "7", ident).exit_code == Exit.USAGE
    assert not server.calls


def test_a_server_without_the_header_has_accepted(server: Server, interlock: CommandLine) -> None:
    server.on("POST", terminating("7"), ok())
    assert lines(interlock("executions", "terminate", "7")) == [{"executionId": "7", "result": "accepted", "state": ""}]


def test_a_second_terminate_and_one_of_a_finished_run_are_no_failures(server: Server, interlock: CommandLine) -> None:
    server.on("POST", terminating("7"), stopped("repeated"))
    server.on("POST", terminating("8"), stopped("already-finished", "DONE"))
    result = interlock("executions", "terminate", "7", "8", "7")
    assert result.exit_code == Exit.OK
    assert [row["result"] for row in lines(result)] == ["repeated", "already-finished"]


def test_ids_come_from_stdin_as_lines_or_as_json(server: Server, interlock: CommandLine) -> None:
    for ident in ("7", "8", "9"):
        server.on("POST", terminating(ident), stopped())
    result = interlock("executions", "terminate", "-", stdin='7\n\n{"id": "8", "state": "x"}\n{"executionId": "9"}\n')
    assert [row["executionId"] for row in lines(result)] == ["7", "8", "9"]
    assert interlock("executions", "terminate", "-", stdin="").exit_code == Exit.NOT_FOUND


def test_some_not_found_is_partly_done_and_all_not_found_is_3(server: Server, interlock: CommandLine) -> None:
    server.on("POST", terminating("7"), stopped())
    partly = interlock("executions", "terminate", "839265", "7")
    assert partly.exit_code == Exit.PARTLY
    assert "execution 839265: not found" in partly.stderr
    assert [row["executionId"] for row in lines(partly)] == ["7"]
    assert interlock("executions", "terminate", "839265").exit_code == Exit.NOT_FOUND


def test_not_allowed_is_4(server: Server, interlock: CommandLine) -> None:
    server.on("POST", terminating("7"), refusal(403, "your role does not allow this"))
    assert interlock("executions", "terminate", "7").exit_code == Exit.AUTH


def test_wait_is_first_left_to_the_server_and_then_looked_after(server: Server, interlock: CommandLine) -> None:
    server.on("POST", terminating("7"), stopped(state="STOPPING"))
    server.on("GET", f"{ALL}/7", in_state("PROCESS_STEP"), in_state("TERMINATE"))
    result = interlock("executions", "terminate", "7", "--wait", "60")
    assert result.exit_code == Exit.OK
    assert lines(result)[0]["state"] == "TERMINATE"
    assert server.asked("POST", terminating("7"))[0].headers["prefer"] == "return=representation, wait=30"


def test_wait_that_is_not_enough_is_6_and_the_verdict_is_still_printed(server: Server, interlock: CommandLine) -> None:
    server.on("POST", terminating("7"), stopped(state="STOPPING"))
    server.on("GET", f"{ALL}/7", in_state("PROCESS_STEP"))
    result = interlock("executions", "terminate", "7", "--wait", "2")
    assert result.exit_code == Exit.TIMEOUT
    assert lines(result)[0]["result"] == "accepted"


def test_several_are_all_stopped_before_any_is_waited_for(server: Server, interlock: CommandLine) -> None:
    for ident in ("7", "8"):
        server.on("POST", terminating(ident), stopped(state="STOPPING"))
        server.on("GET", f"{ALL}/{ident}", in_state("TERMINATE", ident))
    assert interlock("executions", "terminate", "7", "8", "--wait", "10").exit_code == Exit.OK
    assert [call.method for call in server.calls] == ["POST", "POST", "POST", "GET", "GET"]
    assert server.asked("POST", terminating("7"))[0].headers["prefer"] == "return=representation"


def test_a_person_is_shown_what_would_be_stopped_and_asked(server: Server, interlock: CommandLine) -> None:
    server.on("GET", f"{ALL}/7", in_state("WAITING"))
    server.on("POST", terminating("7"), stopped())
    refused = interlock("executions", "terminate", "7", person=True, stdin="n\n")
    assert refused.exit_code == Exit.ERROR
    assert "WAITING" in refused.stdout
    assert "Terminate execution 7?" in refused.stderr
    assert not server.asked("POST", terminating("7"))
    agreed = interlock("executions", "terminate", "7", person=True, stdin="y\n")
    assert agreed.exit_code == Exit.OK
    assert "interlock executions receipt 7" in agreed.stderr
    assert interlock("executions", "terminate", "7", "--yes", person=True).exit_code == Exit.OK


def test_terminating_an_ended_run_asks_for_no_confirmation(server: Server, interlock: CommandLine) -> None:
    server.on("GET", f"{ALL}/7", in_state("DONE"))
    server.on("POST", terminating("7"), stopped("already-finished", "DONE"))
    result = interlock("executions", "terminate", "7", person=True, stdin="")
    assert result.exit_code == Exit.OK
    assert "already-finished" in result.stdout


def test_a_person_is_told_how_many_were_stopped_with_it(server: Server, interlock: CommandLine) -> None:
    server.on("GET", f"{ALL}/7", in_state("DONE"))
    server.on("POST", terminating("7"), stopped("already-finished", "DONE", {"descendants": 1_023, "more": True}))
    result = interlock("executions", "terminate", "7", "--cascade", person=True, stdin="y\n")
    assert "Terminate execution 7, and all descendants of it?" in result.stderr
    assert "Descendants terminated as well: 1,023; more follow." in result.stderr


RECEIPT = "/interlock/v1/executions/7/receipt"
ADDENDA = "/interlock/v1/executions/7/addenda"


def test_resolve_sends_what_was_learned_and_prints_what_is_on_record(server: Server, interlock: CommandLine) -> None:
    server.on("POST", ADDENDA, ok({"number": 1, "finding": "DID_NOT_HAPPEN"}))
    arguments = ["--step", "call", "--did-not-happen", "--attempt", "2", "--item", "ann", "--note", "asked the desk"]
    result = interlock("executions", "resolve", "7", *arguments)
    assert result.exit_code == Exit.OK
    assert lines(result) == [{"executionId": "7", "number": 1, "finding": "DID_NOT_HAPPEN"}]
    [call] = server.asked("POST", ADDENDA)
    assert call.body == {
        "step": "call",
        "finding": "DID_NOT_HAPPEN",
        "attempt": 2,
        "item": "ann",
        "note": "asked the desk",
    }
    assert not server.asked("GET", RECEIPT)


def test_the_only_step_that_is_not_known_needs_no_name(server: Server, interlock: CommandLine) -> None:
    unknown = [{"step": "call", "position": 0, "resolved": True}, {"step": "tell", "position": 3, "item": "ann"}]
    server.on("GET", RECEIPT, ok({"unknown": unknown}))
    server.on("POST", ADDENDA, ok({"number": 1}))
    assert interlock("executions", "resolve", "7", "--happened").exit_code == Exit.OK
    [call] = server.asked("POST", ADDENDA)
    assert call.body == {"position": 3, "item": "ann", "finding": "HAPPENED"}


@pytest.mark.parametrize(
    ("unknown", "code", "said"),
    [
        ([], Exit.NOT_FOUND, "no unknown step"),
        ([{"step": "call", "resolved": True}], Exit.NOT_FOUND, "name a resolved step with --step"),
        (
            [{"step": "call"}, {"step": "te\x1bll", "item": "ann"}],
            Exit.USAGE,
            "call, te\N{REPLACEMENT CHARACTER}ll --item ann",
        ),
    ],
)
def test_without_a_name_it_has_to_be_clear_what_is_meant(
    unknown: list[Any], code: Exit, said: str, server: Server, interlock: CommandLine
) -> None:
    server.on("GET", RECEIPT, ok({"unknown": unknown}))
    result = interlock("executions", "resolve", "7", "--happened")
    assert (result.exit_code, said in result.stderr) == (code, True)
    assert not server.asked("POST", ADDENDA)


@pytest.mark.parametrize(
    "arguments",
    [
        ["7"],
        ["7", "--happened", "--did-not-happen"],
        ["7", "--happened", "--item", "ann"],
        ["7", "--happened", "--attempt", "0"],
        ["x", "--happened", "--step", "call"],
    ],
    ids=" ".join,
)
def test_what_resolve_cannot_mean_is_refused_before_anything_is_sent(
    arguments: list[str], server: Server, interlock: CommandLine
) -> None:
    assert interlock("executions", "resolve", *arguments).exit_code == Exit.USAGE
    assert not server.calls


@pytest.mark.parametrize(
    ("status", "code"), [(404, Exit.NOT_FOUND), (400, Exit.ERROR), (403, Exit.AUTH), (503, Exit.ERROR)]
)
def test_a_refused_addendum_has_the_usual_exit_code(
    status: int, code: Exit, server: Server, interlock: CommandLine
) -> None:
    server.on("POST", ADDENDA, refusal(status, "nothing is in doubt"))
    result = interlock("executions", "resolve", "7", "--step", "call", "--happened")
    assert (result.exit_code, "nothing is in doubt" in result.stderr) == (code, True)


def test_a_receipt_is_a_text_for_a_person_and_json_for_a_program(server: Server, interlock: CommandLine) -> None:
    path = "/interlock/v1/executions/7/receipt"
    server.on("GET", path, ok({"executionId": "7", "settled": True}))
    assert lines(interlock("executions", "receipt", "7")) == [{"executionId": "7", "settled": True}]
    assert interlock("executions", "receipt", "7", person=True).exit_code == Exit.OK
    assert [call.headers["accept"] for call in server.asked("GET", path)] == ["application/json", "text/markdown"]
