"""Room in the files of the store, on a disk that other processes fill."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from interlock.errors import Unavailable
from interlock.store.sqlite.connection import integrity_errors
from interlock.store.sqlite.disk import DATABASE, ROOM
from interlock.store.sqlite.offload import Offload
from interlock.store.sqlite.room import SIZES, Sizes
from interlock.store.sqlite.store import SqliteStore
from simulation.disk import Disk, Operation
from tests.clocks import settle
from tests.store.stores import AtOnce, on_connection

pytestmark = pytest.mark.anyio

SMALL = Sizes(log=256 * 1024, pages=1024 * 1024, chunk=256 * 1024)


class Full:
    """A disk whose room other processes use as soon as it is full."""

    def __init__(self, name: str) -> None:
        self.disk = Disk(name, self._about_to)
        self.free_bytes = 1 << 40
        self.then: Callable[[Operation], None] = lambda operation: None

    def fill(self) -> None:
        self.disk.full = True
        self.free_bytes = 0

    def make_room(self) -> None:
        self.disk.full = False
        self.free_bytes = ROOM

    def free(self, path: Path) -> int:
        return self.free_bytes

    def _about_to(self, operation: Operation) -> None:
        self.then(operation)


@asynccontextmanager
async def store_on(full: Full, directory: Path, checkpoints: Offload | None = None) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(
        directory,
        vfs=full.disk.name,
        free=full.free,
        room=SMALL,
        allocate=full.disk.allocate,
        checkpoint_pages=50,
        checkpoint_offload=checkpoints,
    )
    try:
        yield store
    finally:
        full.make_room()
        await store.close()


@pytest.fixture
async def full(tmp_path: Path) -> AsyncIterator[Full]:
    made = Full(tmp_path.name)
    yield made
    made.disk.close()


def write(size: int) -> Callable[[apsw.Connection], int]:
    def job(connection: apsw.Connection) -> int:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (content BLOB)")
        connection.execute("INSERT INTO notes VALUES (randomblob(?))", (size,))
        return size

    return job


async def fill_up(store: SqliteStore, full: Full) -> None:
    """Write until the store regards the disk as full."""
    full.fill()
    while not store.full:
        try:
            await store.writer.submit(on_connection(write(20_000)))
        except Unavailable:
            break
    assert store.full


async def test_small_commits_go_on_for_long_on_a_full_disk(full: Full, tmp_path: Path) -> None:
    async with store_on(full, tmp_path / "data") as store:
        await fill_up(store, full)
        for _ in range(400):
            await store.writer.submit(on_connection(write(1_000)), urgent=True)
        assert integrity_errors(store._reader) == []


async def test_large_commits_leave_the_last_room_to_small_ones(full: Full, tmp_path: Path) -> None:
    async with store_on(full, tmp_path / "data") as store:
        await fill_up(store, full)
        many = (store.writer.submit(on_connection(write(60_000))) for _ in range(100))
        refused = [each for each in await asyncio.gather(*many, return_exceptions=True) if each != 60_000]
        assert refused
        assert {type(each) for each in refused} == {Unavailable}
        for _ in range(50):
            await store.writer.submit(on_connection(write(1_000)), urgent=True)


async def test_room_is_kept_again_when_the_disk_has_some(full: Full, tmp_path: Path) -> None:
    async with store_on(full, tmp_path / "data") as store:
        for _ in range(2):
            await fill_up(store, full)
            assert not store.look_for_room()
            full.make_room()
            store.look_for_room()
            await store.writer.settle()
            await settle()
            assert not store.full


def lacking(store: SqliteStore, directory: Path) -> int:
    """Return the bytes that the database file is shorter than its pages; a checkpoint would need room for them."""
    pages: int = store.writer._connection.pragma("page_count")
    return max(0, pages * 4_096 - os.stat(directory / DATABASE).st_size)


async def test_database_file_is_as_long_as_its_pages_after_each_commit(full: Full, tmp_path: Path) -> None:
    """Otherwise a checkpoint would need room that another process may use, and the log could not start again."""
    async with store_on(full, tmp_path / "data", AtOnce()) as store:
        for number in range(60):
            await store.writer.submit(on_connection(write(number * 3_000)))
            assert lacking(store, tmp_path / "data") == 0


async def test_commit_beside_a_checkpoint_that_cuts_the_file_keeps_its_room(full: Full, tmp_path: Path) -> None:
    """SQLite truncates the file at the end of a checkpoint to the pages before the commit."""
    found: list[int] = []

    def commit(operation: Operation) -> None:
        if operation is Operation.TRUNCATE and not found:
            connection = store.writer._connection
            connection.execute("BEGIN IMMEDIATE")
            write(600_000)(connection)
            store._before_commit(connection)
            connection.execute("COMMIT")
            found.append(lacking(store, tmp_path / "data"))

    async with store_on(full, tmp_path / "data", AtOnce()) as store:
        full.then = commit
        await store.writer.submit(on_connection(write(300_000)))
        await settle()
        assert found == [0]
        assert lacking(store, tmp_path / "data") == 0


async def test_log_keeps_its_room_over_a_restart_on_a_full_disk(full: Full, tmp_path: Path) -> None:
    log = tmp_path / "data" / f"{DATABASE}-wal"
    async with store_on(full, tmp_path / "data") as store:
        await store.writer.submit(on_connection(write(100_000)))
        before = log.stat().st_size
    assert before >= SMALL.log
    assert log.stat().st_size == before
    full.fill()
    async with store_on(full, tmp_path / "data") as store:
        for _ in range(100):
            await store.writer.submit(on_connection(write(1_000)), urgent=True)


async def test_disk_that_is_nearly_full_is_noticed_before_a_write_fails(full: Full, tmp_path: Path) -> None:
    async with store_on(full, tmp_path / "data") as store:
        full.free_bytes = 1
        store.look_for_room()
        await store.writer.settle()
        assert store.full


async def test_real_files_have_blocks_for_all_their_bytes(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "data")
    try:
        await store.writer.submit(on_connection(write(100_000)))
        for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
            found = os.stat(tmp_path / "data" / name)
            assert found.st_blocks * 512 >= found.st_size, name
        assert os.stat(tmp_path / "data" / f"{DATABASE}-wal").st_size >= SIZES.log
    finally:
        await store.close()


async def test_store_that_can_keep_no_room_starts_nothing(tmp_path: Path) -> None:
    def refuse(descriptor: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "no room")

    store = SqliteStore(tmp_path / "data", allocate=refuse)
    assert store.full
    await store.close()
