"""Valid and invalid bodies: the answer names every problem of a body at once."""

import json
from contextlib import suppress
from itertools import product
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.contract.automations import Automation, CreateAutomationRequest, UpdateAutomationRequest
from interlock.contract.base import Message, shape_of
from interlock.contract.executions import TerminateAutomationRequest
from interlock.contract.guard import MAX_DEPTH, MAX_PROBLEMS
from interlock.contract.parse import MAX_ITEMS, loads, parse
from interlock.contract.search import SearchAutomationExecutionsRequest
from interlock.errors import InvalidArgument
from tests.contract.messages import MESSAGES, short


def problems(model: type[Message], body: Any, prefix: str = "") -> dict[str, str]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(InvalidArgument) as caught:
        parse(model, raw, prefix=prefix)
    return {problem.field: problem.description for problem in caught.value.problems}


def refusal(raw: bytes) -> str:
    with pytest.raises(InvalidArgument) as caught:
        loads(raw)
    return caught.value.message


# ── what clients send ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("raw", [b"", b" \r\n", b"{}"], ids=short)
def test_an_empty_body_is_an_empty_message(raw: bytes) -> None:
    assert parse(TerminateAutomationRequest, raw) == TerminateAutomationRequest()


def test_nulls_that_the_python_sdk_sends_are_absent() -> None:
    body = {
        "context": None,
        "displayName": None,
        "enabled": None,
        "annotations": None,
        "triggers": None,
        "circuitBreakerPeriod": None,
        "automationSteps": [
            {"updateUser": {"userIdCel": "ctx.trigger.user_id", "userRef": None}, "webhook": None},
            {"taskAction": {"close": {"userIdCel": "x", "userRef": None}, "taskTypes": None}},
            {"waitForDuration": {"duration": None}},
        ],
    }
    message = parse(CreateAutomationRequest, json.dumps(body).encode())
    assert message.model_fields_set == {"automation_steps"}
    assert [step.kind and step.kind[0] for step in message.automation_steps] == [
        "updateUser",
        "taskAction",
        "waitForDuration",
    ]


def test_both_spellings_are_read_and_unknown_fields_ignored_at_every_depth() -> None:
    body = {
        "display_name": "a",
        "newField": 1,
        "automation_steps": [{"step_name": "s", "other": [], "send_slack_message": {"channel_name": "c", "x": {}}}],
    }
    message = parse(CreateAutomationRequest, json.dumps(body).encode())
    assert message.display_name == "a"
    slack = message.automation_steps[0].send_slack_message
    assert slack is not None
    assert slack.channel_name == "c"


def test_read_only_fields_of_an_update_are_read_like_any_other() -> None:
    body = {
        "automation": {
            "id": "2a",
            "currentVersion": "7",
            "createdAt": "2026-01-02T03:04:05+01:00",
            "webhookHmacSecret": "x",
        }
    }
    automation = parse(UpdateAutomationRequest, json.dumps(body).encode()).automation
    assert automation is not None
    assert (automation.current_version, automation.created_at) == (7, "2026-01-02T02:04:05Z")


@pytest.mark.parametrize(
    ("sent", "number"), [(12, 12), ("12", 12), (12.0, 12), ("-1", -1), (2**63 - 1, 2**63 - 1), ("0", 0)], ids=short
)
def test_an_int64_is_read_from_text_or_number(sent: object, number: int) -> None:
    message = parse(SearchAutomationExecutionsRequest, json.dumps({"executionId": sent}).encode())
    assert message.execution_id == number


@pytest.mark.parametrize(
    "sent",
    [
        "1_000",
        " 12",
        "12\n",
        "+5",
        "012",
        "1.0",
        "1e3",
        "",
        "١٢",
        "0x1",
        1.5,
        True,
        [],
        {},
        2**63,
        str(2**63),
        "9" * 5000,
        1e18,
    ],
    ids=short,
)
def test_an_int64_in_any_other_form_is_refused(sent: object) -> None:
    assert problems(SearchAutomationExecutionsRequest, {"executionId": sent}).keys() == {"executionId"}


@pytest.mark.parametrize("sent", [-1, 2**32, "x", 1.5, False], ids=short)
def test_a_uint32_keeps_its_range(sent: object) -> None:
    assert problems(CreateAutomationRequest, {"circuitBreakerMax": sent}).keys() == {"circuitBreakerMax"}


def test_an_enum_is_a_known_name_or_the_number_0() -> None:
    assert parse(CreateAutomationRequest, b'{"circuitBreakerPeriod": 0}').circuit_breaker_period.endswith("UNSPECIFIED")
    for sent in ("HOUR", 1, True, 0.0, ""):
        found = problems(CreateAutomationRequest, {"circuitBreakerPeriod": sent})
        assert "CIRCUIT_BREAKER_PERIOD_HOUR" in found["circuitBreakerPeriod"]


