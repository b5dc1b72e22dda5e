"""A migration gives the steps of older releases their idempotency keys, and how far failed attempts had reached."""

from __future__ import annotations

import json

import apsw
import pytest

from interlock.rules.states import State
from interlock.steps.kind import idempotency_key
from interlock.store.migrations import migrations
from interlock.store.sqlite.connection import migrate
from tests.store.stores import insert_run, make_schema

BEFORE = 19
STEPS = [{"stepName": "call", "webhook": {"webhookId": "hook"}}, {"stepName": "pause", "waitForDuration": {}}]


@pytest.mark.parametrize(
    ("position", "outcome", "phase", "status", "reached"),
    [
        (0, "FAILED", "waiting", None, "unknown"),
        (0, "FAILED", "writing", None, "unknown"),
        (0, "FAILED", "waiting", 503, "answered"),
        (0, "FAILED", "connecting", None, "not_sent"),
        (0, "FAILED", None, None, None),
        (0, "SUCCEEDED", "done", 200, None),
        (0, "ABANDONED", "waiting", None, None),
        (0, None, None, None, None),
        (1, "SUCCEEDED", None, None, None),
    ],
)
def test_step_of_an_older_release_keeps_its_key_and_its_doubt(
    position: int, outcome: str | None, phase: str | None, status: int | None, reached: str | None
) -> None:
    connection = apsw.Connection(":memory:")
    make_schema(connection, BEFORE)
    connection.execute("INSERT INTO settings (tenant, name, value) VALUES (0, 'installation', x'696e7374')")
    connection.execute(
        "INSERT INTO definitions (tenant, id, automation, version, digest, steps, triggers, created_at) "
        "VALUES (1, 7, 'auto', 0, ?, ?, x'', 1)",
        (bytes(32), json.dumps(STEPS).encode()),
    )
    insert_run(connection, 7, State.DONE)
    connection.execute(
        "INSERT INTO steps (tenant, execution, position, attempt, epoch, started_at, outcome, phase, status) "
        "VALUES (1, 7, ?, 1, 1, 1, ?, ?, ?)",
        (position, outcome, phase, status),
    )
    assert migrate(connection) == len(migrations()) - BEFORE
    key = idempotency_key("inst", 7, "call") if position == 0 else None
    assert list(connection.execute("SELECT key, reached FROM steps")) == [(key, reached)]
