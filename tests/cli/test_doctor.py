"""`interlock doctor`: real data directories, and real servers beside it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apsw
import pytest

from interlock.cli.diagnosis import Level, data_directory, step_kinds
from interlock.cli.failures import Exit
from interlock.store.migrations import migrations
from interlock.store.sqlite.disk import DATABASE, LEAST, ROOM
from tests.cli.conftest import CommandLine, Server, StoppedClock, lines
from tests.servers import ServerProcess
from tests.steps.test_registry import CHANNEL, TOKEN, SlackStep
from tests.store.stores import make_schema

SEALED = b"1" + bytes(range(8)) + b"nonce and the rest"
KEY = b"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory as a server leaves it."""
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    connection = apsw.Connection(str(directory / DATABASE))
    make_schema(connection, len(migrations()))
    connection.close()
    (directory / DATABASE).chmod(0o600)
    return directory


def findings(interlock: CommandLine, data: Path, *arguments: str) -> tuple[dict[str, Any], int]:
    """The findings by check, and the exit code."""
    result = interlock("doctor", "--data-dir", str(data), "--listen", "127.0.0.1:0", *arguments)
    return {row["check"]: row for row in lines(result)}, result.exit_code


def written(data: Path, *statements: str, values: tuple[Any, ...] = ()) -> None:
    connection = apsw.Connection(str(data / DATABASE))
    for statement in statements:
        connection.execute(statement, values)
    connection.close()


def files(data: Path) -> dict[str, tuple[int, int, int]]:
    """Size, mode and time of each file, which show a change. SQLite may rebuild the index of a log, `-shm`."""
    statuses = {path.name: path.stat() for path in [data, *data.iterdir()] if not path.name.endswith("-shm")}
    return {name: (each.st_size, each.st_mode, each.st_mtime_ns) for name, each in statuses.items()}


def test_without_a_data_directory_nothing_is_wrong_and_nothing_is_made(interlock: CommandLine, tmp_path: Path) -> None:
    found, code = findings(interlock, tmp_path / "none" / "data")
    assert (code, {row["result"] for row in found.values()}) == (Exit.OK, {"ok"})
    assert "first start" in found["data directory"]["message"]
    assert not (tmp_path / "none").exists()


def test_each_finding_is_one_line_with_its_remedy(interlock: CommandLine, data: Path) -> None:
    data.chmod(0o755)
    shown = interlock("doctor", "--data-dir", str(data), "--listen", "127.0.0.1:0", person=True)
    head, *rows = shown.stdout.splitlines()
    assert head.split() == ["RESULT", "CHECK", "FINDING"]
    assert {row.split()[0] for row in rows} == {"ok", "warning"}
    assert "chmod go-rwx" in next(row for row in rows if "other users" in row)
    as_json = interlock("doctor", "--data-dir", str(data), "--listen", "127.0.0.1:0", "--json", person=True)
    assert len(lines(as_json)) == len(rows)


