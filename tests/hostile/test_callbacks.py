"""Callbacks in the wrong order, in great numbers and of odd content: none delays a start, and none is lost."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.clocks import settle
from tests.hostile.conftest import Port
from tests.loops import METER
from tests.operations.operations_client import CALL, WAIT, OperationsClient

pytestmark = pytest.mark.anyio

EARLY = 60
"""Runs whose receiver calls back before it answers: as many as one host has slots for, less some."""
BODY = {"version": "v1", "context": {"ticket": "INC-1"}}


def called_by(admin: OperationsClient, execution: int) -> str:
    """The path of the callback URL that the receiver of the run's webhook was given."""
    [url] = [
        str(call.request.headers["Webhook-Callback-Url"])
        for call in admin.engine.far.calls
        if f":{execution}:" in str(call.request.headers["Idempotency-Key"])
    ]
    return urlsplit(url).path


async def test_early_callbacks_are_answered_at_once_and_delay_no_start(port: Port) -> None:
    """`POST callback; return 202` in one handler, many times over, while nothing else moves and no time passes."""
    admin = port.app_client.operations_client
    automation, other = await admin.make(CALL, WAIT), await admin.make(WAIT)
    runs = [await admin.start(automation) for _ in range(EARLY)]
    limits = httpx2.Limits(max_connections=50)
    with METER.leaving_out():
        made = httpx2.AsyncClient(
            verify=False, base_url=port.url, headers={"Host": "localhost"}, limits=limits, timeout=60
        )
    async with made as client:
        callbacks = [client.post(called_by(admin, execution), json=BODY) for execution in runs]
        start = client.post(
            f"/api/v1/automations/{other}/execute", headers={"Authorization": f"Bearer {port.app_client.token}"}
        )
        *answers, started = await asyncio.gather(*callbacks, start)
    assert {answer.status_code for answer in answers} == {200}
    assert started.status_code == 200
    for call in admin.engine.far.calls:
        call.answer(202, b"")
        await settle()
    assert len(admin.engine.far.calls) == EARLY
    for execution in runs:
        await settle()
        detail = await admin.detail(execution)
        assert (detail["step"], detail["steps"][0]["outcome"]) == (1, "SUCCEEDED")


async def test_of_many_callbacks_at_once_one_is_accepted(port: Port) -> None:
    admin = port.app_client.operations_client
    execution = await admin.start(await admin.make(CALL, WAIT))
    path = called_by(admin, execution)
    async with httpx2.AsyncClient(verify=False, base_url=port.url, headers={"Host": "localhost"}) as client:
        answers = await asyncio.gather(
            *(client.post(path, json={"number": number}) for number in range(20)), return_exceptions=False
        )
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [200] + [400] * 19
    admin.engine.far.calls[0].answer(202, b"")
    await settle()
    step = (await admin.detail(execution))["steps"][0]
    assert step["output"]["response"] == {"number": statuses.index(200)}
    assert "late" not in step["attempts"][0] or step["attempts"][0]["late"] == []


NESTED = b'{"a":' * 150 + b"1" + b"}" * 150
BODIES: dict[str, tuple[bytes, set[int]]] = {
    "empty": (b"", {400}),
    "no object": (b"[1]", {400}),
    "cut": (b'{"a":', {400}),
    "two members of one name": (b'{"a":1,"a":2}', {400}),
    "NaN": (b'{"a":NaN}', {400}),
    "a lone surrogate": (b'{"a":"\\ud800"}', {400}),
    "no UTF-8": (b'{"a":"\xff"}', {400}),
    "too deep": (NESTED, {400}),
    "too large": (json.dumps({"a": "x" * 250_000}).encode(), {400, 413}),
    "an empty context": (b'{"version":"v1","context":{}}', {200}),
    "no version": (b'{"context":{"a":1}}', {200}),
    "a context that is no object": (b'{"version":"v1","context":[1]}', {200}),
    "a name like ours": (b'{"version":"v1","context":{"interlock.secret":"alice"}}', {200}),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("early", [True, False], ids=["early", "in time"])
async def test_what_a_callback_contains_is_refused_or_can_be_read_again(port: Port, name: str, early: bool) -> None:
    """A refused callback leaves the URL good; an accepted one is stored, shown and evaluated."""
    admin = port.app_client.operations_client
    read = {"expressions": [{"key": "code", "expressionCel": "ctx.call.status_code"}]}
    execution = await admin.start(await admin.make(CALL, {"stepName": "read", "evaluateExpressions": read}))
    path = called_by(admin, execution)
    body, statuses = BODIES[name]
    if not early:
        admin.engine.far.calls[0].answer(202, b"")
        await settle()
    async with httpx2.AsyncClient(verify=False, base_url=port.url, headers={"Host": "localhost"}) as client:
        headers = {"Content-Type": "application/json"}
        answer = await client.post(path, content=body, headers=headers)
        assert answer.status_code in statuses, answer.text
        if answer.status_code != 200:
            assert (await client.post(path, json=BODY)).status_code == 200
    if early:
        admin.engine.far.calls[0].answer(202, b"")
    await settle()
    detail: Any = await admin.detail(execution)
    assert [step["outcome"] for step in detail["steps"]] == ["SUCCEEDED", "SUCCEEDED"]
    assert detail["steps"][1]["output"] == {"code": 202}
