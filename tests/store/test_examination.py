"""Examination of a database: it reads all commits, within a time limit, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import NotFound
from interlock.store.migrations import migrations
from interlock.store.sqlite.examination import Examination, examine
from tests.store.stores import AUDIT, on_connection, opened, sqlite, world

pytestmark = pytest.mark.anyio

MANY = """
INSERT INTO settings SELECT 1, 'name' || value, randomblob(200) FROM (
    WITH RECURSIVE counted (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM counted WHERE value < 20000)
    SELECT value FROM counted)
"""


def in_time() -> bool:
    return False


async def test_commits_in_the_log_of_a_server_are_seen(tmp_path: Path) -> None:
    known = len(migrations())
    async with opened(tmp_path) as store:
        here = await world(store)
        await store.audit.append(here.tenant, 4_711, AUDIT)
        assert examine(tmp_path, in_time) == Examination(known, known, "", True, frozenset(), 4_711, None)
    assert examine(tmp_path, in_time).newest == 4_711


async def test_check_that_takes_too_long_ends_unfinished(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await sqlite(store).writer.submit(on_connection(lambda connection: connection.execute(MANY).fetchall()))
        assert examine(tmp_path, in_time).is_complete
        assert not examine(tmp_path, lambda: True).is_complete


def test_directory_without_a_database_has_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        examine(tmp_path, in_time)