# ── what is wrong, and where ─────────────────────────────────────────────────────────────────────────────────────────


def test_all_problems_of_a_body_are_named_at_once() -> None:
    body = {
        "automation": {
            "enabled": 1,
            "displayName": 5,
            "annotations": {"a b": 3},
            "automationSteps": [
                {"stepName": "ok"},
                {"stepName": [], "webhook": {"webhookId": "a", "webhook_id_cel": "b"}},
                None,
                {"waitForDuration": {"duration": "soon"}},
            ],
            "triggers": {},
        }
    }
    found = problems(UpdateAutomationRequest, body)
    assert found["automation.enabled"] == "expected true or false; got a number"
    assert found["automation.displayName"] == "expected text; got a number"
    assert found['automation.annotations["a b"]'] == "expected text; got a number"
    assert found["automation.automationSteps[1].stepName"] == "expected text; got a list"
    assert "webhookId and webhookIdCel exclude each other" in found["automation.automationSteps[1].webhook"]
    assert found["automation.automationSteps[2]"] == "expected an object; got null"
    assert "3600s" in found["automation.automationSteps[3].waitForDuration.duration"]
    assert found["automation.triggers"] == "expected a list; got an object"
    assert len(found) == 8


def test_problems_lie_below_the_prefix() -> None:
    assert problems(Automation, {"enabled": "yes"}, prefix="items[3]").keys() == {"items[3].enabled"}


def test_two_arms_of_a_oneof_are_both_named() -> None:
    found = problems(CreateAutomationRequest, {"automationSteps": [{"webhook": {}, "sendEmail": {}}]})
    assert "sendEmail and webhook" in found["automationSteps[0]"]


def test_three_arms_are_all_named() -> None:
    step = {"createRevokeTasksV2": {"userIdCel": "a", "userRef": {}, "useSubjectUser": False}}
    found = problems(CreateAutomationRequest, {"automationSteps": [step]})
    assert "userIdCel, userRef and useSubjectUser" in found["automationSteps[0].createRevokeTasksV2"]


def test_one_field_in_both_spellings_is_refused() -> None:
    assert "twice" in problems(CreateAutomationRequest, b'{"displayName": "a", "display_name": "b"}')["displayName"]


def test_a_body_that_is_not_an_object_is_refused() -> None:
    bodies: list[Any] = [[], 1, "x", None, True]
    for body in bodies:
        assert "expected an object" in problems(CreateAutomationRequest, body)[""]


def test_a_great_many_problems_are_counted_not_listed() -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(CreateAutomationRequest, json.dumps({"automationSteps": [1] * 1000}).encode())
    assert len(caught.value.problems) == MAX_PROBLEMS + 1
    assert "900 more" in caught.value.problems[-1].description


@pytest.mark.parametrize(
    "body",
    [
        {"automationSteps": [{}] * (MAX_ITEMS + 1)},
        {"automationSteps": [{}] * MAX_ITEMS, "triggers": [{}]},
        {"annotations": {f"k{n}": 1 for n in range(MAX_ITEMS + 1)}},
        {"automationSteps": [{"unenrollFromAllAccessProfiles": {"catalogIds": [1] * MAX_ITEMS}}]},
    ],
    ids=short,
)
def test_the_items_of_a_body_are_limited_before_they_are_looked_at(body: dict[str, object]) -> None:
    (description,) = problems(CreateAutomationRequest, body).values()
    assert f"more than {MAX_ITEMS} items" in description


def test_the_character_u_0000_is_kept_in_a_struct_and_refused_in_a_field() -> None:
    body = {"displayName": "a\0", "annotations": {"k": "\0"}, "context": {"context": {"x": "\0"}}}
    assert problems(CreateAutomationRequest, body).keys() == {"displayName", "annotations.k"}
    kept = parse(CreateAutomationRequest, json.dumps({"context": body["context"]}).encode())
    assert kept.context is not None
    assert kept.context.context == {"x": "\0"}


ODD = (
    {"n\0": {"n\0": "\0"}, "displayName": ["\0"]},
    [{"n\0": "\0"}, "\0", 1, None, [{"n\0": "\0"}]],
    "\0",
    1e300,
    True,
)
"""A value of each JSON type, with the character U+0000 wherever it can be."""


