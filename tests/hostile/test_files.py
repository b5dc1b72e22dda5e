"""The files of a data directory: who else could get at them, and what is done where they are not as they have to be."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.errors import Fatal, InterlockError, Unavailable
from interlock.store.sqlite import backup
from interlock.store.sqlite.disk import DATABASE, DataDirectory, is_ours
from interlock.store.sqlite.store import SqliteStore

pytestmark = pytest.mark.anyio


def modes(directory: Path) -> dict[str, int]:
    found = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(directory)}
    return {".": stat.S_IMODE(directory.stat().st_mode)} | {n: m for n, m in found.items() if is_ours(n)}


async def made(directory: Path) -> None:
    await SqliteStore(directory).close()


# --- modes, links and owners -----------------------------------------------------------------------------------------


async def test_nothing_in_a_new_directory_is_open_to_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = SqliteStore(tmp_path / "data")
        found = modes(tmp_path / "data")
        await store.close()
        facts = backup.create(tmp_path / "data", tmp_path / "copy")
        backup.restore(tmp_path / "copy", tmp_path / "restored", 1)
    finally:
        os.umask(before)
    assert {DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", "lock"} <= found.keys()
    for name, mode in {**found, **modes(tmp_path / "restored")}.items():
        assert mode == (0o700 if name == "." else 0o600), name
    for path in (tmp_path / "copy", tmp_path / "copy.sha256"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert facts.file == str(tmp_path / "copy")


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777, 0o701])
async def test_existing_directory_and_files_are_taken_away_from_others(tmp_path: Path, mode: int) -> None:
    data = tmp_path / "data"
    await made(data)
    (data / "profile.json").write_text("{}")
    (data / "frozen.json").write_text("{}")
    for name in modes(data):
        (data / name).chmod(mode & 0o666 if name != "." else mode)
    store = SqliteStore(data)
    found = modes(data)
    await store.close()
    assert set(found.values()) <= {0o600, 0o700}, found


@pytest.mark.parametrize(
    "name", [DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", "lock", "frozen.json", "profile.json"]
)
async def test_symbolic_link_in_the_directory_is_refused_and_not_followed(tmp_path: Path, name: str) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    await made(data)
    (data / name).unlink(missing_ok=True)
    elsewhere.write_bytes(b"another's")
    (data / name).symlink_to(elsewhere)
    with pytest.raises(Fatal, match=r"symbolic link|cannot be opened"):
        SqliteStore(data)
    assert elsewhere.read_bytes() == b"another's"


async def test_directory_that_is_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    await made(tmp_path / "data")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with pytest.raises(Fatal, match="link"):
        SqliteStore(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", [".", DATABASE, "lock"])
async def test_files_of_another_user_are_refused(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    await made(data)
    os.chown(data / name, 4_711, -1)
    with pytest.raises(Fatal, match="4711"):
        SqliteStore(data)


# --- the lock --------------------------------------------------------------------------------------------------------


def remove_lock_file(data: Path) -> Path:
    (data / "lock").unlink()
    return data


def remove_everything_but_the_database(data: Path) -> Path:
    for entry in list(data.iterdir()):
        if not entry.name.startswith(DATABASE):
            entry.unlink()
    return data


def link_the_database_elsewhere(data: Path) -> Path:
    other = data.parent / "other"
    other.mkdir(mode=0o700)
    os.link(data / DATABASE, other / DATABASE)
    return other


def rename_the_directory(data: Path) -> Path:
    return data.rename(data.parent / "renamed")


def move_the_database(data: Path) -> Path:
    other = data.parent / "other"
    other.mkdir(mode=0o700)
    (data / DATABASE).rename(other / DATABASE)
    return other


@pytest.mark.parametrize(
    "get_round",
    [
        remove_lock_file,
        remove_everything_but_the_database,
        link_the_database_elsewhere,
        rename_the_directory,
        move_the_database,
    ],
)
async def test_second_process_is_kept_out_whatever_is_removed_or_renamed(
    tmp_path: Path, get_round: Callable[[Path], Path]
) -> None:
    data = tmp_path / "data"
    store = SqliteStore(data)
    try:
        with pytest.raises(Unavailable, match="another process"):
            SqliteStore(get_round(data))
    finally:
        await store.close()


@pytest.mark.parametrize("what", ["removed", "replaced"])
async def test_server_whose_database_was_taken_away_ends(tmp_path: Path, what: str) -> None:
    """What it commits from then on would be found by no later start."""
    store = SqliteStore(tmp_path / "data")
    store.require_own_files()
    (tmp_path / "data" / DATABASE).unlink()
    if what == "replaced":
        (tmp_path / "data" / DATABASE).write_bytes(b"")
    with pytest.raises(Fatal, match="removed or replaced"):
        store.require_own_files()
    await store.close()


async def test_lock_ends_with_the_store_and_with_a_failed_start(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / DATABASE).write_bytes(b"no database at all\n" * 1_000)
    for _ in range(2):
        with pytest.raises(InterlockError, match="cannot be opened"):
            SqliteStore(tmp_path / "data")
    (tmp_path / "data" / DATABASE).unlink()
    for _ in range(2):
        await made(tmp_path / "data")
    DataDirectory(tmp_path / "data").release()
