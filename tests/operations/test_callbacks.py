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
from tests.operations.desk import CALL, WAIT, Desk

pytestmark = pytest.mark.anyio

ANSWER = {"version": "v1", "context": {"ticket": "INC-1"}}


async def asked(ann: Desk) -> tuple[int, str]:
    """A run whose webhook has been called, and the callback URL that it was given."""
    execution = await ann.start(await ann.make(CALL, WAIT))
    return execution, str(ann.engine.far.calls[-1].request.headers["Webhook-Callback-Url"])


async def waiting(ann: Desk) -> tuple[int, str]:
    """The same, once it has said 202."""
    execution, url = await asked(ann)
    ann.engine.far.calls[-1].answer(202, b"")
    await settle()
    assert (await ann.detail(execution))["waitingFor"] == "callback"
    return execution, url


async def call_back(ann: Desk, url: str, body: Any = ANSWER) -> Any:
    execution, token = url.rsplit("/", 2)[1:]
    reply = await ann.ask("OwnReceiveCallback", body, path={"execution": execution, "token": token})
    await settle()
    return reply.body


async def receipt(ann: Desk, execution: int) -> Any:
    return (await ann.ask("OwnGetReceipt", id=execution)).body


async def test_a_callback_is_the_answer_of_the_step(ann: Desk) -> None:
    execution, url = await waiting(ann)
    assert url.startswith("https://interlock.example/api/v1/webhooks/callback/")
    assert await call_back(ann, url) == {}
    detail = await ann.detail(execution)
    assert (detail["state"], detail["waitingFor"]) == ("WAITING", "timer")
    assert detail["steps"][0]["outcome"] == "SUCCEEDED"
    assert detail["steps"][0]["output"] == {"response": {"ticket": "INC-1"}, "status_code": 202}


async def test_each_tenants_callback_url_leads_to_that_tenant(ann: Desk) -> None:
    eve = await ann.of_another_tenant()
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
    tenants = Tenants(ann.services.store.access)
    for desk in (ann, eve):
        execution, url = await waiting(desk)
        host = urlsplit(url).netloc
        if desk is eve:
            assert (await tenants.resolve(host))[0].id == eve.tenant.id
        assert await call_back(desk, url) == {}
        assert (await desk.detail(execution))["steps"][0]["outcome"] == "SUCCEEDED"


async def test_a_callback_is_good_once(ann: Desk) -> None:
    execution, url = await waiting(ann)
    replies = await asyncio.gather(*(call_back(ann, url) for _ in range(5)), return_exceptions=True)
    assert replies.count({}) == 1
    assert sum(isinstance(reply, FailedPrecondition) for reply in replies) == 4
    with pytest.raises(FailedPrecondition, match="was used already"):
        await call_back(ann, url)
    assert (await ann.detail(execution))["step"] == 1


async def test_a_callback_before_its_own_202_is_accepted_at_once(ann: Desk) -> None:
    execution, url = await asked(ann)
    assert await call_back(ann, url) == {}
    assert (await ann.detail(execution))["state"] == "PROCESS_STEP"
    with pytest.raises(FailedPrecondition, match="was used already"):
        await call_back(ann, url, {"ticket": "INC-2"})
    ann.engine.far.calls[-1].answer(202, b"")
    await settle()
    detail = await ann.detail(execution)
    assert (detail["state"], detail["step"]) == ("WAITING", 1)
    assert detail["steps"][0]["outcome"] == "SUCCEEDED"
    assert detail["steps"][0]["output"] == {"response": {"ticket": "INC-1"}, "status_code": 202}


@pytest.mark.parametrize("status", [400, 410, 500])
async def test_a_callback_before_a_refusal_is_the_answer_and_spares_the_retry(ann: Desk, status: int) -> None:
    execution, url = await asked(ann)
    assert await call_back(ann, url) == {}
    ann.engine.far.calls[-1].answer(status, b"no")
    await ann.wait(3_600)
    step = (await ann.detail(execution))["steps"][0]
    assert (step["outcome"], step["output"]["response"]) == ("SUCCEEDED", {"ticket": "INC-1"})
    [attempt] = step["attempts"]
    assert (attempt["status"], attempt["late"][0]["outcome"]) == (status, "LATE_FAILED")
    assert len(ann.engine.far.calls) == 1


