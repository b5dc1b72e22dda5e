"""`interlock audit`: what is printed, and how it ends."""

from __future__ import annotations

from typing import Any

from interlock.cli.failures import Exit
from tests.cli.conftest import CommandLine, Server, lines, ok

PATH = "/interlock/v1/audit"
INTACT: dict[str, Any] = {"intact": True, "sealed": "4", "unsealed": "1", "headId": "4", "headHash": "ab" * 32}


def test_the_record_is_exported_page_by_page(server: Server, interlock: CommandLine) -> None:
    first = {"list": [{"id": "1", "action": "a"}], "nextPageToken": "t"}
    server.on("GET", PATH, ok(first), ok({"list": [{"id": "2", "action": "b"}], "nextPageToken": ""}))
    assert [row["id"] for row in lines(interlock("audit", "export", "--limit", "0"))] == ["1", "2"]


def test_an_intact_record_prints_its_head(server: Server, interlock: CommandLine) -> None:
    server.on("POST", f"{PATH}/actions/verify", ok(INTACT))
    shown = interlock("audit", "verify", person=True)
    assert shown.exit_code == Exit.OK
    assert f"4:{'ab' * 32}" in shown.stdout


def test_a_bad_row_is_named_and_the_exit_code_says_so(server: Server, interlock: CommandLine) -> None:
    server.on("POST", f"{PATH}/actions/verify", ok({**INTACT, "intact": False, "badId": "3", "problem": "changed"}))
    result = interlock("audit", "verify")
    assert result.exit_code == Exit.ERROR
    assert "row 3: changed" in result.stderr


def test_a_checkpoint_is_sent_along(server: Server, interlock: CommandLine) -> None:
    server.on("POST", f"{PATH}/actions/verify", ok(INTACT))
    interlock("audit", "verify", "--checkpoint", f"4:{'ab' * 32}")
    [asked] = server.asked("POST", f"{PATH}/actions/verify")
    assert asked.body == {"checkpointId": "4", "checkpointHash": "ab" * 32}
    assert interlock("audit", "verify", "--checkpoint", "nonsense").exit_code == Exit.USAGE
