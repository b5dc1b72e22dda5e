"""The terminal as an attack surface: streams that are missing, full or closed, and text that would command it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.cli.main import cli
from interlock.cli.output import compact
from interlock.cli.terminal import json_text, lines, one_line
from tests.cli.conftest import CommandLine, Server, ok, refusal

INTERLOCK = Path(sys.executable).with_name("interlock")
PATIENCE_SECONDS = 60.0
"""Until a wait gives up, so that a broken test fails instead of hanging. No test passes by it."""

STREAMS: dict[str, dict[str, str]] = {
    "stdin closed": {"0": "closed"},
    "stdout closed": {"1": "closed"},
    "stderr closed": {"2": "closed"},
    "all closed": {"0": "closed", "1": "closed", "2": "closed"},
    "stdout full": {"1": "full"},
    "both full": {"1": "full", "2": "full"},
    "both without a reader": {"1": "pipe", "2": "pipe"},
}

READS, ACTS, SILENT = "reads", "acts", "silent"
COMMANDS: list[tuple[str, str, int, list[str]]] = [
    ("token", READS, 0, []),
    ("automations list", READS, 0, []),
    ("automations get", READS, 0, ["{name}"]),
    ("automations apply", ACTS, 0, ["{file}"]),
    ("automations run", ACTS, 0, ["{name}"]),
    ("automations clear-breaker", ACTS, 0, ["{name}"]),
    ("automations resolve-paused", ACTS, 0, ["{name}", "--run"]),
    ("executions list", READS, 0, []),
    ("executions get", READS, 0, ["{id}"]),
    ("executions receipt", READS, 0, ["{id}"]),
    ("executions renew", READS, 1, ["{id}"]),
    ("executions resolve", READS, 3, ["{id}", "--happened"]),
    ("executions terminate", ACTS, 0, ["{id}"]),
    ("executions terminate", READS, 0, ["--all", "--plan"]),
    ("executions terminate", ACTS, 0, ["--automation", "{name}", "--wait", "30"]),
    ("executions terminate", READS, 2, ["-", "{id}", "x"]),
    ("executions watch", READS, 0, ["{id}"]),
    ("bulk-terminations list", READS, 0, []),
    ("bulk-terminations watch", READS, 3, ["0"]),
    ("bulk-terminations abort", READS, 3, ["0"]),
    ("clients create", ACTS, 0, ["--role", "read_only", "--save", "{save}"]),
    ("clients list", READS, 0, []),
    ("clients revoke", READS, 3, ["unknown@127.0.0.1/spc"]),
    ("tenants create", ACTS, 0, ["{tenant}", "--host", "{tenant}.test", "--save", "{save}"]),
    ("tenants list", READS, 0, []),
    ("tenants revoke", ACTS, 0, ["{tenant}"]),
    ("audit export", READS, 0, []),
    ("audit verify", READS, 0, []),
    ("settings get", READS, 0, []),
    ("settings set", ACTS, 0, ["--enable-automations"]),
    ("backup create", ACTS, 0, ["{backup}", "--data-dir", "{data}"]),
    ("backup verify", READS, 0, ["{backup}"]),
    ("backup restore", ACTS, 0, ["{backup}", "--data-dir", "{restored}"]),
    ("backup attempts", SILENT, 0, ["--data-dir", "{restored}"]),
    ("backup release", ACTS, 0, ["--data-dir", "{restored}"]),
    ("automations delete", ACTS, 0, ["{name}"]),
    ("doctor", READS, 0, ["--data-dir", "{data}", "--listen", "127.0.0.1:0"]),
    ("serve", READS, 1, ["--data-dir", "{data}", "--listen", "127.0.0.1:0"]),
]
"""Command, whether it changes anything or prints nothing, its exit code with streams as usual, and its arguments."""


@dataclass(frozen=True)
class Running:
    """A server for this module, and how to call it."""

    directory: Path
    environ: dict[str, str]

    def call(self, *arguments: str) -> str:
        return subprocess.check_output([INTERLOCK, *arguments], text=True, env=self.environ, timeout=PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("streams")
    data = directory / "data"
    ready = directory / "ready.json"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONDUCTORONE_", "INTERLOCK_"))}
    command = [str(INTERLOCK), "serve", "--data-dir", str(data), "--listen", "127.0.0.1:0", "--ready-file", str(ready)]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=kept)
    try:
        told = subprocess.run(
            ["sh", "-c", 'until [ -e "$0" ]; do kill -0 "$1" || exit 1; sleep 0.05; done', ready, str(process.pid)],
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert told.returncode == 0, (directory / "log").read_text()
        yield Running(directory, {**kept, "INTERLOCK_PROFILE": str(data / "profile.json")})
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def leaves(group: click.Group, before: str = "") -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def test_the_table_of_streams_knows_every_command() -> None:
    assert set(leaves(cli)) == {command for command, *_ in COMMANDS}


@pytest.mark.parametrize("streams", STREAMS)
def test_what_was_done_decides_the_exit_code_and_no_command_ends_in_a_traceback(
    streams: str, running: Running, tmp_path: Path
) -> None:
    name = f"Wait {streams}"
    automation = {"displayName": name, "enabled": True, "automationSteps": [WAIT]}
    (tmp_path / "a.json").write_text(json.dumps(automation))
    running.call("automations", "apply", str(tmp_path / "a.json"))
    values = {
        "name": name,
        "file": str(tmp_path / "a.json"),
        "id": running.call("automations", "run", name, "-o", "ids").strip(),
        "tenant": f"t{sum(map(ord, streams))}",
        "data": str(running.directory / "data"),
        "backup": str(tmp_path / "b.db"),
        "restored": str(tmp_path / "restored"),
    }
    cases = []
    for index, (command, _, _, arguments) in enumerate(COMMANDS):
        given_ = [argument.format_map(values | {"save": str(tmp_path / f"{index}.json")}) for argument in arguments]
        errors = str(tmp_path / f"{index}.err")
        cases.append({"arguments": [*command.split(), *given_], "streams": STREAMS[streams], "errors": errors})
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.streams_driver"],
        input=json.dumps(cases),
        stdout=subprocess.PIPE,
        text=True,
        env=running.environ,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    codes = json.loads(done.stdout)
    wanted = [
        code or (1 if kind == READS and STREAMS[streams].get("1") == "full" else 0) for _, kind, code, _ in COMMANDS
    ]
    said = {file.name: file.read_text() for file in tmp_path.glob("*.err")}
    assert dict(enumerate(codes)) == dict(enumerate(wanted)), said
    assert not [name for name, text in said.items() if "Traceback" in text]
    assert running.call("executions", "get", values["id"]).count("STATE_TERMINATE") == 1


WAIT = {"stepName": "w", "waitForDuration": {"duration": "3600s"}}


@pytest.mark.parametrize("redirections", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full"])
def test_a_terminate_is_sent_whatever_the_shell_gave_it(redirections: str, running: Running, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"displayName": "Shell", "enabled": True, "automationSteps": [WAIT]}))
    running.call("automations", "apply", str(tmp_path / "a.json"))
    ident = running.call("automations", "run", "Shell", "-o", "ids").strip()
    command = f'exec "$0" executions terminate {ident} {redirections}'
    done = subprocess.run(
        ["sh", "-c", command, INTERLOCK],
        env=running.environ,
        check=False,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert "STATE_TERMINATE" in running.call("executions", "get", ident)


@pytest.mark.parametrize("output", ["json", "table"])
def test_secret_that_could_not_be_shown_is_named_as_lost(output: str, running: Running) -> None:
    """The server keeps no secret: a client whose secret is lost has to be told by its id, so that it can be revoked."""
    command = f'exec "$0" clients create --role read_only -o {output} >/dev/full'
    done = subprocess.run(
        ["sh", "-c", command, INTERLOCK],
        env=running.environ,
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 1
    assert "its secret could not be written to stdout: No space left on device" in done.stderr
    assert "only its output is lost" not in done.stderr
    running.call("clients", "revoke", done.stderr.split()[-1])


@pytest.mark.parametrize("redirections", ["<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
def test_a_server_serves_without_any_stream(redirections: str, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    serve = f'exec "$0" serve --data-dir "$1" --listen 127.0.0.1:0 --ready-file "$2" {redirections}'
    process = subprocess.Popen(["sh", "-c", serve, INTERLOCK, tmp_path / "data", ready])
    until = 'until [ -e "$0" ]; do kill -0 "$1" || exit 1; sleep 0.05; done'
    told = subprocess.run(["sh", "-c", until, ready, str(process.pid)], check=False, timeout=PATIENCE_SECONDS)
    assert told.returncode == 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_SECONDS) == 0


HOSTILE = "a\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\u202egnp.exe\u2066\r\nAccepted \ud800\u2028\u200b\U000e0041"
COMMANDING = set(HOSTILE) - set("a]0;owned[2J31mgnp.exe\nAccepted ")


def commanding(text: str) -> set[str]:
    return COMMANDING & set(text)


def test_a_hostile_text_reaches_no_terminal_in_any_form(server: Server, interlock: CommandLine) -> None:
    row = {"id": "7" + HOSTILE, "displayName": HOSTILE, "state": HOSTILE, "createdAt": HOSTILE, "reason": HOSTILE}
    server.on("POST", "/api/v1/search/automations", ok({"list": [row]}))
    server.on("GET", "/api/v1/automations/a1", ok({"automation": row}))
    server.on("DELETE", "/api/v1/automations/7" + HOSTILE, ok())
    server.on("GET", "/api/v1/automation_executions/7", ok({"automationExecution": row}))
    server.on("GET", "/interlock/v1/executions/7/receipt", ok(row))
    server.on("GET", "/interlock/v1/clients", ok({"list": [row]}))
    server.on("GET", "/interlock/v1/audit", ok({"list": [row]}))
    server.on("POST", "/api/v1/automation_executions/7/actions/terminate", refusal(400, HOSTILE))
    commands: list[list[str]] = [
        ["automations", "list"],
        ["automations", "get", "a1"],
        ["executions", "get", "7"],
        ["executions", "receipt", "7"],
        ["clients", "list"],
        ["audit", "export"],
        ["executions", "terminate", "7", "--yes"],
        ["automations", "get", HOSTILE],
        ["executions", "get", HOSTILE],
        ["automations", "run", "a1", "--context", HOSTILE],
        ["automations", "apply", HOSTILE],
        ["automations", "delete", "a1"],
        [HOSTILE],
    ]
    for command in commands:
        for form in (["-o", "table"], ["-o", "json"], ["-o", "ids"]):
            given_ = command if command[1:2] == ["delete"] or len(command) == 1 else [*command, *form]
            for person in (True, False):
                result = interlock(*given_, person=person, stdin="n\n")
                assert not isinstance(result.exception, (UnicodeError, TypeError, AttributeError)), (given_, result)
                assert not commanding(result.stdout), given_
                if len(command) > 1:
                    assert not commanding(result.stderr), given_


def test_ids_of_a_server_stay_one_on_a_line(server: Server, interlock: CommandLine) -> None:
    server.on("POST", "/api/v1/search/automations", ok({"list": [{"id": "1\n2"}, {"id": "3"}]}))
    assert len(interlock("automations", "list", "-o", "ids").stdout.splitlines()) == 2


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=10,
)


@given(json_values)
def test_escaped_json_is_the_same_value_and_commands_nothing(value: Any) -> None:
    for shown in (compact(value), json_text(json.dumps(value, indent=2, ensure_ascii=False))):
        assert json.loads(shown) == value
        assert one_line(shown.replace("\n", "")) == shown.replace("\n", "")
        shown.encode()


@given(st.text(st.characters()))
def test_text_for_a_person_commands_nothing_and_is_stable(text: str) -> None:
    assert not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in one_line(text))
    assert one_line(one_line(text)) == one_line(text)
    assert lines(text).replace("\n", "").isprintable() or any(ord(letter) > 0x9F for letter in text)
    lines(text).encode()
