"""Where the credentials come from, and how the file that holds them is written."""

import json
import os
from pathlib import Path

import pytest

from interlock.cli.failures import Exit, Failure
from interlock.cli.profile import Profile, find_profile, read_profile, write_private_json, write_profile

MINE = Profile("http://127.0.0.1:8080", "calm-otter@127.0.0.1/spc", "s")


def put(directory: Path, name: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return write_profile(directory, Profile("http://127.0.0.1:1", name, "s"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_profile_is_private_and_read_back_as_written(tmp_path: Path) -> None:
    path = write_profile(tmp_path, MINE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_profile(path) == MINE
    assert [entry.name for entry in tmp_path.iterdir()] == ["profile.json"]


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_beside_it(tmp_path: Path) -> None:
    path = write_profile(tmp_path, MINE)
    with pytest.raises(TypeError):
        write_private_json(path, {"url": object()})
    assert read_profile(path) == MINE
    assert [entry.name for entry in tmp_path.iterdir()] == ["profile.json"]


def test_what_a_killed_process_of_the_same_number_left_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / f".profile.json.{os.getpid()}").write_text("{")
    assert read_profile(write_profile(tmp_path, MINE)) == MINE
    assert [entry.name for entry in tmp_path.iterdir()] == ["profile.json"]


def test_the_places_are_looked_at_in_their_order(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path / "home")}
    put(tmp_path / "home/.config/interlock", "home")
    assert find_profile(environ).client_id == "home"
    environ["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    put(tmp_path / "xdg/interlock", "xdg")
    assert find_profile(environ).client_id == "xdg"
    put(tmp_path / ".interlock", "here")
    assert find_profile(environ).client_id == "here"
    environ["INTERLOCK_DATA_DIR"] = str(tmp_path / "data")
    put(tmp_path / "data", "data")
    assert find_profile(environ).client_id == "data"
    environ |= {"CONDUCTORONE_CLIENT_ID": "env@example.test/spc", "CONDUCTORONE_CLIENT_SECRET": "s"}
    assert find_profile(environ).client_id == "env@example.test/spc"
    environ["INTERLOCK_PROFILE"] = str(put(tmp_path / "named", "named"))
    assert find_profile(environ).client_id == "named"
    assert find_profile(environ, put(tmp_path / "explicit", "explicit")).client_id == "explicit"


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("", "https://acme.test:8443"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("localhost:8443", "https://localhost:8443"),
    ],
)
def test_the_server_of_the_environment_or_else_of_the_client_id(server: str, url: str) -> None:
    environ = {
        "CONDUCTORONE_CLIENT_ID": "n@acme.test:8443/spc",
        "CONDUCTORONE_CLIENT_SECRET": "s",
        "CONDUCTORONE_SERVER_URL": server,
    }
    assert find_profile(environ).url == url


@pytest.mark.parametrize("name", ["CLIENT_ID", "CLIENT_SECRET", "SERVER_URL"])
def test_half_an_environment_is_refused_rather_than_filled_up_from_a_profile(name: str, tmp_path: Path) -> None:
    put(tmp_path / ".interlock", "here")
    with pytest.raises(Failure, match="not set") as caught:
        find_profile({f"CONDUCTORONE_{name}": "https://elsewhere.test"})
    assert caught.value.code is Exit.AUTH


def test_a_client_id_without_a_host_needs_the_server_named() -> None:
    with pytest.raises(Failure, match="CONDUCTORONE_SERVER_URL"):
        find_profile({"CONDUCTORONE_CLIENT_ID": "plain", "CONDUCTORONE_CLIENT_SECRET": "s"})


@pytest.mark.parametrize("content", ["", "[]", '{"url": "http://x", "client_id": 7}'])
def test_a_profile_that_is_none_says_what_is_wrong(content: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(Failure, match=r"p\.json") as caught:
        read_profile(tmp_path / "p.json")
    assert caught.value.code is Exit.AUTH


def test_nothing_found_says_how_to_give_credentials() -> None:
    with pytest.raises(Failure) as caught:
        find_profile({})
    assert "CONDUCTORONE_CLIENT_ID" in caught.value.hint
    assert json.dumps(caught.value.message) == '"no credentials"'
