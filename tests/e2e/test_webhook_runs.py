"""Runs that reach out: a real receiver on the other end, called once, and cut off when the run is stopped."""

from __future__ import annotations

import httpx2
import pytest

from tests.e2e.given import automation, call, detail, execute, webhook
from tests.receivers import Held, Receiver
from tests.servers import ServerProcess, until_state

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]


async def test_a_run_calls_out_once_uses_the_answer_skips_and_starts_a_child(
    server: ServerProcess, api: httpx2.AsyncClient, receiver: Receiver
) -> None:
    hook = await webhook(api, receiver)
    child = await automation(api, "child", call("told", hook, ticket="{{ ctx.trigger.ticket }}"))
    parent = await automation(
        api,
        "parent",
        call("open", hook, who="{{ ctx.trigger.name }}"),
        {**call("never", hook), "skipIfTrueCel": 'ctx.open.response.ticket == "INC-1"'},
        {
            "stepName": "start",
            "runAutomation": {
                "automationTemplateRef": {"id": child},
                "context": {"context": {"ticket": "{{ ctx.open.response.ticket }}"}},
            },
        },
    )
    execution = await execute(api, parent, name="Ann")
    sdk = await server.sdk()
    await until_state(sdk, execution, "DONE")
    await receiver.received(2)
    first, second = receiver.requests
    assert first.json()["payload"]["context"] == {"who": "Ann"}
    assert second.json()["payload"]["context"] == {"ticket": "INC-1"}
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]
    shown = await detail(api, execution)
    assert [step["outcome"] for step in shown["steps"]] == ["SUCCEEDED", "SKIPPED", "SUCCEEDED"]
    [started] = shown["children"]
    await until_state(sdk, int(started["id"]), "DONE")
    assert len(receiver.requests) == 2


async def test_a_terminate_cuts_the_call_in_flight_and_nothing_follows(
    server: ServerProcess, api: httpx2.AsyncClient, receiver: Receiver
) -> None:
    receiver.then(Held())
    hook = await webhook(api, receiver)
    two = await automation(api, "two calls", call("first", hook), call("second", hook))
    execution = await execute(api, two)
    await receiver.received(1)
    answer = await api.post(
        f"/api/v1/automation_executions/{execution}/actions/terminate", json={"reason": "wrong person"}
    )
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["interlock-termination"].startswith("accepted")
    await receiver.closed(0)
    run = await until_state(await server.sdk(), execution, "TERMINATE")
    assert run.completed_at is not None
    shown = await detail(api, execution)
    assert [step["outcome"] for step in shown["steps"]] == ["INTERRUPTED_OUTCOME_UNKNOWN", "NOT_STARTED"]
    assert shown["termination"]["reason"] == "wrong person"
    assert len(receiver.requests) == 1