async def test_a_callback_before_an_answer_of_its_own_is_evidence(ann: Desk) -> None:
    execution, url = await asked(ann)
    assert await call_back(ann, url) == {}
    ann.engine.far.calls[-1].answer(200, b'{"ticket": "INC-0"}')
    await settle()
    step = (await ann.detail(execution))["steps"][0]
    assert step["output"] == {"response": {"ticket": "INC-0"}, "status_code": 200}
    [late] = step["attempts"][0]["late"]
    assert (late["outcome"], late["output"]["response"]) == ("LATE_SUCCEEDED", {"ticket": "INC-1"})
    with pytest.raises(FailedPrecondition):
        await call_back(ann, url)


async def test_evidence_of_a_callback_says_that_it_was_one(ann: Desk) -> None:
    """A callback is a request: no status that the receiver answered belongs to it."""
    execution, url = await asked(ann)
    await call_back(ann, url)
    ann.engine.far.calls[-1].answer(200, b"{}")
    await settle()
    found = await receipt(ann, execution)
    [done], [late] = found["done"], found["late"]
    assert done["account"] == "Done; the receiver answered 200."
    assert late["account"] == "The receiver reported in a late callback that it is done. This changed no outcome."
    assert late["status"] == 0


async def test_a_callback_settles_an_attempt_whose_answer_is_no_use(ann: Desk) -> None:
    """A 2xx whose body cannot be kept has not settled the step: the receipt names the callback."""
    execution, url = await asked(ann)
    await call_back(ann, url)
    call = ann.engine.far.calls[-1]
    call.progress.status = 200
    call.fail(HttpFailureKind.TOO_LARGE)
    await settle()
    found = await receipt(ann, execution)
    [done], [late] = found["done"], found["late"]
    assert done["account"] == "Done: the receiver reported it in a callback."
    assert late["account"] == "The attempt itself failed (it answered 200). This changed no outcome."


async def test_a_callback_between_two_attempts_settles_the_step(ann: Desk) -> None:
    execution, url = await asked(ann)
    ann.engine.far.calls[-1].fail()
    await settle()
    assert (await ann.detail(execution))["waitingFor"] == "retry"
    assert await call_back(ann, url) == {}
    await ann.wait(60)
    detail = await ann.detail(execution)
    assert (detail["step"], detail["steps"][0]["outcome"]) == (1, "SUCCEEDED")
    assert len(ann.engine.far.calls) == 1


async def test_a_callback_outlives_the_server_that_made_the_call(ann: Desk) -> None:
    execution, url = await asked(ann)
    assert await call_back(ann, url) == {}
    async with restarted(ann.engine):
        detail = await ann.detail(execution)
        assert (detail["step"], detail["steps"][0]["outcome"]) == (1, "SUCCEEDED")
        assert detail["steps"][0]["output"]["response"] == {"ticket": "INC-1"}
    assert len(ann.engine.far.calls) == 1


async def test_a_callback_before_a_crashed_attempt_is_made_again_settles_the_step(ann: Desk) -> None:
    execution, url = await asked(ann)
    ref, executions = Ref(ann.tenant.id, execution), ann.services.store.executions
    row = await executions.get(ref)
    assert row is not None
    await executions.apply(ref, Recovered(ann.engine.clock.now(), row.epoch, repeatable=True))
    assert await call_back(ann, url) == {}
    ann.engine.far.calls[0].answer(202, b"")
    await settle()
    assert (await ann.detail(execution))["steps"][0]["outcome"] == "SUCCEEDED"


