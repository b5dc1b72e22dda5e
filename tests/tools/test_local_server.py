"""What `make up` leaves in the user's home, and what it tells."""

import json
import os
import shlex
from pathlib import Path

import pytest

from interlock.cli.profile import Profile, find_profile, write_profile
from tools.local_server import down, how_to_use, point_home_at, running

MINE = Profile("http://127.0.0.1:8080", "calm-otter@127.0.0.1/spc", "secret-token:conductorone.com:v1:x'y z")


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


def test_a_process_id_alone_is_not_taken_for_a_running_server(data_dir: Path) -> None:
    assert running(data_dir) is None
    (data_dir / "server.pid").write_text(str(os.getpid()))
    assert running(data_dir) is None
    assert down(data_dir) == 0
