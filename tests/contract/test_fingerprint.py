"""The fingerprint of a message: what was asked, however it was spelled, and every member of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.contract.automations import ExecuteAutomationRequest
from interlock.contract.base import Message, to_wire
from interlock.contract.fingerprint import fingerprint
from interlock.contract.parse import parse
from tests.contract.messages import MESSAGES, trees


def of(body: bytes) -> bytes:
    return fingerprint(parse(ExecuteAutomationRequest, body))


SAME = [
    [b"", b"{}", b'{"context":null}', b'{"isDraft":false}', b'{"unknown":1}'],
    [b'{"context":{}}'],
    [b'{"context":{"context":{}}}'],
    [b'{"lease":"60s"}', b'{"lease":"1m"}', b'{"lease":"60.000s","isDraft":false}'],
    [b'{"context":{"context":{"a":1,"b":{"d":[],"c":0}}}}', b'{"context":{"context":{"b":{"c":0,"d":[]},"a":1}}}'],
    [b'{"context":{"context":{"a":1}},"isDraft":true}', b'{"is_draft":true,"context":{"context":{"a":1}}}'],
    [b'{"context":{"context":{"a":{}}}}'],
    [b'{"context":{"context":{"a":null}}}'],
    [b'{"context":{"context":{"a":[1,2]}}}'],
    [b'{"context":{"context":{"a":[2,1]}}}'],
    [b'{"context":{"context":{"a":"1"}}}'],
]


def test_messages_have_one_fingerprint_exactly_if_they_ask_the_same() -> None:
    prints = [{of(body) for body in bodies} for bodies in SAME]
    assert [len(group) for group in prints] == [1] * len(SAME)
    assert len(set.union(*prints)) == len(SAME)


@pytest.mark.parametrize("model", MESSAGES, ids=lambda model: f"{model.__module__.rpartition('.')[2]}.{model.__name__}")
@given(data=st.data())
def test_a_message_keeps_its_fingerprint_when_it_is_written_out_in_full(model: type[Message], data: Any) -> None:
    message = parse(model, json.dumps(data.draw(trees(model))).encode())
    assert fingerprint(parse(model, json.dumps(to_wire(message)).encode())) == fingerprint(message)
