"""A database that cannot be used is a fatal error with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import Fatal
from interlock.store.sqlite.disk import DATABASE
from interlock.store.sqlite.store import SqliteStore


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    content = b"no database at all\n" * 1_000
    (tmp_path / DATABASE).write_bytes(content)
    with pytest.raises(Fatal, match=r"the database cannot be opened: .*not a database"):
        SqliteStore(tmp_path)
    assert (tmp_path / DATABASE).read_bytes() == content
