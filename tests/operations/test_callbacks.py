"""Callbacks: the URL is the proof, good once and while the step waits; what comes later is kept as evidence."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest

from interlock.auth.tenants import Tenants
from interlock.errors import FailedPrecondition, InvalidArgument, NotFound
from interlock.ports import HttpFailureKind, WebhookRow
from interlock.rules.events import Recovered
from interlock.rules.model import Ref
from tests.clocks import settle
from tests.engine.worlds import AUDIT, restarted
from tests.operations.operations_client import CALL, WAIT, OperationsClient

pytestmark = pytest.mark.anyio

ANSWER = {"version": "v1", "context": {"ticket": "INC-1"}}


async def asked(admin: OperationsClient) -> tuple[int, str]:
    """A run whose webhook has been called, and the callback URL that it was given."""
    execution = await admin.start(await admin.make(CALL, WAIT))
    return execution, str(admin.engine.far.calls[-1].request.headers["Webhook-Callback-Url"])


async def waiting(admin: OperationsClient) -> tuple[int, str]:
    """The same, once it has said 202."""
    execution, url = await asked(admin)
    admin.engine.far.calls[-1].answer(202, b"")
    await settle()
    assert (await admin.detail(execution))["waitingFor"] == "callback"
    return execution, url


async def call_back(admin: OperationsClient, url: str, body: Any = ANSWER) -> Any:
    execution, token = url.rsplit("/", 2)[1:]
    reply = await admin.ask("OwnReceiveCallback", body, path={"execution": execution, "token": token})
    await settle()
    return reply.body


async def receipt(admin: OperationsClient, execution: int) -> Any:
    return (await admin.ask("OwnGetReceipt", id=execution)).body


async def test_a_callback_is_the_answer_of_the_step(admin: OperationsClient) -> None:
    execution, url = await waiting(admin)
    assert url.startswith("https://interlock.example/api/v1/webhooks/callback/")
    assert await call_back(admin, url) == {}
    detail = await admin.detail(execution)
    assert (detail["state"], detail["waitingFor"]) == ("WAITING", "timer")
    assert detail["steps"][0]["outcome"] == "SUCCEEDED"
    assert detail["steps"][0]["output"] == {"response": {"ticket": "INC-1"}, "status_code": 202}


async def test_each_tenants_callback_url_leads_to_that_tenant(admin: OperationsClient) -> None:
    eve = await admin.of_another_tenant()
    await eve.services.store.webhooks.create(
        WebhookRow(
            tenant=eve.tenant.id,
            id="hook",
            document=b"{}",
            url="https://far.example/in",
            callback_timeout=600,
            created_at=1,
            updated_at=1,
        ),
        AUDIT,
    )
    tenants = Tenants(admin.services.store.access)
    for operations_client in (admin, eve):
        execution, url = await waiting(operations_client)
        host = urlsplit(url).netloc
        if operations_client is eve:
            assert (await tenants.resolve(host))[0].id == eve.tenant.id
        assert await call_back(operations_client, url) == {}
        assert (await operations_client.detail(execution))["steps"][0]["outcome"] == "SUCCEEDED"


async def test_a_callback_is_good_once(admin: OperationsClient) -> None:
    execution, url = await waiting(admin)
    replies = await asyncio.gather(*(call_back(admin, url) for _ in range(5)), return_exceptions=True)
    assert replies.count({}) == 1
    assert sum(isinstance(reply, FailedPrecondition) for reply in replies) == 4
    with pytest.raises(FailedPrecondition, match="was used already"):
        await call_back(admin, url)
    assert (await admin.detail(execution))["step"] == 1


async def test_a_callback_before_its_own_202_is_accepted_at_once(admin: OperationsClient) -> None:
    execution, url = await asked(admin)
    assert await call_back(admin, url) == {}
    assert (await admin.detail(execution))["state"] == "PROCESS_STEP"
    with pytest.raises(FailedPrecondition, match="was used already"):
        await call_back(admin, url, {"ticket": "INC-2"})
    admin.engine.far.calls[-1].answer(202, b"")
    await settle()
    detail = await admin.detail(execution)
    assert (detail["state"], detail["step"]) == ("WAITING", 1)
    assert detail["steps"][0]["outcome"] == "SUCCEEDED"
    assert detail["steps"][0]["output"] == {"response": {"ticket": "INC-1"}, "status_code": 202}


@pytest.mark.parametrize("status", [400, 410, 500])
async def test_a_callback_before_a_refusal_is_the_answer_and_spares_the_retry(
    admin: OperationsClient, status: int
) -> None:
    execution, url = await asked(admin)
    assert await call_back(admin, url) == {}
    admin.engine.far.calls[-1].answer(status, b"no")
    await admin.wait(3_600)
    step = (await admin.detail(execution))["steps"][0]
    assert (step["outcome"], step["output"]["response"]) == ("SUCCEEDED", {"ticket": "INC-1"})
    [attempt] = step["attempts"]
    assert (attempt["status"], attempt["late"][0]["outcome"]) == (status, "LATE_FAILED")
    assert len(admin.engine.far.calls) == 1


async def test_a_callback_before_an_answer_of_its_own_is_evidence(admin: OperationsClient) -> None:
    execution, url = await asked(admin)
    assert await call_back(admin, url) == {}
    admin.engine.far.calls[-1].answer(200, b'{"ticket": "INC-0"}')
    await settle()
    step = (await admin.detail(execution))["steps"][0]
    assert step["output"] == {"response": {"ticket": "INC-0"}, "status_code": 200}
    [late] = step["attempts"][0]["late"]
    assert (late["outcome"], late["output"]["response"]) == ("LATE_SUCCEEDED", {"ticket": "INC-1"})
    with pytest.raises(FailedPrecondition):
        await call_back(admin, url)


async def test_evidence_of_a_callback_says_that_it_was_one(admin: OperationsClient) -> None:
    """A callback is a request: no status that the receiver answered belongs to it."""
    execution, url = await asked(admin)
    await call_back(admin, url)
    admin.engine.far.calls[-1].answer(200, b"{}")
    await settle()
    found = await receipt(admin, execution)
    [done], [late] = found["done"], found["late"]
    assert done["account"] == "Done; the receiver answered 200."
    assert late["account"] == "The receiver reported in a late callback that it is done. This changed no outcome."
    assert late["status"] == 0


async def test_a_callback_settles_an_attempt_whose_answer_is_no_use(admin: OperationsClient) -> None:
    """A 2xx whose body cannot be kept has not settled the step: the receipt names the callback."""
    execution, url = await asked(admin)
    await call_back(admin, url)
    call = admin.engine.far.calls[-1]
    call.progress.status = 200
    call.fail(HttpFailureKind.TOO_LARGE)
    await settle()
    found = await receipt(admin, execution)
    [done], [late] = found["done"], found["late"]
    assert done["account"] == "Done: the receiver reported it in a callback."
    assert late["account"] == "The attempt itself failed (it answered 200). This changed no outcome."


async def test_a_callback_between_two_attempts_settles_the_step(admin: OperationsClient) -> None:
    execution, url = await asked(admin)
    admin.engine.far.calls[-1].fail()
    await settle()
    assert (await admin.detail(execution))["waitingFor"] == "retry"
    assert await call_back(admin, url) == {}
    await admin.wait(60)
    detail = await admin.detail(execution)
    assert (detail["step"], detail["steps"][0]["outcome"]) == (1, "SUCCEEDED")
    assert len(admin.engine.far.calls) == 1


async def test_a_callback_outlives_the_server_that_made_the_call(admin: OperationsClient) -> None:
    execution, url = await asked(admin)
    assert await call_back(admin, url) == {}
    async with restarted(admin.engine):
        detail = await admin.detail(execution)
        assert (detail["step"], detail["steps"][0]["outcome"]) == (1, "SUCCEEDED")
        assert detail["steps"][0]["output"]["response"] == {"ticket": "INC-1"}
    assert len(admin.engine.far.calls) == 1


async def test_a_callback_before_a_crashed_attempt_is_made_again_settles_the_step(admin: OperationsClient) -> None:
    execution, url = await asked(admin)
    ref, executions = Ref(admin.tenant.id, execution), admin.services.store.executions
    row = await executions.get(ref)
    assert row is not None
    await executions.apply(ref, Recovered(admin.engine.clock.now(), row.epoch, repeatable=True))
    assert await call_back(admin, url) == {}
    admin.engine.far.calls[0].answer(202, b"")
    await settle()
    assert (await admin.detail(execution))["steps"][0]["outcome"] == "SUCCEEDED"


async def test_the_step_after_an_early_callback_reads_what_it_brought(admin: OperationsClient) -> None:
    read = {"expressions": [{"key": "ticket", "expressionCel": "ctx.call.response.ticket"}]}
    execution = await admin.start(await admin.make(CALL, {"stepName": "read", "evaluateExpressions": read}))
    url = str(admin.engine.far.calls[-1].request.headers["Webhook-Callback-Url"])
    assert await call_back(admin, url) == {}
    admin.engine.far.calls[-1].answer(202, b"")
    await settle()
    assert (await admin.detail(execution))["steps"][1]["output"] == {"ticket": "INC-1"}


@pytest.mark.parametrize("mode", ["interrupt", "drain"])
async def test_a_run_stopped_after_an_early_callback_says_that_the_work_was_done(
    admin: OperationsClient, mode: str
) -> None:
    execution, url = await asked(admin)
    assert await call_back(admin, url) == {}
    await admin.ask("TerminateAutomation", {"mode": mode}, id=execution)
    await admin.wait(11)
    with pytest.raises(FailedPrecondition):
        await call_back(admin, url)
    detail = await admin.detail(execution)
    assert (detail["state"], detail["steps"][0]["outcome"]) == ("TERMINATE", "SUCCEEDED")
    receipt = (await admin.ask("OwnGetReceipt", id=execution)).body
    assert [entry["step"] for entry in receipt["done"]] == ["call"]


async def test_a_callback_while_the_run_is_stopping_is_refused_and_kept_as_evidence(admin: OperationsClient) -> None:
    execution, url = await asked(admin)
    admin.engine.far.deaf = True
    await admin.ask("TerminateAutomation", id=execution)
    assert (await admin.detail(execution))["state"] == "STOPPING"
    with pytest.raises(FailedPrecondition, match="its run was stopped"):
        await call_back(admin, url)
    await admin.wait(11)
    detail = await admin.detail(execution)
    assert (detail["state"], detail["steps"][0]["outcome"]) == ("TERMINATE", "ABANDONED")
    assert [late["outcome"] for late in detail["steps"][0]["attempts"][0]["late"]] == ["LATE_SUCCEEDED"]


async def test_a_callback_to_a_stopped_run_is_refused_and_kept_as_evidence_once(admin: OperationsClient) -> None:
    execution, url = await waiting(admin)
    await admin.ask("TerminateAutomation", id=execution)
    for _ in range(3):
        with pytest.raises(FailedPrecondition, match="its run was stopped"):
            await call_back(admin, url)
    detail = await admin.detail(execution)
    assert (detail["state"], detail["steps"][0]["outcome"]) == ("TERMINATE", "INTERRUPTED_WAITING")
    assert "output" not in detail["steps"][0]
    [late] = detail["steps"][0]["attempts"][0]["late"]
    assert (late["outcome"], late["output"]["response"]) == ("LATE_SUCCEEDED", {"ticket": "INC-1"})


async def test_a_callback_after_its_time_is_refused(admin: OperationsClient) -> None:
    execution, url = await waiting(admin)
    admin.engine.clock.advance(8 * 24 * 3600)
    with pytest.raises(FailedPrecondition, match="has expired"):
        await call_back(admin, url)
    await settle()
    assert await admin.state(execution) == "ERROR"


@pytest.mark.parametrize("body", [None, b"  ", b"{", [], [1], "text", {}, 7, b'{"a":1,"a":2}', b"\xff"])
async def test_a_callback_is_an_object_with_something_in_it(admin: OperationsClient, body: Any) -> None:
    _, url = await waiting(admin)
    with pytest.raises(InvalidArgument):
        await call_back(admin, url, body)
    assert await call_back(admin, url, {"plain": 1}) == {}


async def test_a_url_that_was_never_given_out_is_not_found(admin: OperationsClient) -> None:
    execution, url = await waiting(admin)
    other, _ = await waiting(admin)
    token = url.rpartition("/")[2]
    for wrong in (
        f"x/{execution}/{token[:-1]}",
        f"x/{execution}/ü",
        f"x/{other}/{token}",
        f"x/839265/{token}",
        f"x/0{execution}/{token}",
    ):
        with pytest.raises(NotFound, match=r"^not found$"):
            await call_back(admin, wrong)
    with pytest.raises(NotFound):
        await call_back(await admin.of_another_tenant(), url)
    assert await call_back(admin, url) == {}
