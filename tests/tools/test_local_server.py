"""What `make up` leaves in the user's home, and what it tells."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from interlock.cli.profile import Profile, find_profile, write_profile
from tools.local_server import INTERLOCK, ROOT, down, how_to_use, point_home_at, running

MINE = Profile("http://127.0.0.1:8080", "calm-otter@127.0.0.1/spc", "secret-token:conductorone.com:v1:x'y z")

LOCAL_SERVER = (sys.executable, "tools/local_server.py")


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write_profile(tmp_path / "data", MINE)
    return tmp_path / "data"


def test_the_home_points_at_the_newest_server_and_the_client_finds_it(data_dir: Path, tmp_path: Path) -> None:
    config = tmp_path / "home/.config"
    for _ in range(2):
        assert not point_home_at(data_dir / "profile.json", config)
    assert find_profile({"HOME": str(tmp_path / "home")}) == MINE


def test_a_profile_of_the_users_own_is_left_alone(data_dir: Path, tmp_path: Path) -> None:
    own = tmp_path / "interlock/profile.json"
    own.parent.mkdir()
    own.write_text("mine")
    assert "stays as it is" in point_home_at(data_dir / "profile.json", tmp_path)
    assert own.read_text() == "mine"


def test_the_export_lines_can_be_pasted_into_a_shell(data_dir: Path) -> None:
    said = how_to_use(json.loads((data_dir / "profile.json").read_text()), data_dir)
    exported = dict(shlex.split(line)[1].split("=", 1) for line in said.splitlines() if line.startswith("export "))
    assert find_profile(exported) == MINE


@pytest.mark.parametrize(
    ("data_dir", "stop"),
    [
        (ROOT / ".interlock", "stop it: make down)"),
        (ROOT / "other", "stop it: make down INTERLOCK_DATA_DIR=other)"),
        (Path("/var/lib/my data"), "stop it: make down INTERLOCK_DATA_DIR='/var/lib/my data')"),
    ],
)
def test_command_that_stops_the_server_names_its_data_directory(data_dir: Path, stop: str) -> None:
    assert stop in how_to_use(asdict(MINE), data_dir).splitlines()[0]


def test_a_process_id_alone_is_not_taken_for_a_running_server(data_dir: Path) -> None:
    assert running(data_dir) is None
    (data_dir / "server.pid").write_text(str(os.getpid()))
    assert running(data_dir) is None
    assert down(data_dir) == 0


STOPPING = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: None)
print("ready", flush=True)
sys.stdin.read()
"""


def test_stopped_is_said_only_when_the_process_has_ended(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", STOPPING, "serve", "--data-dir", str(data_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        (data_dir / "server.pid").write_text(f"{process.pid}\n")
        said: list[str] = []

        def say(text: str) -> None:
            if not said:
                assert process.poll() is None  # it lives, answers nothing, and nothing says that it has stopped
                assert process.stdin is not None
                process.stdin.close()
            said.append(text)

        assert down(data_dir, say) == 0
        assert process.wait() == 0
    assert str(process.pid) in said[0]
    assert "Waiting" in said[0]
    assert said[-1].startswith("Stopped.")
    assert down(data_dir, said.append) == 0
    assert said[-1].startswith("No server")


def test_a_new_server_has_the_examples_and_keeps_what_is_deleted_deleted(tmp_path: Path) -> None:
    without_profile = {name: value for name, value in os.environ.items() if not name.startswith("CONDUCTORONE_")}
    environment = without_profile | {
        "INTERLOCK_DATA_DIR": str(tmp_path / "data"),
        "INTERLOCK_LISTEN": "127.0.0.1:0",
        "XDG_CONFIG_HOME": str(tmp_path / "home"),
    }

    def run(*command: str) -> str:
        return subprocess.check_output(command, text=True, env=environment)

    def interlock(*arguments: str) -> str:
        return run(str(INTERLOCK), *arguments)

    try:
        assert "Interlock is running at http://127.0.0.1:" in run(*LOCAL_SERVER, "up")
        assert json.loads(interlock("automations", "run", "Hello", "--wait", "30"))["state"].endswith("_DONE")
        interlock("automations", "delete", "Hello", "--yes")
        run(*LOCAL_SERVER, "down")
        run(*LOCAL_SERVER, "up")
        names = {json.loads(line)["displayName"] for line in interlock("automations", "list").splitlines()}
        assert "Two-week wait" in names
        assert "Hello" not in names
        run(*LOCAL_SERVER, "down")
        (tmp_path / "data/profile.json").write_text("{")
        done = subprocess.run([*LOCAL_SERVER, "up"], env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert "The server runs, but cannot read the profile" in done.stderr
        assert "--new-client" in done.stderr
    finally:
        run(*LOCAL_SERVER, "down")
