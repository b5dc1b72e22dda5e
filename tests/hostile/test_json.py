"""Odd JSON from every source: what is accepted can be stored, read again, shown, evaluated and filtered."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.contract.guard import MAX_DEPTH, MAX_MEMBERS, loads
from interlock.errors import InvalidArgument
from tests.clocks import settle
from tests.engine.worlds import evaluate, run_automation
from tests.hostile.json_runs import strict
from tests.loops import METER
from tests.operations.operations_client import CALL, WAIT, OperationsClient, operations_client

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
