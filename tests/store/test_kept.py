"""Cached rows: read once, removed by a change, and never the row before a change that was made during the read."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from interlock.store.sqlite.kept import MAX_KEPT_DOCUMENT_BYTES, Kept

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Row:
    document: bytes


class Table:
    """Rows by key, and the number of reads of each."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.reads = 0
        self.kept: Kept[str, Row] = Kept(self.read)
        self.change_during_read: str | None = None

    async def read(self, key: str) -> Row | None:
        self.reads += 1
        found = self.rows.get(key)
        if self.change_during_read is not None:
            self.change(self.change_during_read, b"new")
        return found

    def change(self, key: str, document: bytes) -> None:
        self.rows[key] = Row(document)
        self.kept.forget(key)


async def test_row_is_read_once_until_it_is_changed() -> None:
    table = Table()
    table.change("a", b"old")
    assert [await table.kept.get("a") for _ in range(3)] == [Row(b"old")] * 3
    assert table.reads == 1
    table.change("a", b"new")
    assert await table.kept.get("a") == Row(b"new")
    assert table.reads == 2


async def test_row_that_was_read_beside_a_change_is_not_kept() -> None:
    table = Table()
    table.change("a", b"old")
    table.change_during_read = "a"
    assert await table.kept.get("a") == Row(b"old")
    table.change_during_read = None
    assert await table.kept.get("a") == Row(b"new")


@pytest.mark.parametrize("row", [None, Row(bytes(MAX_KEPT_DOCUMENT_BYTES + 1))], ids=["missing", "too large"])
async def test_misses_and_large_rows_are_read_each_time(row: Row | None) -> None:
    table = Table()
    if row is not None:
        table.change("a", row.document)
    assert [await table.kept.get("a") for _ in range(2)] == [row, row]
    assert table.reads == 2
