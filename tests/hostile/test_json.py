"""JSON from every door: what is accepted can be stored, read again, shown, evaluated and filtered."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.contract.automations import Automation, CreateAutomationRequest
from interlock.contract.base import from_stored, to_stored
from interlock.contract.guard import MAX_DEPTH, MAX_MEMBERS, MAX_STORED_DEPTH, MAX_STORED_MEMBERS, loads
from interlock.contract.parse import parse
from interlock.errors import InvalidArgument
from interlock.expressions.environment import Environment, Scope
from interlock.operations.bulk_terminations.handlers import terminate_next_batch
from interlock.ports import AuditEntry, ClientRow, Role
from interlock.rules.model import SYSTEM, Ref
from interlock.steps.masking import masked_copy, masked_members
from tests.clocks import settle
from tests.engine.worlds import evaluate, run_automation
from tests.expressions.compiled import compile_template
from tests.loops import METER
from tests.operations.operations_client import CALL, WAIT, OperationsClient, operations_client
from tests.store.stores import on_connection, sqlite

pytestmark = pytest.mark.anyio

ODD_NUMBERS = [
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    "-Infinity",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "-9223372036854775809",
    "9007199254740993",
    "9007199254740992.0",
    "1.8446744073709552e+19",
    "1e17",
    "1e300",
    "5e-324",
    "-0",
    "-0.0",
    "9" * 5000,
]
ODD_TEXTS = ['"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"', '"\u2028"', '"{{ ctx.trigger }}"', '"[secret]"']
SCALARS = (
    st.sampled_from(["null", "true", "[]", "{}", '""', *ODD_NUMBERS, *ODD_TEXTS])
    | st.integers(-(2**70), 2**70).map(str)
    | st.floats(allow_nan=False).map(json.dumps)
    | st.text(max_size=5).map(json.dumps)
)
NAMES = st.sampled_from(['"a"', '"b"', '"interlock.secret"', '"version"', '"context"', '"\\u0000"', '"@address"', '""'])
RAW = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(NAMES, inner), max_size=3).map(
            lambda members: "{" + ",".join(f"{name}:{value}" for name, value in members) + "}"
        )
    ),
    max_leaves=6,
)
"""Raw text, so that what no JSON writer would write is there: numbers beyond every type, names given twice."""

DEEP = [f"{'[' * depth}{']' * depth}" for depth in (60, 63, 64, 65, 100, 5_000)]

ECHO = evaluate("echo", x="ctx.trigger.x", same="ctx.trigger.x == ctx.trigger.x")
SEND = {"stepName": "call", "webhook": {"webhookId": "hook", "payload": {"x": "{{ ctx.trigger.x }}", "t": "a"}}}
MIX = {"stepName": "call", "webhook": {"webhookId": "hook", "payload": {"x": "text {{ ctx.trigger.x }}"}}}
AFTER = evaluate("after", x="ctx.call.response")
ACTIVE_RUNS = 4
FILTERS = (
    "ctx.trigger.x == ctx.trigger.x",
    "ctx.call.response == 18446744073709551614u",
    "ctx.exists(name, name == 'call')",
)


@pytest.fixture(scope="module", autouse=True)
def used_once() -> None:
    """Validators are built when first used, which takes longer than any callback of a test may."""
    automation = parse(CreateAutomationRequest, b'{"displayName": "an automation"}')
    from_stored(Automation, to_stored(automation))


def strict(value: Any) -> Any:
    """The value as a client reads it that is as strict as we are."""
    return loads(json.dumps(value).encode(), max_depth=MAX_STORED_DEPTH + 10, max_members=2 * MAX_STORED_MEMBERS)


async def seen_everywhere(admin: OperationsClient, run: int) -> Any:
    """Look at a run in every way there is; its detail."""
    strict((await admin.ask("GetAutomationExecution", id=run)).body)
    await settle()
    strict((await admin.ask("OwnGetReceipt", id=run)).body)
    await settle()
    for expression in FILTERS:
        plan = (await admin.ask("OwnPlanBulkTermination", {"filter": {"expressionCel": expression}})).body
        strict(plan)
        failed = plan.get("expressionFailures", {}).get("count", 0)
        assert plan["total"] + failed <= ACTIVE_RUNS
        await settle()
    return strict(await admin.detail(run))


async def accepted(admin: OperationsClient, automation: str, raw: bytes) -> int | None:
    """A run that was started with this as its `x`; None if that was refused by name."""
    try:
        reply = await admin.ask("ExecuteAutomation", b'{"context":{"context":{"x":' + raw + b"}}}", id=automation)
    except InvalidArgument:
        return None
    await settle()
    return int(reply.body["executionId"])


@given(RAW | st.sampled_from(DEEP))
async def test_what_a_request_brings_is_refused_or_lives_through_the_whole_run(raw: str) -> None:
    async with operations_client() as admin:
        child = run_automation("go", await admin.make(WAIT), {"x": {"y": "{{ ctx.trigger.x }}"}})
        for steps in ((ECHO, SEND, AFTER, WAIT), (MIX, WAIT), (child, WAIT)):
            made = await admin.make(*steps)
            await settle()
            run = await accepted(admin, made, raw.encode())
            if run is None:
                return
            for call in admin.engine.far.open:
                strict(call.body)
                call.answer(200, raw.encode())
            await settle()
            detail = await seen_everywhere(admin, run)
            assert detail["trigger"] == {"x": loads(b"[" + raw.encode() + b"]", max_depth=MAX_DEPTH + 1)[0]}
            assert "INTERNAL" not in str(detail)


@given(RAW | st.sampled_from(DEEP) | st.binary(max_size=8))
async def test_whatever_a_receiver_answers_the_call_was_made_and_the_run_goes_on(raw: str | bytes) -> None:
    body = raw if isinstance(raw, bytes) else raw.encode()
    async with operations_client() as admin:
        run = await admin.start(await admin.make(CALL, AFTER, WAIT), x=1)
        admin.engine.far.calls[0].answer(200, body)
        await settle()
        detail = await seen_everywhere(admin, run)
        step = detail["steps"][0]
        assert (step["outcome"], step["attempts"][0]["status"]) == ("SUCCEEDED", 200)
        assert "INTERNAL" not in str(detail)
        if "response_problem" in step["output"]:
            assert isinstance(step["output"]["response"], str)


@given(RAW | st.sampled_from(DEEP))
async def test_what_a_callback_brings_is_refused_or_lives_on(raw: str) -> None:
    async with operations_client() as admin:
        run = await admin.start(await admin.make(CALL, AFTER, WAIT), x=1)
        call = admin.engine.far.calls[0]
        call.answer(202, b"")
        await settle()
        token = str(call.request.headers["Webhook-Callback-Url"]).rsplit("/", 1)[1]
        path = {"execution": str(run), "token": token}
        with suppress(InvalidArgument):
            await admin.ask("OwnReceiveCallback", b'{"x":' + raw.encode() + b"}", path=path)
        await settle()
        detail = await seen_everywhere(admin, run)
        assert "INTERNAL" not in str(detail)


# --- what an answer beyond the limits becomes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"n": 1e400}', "n: the number is too large"),
        (b'{"n": 18446744073709551616}', "n: the whole number does not fit"),
        (b'{"a": 1, "a": 2}', "a: is given twice"),
        (b'{"a": "\\ud800"}', "half of a surrogate pair"),
        (b"[" * 65 + b"]" * 65, "deeper than 64"),
        (b"\xff", "must be UTF-8"),
        (b"[" + b"1," * MAX_MEMBERS + b"1]", "more than 50,000 items"),
    ],
)
async def test_an_answer_beyond_the_limits_is_kept_as_text_and_says_why(
    admin: OperationsClient, body: bytes, problem: str
) -> None:
    run = await admin.start(await admin.make(CALL, WAIT))
    admin.engine.far.calls[0].answer(200, body)
    await settle()
    [call, _] = (await admin.detail(run))["steps"]
    assert call["outcome"] == "SUCCEEDED"
    assert call["output"]["response"] == body.decode("utf-8", "replace")
    assert problem in call["output"]["response_problem"]


async def test_text_that_is_no_json_is_an_answer_without_a_problem(admin: OperationsClient) -> None:
    run = await admin.start(await admin.make(CALL, WAIT))
    admin.engine.far.calls[0].answer(200, b"fine, {thanks")
    await settle()
    assert (await admin.detail(run))["steps"][0]["output"] == {"response": "fine, {thanks", "status_code": 200}


def nested(inner: Any, levels: int) -> Any:
    for _ in range(levels):
        inner = {"a": inner}
    return inner


async def test_data_that_templates_nest_too_deeply_fail_the_step_by_name(admin: OperationsClient) -> None:
    send = {"stepName": "call", "webhook": {"webhookId": "hook", "payload": nested("{{ ctx.trigger.a }}", 40)}}
    child = await admin.make(send)
    run = await admin.start(
        await admin.make(run_automation("go", child, nested("{{ ctx.trigger.x }}", 40))), x=nested(1, 50)
    )
    [found] = (await admin.detail(run))["children"]
    detail = await seen_everywhere(admin, int(found["id"]))
    assert (detail["state"], detail["steps"][0]["error"]["code"]) == ("ERROR", "DATA_BEYOND_LIMITS")


# --- what reading costs -----------------------------------------------------------------------------------------------

MAX_BODY_BYTES = 1_000_000
MAX_READING_CPU_SECONDS = 0.1
AT_THE_LIMITS = {
    "integers": b"[" + b"1," * (MAX_MEMBERS - 2) + b"1]",
    "long integers": b"[" + b"1234567890123456789," * (MAX_MEMBERS - 2) + b"1]",
    "doubles": b"[" + b"1.234567890123456," * (MAX_MEMBERS - 2) + b"1]",
    "objects": b"[" + b"{}," * (MAX_MEMBERS // 2 - 1) + b"{}]",
    "members": b"{" + b",".join(b'"%x":1' % number for number in range(MAX_MEMBERS - 1)) + b"}",
    "names given twice": b"[" + b'{"a":1,"a":2},' * (MAX_MEMBERS // 3 - 1) + b"1]",
    "no numbers": b"[" + b"NaN," * (MAX_MEMBERS - 2) + b"1]",
    "half pairs": b"[" + b'"\\ud83d",' * (MAX_MEMBERS - 2) + b"1]",
    "pairs": b"[" + b'"\\ud83d\\ude00",' * (MAX_MEMBERS - 2) + b"1]",
    "depth": b"[" + (b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b",") * (MAX_MEMBERS // MAX_DEPTH - 1) + b"1]",
    "too many": b"[" + b"1," * (MAX_BODY_BYTES // 2 - 2) + b"1]",
    "too many lists": b"[" + b"[]," * (MAX_BODY_BYTES // 3 - 1) + b"1]",
    "too deep": b"[" * MAX_BODY_BYTES,
    "a huge integer": b"9" * MAX_BODY_BYTES,
    "a huge double": b"1" * (MAX_BODY_BYTES // 2) + b"." + b"1" * (MAX_BODY_BYTES // 2 - 1),
    "quotes": b'"' + b'\\"' * (MAX_BODY_BYTES // 2 - 1) + b'"',
    "escapes": b'"' + b"\\u0041" * (MAX_BODY_BYTES // 6 - 1) + b'"',
    "blanks": b" " * (MAX_BODY_BYTES - 1) + b"1",
}


@pytest.mark.parametrize("raw", AT_THE_LIMITS.values(), ids=AT_THE_LIMITS)
def test_reading_at_the_limits_is_a_small_slice_of_work(raw: bytes) -> None:
    assert len(raw) <= MAX_BODY_BYTES

    def read() -> None:
        with suppress(InvalidArgument):
            loads(raw)

    assert METER.least(read, MAX_READING_CPU_SECONDS) < MAX_READING_CPU_SECONDS


@pytest.mark.own_work
async def test_what_a_run_makes_of_many_members_can_be_read_again_or_is_refused_by_name(
    admin: OperationsClient,
) -> None:
    payload = {f"a{number}": "{{ ctx.trigger.n }}" for number in range(3)}
    child = await admin.make(evaluate("seen", n="ctx.trigger.a0.size()"), WAIT)
    run = await admin.start(await admin.make(run_automation("go", child, payload)), n=[0] * 19_000)
    [found] = (await admin.detail(run))["children"]
    assert (await admin.detail(int(found["id"])))["steps"][0]["output"] == {"n": 19_000}
    parent = await admin.make(run_automation("go", child, payload))
    refused = (await admin.detail(await admin.start(parent, n=[0] * 21_000)))["steps"][0]
    assert refused["error"]["code"] == "DATA_BEYOND_LIMITS"


# --- what an older release stored -------------------------------------------------------------------------------------

UNREADABLE = [b'{"n":Infinity}', b'{"n":1e400}', b'{"n":1,"n":2}', b"not json", b"\xff", b"[" * 500 + b"]" * 500]


async def spoil(admin: OperationsClient, run: int, column: str, document: bytes) -> None:
    """Put a document into the row as a release without the limits would have."""
    sql = {
        "input": "UPDATE inputs SET input = ? WHERE execution = ?",
        "output": "UPDATE steps SET output = ? WHERE execution = ? AND output IS NOT NULL",
        "late": "UPDATE steps SET late = ? WHERE execution = ?",
        "error": "UPDATE steps SET error = ? WHERE execution = ?",
        "context": "UPDATE definitions SET context = ? WHERE id = (SELECT definition FROM executions WHERE id = ?)",
    }[column]
    await sqlite(admin.engine.store).writer.submit(
        on_connection(lambda connection: connection.execute(sql, (document, run)).fetchall())
    )


@pytest.mark.parametrize("column", ["input", "output", "late", "error"])
@pytest.mark.parametrize("document", UNREADABLE)
async def test_an_unreadable_run_stops_nothing_but_itself(
    admin: OperationsClient, column: str, document: bytes
) -> None:
    client = ClientRow(
        tenant=admin.tenant.id,
        id="ann@localhost",
        display_name="",
        public_key=b"k" * 32,
        roles=(Role.SUPER_ADMIN,),
        created_at=1,
    )
    await admin.services.store.access.create_client(
        client, AuditEntry(actor=SYSTEM, action="client.create", target=client.id)
    )
    automation = await admin.make(evaluate("made", x="ctx.trigger.x"), WAIT)
    first, odd, last = [await admin.start(automation, x=1) for _ in range(3)]
    await spoil(admin, odd, column, document)
    plan = (
        await admin.ask("OwnPlanBulkTermination", {"filter": {"expressionCel": "ctx.trigger.x + ctx.made.x == 2"}})
    ).body
    found = sorted(int(row["executionId"]) for row in plan["executions"])
    if column in {"input", "output"}:
        assert found == [first, last]
        assert (plan["expressionFailures"]["count"], plan["expressionFailures"]["executionId"]) == (1, str(odd))
    else:
        assert found == [first, odd, last]
    strict((await admin.ask("GetAutomationExecution", id=odd)).body)
    strict((await admin.ask("OwnGetReceipt", id=odd)).body)
    assert strict(await admin.detail(odd))["state"] == "WAITING"
    order = {"filter": {"expressionCel": "ctx.trigger.x + ctx.made.x == 2"}}
    given_ = (await admin.ask("OwnCreateBulkTermination", order)).body
    while await terminate_next_batch(admin.services):
        await settle()
    assert given_["bulkTermination"]["total"] == len(found)
    assert [await admin.state(run) for run in (first, last)] == ["TERMINATE", "TERMINATE"]


@pytest.mark.parametrize("document", UNREADABLE)
async def test_an_unreadable_context_of_an_automation_stops_no_other_run(
    admin: OperationsClient, document: bytes
) -> None:
    odd = await admin.start(await admin.make(WAIT, context={"context": {"n": 1}}), x=1)
    fine = await admin.start(await admin.make(WAIT), x=1)
    await spoil(admin, odd, "context", document)
    plan = (await admin.ask("OwnPlanBulkTermination", {"filter": {"expressionCel": "ctx.trigger.x == 1"}})).body
    assert [row["executionId"] for row in plan["executions"]] == [str(fine)]
    assert (plan["expressionFailures"]["count"], plan["expressionFailures"]["executionId"]) == (1, str(odd))
    assert strict(await admin.detail(odd))["state"] == "WAITING"


async def test_numbers_that_an_automation_holds_are_sent_as_they_were_given(admin: OperationsClient) -> None:
    payload = {"max": 2**64 - 1, "odd": 2**53 + 1, "least": -(2**63), "big": 1e17, "half": 0.5}
    step = {"stepName": "call", "webhook": {"webhookId": "hook", "payload": payload}}
    await admin.start(await admin.make(step))
    assert admin.engine.far.calls[-1].body["payload"]["context"] == payload


@pytest.mark.parametrize("column", ["input", "output"])
async def test_an_unreadable_run_ends_with_what_is_wrong_and_not_as_a_defect(
    admin: OperationsClient, column: str
) -> None:
    run = await admin.start(await admin.make(evaluate("made", x="ctx.trigger.x"), WAIT), x=1)
    await spoil(admin, run, column, b'{"n":Infinity}')
    await admin.wait(1209600)
    assert await admin.state(run) == "ERROR"
    assert (await admin.engine.store.executions.steps(Ref(admin.tenant.id, run)))[-1].error is not None
    [*_, step] = (await admin.detail(run))["steps"]
    assert step["error"]["code"] == "DOCUMENT_UNREADABLE"


# --- numbers ----------------------------------------------------------------------------------------------------------


async def where(admin: OperationsClient, expression: str) -> list[int]:
    plan = (await admin.ask("OwnPlanBulkTermination", {"filter": {"expressionCel": expression}})).body
    assert "expressionFailures" not in plan
    return sorted(int(row["executionId"]) for row in plan["executions"])


async def test_a_filter_by_a_large_number_finds_that_number_alone(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    numbers = [2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1, -(2**63), -(2**63) + 1]
    runs = {number: await admin.start(automation, account=number) for number in numbers}
    for number in numbers:
        written = f"{number}u" if number >= 2**63 else str(number)
        assert await where(admin, f"ctx.trigger.account == {written}") == [runs[number]]
        assert await where(admin, f"ctx.trigger.account in [{written}, 5]") == [runs[number]]
        above = sorted(run for other, run in runs.items() if other > number)
        assert await where(admin, f"ctx.trigger.account > {written}") == above
    assert await where(admin, "ctx.trigger.account == 9007199254740992.0") == [runs[2**53]]


async def test_a_template_writes_every_integer_with_all_its_digits(admin: OperationsClient) -> None:
    payload = {"text": "id {{ ctx.trigger.n }}", "alone": "{{ ctx.trigger.n }}", "list": "{{ [ctx.trigger.n] }}"}
    automation = await admin.make({"stepName": "call", "webhook": {"webhookId": "hook", "payload": payload}})
    for number in (2**53 - 1, 2**53 + 1, 2**63, 2**64 - 1, -(2**63)):
        await admin.start(automation, n=number)
        sent = admin.engine.far.calls[-1].body["payload"]["context"]
        assert sent["text"] == f"id {number}"
        assert str(sent["alone"]) == str(sent["list"][0]) == str(number)


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
async def test_an_integer_beyond_64_bits_is_refused_where_it_stands(admin: OperationsClient, number: int) -> None:
    automation = await admin.make(WAIT)
    with pytest.raises(InvalidArgument, match=r"context\.context\.a\[0\]: the whole number does not fit into 64 bits"):
        await admin.start(automation, a=[number])


# --- subjects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["user_id", "userId"])
@pytest.mark.parametrize("number", [0, 12345, -7, 2**53 + 1, 2**64 - 1])
async def test_a_run_about_a_number_is_found_by_its_digits(admin: OperationsClient, name: str, number: int) -> None:
    automation = await admin.make(WAIT)
    run, _ = await admin.start(automation, **{name: number}), await admin.start(automation, **{name: number // 2 + 1})
    plan = (await admin.ask("OwnPlanBulkTermination", {"filter": {"subjectUserIds": [str(number)]}})).body
    assert [row["executionId"] for row in plan["executions"]] == [str(run)]


@pytest.mark.parametrize("name", ["user_id", "userId"])
@pytest.mark.parametrize("value", [True, 1.5, 7.0, ["u1"], {"id": "u1"}, "u\0001", "\0"])
async def test_a_subject_that_is_neither_text_nor_integer_is_refused(
    admin: OperationsClient, name: str, value: Any
) -> None:
    with pytest.raises(InvalidArgument, match=rf"context\.context\.{name}: names the subject"):
        await admin.start(await admin.make(WAIT), **{name: value})
    with pytest.raises(InvalidArgument, match=rf"context\.context\.{name}: names the subject"):
        await admin.make(WAIT, context={"context": {name: value}})


async def test_a_child_with_an_unusable_subject_is_not_started(admin: OperationsClient) -> None:
    child = await admin.make(WAIT)
    run = await admin.start(
        await admin.make(run_automation("go", child, {"user_id": "{{ ctx.trigger.who }}"})), who=[1]
    )
    [step] = (await admin.detail(run))["steps"]
    assert step["error"]["code"] == "INVALID_SUBJECT"
    assert not (await admin.detail(run)).get("children")


async def test_a_child_about_a_number_is_found_by_its_digits(admin: OperationsClient) -> None:
    child = await admin.make(WAIT)
    await admin.start(await admin.make(run_automation("go", child, {"user_id": "{{ ctx.trigger.who }}"})), who=12345)
    plan = (await admin.ask("OwnPlanBulkTermination", {"filter": {"subjectUserIds": ["12345"]}})).body
    assert [row["automationTemplateId"] for row in plan["executions"]] == [child]


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