@pytest.mark.parametrize("model", MESSAGES, ids=attrgetter("proto_name"))
def test_a_field_of_any_json_type_is_read_or_refused(model: type[Message]) -> None:
    for name, odd in product(shape_of(model).fields, ODD):
        for value in (odd, [odd], {name: odd}):
            with suppress(InvalidArgument):
                parse(model, json.dumps({name: value}).encode())


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": "x" * 1025}, "reason"),
        ({"reason": "ü" * 513}, "reason"),
        ({"reason": "two\nlines"}, "reason"),
        ({"reason": 5}, "reason"),
        ({"mode": "later"}, "mode"),
        ({"cascade": "true"}, "cascade"),
        ({"deadline": "301s"}, "deadline"),
        ({"deadline": "-1s"}, "deadline"),
        ({"deadline": 10}, "deadline"),
    ],
    ids=short,
)
def test_the_options_of_terminate_have_their_limits(body: dict[str, object], field: str) -> None:
    assert problems(TerminateAutomationRequest, body).keys() == {field}


# ── the guard ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'{"a": NaN}', "a: NaN is not a JSON number"),
        (b'{"a": [1, -Infinity]}', "a[1]: -Infinity is not a JSON number"),
        (b'{"a": 1e999}', "a: the number is too large"),
        (b'{"a": 18446744073709551616}', "a: the whole number does not fit"),
        (b'{"a": -9223372036854775809}', "a: the whole number does not fit"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a: the whole number does not fit"),
        (b'{"a": {"b": 1, "c": 2, "b": 3}}', "a.b: is given twice"),
        (b'{"a": "\\ud800"}', "a: holds half of a surrogate pair"),
        (b'{"a": ["\\uDFFF\\uD800"]}', "a[0]: holds half of a surrogate pair"),
        (b'{"\\ud800": 1}', "the name holds half of a surrogate pair"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a": "\xff"}', "UTF-8; the byte at offset 7"),
        (b'{"a": "\xed\xa0\x80"}', "UTF-8"),
        ("{}".encode("utf-16"), "UTF-8"),
        (b'{"a": 1} x', "not JSON"),
        (b'{"a": "\n"}', "not JSON"),
        (b"{'a': 1}", "line 1, column 2"),
        (b'{"a": 01}', "not JSON"),
        (b'{"a": +1}', "not JSON"),
        (b'{"a"', "not JSON"),
        (b'"\\', "not JSON"),
        (b"\0", "not JSON"),
        (b'{"a": NaN, "b"', "not JSON"),
    ],
    ids=short,
)
def test_poison_is_refused_and_its_place_named(raw: bytes, says: str) -> None:
    assert says in refusal(raw)


def test_every_poisoned_place_is_named() -> None:
    with pytest.raises(InvalidArgument) as caught:
        loads(b'{"a": NaN, "b": {"c": 1, "c": 2}, "d": [1e999]}')
    assert [problem.field for problem in caught.value.problems] == ["a", "b.c", "d[0]"]


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'{"a":[' * 33 + b"]}" * 33,
        b"[[]," * 70 + b"1" + b"]" * 70,
        b'["]",' * 70 + b"1" + b"]" * 70,
        b'["\\"]",' * 70 + b"1" + b"]" * 70,
    ],
    ids=short,
)
def test_nesting_beyond_the_limit_is_refused_before_it_is_parsed(raw: bytes) -> None:
    assert "deeper than 64" in refusal(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
        b'{"a":[' * 32 + b"]}" * 32,
        b"[" + b",".join([b"[[]]"] * 1000) + b"]",
        b'["' + b"[" * 1000 + b'"]',
        b'["\\\\", "' + b"{[" * 1000 + b'\\"[[[["]',
    ],
    ids=short,
)
def test_nesting_within_the_limit_is_read(raw: bytes) -> None:
    assert loads(raw) == json.loads(raw)


@pytest.mark.parametrize(
    "raw",
    [b'"' + b'\\"' * 500_000, b"()" * 500_000, b"][" * 500_000, b'["\\\\' * 200_000, b"[1" * 64 + b"}" * 500_000],
    ids=short,
)
def test_long_nonsense_is_refused_without_delay(raw: bytes) -> None:
    assert refusal(raw)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


@given(JSON, st.booleans())
def test_the_guard_changes_nothing_that_it_lets_through(tree: Any, ascii_only: bool) -> None:
    assert loads(json.dumps(tree, ensure_ascii=ascii_only).encode()) == tree


@given(st.binary(max_size=300) | st.text('[]{}",:\\u0d8N1e9-.', max_size=200).map(str.encode))
def test_whatever_is_sent_is_read_or_refused_clearly(raw: bytes) -> None:
    with suppress(InvalidArgument):
        parse(CreateAutomationRequest, raw)
