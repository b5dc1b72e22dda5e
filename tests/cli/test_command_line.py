"""The command line as a whole: quick to start, lazily loaded, helpful, with exit codes that do not change."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from interlock import __version__
from interlock.cli.failures import Exit
from tests.cli.conftest import CommandLine, Server, lines, ok, refusal

SERVER_SIDE = {
    "pydantic",
    "uvicorn",
    "apsw",
    "asyncio",
    "anyio",
}


def test_the_exit_codes_are_an_interface() -> None:
    assert {code.name: int(code) for code in Exit} == {
        "OK": 0,
        "ERROR": 1,
        "USAGE": 2,
        "NOT_FOUND": 3,
        "AUTH": 4,
        "PARTLY": 5,
        "TIMEOUT": 6,
    }


@pytest.mark.parametrize(
    "arguments", ["['--help']", "['--version']", "['executions', 'terminate', '--help']", "['automations', 'list']"]
)
def test_a_client_command_does_not_load_the_server(arguments: str, tmp_path: Path) -> None:
    program = (
        "import sys; from interlock.cli.main import main\n"
        f"sys.argv = ['interlock', *{arguments}]\n"
        "try: main()\n"
        "finally: print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env={}, check=False
    )
    assert not SERVER_SIDE & set(done.stderr.splitlines()[-1].split())


def test_a_server_is_loaded_without_what_it_does_not_need_to_open_its_port(tmp_path: Path) -> None:
    """pydantic loads its plugins when the first validator is built, and validators are built once the port is open."""
    program = (
        "import sys, interlock.cli.serve\n"
        "print(*sorted({'anyio', 'pydantic.plugin._loader', 'schemathesis', 'pytest'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env={}, check=True
    )
    assert done.stdout.split() == []


def test_version_and_help(interlock: CommandLine) -> None:
    assert interlock("--version").stdout == f"interlock {__version__}\n"
    shown = interlock("--help").stdout
    assert "serve" in shown
    assert "Exit codes:" in shown


@pytest.mark.parametrize(
    "command",
    [
        "token",
        "automations apply",
        "automations list",
        "automations get",
        "automations run",
        "automations delete",
        "executions list",
        "executions get",
        "executions watch",
        "executions terminate",
    ],
)
def test_every_command_explains_itself_with_examples(command: str, interlock: CommandLine) -> None:
    result = interlock(*command.split(), "--help")
    assert result.exit_code == Exit.OK
    assert f"interlock {command}" in result.stdout.partition("Examples:")[2]


@pytest.mark.parametrize("arguments", [["nothing"], ["executions", "terminate"], ["executions", "get", "1_000"]])
def test_a_wrong_command_line_is_2(arguments: list[str], interlock: CommandLine) -> None:
    assert interlock(*arguments).exit_code == Exit.USAGE


def test_a_token_stands_alone_on_stdout(interlock: CommandLine) -> None:
    assert interlock("token").stdout == "t0ken\n"
    assert lines(interlock("token", "-o", "json"))[0]["expires_in"] == 3600


def test_a_wrong_secret_is_4_and_says_what_the_server_said(interlock: CommandLine) -> None:
    result = interlock("token", environ={**interlock.environ, "CONDUCTORONE_CLIENT_SECRET": "wrong"})
    assert result.exit_code == Exit.AUTH
    assert "unknown client or wrong secret" in result.stderr
    assert not result.stdout


def test_no_credentials_is_4(interlock: CommandLine) -> None:
    assert interlock("automations", "list", environ={}).exit_code == Exit.AUTH


def test_not_allowed_is_4_and_not_found_is_3(server: Server, interlock: CommandLine) -> None:
    server.on("GET", "/api/v1/automation_executions/1", refusal(403, "your role does not allow this"))
    assert interlock("executions", "get", "1").exit_code == Exit.AUTH
    assert interlock("executions", "get", "2").exit_code == Exit.NOT_FOUND


def test_a_server_that_is_not_there_is_1_with_a_hint(interlock: CommandLine) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        result = interlock("token", environ={**interlock.environ, "CONDUCTORONE_SERVER_URL": url})
    assert result.exit_code == Exit.ERROR
    assert "interlock serve" in result.stderr


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://127.0.0.1:x"])
def test_a_url_that_is_none_is_2(url: str, interlock: CommandLine) -> None:
    assert interlock("token", environ={**interlock.environ, "CONDUCTORONE_SERVER_URL": url}).exit_code == Exit.USAGE


def test_a_connection_that_the_server_has_closed_is_opened_again(server: Server, interlock: CommandLine) -> None:
    # The stand-in closes after this answer although the client keeps the connection.
    server.on(
        "POST", "/api/v1/search/automations", (200, {"Connection": "close"}, {"list": [], "nextPageToken": "a"}), ok()
    )
    assert interlock("automations", "list").exit_code == Exit.OK
    assert len(server.asked("POST", "/api/v1/search/automations")) == 2


def test_the_profile_option_is_used(server: Server, interlock: CommandLine, tmp_path: Path) -> None:
    profile = tmp_path / "p.json"
    profile.write_text(f'{{"url": "{server.url}", "client_id": "a@b/spc", "client_secret": "{server.secret}"}}')
    assert interlock("--profile", str(profile), "token", environ={}).stdout == "t0ken\n"
    assert os.environ.get("INTERLOCK_PROFILE") is None


@pytest.mark.parametrize("text", ["2026-13-01", "01.02.2026", "today"])
def test_date_that_is_none_confirms_no_clock(text: str, interlock: CommandLine, tmp_path: Path) -> None:
    refused = interlock("serve", "--data-dir", str(tmp_path / "data"), "--confirm-clock", text)
    assert refused.exit_code == Exit.USAGE
    assert f"'{text}' is not a date" in refused.output
    assert not (tmp_path / "data").exists()


def test_executions_and_a_filter_do_not_go_together(interlock: CommandLine) -> None:
    refused = interlock("executions", "terminate", "7", "--state", "WAITING")
    assert refused.exit_code == Exit.USAGE
    assert "cannot be combined" in refused.output


def test_a_command_is_loaded_without_a_collection_of_garbage_and_collecting_goes_on() -> None:
    program = (
        "import gc; from interlock.cli.main import cli; found = []; "
        "gc.callbacks.append(lambda phase, info: found.append(phase)); cli.get_command(None, 'serve'); "
        "print(len(found), gc.isenabled())"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["0", "True"]
