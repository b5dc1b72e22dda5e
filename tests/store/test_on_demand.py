"""The migration reads from triggers which definitions of earlier releases are on demand."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from interlock.store.sqlite.connection import migrate
from tests.store.stores import make_schema

BEFORE = 23


@pytest.mark.parametrize(
    ("triggers", "on_demand"),
    [
        (b"[]", True),
        (b'[{"manual":{}}]', True),
        (b'[{"manual":{},"schedule":null}]', True),
        (b'[{"schedule":{"cronSpec":"5"}}]', False),
        (b'[{"manual":{}},{"userCreated":{}}]', False),
        (b"[null]", True),
        (b"", True),
        (b"\xff", True),
    ],
)
def test_migration_reads_from_triggers_whether_a_definition_is_on_demand(
    tmp_path: Path, triggers: bytes, on_demand: bool
) -> None:
    connection = apsw.Connection(str(tmp_path / "interlock.db"))
    make_schema(connection, BEFORE)
    connection.execute(
        "INSERT INTO definitions (tenant, id, automation, version, digest, steps, triggers, created_at) "
        "VALUES (1, 1, 'auto', 1, ?, x'5b5d', ?, 1)",
        (bytes(32), triggers),
    )
    migrate(connection)
    assert next(connection.execute("SELECT on_demand FROM definitions")) == (on_demand,)