async def test_the_step_after_an_early_callback_reads_what_it_brought(ann: Desk) -> None:
    read = {"expressions": [{"key": "ticket", "expressionCel": "ctx.call.response.ticket"}]}
    execution = await ann.start(await ann.make(CALL, {"stepName": "read", "evaluateExpressions": read}))
    url = str(ann.engine.far.calls[-1].request.headers["Webhook-Callback-Url"])
    assert await call_back(ann, url) == {}
    ann.engine.far.calls[-1].answer(202, b"")
    await settle()
    assert (await ann.detail(execution))["steps"][1]["output"] == {"ticket": "INC-1"}


@pytest.mark.parametrize("mode", ["interrupt", "drain"])
async def test_a_run_stopped_after_an_early_callback_says_that_the_work_was_done(ann: Desk, mode: str) -> None:
    execution, url = await asked(ann)
    assert await call_back(ann, url) == {}
    await ann.ask("TerminateAutomation", {"mode": mode}, id=execution)
    await ann.wait(11)
    with pytest.raises(FailedPrecondition):
        await call_back(ann, url)
    detail = await ann.detail(execution)
    assert (detail["state"], detail["steps"][0]["outcome"]) == ("TERMINATE", "SUCCEEDED")
    receipt = (await ann.ask("OwnGetReceipt", id=execution)).body
    assert [entry["step"] for entry in receipt["done"]] == ["call"]


async def test_a_callback_while_the_run_is_stopping_is_refused_and_kept_as_evidence(ann: Desk) -> None:
    execution, url = await asked(ann)
    ann.engine.far.deaf = True
    await ann.ask("TerminateAutomation", id=execution)
    assert (await ann.detail(execution))["state"] == "STOPPING"
    with pytest.raises(FailedPrecondition, match="its run was stopped"):
        await call_back(ann, url)
    await ann.wait(11)
    detail = await ann.detail(execution)
    assert (detail["state"], detail["steps"][0]["outcome"]) == ("TERMINATE", "ABANDONED")
    assert [late["outcome"] for late in detail["steps"][0]["attempts"][0]["late"]] == ["LATE_SUCCEEDED"]


async def test_a_callback_to_a_stopped_run_is_refused_and_kept_as_evidence_once(ann: Desk) -> None:
    execution, url = await waiting(ann)
    await ann.ask("TerminateAutomation", id=execution)
    for _ in range(3):
        with pytest.raises(FailedPrecondition, match="its run was stopped"):
            await call_back(ann, url)
    detail = await ann.detail(execution)
    assert (detail["state"], detail["steps"][0]["outcome"]) == ("TERMINATE", "INTERRUPTED_WAITING")
    assert "output" not in detail["steps"][0]
    [late] = detail["steps"][0]["attempts"][0]["late"]
    assert (late["outcome"], late["output"]["response"]) == ("LATE_SUCCEEDED", {"ticket": "INC-1"})


async def test_a_callback_after_its_time_is_refused(ann: Desk) -> None:
    execution, url = await waiting(ann)
    ann.engine.clock.advance(8 * 24 * 3600)
    with pytest.raises(FailedPrecondition, match="has expired"):
        await call_back(ann, url)
    await settle()
    assert await ann.state(execution) == "ERROR"


@pytest.mark.parametrize("body", [None, b"  ", b"{", [], [1], "text", {}, 7, b'{"a":1,"a":2}', b"\xff"])
async def test_a_callback_is_an_object_with_something_in_it(ann: Desk, body: Any) -> None:
    _, url = await waiting(ann)
    with pytest.raises(InvalidArgument):
        await call_back(ann, url, body)
    assert await call_back(ann, url, {"plain": 1}) == {}


async def test_a_url_that_was_never_given_out_is_not_found(ann: Desk) -> None:
    execution, url = await waiting(ann)
    other, _ = await waiting(ann)
    token = url.rpartition("/")[2]
    for wrong in (
        f"x/{execution}/{token[:-1]}",
        f"x/{execution}/ü",
        f"x/{other}/{token}",
        f"x/839265/{token}",
        f"x/0{execution}/{token}",
    ):
        with pytest.raises(NotFound, match=r"^not found$"):
            await call_back(ann, wrong)
    with pytest.raises(NotFound):
        await call_back(await ann.of_another_tenant(), url)
    assert await call_back(ann, url) == {}
