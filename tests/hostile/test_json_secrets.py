"""JSON with secrets: the value is sent, and the mask is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from interlock.expressions.environment import Environment, Scope
from interlock.steps.masking import masked_copy, masked_members
from tests.clocks import settle
from tests.engine.worlds import evaluate, run_automation
from tests.expressions.compiled import compile_template
from tests.loops import METER
from tests.operations.operations_client import CALL, WAIT, OperationsClient

pytestmark = pytest.mark.anyio


# --- secrets ----------------------------------------------------------------------------------------------------------

SECRETS = ["hunter2", 815, 1.5, ["hunter2"], {"hunter2": 1}, "[secret]x", "", True, None]
DERIVED = evaluate(
    "derived",
    same="ctx.login.pw",
    text="string(ctx.trigger.n) + ctx.login.open",
    encoded="{'x': [ctx.login.pw]}",
    listed="[ctx.login]",
)


async def call_with_a_secret(admin: OperationsClient, secret: Any) -> tuple[int, Any]:
    """A run whose third step sends a secret and what was made of it; the body that was sent."""
    payload = {
        "password": "{{ ctx.login.pw }}",
        "derived": "{{ ctx.derived.encoded }}",
        "all": "{{ ctx.derived }}",
        "user": "{{ ctx.login.open }}",
    }
    send = {"stepName": "call", "webhook": {"webhookId": "hook", "payload": payload}}
    give = evaluate("login", secret=["pw"], pw=json.dumps(secret), open="'alice'")
    after = evaluate("after", echo="ctx.call.response", status="ctx.call.status_code")
    run = await admin.start(await admin.make(give, DERIVED, send, after, WAIT), n=1)
    return run, admin.engine.far.calls[-1].body["payload"]["context"]


def expect_sent(sent: Any, secret: Any) -> None:
    """What was sent is what was computed, down to the type."""
    expected = {"password": secret, "derived": {"x": [secret]}, "user": "alice"}
    assert json.dumps({name: sent[name] for name in expected}) == json.dumps(expected)


async def test_a_masked_value_that_is_sent_is_found_out(admin: OperationsClient) -> None:
    _, sent = await call_with_a_secret(admin, "hunter2")
    expect_sent(sent, "hunter2")
    for name in ("password", "derived"):
        with pytest.raises(AssertionError):
            expect_sent({**sent, name: "[secret]"}, "hunter2")


@pytest.mark.parametrize("secret", SECRETS, ids=str)
async def test_a_secret_is_sent_as_it_is_and_masked_where_it_is_shown(admin: OperationsClient, secret: Any) -> None:
    run, sent = await call_with_a_secret(admin, secret)
    expect_sent(sent, secret)
    for _ in range(2):
        admin.engine.far.open[0].answer(400, json.dumps({"wrong password": secret}).encode())
        await settle()
        await admin.wait(60)
        assert admin.engine.far.calls[-1].body["payload"]["context"] == sent
    admin.engine.far.open[0].answer(200, json.dumps({"echo": secret}).encode())
    await settle()
    detail = await admin.detail(run)
    login, derived, call, after, _ = detail["steps"]
    assert login["output"] == {"pw": "[secret]", "open": "alice"}
    masked = {"same": "[secret]", "encoded": "[secret]", "listed": "[secret]", "text": "1alice"}
    assert derived["output"] == masked
    shown = {"password": "[secret]", "derived": "[secret]", "all": "[secret]", "user": "alice"}
    assert call["input"] == {"webhookId": "hook", "payload": shown}
    assert call["output"] == {"response": "[secret]", "status_code": 200}
    assert [attempt["error"]["body"] for attempt in call["attempts"][:2]] == ["[secret]", "[secret]"]
    assert after["output"] == {"echo": "[secret]", "status": 200}


@pytest.mark.parametrize("secret", ["hunter2", 815, {"hunter2": 1}], ids=str)
async def test_a_secret_reaches_children_and_grandchildren_and_stays_one(admin: OperationsClient, secret: Any) -> None:
    send = {"stepName": "call", "webhook": {"webhookId": "hook", "payload": {"p": "{{ ctx.trigger.pw }}"}}}
    grandchild = await admin.make(evaluate("again", x="ctx.trigger.pw", y="ctx.trigger.user"), send)
    child = await admin.make(
        run_automation("go", grandchild, {"pw": "{{ ctx.trigger.login.pw }}", "user": "{{ ctx.trigger.user }}"})
    )
    login = evaluate("login", secret=["pw"], pw=json.dumps(secret))
    hand = {"login": {"pw": "{{ ctx.login.pw }}", "n": 1}, "user": "alice"}
    await admin.start(await admin.make(login, run_automation("go", child, hand)))
    assert admin.engine.far.calls[-1].body["payload"]["context"] == {"p": secret}
    [last, middle, first] = (await admin.ask("ListAutomationExecutions")).body["automationExecutions"]
    seen = [await admin.detail(int(row["id"])) for row in (first, middle, last)]
    assert seen[0]["steps"][1]["input"]["context"] == {"login": {"pw": "[secret]", "n": 1}, "user": "alice"}
    assert seen[1]["trigger"] == {"login": {"pw": "[secret]", "n": 1}, "user": "alice"}
    assert seen[2]["trigger"] == {"pw": "[secret]", "user": "alice"}
    assert seen[2]["steps"][0]["output"] == {"x": "[secret]", "y": "alice"}
    assert seen[2]["steps"][1]["input"]["payload"] == {"p": "[secret]"}
    got = (await admin.ask("GetAutomationExecution", id=last["id"])).body["automationExecution"]
    assert got["context"]["context"] == {"pw": "[secret]", "user": "alice"}


async def test_a_secret_stays_one_for_a_run_that_is_loaded_again(admin: OperationsClient) -> None:
    payload = {"p": "{{ ctx.login.pw }}", "q": "{{ ctx.derived.same }}", "r": "{{ ctx.login.open }}"}
    login = evaluate("login", secret=["pw"], pw="'hunter' + '2'", open="'alice'")
    send = {"stepName": "call", "webhook": {"webhookId": "hook", "payload": payload}}
    run = await admin.start(await admin.make(login, evaluate("derived", same="[ctx.login.pw]"), WAIT, send))
    await admin.wait(1209600)
    call = admin.engine.far.calls[-1]
    assert call.body["payload"]["context"] == {"p": "hunter2", "q": ["hunter2"], "r": "alice"}
    call.answer(202, b"")
    await settle()
    token = str(call.request.headers["Webhook-Callback-Url"]).rsplit("/", 1)[1]
    await admin.ask("OwnReceiveCallback", {"pw": "hunter2"}, path={"execution": str(run), "token": token})
    await settle()
    last = (await admin.detail(run))["steps"][3]
    assert last["input"]["payload"] == {"p": "[secret]", "q": "[secret]", "r": "alice"}
    assert last["output"]["response"] == "[secret]"
    assert "hunter2" not in str((await admin.ask("OwnGetReceipt", id=run)).body)


async def test_a_content_coding_may_repeat_a_secret_and_is_masked(admin: OperationsClient) -> None:
    run, _ = await call_with_a_secret(admin, "hunter2")
    admin.engine.far.open[0].answer(400, b"no", coding="hunter2")
    await settle()
    await admin.wait(60)
    admin.engine.far.open[0].answer(200, b"yes", coding="hunter2")
    await settle()
    call = (await admin.detail(run))["steps"][2]
    assert call["attempts"][0]["error"]["content_encoding"] == "[secret]"
    assert call["output"] == {"response": "[secret]", "content_encoding": "[secret]", "status_code": 200}
    assert "hunter2" not in str((await admin.ask("OwnGetReceipt", id=run)).body)
    for asked in ("hunter2", "[secret]"):
        filter_ = {"expressionCel": f"ctx.call.content_encoding == '{asked}'"}
        assert (await admin.ask("OwnPlanBulkTermination", {"filter": filter_})).body["total"] == (asked != "hunter2")


@pytest.mark.parametrize("answer", [{"interlock.secret": "alice"}, {"a": {"interlock.secret": 1}}, "[secret]"], ids=str)
async def test_data_that_look_like_our_masking_are_data(admin: OperationsClient, answer: Any) -> None:
    send = {"stepName": "next", "webhook": {"webhookId": "hook", "payload": {"x": "{{ ctx.call.response }}"}}}
    run = await admin.start(await admin.make(CALL, evaluate("made", x="ctx.call.response"), send), given=answer)
    admin.engine.far.calls[0].answer(200, json.dumps(answer).encode())
    await settle()
    assert admin.engine.far.calls[1].body["payload"]["context"] == {"x": answer}
    detail = await admin.detail(run)
    assert detail["trigger"] == {"given": answer}
    assert detail["steps"][0]["output"]["response"] == answer
    assert detail["steps"][1]["output"] == {"x": answer}
    assert detail["steps"][2]["input"]["payload"] == {"x": answer}


async def test_a_filter_cannot_ask_about_a_secret_or_what_was_made_of_it(admin: OperationsClient) -> None:
    login = evaluate("login", secret=["pin"], pin="815", open="5")
    child = await admin.make(WAIT)
    steps = (login, evaluate("twice", n="ctx.login.pin * 2"), run_automation("go", child, {"pin": "{{ ctx.twice.n }}"}))
    run = await admin.start(await admin.make(*steps, WAIT))
    for expression in ("ctx.login.pin == 815", "ctx.twice.n == 1630", "ctx.trigger.pin == 1630"):
        plan = (await admin.ask("OwnPlanBulkTermination", {"filter": {"expressionCel": expression}})).body
        assert plan["total"] == 0
    found = (await admin.ask("OwnPlanBulkTermination", {"filter": {"expressionCel": "ctx.login.open == 5"}})).body
    assert [row["executionId"] for row in found["executions"]] == [str(run)]
    subject = (await admin.ask("OwnPlanBulkTermination", {"filter": {"subjectUserIds": ["815", "1630"]}})).body
    assert subject["total"] == 0


async def test_a_webhook_or_automation_that_a_secret_names_is_not_shown(admin: OperationsClient) -> None:
    login = evaluate("login", secret=["id"], id="'hunter' + '2'")
    call = {"stepName": "call", "webhook": {"webhookIdCel": "ctx.login.id", "payload": {}}}
    begin = {"stepName": "go", "runAutomation": {"automationTemplateIdCel": "ctx.login.id"}}
    for step in (call, begin):
        run = await admin.start(await admin.make(login, step))
        assert (await admin.detail(run))["state"] == "ERROR"
        assert "hunter2" not in str(await admin.detail(run))
        assert "hunter2" not in str((await admin.ask("OwnGetReceipt", id=run)).body)


MAX_MASKING_CPU_SECONDS = 0.1


def test_masking_is_linear_in_what_is_masked() -> None:
    environment = Environment()
    many = [f"secret-{number}" for number in range(12_000)]
    tree = {f"a{number}": ["{{ ctx.s.pw }}", "{{ ctx.s.open }}"] for number in range(250)}
    template = compile_template(environment, tree, Scope())
    value = {f"a{number}": [many, ["x"]] for number in range(250)}

    def mask() -> None:
        copy = masked_copy(template, value, frozenset({("s", "pw")}))
        assert copy is not None
        masked = masked_members({"pw": many, "texts": many}, frozenset({"pw"}))
        assert copy.shown == {f"a{number}": ["[secret]", ["x"]] for number in range(250)}
        assert copy.secret == set(tree)
        assert masked == {"pw": "[secret]", "texts": many}

    assert METER.least(mask, MAX_MASKING_CPU_SECONDS) < MAX_MASKING_CPU_SECONDS
