"""Checkpoints move the WAL into the database while the store is in use, so that it does not grow without end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest
from anyio.lowlevel import checkpoint

from interlock.store.sqlite.disk import CHECKPOINT_PAGES, DATABASE
from tests.clocks import settle
from tests.store.stores import AtOnce, on_connection, opened, sqlite

pytestmark = pytest.mark.anyio


PAGE = 4_096
PATIENCE = 30.0
"""Seconds after which a wait fails its test."""


def write_much(connection: apsw.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS much (content BLOB)")
    connection.execute("DELETE FROM much")
    connection.execute("INSERT INTO much VALUES (randomblob(?))", (CHECKPOINT_PAGES * PAGE,))


def write_little(connection: apsw.Connection) -> None:
    connection.execute("INSERT INTO much VALUES (1)")


async def test_a_long_wal_is_moved_into_the_database_and_begun_anew(tmp_path: Path) -> None:
    database, wal = tmp_path / DATABASE, tmp_path / f"{DATABASE}-wal"
    async with opened(tmp_path, checkpoint_offload=AtOnce()) as store:
        await sqlite(store).writer.submit(on_connection(write_much))
        await settle()
        assert database.stat().st_size >= CHECKPOINT_PAGES * PAGE
        longest, before = wal.stat().st_size, head(wal)
        await sqlite(store).writer.submit(on_connection(write_little))
        assert head(wal) != before
        assert wal.stat().st_size == longest


async def test_a_short_wal_is_left_alone(tmp_path: Path) -> None:
    database = tmp_path / DATABASE
    async with opened(tmp_path, checkpoint_offload=AtOnce()) as store:
        before = database.stat().st_size
        await sqlite(store).writer.submit(
            on_connection(lambda connection: connection.execute("CREATE TABLE little (n INTEGER)").fetchall())
        )
        await settle()
        assert database.stat().st_size == before


async def test_it_is_moved_in_a_thread_while_the_store_is_at_work(tmp_path: Path) -> None:
    async with opened(tmp_path) as store, asyncio.timeout(PATIENCE):
        await sqlite(store).writer.submit(on_connection(write_much))
        while (tmp_path / DATABASE).stat().st_size < CHECKPOINT_PAGES * PAGE:
            await checkpoint()


def head(wal: Path) -> bytes:
    """Return the part of the WAL that changes when SQLite writes it from its start again."""
    with wal.open("rb") as file:
        return file.read(32)