def test_settings_are_those_of_serve_by_variable_too(
    interlock: CommandLine, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_DATA_DIR", str(data))
    monkeypatch.setenv("INTERLOCK_LISTEN", "nonsense")
    monkeypatch.setenv("INTERLOCK_ALLOW_EGRESS", "10.0.0.0/99")
    result = interlock("doctor", "--public-url", "ftp://x")
    assert result.exit_code == Exit.ERROR
    wrong = [row["message"] for row in lines(result) if row["check"] == "options"]
    assert [message.partition(" ")[0].rstrip(":") for message in wrong] == [
        "--listen",
        "--public-url",
        "--allow-egress",
    ]
    assert str(data) in next(row["message"] for row in lines(result) if row["check"] == "data directory")


def test_server_without_a_callback_url_is_a_warning(interlock: CommandLine, data: Path) -> None:
    found, code = findings(interlock, data, "--listen", "0.0.0.0:0")
    assert (found["options"]["result"], code) == ("warning", Exit.OK)
    assert "--public-url" in found["options"]["remedy"]


def test_access_that_a_server_takes_away_is_a_warning(interlock: CommandLine, data: Path) -> None:
    (data / DATABASE).chmod(0o640)
    found, code = findings(interlock, data)
    assert (found["data directory"]["result"], code) == ("warning", Exit.OK)
    assert str(data / DATABASE) in found["data directory"]["message"]
    assert (data / DATABASE).stat().st_mode & 0o777 == 0o640


def test_access_that_a_server_refuses_is_a_problem(interlock: CommandLine, data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data)
    found, code = findings(interlock, tmp_path / "link")
    assert (found["data directory"]["result"], code) == ("problem", Exit.ERROR)
    assert "symbolic link" in found["data directory"]["message"]


@pytest.mark.parametrize(("free", "level"), [(LEAST - 1, Level.PROBLEM), (ROOM - 1, Level.WARNING), (ROOM, Level.OK)])
def test_room_on_the_disk_is_judged_as_the_server_does(free: int, level: Level, data: Path) -> None:
    for directory in (data, data / "none"):
        [found] = [each for each in data_directory(directory, lambda path: free) if each.check == "disk"]
        assert found.level is level


def test_frozen_directory_is_a_warning(interlock: CommandLine, data: Path) -> None:
    (data / "frozen.json").write_text("{}")
    (data / "frozen.json").chmod(0o600)
    result = interlock("doctor", "--data-dir", str(data), "--listen", "127.0.0.1:0")
    assert result.exit_code == Exit.OK
    assert "backup release" in next(row["remedy"] for row in lines(result) if "is frozen" in row["message"])


def test_database_without_a_log_is_read_and_not_touched(interlock: CommandLine, data: Path) -> None:
    before = files(data)
    found, code = findings(interlock, data)
    assert (found["database"]["result"], found["schema"]["result"], code) == ("ok", "ok", Exit.OK)
    assert files(data) == before


def test_damaged_database_is_a_problem(interlock: CommandLine, data: Path) -> None:
    written(data, *("INSERT INTO settings VALUES (1, hex(randomblob(16)), randomblob(900))",) * 100)
    with (data / DATABASE).open("r+b") as file:
        file.seek(-3 * 4_096, os.SEEK_END)
        file.write(b"\xff" * 4_096)
    found, code = findings(interlock, data)
    assert (found["database"]["result"], code) == ("problem", Exit.ERROR)
    assert "backup restore" in found["database"]["remedy"]


@pytest.mark.parametrize("content", [b"no database", b""])
def test_file_that_is_no_database_is_a_problem(interlock: CommandLine, data: Path, content: bytes) -> None:
    (data / DATABASE).write_bytes(content)
    found, code = findings(interlock, data)
    assert (found["database"]["result"], code) == ("problem", Exit.ERROR)


def test_older_schema_is_a_warning_and_a_newer_one_a_problem(interlock: CommandLine, data: Path) -> None:
    written(data, "INSERT INTO migrations SELECT max(number) + 1, 'later', 'x' FROM migrations")
    found, code = findings(interlock, data)
    assert (found["database"]["result"], code) == ("problem", Exit.ERROR)
    assert "newer" in found["database"]["message"]
    written(data, f"DELETE FROM migrations WHERE number >= {len(migrations())}")
    found, code = findings(interlock, data)
    assert (found["schema"]["result"], code) == ("warning", Exit.OK)
    assert "backup create" in found["schema"]["remedy"]


def keep_sealed(data: Path) -> None:
    written(
        data,
        "INSERT INTO inputs (tenant, execution, input, sealed) VALUES (1, 1, x'7b7d', ?)",
        values=(SEALED,),
    )


def test_missing_key_of_encrypted_values_is_a_problem(interlock: CommandLine, data: Path) -> None:
    assert findings(interlock, data)[0]["secrets key"]["result"] == "ok"
    keep_sealed(data)
    found, code = findings(interlock, data)
    assert (found["secrets key"]["result"], code) == ("problem", Exit.ERROR)
    assert "0001020304050607" in found["secrets key"]["message"]


def test_key_file_must_have_the_keys_and_be_private(interlock: CommandLine, data: Path) -> None:
    file = data / "secrets.key"
    file.write_bytes(KEY + b"\n")
    file.chmod(0o600)
    assert findings(interlock, data)[0]["secrets key"]["result"] == "ok"
    file.chmod(0o644)
    found, code = findings(interlock, data)
    assert (found["secrets key"]["result"], code) == ("problem", Exit.ERROR)
    assert "chmod 600" in found["secrets key"]["remedy"]
    keep_sealed(data)
    assert "0001020304050607" in findings(interlock, data)[0]["secrets key"]["message"]
    file.write_text("no key")
    assert "is not a key file" in findings(interlock, data)[0]["secrets key"]["message"]


@pytest.mark.parametrize(
    ("newest", "result", "said"),
    [(1_760_000_000, "ok", ""), (1_760_000_006, "problem", "set the clock"), (1_759_000_000, "warning", "2025-10-09")],
)
def test_clock_is_compared_with_the_newest_record(
    newest: int, result: str, said: str, interlock: CommandLine, data: Path
) -> None:
    mark = json.dumps({"boot": "b", "uptime": 1, "now": newest * 1_000_000}).encode()
    written(data, "INSERT INTO settings VALUES (0, 'clock', ?)", values=(mark,))
    found, code = findings(interlock, data)
    assert (found["clock"]["result"], code) == (result, Exit.ERROR if result == "problem" else Exit.OK)
    assert said in found["clock"]["remedy"]


def test_held_retention_and_a_clock_before_its_time_are_told(data: Path, interlock: CommandLine) -> None:
    written(data, "INSERT INTO settings VALUES (0, 'removal_held', CAST('1759000000000000' AS BLOB))")
    assert "--confirm-clock 2025-10-09" in findings(interlock, data)[0]["clock"]["remedy"]
    interlock.clock = StoppedClock(now=-60_000_000.0)
    found, code = findings(interlock, data)
    assert (found["clock"]["result"], code) == ("problem", Exit.ERROR)


def test_another_service_at_the_address_is_a_problem(interlock: CommandLine, data: Path, server: Server) -> None:
    found, code = findings(interlock, data, "--listen", server.url.partition("://")[2])
    assert (found["address"]["result"], code) == ("problem", Exit.ERROR)
    assert "is not that of Interlock" in found["address"]["message"]


def test_address_that_does_not_answer_or_is_not_of_this_machine_is_a_problem(
    interlock: CommandLine, data: Path
) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        assert findings(interlock, data, "--listen", f"127.0.0.1:{port}")[0]["address"]["result"] == "problem"
    assert findings(interlock, data, "--listen", f"127.0.0.1:{port}")[0]["address"]["result"] == "ok"
    found, code = findings(interlock, data, "--listen", "192.0.2.1:8080")
    assert (found["address"]["result"], code) == ("problem", Exit.ERROR)
    assert "cannot listen" in found["address"]["message"]


@pytest.mark.parametrize("given", [{}, {CHANNEL.name: "it"}])
def test_kind_without_a_required_setting_is_unavailable(given: Mapping[str, str]) -> None:
    [found] = step_kinds([SlackStep], given)
    assert found.level is Level.WARNING
    assert "--slack-token TOKEN (or INTERLOCK_SLACK_TOKEN)" in found.remedy
    assert "--slack-channel" not in found.remedy


def test_kind_with_its_required_settings_is_available() -> None:
    [found] = step_kinds([SlackStep], {TOKEN.name: "x"})
    assert (found.check, found.level, found.remedy) == ("step kind sendSlackMessage", Level.OK, "")


async def examined(server: ServerProcess) -> tuple[dict[str, Any], int]:
    """What the command says in a process of its own, as beside a server."""
    command = ["doctor", "--data-dir", str(server.directory / "data"), "--listen", server.listen, "--json"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from interlock.cli.main import main; main()", *command, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    assert process.returncode is not None
    return {row["check"]: row for row in map(json.loads, told.splitlines())}, process.returncode


@pytest.mark.e2e
@pytest.mark.anyio
async def test_beside_a_server_after_its_crash_and_after_its_stop(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with ServerProcess(tmp_path) as server:
        found, code = await examined(server)
        assert (code, {row["result"] for row in found.values()}) == (Exit.OK, {"ok"}), found
        assert f"a server answers at {server.url} and is ready" in found["address"]["message"]
        token = await server.token()
        await server.kill()
        before = files(data)
        found, code = await examined(server)
        assert (code, {row["result"] for row in found.values()}) == (Exit.OK, {"ok"}), found
        assert "is free" in found["address"]["message"]
        assert before[f"{DATABASE}-wal"][0]
        assert files(data) == before
        await server.start()
        assert await server.token() != token
        await server.stop()
        before = files(data)
        found, code = await examined(server)
        assert (code, {row["result"] for row in found.values()}) == (Exit.OK, {"ok"}), found
        assert files(data) == before
