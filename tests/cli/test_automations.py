"""`interlock automations`: what is sent, what is printed, and how it ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.failures import Exit
from tests.cli.conftest import Answer, CommandLine, Server, lines, ok, refusal

SEARCH = "/api/v1/search/automations"
ALL = "/api/v1/automations"


def holding(*automations: dict[str, Any]) -> Answer:
    return ok({"list": list(automations), "nextPageToken": ""})


def echo(body: dict[str, Any]) -> Answer:
    return ok({"automation": {"id": "made", **(body.get("automation") or body)}})


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "a.json").write_text('{"displayName": "A", "automationSteps": []}')
    (tmp_path / "b.json").write_text(
        '[{"displayName": "B"}, {"id": "b2", "enabled": false, "createdAt": "2026-01-01"}]'
    )
    return tmp_path


def test_apply_creates_what_is_new_and_updates_what_has_the_name(
    server: Server, interlock: CommandLine, files: Path
) -> None:
    server.on(
        "POST", SEARCH, holding({"id": "x", "displayName": "A and more"}), holding({"id": "b1", "displayName": "B"})
    )
    for path in (ALL, f"{ALL}/b1", f"{ALL}/b2"):
        server.on("POST", path, echo)
    result = interlock("automations", "apply", "a.json", "b.json")
    assert result.exit_code == Exit.OK
    assert [row["result"] for row in lines(result)] == ["created", "updated", "updated"]
    assert server.asked("POST", ALL)[0].body == {"displayName": "A", "automationSteps": []}
    assert server.asked("POST", f"{ALL}/b1")[0].body["updateMask"] == "displayName"
    # What the server keeps by itself is not asked for, so a file saved from `get` can be applied.
    assert server.asked("POST", f"{ALL}/b2")[0].body == {
        "automation": {"id": "b2", "enabled": False},
        "updateMask": "enabled",
    }


def test_apply_reads_stdin(server: Server, interlock: CommandLine) -> None:
    server.on("POST", SEARCH, holding())
    server.on("POST", ALL, echo)
    assert lines(interlock("automations", "apply", "-", stdin='{"displayName": "A"}'))[0]["result"] == "created"


def test_apply_with_dry_run_only_says_what_it_would_do(server: Server, interlock: CommandLine, files: Path) -> None:
    server.on("POST", SEARCH, holding())
    result = interlock("automations", "apply", "--dry-run", "a.json")
    assert lines(result) == [{"id": "", "displayName": "A", "result": "would be created"}]
    assert not server.asked("POST", ALL)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "line 1, column 2"),
        ('{"displayName": "A", "displayName": "B"}', "duplicate member: displayName"),
        ('{"displayName": "A", "circuitBreakerMax": NaN}', "NaN"),
        ("7", "JSON object"),
        ("{}", "displayName"),
        ('[{"displayName": "A"}, {"displayName": "A"}]', "more than once: A"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_apply_touches_nothing_if_a_file_is_wrong(
    text: str, complaint: str, server: Server, interlock: CommandLine, files: Path
) -> None:
    (files / "wrong.json").write_text(text)
    result = interlock("automations", "apply", "a.json", "wrong.json")
    assert result.exit_code == Exit.USAGE
    assert complaint in result.stderr
    assert not server.calls


def test_apply_goes_on_after_a_refusal_and_is_partly_done(server: Server, interlock: CommandLine, files: Path) -> None:
    server.on("POST", SEARCH, holding())
    server.on("POST", ALL, refusal(400, "automationSteps: at least one is needed"), echo)
    server.on("POST", f"{ALL}/b2", echo)
    result = interlock("automations", "apply", "a.json", "b.json")
    assert result.exit_code == Exit.PARTLY
    assert "a.json: A: automationSteps: at least one is needed" in result.stderr
    assert len(lines(result)) == 2


def test_a_name_that_fits_several_is_refused_with_their_ids(server: Server, interlock: CommandLine) -> None:
    server.on("POST", SEARCH, holding({"id": "1", "displayName": "Two"}, {"id": "2", "displayName": "Two"}))
    result = interlock("automations", "get", "Two")
    assert result.exit_code == Exit.ERROR
    assert "1, 2" in result.stderr


def test_list_is_a_table_for_a_person_and_json_lines_for_a_program(server: Server, interlock: CommandLine) -> None:
    row = {"id": "1", "displayName": "Off\x1b[31mboard", "enabled": True, "currentVersion": "3"}
    server.on("POST", SEARCH, holding(row))
    table = interlock("automations", "list", person=True).stdout
    assert table.splitlines()[0].split() == ["ID", "NAME", "STATUS", "VERSION", "LAST", "RUN"]
    assert "\x1b" not in table
    assert lines(interlock("automations", "list")) == [row]
    assert interlock("automations", "list", "-o", "ids").stdout == "1\n"
    assert not interlock("automations", "list").stderr


def test_list_follows_the_pages_up_to_its_limit(server: Server, interlock: CommandLine) -> None:
    def page(body: dict[str, Any]) -> Answer:
        start = int(body["pageToken"] or 0)
        rows = [{"id": str(start + index)} for index in range(body["pageSize"])]
        return ok({"list": rows, "nextPageToken": str(start + body["pageSize"]) if start < 200 else ""})

    server.on("POST", SEARCH, page)
    assert len(lines(interlock("automations", "list", "--limit", "150"))) == 150
    assert [call.body["pageSize"] for call in server.calls[1:]] == [100, 50]
    assert len(lines(interlock("automations", "list", "--limit", "0"))) == 300


def test_a_server_that_repeats_a_page_is_not_followed_for_ever(server: Server, interlock: CommandLine) -> None:
    server.on("POST", SEARCH, ok({"list": [{"id": "1"}], "nextPageToken": "same"}))
    assert interlock("automations", "list").exit_code == Exit.ERROR


def test_get_finds_by_id_and_by_name(server: Server, interlock: CommandLine) -> None:
    found = {"id": "1", "displayName": "Off"}
    server.on("GET", f"{ALL}/1", ok({"automation": found}))
    server.on("POST", SEARCH, holding(found))
    assert lines(interlock("automations", "get", "1")) == [found]
    assert json.loads(interlock("automations", "get", "Off", person=True).stdout) == found
    assert interlock("automations", "get", "none/such").exit_code == Exit.NOT_FOUND


@pytest.mark.parametrize("context", ['{"user": "ann"}', "@context.json", "-"])
def test_run_starts_with_the_context_given(
    context: str, server: Server, interlock: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "context.json").write_text('{"user": "ann"}')
    server.on("GET", f"{ALL}/1", ok({"automation": {"id": "1"}}))
    server.on("POST", f"{ALL}/1/execute", ok({"executionId": "7"}))
    result = interlock(
        "automations", "run", "1", "--context", context, "--idempotency-key", "k", stdin='{"user": "ann"}'
    )
    assert lines(result) == [{"executionId": "7"}]
    [call] = server.asked("POST", f"{ALL}/1/execute")
    assert call.body == {"context": {"context": {"user": "ann"}}}
    assert call.headers["idempotency-key"] == "k"


@pytest.mark.parametrize(("state", "code"), [("DONE", Exit.OK), ("ERROR", Exit.ERROR), ("WAITING", Exit.TIMEOUT)])
def test_run_with_wait_ends_as_the_run_does(state: str, code: Exit, server: Server, interlock: CommandLine) -> None:
    server.on("GET", f"{ALL}/1", ok({"automation": {"id": "1"}}))
    server.on("POST", f"{ALL}/1/execute", ok({"executionId": "7"}))
    execution = {"id": "7", "state": f"AUTOMATION_EXECUTION_STATE_{state}"}
    server.on("GET", "/api/v1/automation_executions/7", ok({"automationExecution": execution}))
    assert interlock("automations", "run", "1", "--wait", "5").exit_code == code


@pytest.mark.parametrize(
    ("wait", "prefer"),
    [((), None), (("--wait", "0.5"), None), (("--wait", "1"), "wait=1"), (("--wait", "60"), "wait=1")],
)
def test_short_run_is_awaited_in_the_answer_to_its_start(
    wait: tuple[str, ...], prefer: str | None, server: Server, interlock: CommandLine
) -> None:
    server.on("GET", f"{ALL}/1", ok({"automation": {"id": "1"}}))
    server.on("POST", f"{ALL}/1/execute", ok({"executionId": "7"}))
    ended = {"id": "7", "state": "AUTOMATION_EXECUTION_STATE_DONE"}
    server.on("GET", "/api/v1/automation_executions/7", ok({"automationExecution": ended}))
    assert interlock("automations", "run", "1", *wait).exit_code == Exit.OK
    [call] = server.asked("POST", f"{ALL}/1/execute")
    assert call.headers.get("prefer") == prefer
    assert not server.asked("GET", "/interlock/v1/executions/7/events")


def test_delete_asks_a_person_and_takes_a_program_at_its_word(server: Server, interlock: CommandLine) -> None:
    server.on("GET", f"{ALL}/1", ok({"automation": {"id": "1", "displayName": "Off"}}))
    server.on("DELETE", f"{ALL}/1", ok())
    refused = interlock("automations", "delete", "1", person=True, stdin="n\n")
    assert refused.exit_code == Exit.ERROR
    assert "Delete Off?" in refused.stderr
    assert not server.asked("DELETE", f"{ALL}/1")
    assert interlock("automations", "delete", "1", person=True, stdin="y\n").exit_code == Exit.OK
    assert interlock("automations", "delete", "1").exit_code == Exit.OK
    server.on("POST", SEARCH, holding())
    assert interlock("automations", "delete", "1", "2").exit_code == Exit.PARTLY
    assert interlock("automations", "delete", "2").exit_code == Exit.NOT_FOUND
    assert len(server.asked("DELETE", f"{ALL}/1")) == 3


TRIPPED = {"id": "1", "displayName": "Off", "enabled": True, "circuitBreaker": {"threshold": 2}}


@pytest.mark.parametrize(
    ("command", "path", "sent"),
    [
        (("clear-breaker", "1"), "clear", {"reason": ""}),
        (("clear-breaker", "1", "--run"), "clear", {"reason": "", "decision": "PAUSED_EXECUTION_DECISION_RUN"}),
        (
            ("resolve-paused", "1", "--cancel", "--reason", "a flood"),
            "resolve_paused",
            {"reason": "a flood", "decision": "PAUSED_EXECUTION_DECISION_CANCEL"},
        ),
    ],
)
def test_a_breaker_is_cleared_and_paused_runs_are_decided_about(
    command: tuple[str, ...], path: str, sent: dict[str, str], server: Server, interlock: CommandLine
) -> None:
    server.on("GET", f"{ALL}/1", ok({"automation": TRIPPED}))
    server.on("POST", f"{ALL}/1/circuit_breaker/{path}", ok({"bulkActionId": "bulk"}))
    assert lines(interlock("automations", *command)) == [{"automation": "1", "bulkActionId": "bulk"}]
    assert [call.body for call in server.asked("POST", f"{ALL}/1/circuit_breaker/{path}")] == [sent]


def test_cancelling_paused_runs_asks_a_person(server: Server, interlock: CommandLine) -> None:
    server.on("GET", f"{ALL}/1", ok({"automation": TRIPPED}))
    refused = interlock("automations", "resolve-paused", "1", "--cancel", person=True, stdin="n\n")
    assert refused.exit_code == Exit.ERROR
    assert "Cancel all paused runs of Off?" in refused.stderr
    assert interlock("automations", "resolve-paused", "1").exit_code == Exit.USAGE


def test_an_automation_whose_breaker_has_tripped_says_so(server: Server, interlock: CommandLine) -> None:
    server.on("POST", SEARCH, holding(TRIPPED))
    assert "tripped" in interlock("automations", "list", person=True).stdout


def test_a_run_with_a_lease_says_how_to_keep_it(server: Server, interlock: CommandLine) -> None:
    server.on("GET", f"{ALL}/1", ok({"automation": {"id": "1"}}))
    server.on("POST", f"{ALL}/1/execute", ok({"executionId": "7"}))
    result = interlock("automations", "run", "1", "--lease", "10m", person=True)
    assert result.exit_code == Exit.OK
    assert "interlock executions renew 7" in result.stderr
    assert server.asked("POST", f"{ALL}/1/execute")[0].body == {"lease": "600s"}
    assert interlock("automations", "run", "1", "--lease", "soon").exit_code == Exit.USAGE
