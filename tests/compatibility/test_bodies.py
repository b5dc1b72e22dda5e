"""Every body and every reply that was recorded reads as the message it is, and says the same when it is sent on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from interlock.contract.base import to_wire
from interlock.contract.parse import parse, read
from tests.compatibility.forms import lost
from tests.compatibility.transcripts import CLIENTS, Exchange, exchanges, load, repaired, request_of, response_of

REPLIED = [exchange for exchange in exchanges() if exchange.reply is not None]
TERRAFORM = [
    (f"{sequence['configuration']} [{sequence['serverMode']}] {step['phase']}", step)
    for sequence in load("terraform-1.5.0")["sequences"]
    for step in sequence["steps"]
    if step.get("body")
]


def test_nothing_that_was_recorded_is_missing() -> None:
    recorded = {client: sum(exchange.client == client for exchange in exchanges()) for client in CLIENTS}
    assert recorded == {"python-0.17.2": 21, "typescript-1.2.2": 24, "go-1.26.1": 18, "go-1.29.0": 10}
    assert len(load("terraform-1.5.0")["sequences"]) == 9


@pytest.mark.parametrize("exchange", exchanges(), ids=str)
def test_a_recorded_body_is_read_without_loss(exchange: Exchange) -> None:
    model = request_of(exchange.operation)
    if model is None:
        assert exchange.method == "GET"
        assert not exchange.body
        return
    emitted = to_wire(parse(model, exchange.body.encode()))
    assert lost(json.loads(exchange.body or "{}"), emitted) == []


@pytest.mark.parametrize("exchange", REPLIED, ids=str)
def test_a_recorded_reply_is_a_message_of_the_contract(exchange: Exchange) -> None:
    assert exchange.reply is not None
    tree = exchange.reply.tree
    assert lost(tree, to_wire(read(response_of(exchange.operation), tree))) == []


@pytest.mark.parametrize(("name", "step"), TERRAFORM, ids=[name for name, _ in TERRAFORM])
def test_a_body_of_the_terraform_provider_is_read_without_loss(name: str, step: dict[str, Any]) -> None:
    model = request_of(step["operation"])
    assert model is not None
    body = repaired(step["body"]) if step["cut"] else step["body"]
    assert lost(json.loads(body), to_wire(parse(model, body.encode()))) == []


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ('{"a": 1, "b": {"c": [1, 2', '{"a": 1, "b": {"c": [1]}}'),
        ('{"a": {"b": 1}, "c…', '{"a": {"b": 1}}'),
        ('{"a": "x,}\\"", "b": "y…', '{"a": "x,}\\""}'),
    ],
)
def test_a_body_that_was_cut_off_is_closed_after_its_last_whole_member(cut: str, expected: str) -> None:
    assert repaired(cut) == expected
