"""Secrets that an older release wrapped inside outputs get a copy that may be shown, and are values again."""

from __future__ import annotations

import json
from typing import Any

import apsw
import pytest

from interlock.rules.states import State
from interlock.steps.masking import MASK
from interlock.store.migrations import migrations
from interlock.store.sqlite.connection import migrate
from tests.store.stores import insert_run, make_schema

BEFORE = 14
LOGIN = {
    "stepName": "login",
    "evaluateExpressions": {
        "expressions": [
            {"key": "pw", "expressionCel": "x", "isSecret": True},
            {"key": 'odd "key".', "expressionCel": "x", "isSecret": True},
            {"key": "open", "expressionCel": "x"},
        ]
    },
}
CALL = {"stepName": "call", "webhook": {"webhookId": "hook"}}


def wrapped(value: Any) -> dict[str, Any]:
    return {"interlock.secret": value}


@pytest.mark.parametrize(
    ("position", "output", "value", "shown"),
    [
        (0, {"pw": wrapped("a"), "open": 1}, {"pw": "a", "open": 1}, {"pw": MASK, "open": 1}),
        (0, {"pw": wrapped(2**64 - 1), "open": 1.5}, {"pw": 2**64 - 1, "open": 1.5}, {"pw": MASK, "open": 1.5}),
        (0, {"pw": wrapped(wrapped({"x": None}))}, {"pw": wrapped({"x": None})}, {"pw": MASK}),
        (0, {'odd "key".': wrapped([1])}, {'odd "key".': [1]}, {'odd "key".': MASK}),
        (
            0,
            {"pw": wrapped(None), "open": wrapped(1)},
            {"pw": None, "open": wrapped(1)},
            {"pw": MASK, "open": wrapped(1)},
        ),
        (0, {"pw": "plain", "open": "interlock.secret"}, {"pw": "plain", "open": "interlock.secret"}, None),
        (
            1,
            {"response": wrapped("alice"), "status_code": 200},
            {"response": wrapped("alice"), "status_code": 200},
            None,
        ),
    ],
)
def test_a_wrapped_secret_becomes_a_value_with_a_masked_copy(
    position: int, output: dict[str, Any], value: Any, shown: Any
) -> None:
    connection = apsw.Connection(":memory:")
    make_schema(connection, BEFORE)
    steps = json.dumps([LOGIN, CALL]).encode()
    connection.execute("INSERT INTO definitions VALUES (1, 1, 'auto', 0, ?, ?, x'', NULL, 1)", (bytes(32), steps))
    for number in (1, 2):
        insert_run(connection, number, State.DONE)
    stored = json.dumps(output).encode()
    for execution, document in ((1, stored), (2, b'{"pw":{"interlock.secret":Infinity}} and more')):
        connection.execute(
            "INSERT INTO steps (tenant, execution, position, attempt, epoch, started_at, outcome, output) "
            "VALUES (1, ?, ?, 1, 1, 1, 'SUCCEEDED', ?)",
            (execution, position, document),
        )
    assert migrate(connection) == len(migrations()) - BEFORE
    found, copy = next(connection.execute("SELECT output, shown_output FROM steps WHERE execution = 1"))
    assert json.loads(found) == value
    assert (None if copy is None else json.loads(copy)) == shown
