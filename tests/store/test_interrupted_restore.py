"""The next start completes a restore that was interrupted anywhere, and never creates an empty store instead."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from interlock.errors import FailedPrecondition, Fatal
from interlock.store.sqlite import backup
from interlock.store.sqlite.backup import RESTORING, Files
from interlock.store.sqlite.connection import integrity_errors
from interlock.store.sqlite.disk import DATABASE
from interlock.store.sqlite.store import SqliteStore
from tests.store.stores import opened, sqlite, world

pytestmark = [pytest.mark.anyio, pytest.mark.own_work]

CUTS = 40
"""More than the number of operations; the test asserts that the last ones interrupt nothing."""


class Cut(BaseException):
    """The end of the process."""


class Dying(Files):
    """Ends the process before its n-th operation, or in the middle of a copy."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.dead = False

    def _before(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.dead = True
            raise Cut

    def write(self, file: Path, text: str) -> None:
        self._before()
        file.with_name(f"{file.name}.partial").write_text(text[: len(text) // 2])
        self._before()
        super().write(file, text)

    def rename(self, partial: Path, file: Path) -> None:
        self._before()
        super().rename(partial, file)

    def unlink(self, file: Path) -> None:
        self._before()
        super().unlink(file)

    def sync(self, path: Path) -> None:
        self._before()
        super().sync(path)

    def change(self, work: Callable[[], None]) -> None:
        self._before()
        super().change(work)

    def copy(self, reader: apsw.Connection, file: Path) -> None:
        self._before()
        super().copy(reader, file)
        self.left -= 1
        if self.left < 0:
            file.write_bytes(file.read_bytes()[:-5_000])
            file.with_name(f"{file.name}-journal").write_bytes(b"half a journal")
            raise Cut


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    async with opened(tmp_path / "data") as store:
        here = await world(store)
        await here.start()
        backup.create(tmp_path / "data", tmp_path / "monday.db")
    return tmp_path / "monday.db"


def died(work: Callable[[Files], object], at: int) -> bool:
    try:
        work(Dying(at))
    except Cut:
        return True
    return False


async def started(directory: Path) -> tuple[int, bool]:
    """Return the number of runs that the next start finds, and whether the store is frozen."""
    async with opened(directory) as store:
        reader = sqlite(store)._reader
        assert integrity_errors(reader) == []
        return sum(1 for _ in reader.execute("SELECT 1 FROM executions")), store.frozen


@pytest.mark.parametrize("at", range(CUTS))
async def test_restore_that_is_cut_off_is_finished_by_the_next_start(tmp_path: Path, file: Path, at: int) -> None:
    directory = tmp_path / "restored"
    cut = died(lambda files: backup.restore(file, directory, 5, files=files), at)
    assert cut or at > CUTS // 2
    if cut and not (directory / RESTORING).exists() and not (directory / DATABASE).exists():
        # The restore had not begun.
        assert {entry.name for entry in directory.iterdir()} <= {"lock", f"{RESTORING}.partial"}
        assert at < 4
        return
    assert await started(directory) == (1, True)
    assert not (directory / RESTORING).exists()
    assert backup.release(directory, 9)
    assert await started(directory) == (1, False)


@pytest.mark.parametrize("at", range(CUTS))
async def test_start_completes_the_restore_of_an_interrupted_start(tmp_path: Path, file: Path, at: int) -> None:
    directory = tmp_path / "restored"
    assert died(lambda files: backup.restore(file, directory, 5, files=files), 6)
    died(lambda files: backup.finish_restore(directory, files=files), at)
    assert await started(directory) == (1, True)


async def test_restore_is_done_again_over_one_that_was_cut_off(tmp_path: Path, file: Path) -> None:
    for at in range(1, CUTS, 3):
        directory = tmp_path / f"restored-{at}"
        died(lambda files, to=directory: backup.restore(file, to, 5, files=files), at)  # type: ignore[misc]
        if (directory / DATABASE).exists() and not (directory / RESTORING).exists():
            break
        backup.restore(file, directory, 6)
        assert await started(directory) == (1, True)


def take_away(file: Path) -> None:
    file.unlink()


def change(file: Path) -> None:
    with closing(apsw.Connection(str(file))) as connection:
        connection.execute("PRAGMA user_version = 7")
    file.with_name(f"{file.name}.sha256").unlink()


@pytest.mark.parametrize("gone", [take_away, change])
async def test_restore_that_cannot_be_finished_keeps_the_server_from_starting(
    tmp_path: Path, file: Path, gone: Callable[[Path], None]
) -> None:
    directory = tmp_path / "restored"
    assert died(lambda files: backup.restore(file, directory, 5, files=files), 6)
    gone(file)
    with pytest.raises(Fatal, match="cut off"):
        SqliteStore(directory)
    assert not (directory / DATABASE).exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"backup": 1}', b"\xff\xfe"])
async def test_note_that_cannot_be_read_keeps_the_server_from_starting(tmp_path: Path, content: bytes) -> None:
    directory = tmp_path / "restored"
    directory.mkdir()
    (directory / RESTORING).write_bytes(content)
    with pytest.raises(Fatal, match="cannot be read"):
        SqliteStore(directory)


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
async def test_restore_beside_what_belongs_to_another_database_is_refused(
    tmp_path: Path, file: Path, suffix: str
) -> None:
    """The log is stale, and SQLite would write it into the restored database."""
    directory = tmp_path / "restored"
    async with opened(directory) as store:
        await world(store)
        stale = tmp_path / "stale"
        shutil.copyfile(directory / f"{DATABASE}-wal", stale)
    shutil.rmtree(directory)
    directory.mkdir()
    stale.rename(directory / f"{DATABASE}{suffix}")
    with pytest.raises(FailedPrecondition, match=suffix):
        backup.restore(file, directory, 5)
    (directory / f"{DATABASE}{suffix}").unlink()
    backup.restore(file, directory, 5)
    assert await started(directory) == (1, True)
    assert json.loads((directory / "frozen.json").read_text()) == {"backup": str(file)}
