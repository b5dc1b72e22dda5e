"""A disk that keeps what was synced, and may lose what was not."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import apsw
import pytest

from interlock.store.sqlite.connection import open_writer
from simulation.disk import FILES, Disk, Operation, Strike

LIVES = 60


class Struck:
    """Lets the power fail before the n-th operation."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at

    def __call__(self, operation: Operation) -> Strike | None:
        if self.at is None:
            return None
        self.at -= 1
        return Strike.POWER if self.at < 0 else None


def written(directory: Path, disk: Disk, struck: Struck, power_after: int | None) -> int:
    """Commit rows until the power fails; returns how many commits were told to be done."""
    connection = open_writer(str(directory / "interlock.db"), vfs=disk.name)
    connection.execute("CREATE TABLE IF NOT EXISTS kept (n INTEGER PRIMARY KEY)")
    struck.at = power_after
    done = 0
    try:
        for number in range(20):
            connection.execute("INSERT INTO kept VALUES (?)", (number,))
            done += 1
    except apsw.IOError:
        pass
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close()
    return done


def found(directory: Path) -> int:
    connection = apsw.Connection(str(directory / "interlock.db"))
    assert [row[0] for row in connection.execute("PRAGMA integrity_check")] == ["ok"]
    (count,) = next(connection.execute("SELECT count(*) FROM kept"))
    return int(count)


def lives(tmp_path: Path, *, lies: tuple[str, ...]) -> list[tuple[int, int]]:
    """(commits that were done, commits that are found) of many power cuts, each a little later than the one before."""
    outcomes = []
    for number in range(LIVES):
        before = tmp_path / f"{number}"
        before.mkdir()
        struck = Struck()
        disk = Disk(f"{tmp_path.name}-{len(lies)}-{number}", struck, lies=lies)
        done = written(before, disk, struck, number)
        disk.after_power_cut(Random(number), before, tmp_path / f"{number}-after")
        outcomes.append((done, found(tmp_path / f"{number}-after")))
        disk.close()
    return outcomes


def test_after_a_power_cut_every_commit_that_was_done_is_there(tmp_path: Path) -> None:
    outcomes = lives(tmp_path, lies=())
    assert all(done <= there <= done + 1 for done, there in outcomes), outcomes
    assert len({done for done, _ in outcomes}) > 10


def test_a_disk_that_lies_about_syncs_loses_commits(tmp_path: Path) -> None:
    try:
        lost = any(there < done for done, there in lives(tmp_path, lies=FILES))
    except (apsw.Error, AssertionError):
        lost = True
    assert lost


def test_after_a_kill_everything_that_was_written_is_there(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    disk = Disk(f"{tmp_path.name}-kill", Struck())
    assert written(before, disk, Struck(), None) == 20
    disk.after_kill(before, tmp_path / "after")
    assert found(tmp_path / "after") == 20
    disk.close()


def test_full_disk_takes_writes_only_where_a_file_has_room(tmp_path: Path) -> None:
    disk = Disk(f"{tmp_path.name}-full", Struck())
    connection = open_writer(str(tmp_path / "interlock.db"), vfs=disk.name)
    log = os.open(tmp_path / "interlock.db-wal", os.O_RDWR)
    disk.full = True
    with pytest.raises(apsw.FullError):
        connection.execute("CREATE TABLE kept (n INTEGER)")
    with pytest.raises(OSError, match="No space left"):
        disk.allocate(log, 1 << 20)
    disk.full = False
    disk.allocate(log, 1 << 20)
    disk.full = True
    connection.execute("CREATE TABLE kept (n INTEGER)")
    os.close(log)
    disk.full = False
    connection.close()
    disk.close()
