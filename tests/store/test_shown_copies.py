"""A migration masks the secrets that older releases stored inside outputs, and keeps their values sealed."""

from __future__ import annotations

import json
from typing import Any

import apsw
import pytest

from interlock.ports import Place, Revealed
from interlock.rules.model import Ref
from interlock.rules.states import State
from interlock.secrets.vault import AesVault
from interlock.steps.masking import MASK
from interlock.store.migrations import migrations
from interlock.store.sqlite.connection import migrate
from tests.clocks import SequentialIds
from tests.store.stores import insert_run, make_schema

BEFORE = 14
VAULT = AesVault([b"k" * 32], SequentialIds())
PLACE = Place.output(Ref(1, 1), 0)
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
    found, sealed = next(connection.execute("SELECT output, sealed_output FROM steps WHERE execution = 1"))
    assert json.loads(found) == (value if shown is None else shown)
    assert (sealed is None) == (shown is None)
    if sealed is not None:
        revealed = VAULT.reveal(PLACE, sealed)
        assert json.loads(revealed.document) == value
        assert revealed.secret == {name for name in value if shown[name] == MASK}


def test_stored_secrets_of_an_earlier_release_are_masked_and_opened() -> None:
    connection = apsw.Connection(":memory:")
    make_schema(connection, 22)
    for number in (1, 2):
        insert_run(connection, number, State.DONE)
    connection.execute(
        "INSERT INTO inputs (tenant, execution, input, shown) VALUES (1, 1, ?, ?)",
        (b'{"user_id":"hunter2","n":[1]}', b'{"user_id":"[secret]","n":[1]}'),
    )
    connection.execute("UPDATE executions SET subject = '[secret]'")
    attempt = (
        "INSERT INTO steps (tenant, execution, position, attempt, epoch, started_at, outcome, input, shown_input, "
        "output, error, late) VALUES (1, 1, 1, ?, 1, 1, ?, ?, ?, ?, ?, ?)"
    )
    sent, shown = b'{"webhookId":"h","payload":"hunter2"}', b'{"webhookId":"h","payload":"[secret]"}'
    late = b'[{"outcome":"LATE_SUCCEEDED","output":{"response":"hunter2"}}]'
    connection.execute(attempt, (1, "FAILED", sent, shown, None, b'{"code":"X","body":"hunter2"}', late))
    connection.execute(attempt, (2, "SUCCEEDED", sent, None, b'{"response":"hunter2","status_code":200}', None, None))
    assert migrate(connection) == len(migrations()) - 22

    rows = connection.execute("SELECT input, output, error, late FROM steps WHERE attempt = 1").fetchall()
    assert "hunter2" not in str(rows)
    assert rows[0][0] == shown
    input_, trigger = next(connection.execute("SELECT input, sealed FROM inputs WHERE execution = 1"))
    assert json.loads(input_) == {"user_id": MASK, "n": [1]}
    assert VAULT.reveal(PLACE, trigger) == Revealed(b'{"user_id":"hunter2","n":[1]}', frozenset({"user_id"}))
    (sealed,) = next(connection.execute("SELECT sealed_input FROM steps WHERE attempt = 1"))
    assert VAULT.reveal(PLACE, sealed).document == sent
    output, sealed = next(connection.execute("SELECT output, sealed_output FROM steps WHERE attempt = 2"))
    assert json.loads(output) == {"response": MASK, "status_code": 200}
    assert VAULT.reveal(PLACE, sealed).document == b'{"response":"hunter2","status_code":200}'
    subjects = connection.execute("SELECT subject FROM executions ORDER BY id").fetchall()
    assert subjects == [(None,), ("[secret]",)]
