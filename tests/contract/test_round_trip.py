"""What was sent comes back: through the wire, through the store, through the published Python SDK."""

import json
from pathlib import Path
from typing import Any

import pytest
from conductorone_sdk.models import shared
from conductorone_sdk.utils import unmarshal_json
from hypothesis import given
from hypothesis import strategies as st

from interlock.contract import webhooks
from interlock.contract.automations import Automation, CreateAutomationRequest, GetAutomationResponse
from interlock.contract.base import Message, from_stored, pack_any, to_json, to_stored, to_wire, with_fields
from interlock.contract.executions import (
    AutomationExecution,
    AutomationExecutionView,
    GetAutomationExecutionResponse,
    ListAutomationExecutionsResponse,
)
from interlock.contract.parse import parse, read
from interlock.contract.refs import AutomationContext
from interlock.contract.search import SearchAutomationExecutionsResponse
from interlock.contract.times import Duration, Timestamp
from tests.contract.messages import MESSAGES, trees

EXAMPLES = sorted((Path(__file__).parents[1] / "fixtures" / "examples").glob("*.json"))
STRUCTS = {"context", "payload", "argsTemplate", "details", "expanded"}


def assert_null_free(tree: Any) -> None:
    assert tree is not None
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name in STRUCTS and not (name == "context" and isinstance(value, dict) and "context" in value):
                continue
            assert_null_free(value)
    elif isinstance(tree, list):
        for item in tree:
            assert_null_free(item)


def presence(message: Message) -> dict[str, Any]:
    """Which fields were given, at every depth."""

    def below(value: Any) -> Any:
        if isinstance(value, Message):
            return presence(value)
        return [below(item) for item in value] if isinstance(value, tuple) else None

    return {name: below(getattr(message, name)) for name in message.model_fields_set}


@pytest.mark.parametrize("model", MESSAGES, ids=lambda model: model.proto_name)
@given(data=st.data())
def test_any_message_survives_the_wire_and_the_store(model: type[Message], data: st.DataObject) -> None:
    message = parse(model, json.dumps(data.draw(trees(model))).encode())
    emitted = to_wire(message)
    assert_null_free(emitted)
    assert json.loads(to_json(message)) == emitted
    assert read(model, emitted) == message
    assert parse(model, to_json(message)) == message
    stored = from_stored(model, to_stored(message))
    assert stored == message
    assert presence(stored) == presence(message)


def included(given: Any, emitted: Any) -> bool:
    """Whether everything in `given` is in `emitted`; the rest of `emitted` must be zero values."""
    if isinstance(given, dict):
        return all(included(value, emitted.get(name)) for name, value in given.items())
    if isinstance(given, list):
        return len(given) == len(emitted) and all(map(included, given, emitted))
    return bool(given == emitted)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_comes_back_identical_where_given(path: Path) -> None:
    body = path.read_bytes()
    message = parse(CreateAutomationRequest, body)
    assert included(json.loads(body), to_wire(message))
    assert from_stored(CreateAutomationRequest, to_stored(message)) == message


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_published_sdk_reads_every_example(path: Path) -> None:
    request = to_wire(parse(CreateAutomationRequest, path.read_bytes()))
    automation = read(Automation, {**request, "id": "2abc", "currentVersion": "1", "createdAt": "2026-01-02T03:04:05Z"})
    body = to_json(GetAutomationResponse(automation=automation)).decode()
    answer = unmarshal_json(body, shared.GetAutomationResponse)
    assert answer.automation is not None
    assert answer.automation.current_version == 1
    steps = answer.automation.automation_steps
    assert steps is not None
    assert [step.step_name for step in steps] == [step.step_name for step in automation.automation_steps]
    known = {info.alias or name for name, info in shared.AutomationStep.model_fields.items()}
    for step, ours in zip(steps, to_wire(automation)["automationSteps"], strict=True):
        theirs = json.loads(step.model_dump_json(by_alias=True))
        assert theirs.keys() == ours.keys() & known  # that SDK drops, without a word, a message that it cannot read
        assert included(theirs, ours)


def test_the_published_sdk_reads_executions() -> None:
    execution = AutomationExecution(
        id=2**53 - 1,
        automation_template_id="2abc",
        current_version=3,
        state="AUTOMATION_EXECUTION_STATE_TERMINATE",
        context=AutomationContext(context={"n": None, "list": [1, None]}),
        created_at=Timestamp("2026-01-02T03:04:05.678901Z"),
        duration=Duration("3.500s"),
    )
    view = AutomationExecutionView(automation_execution=execution, automation_path="$.expanded[0]")
    one = unmarshal_json(
        to_json(
            GetAutomationExecutionResponse(
                automation_execution=execution, view=view, expanded=(pack_any(Automation(id="2abc")),)
            )
        ).decode(),
        shared.GetAutomationExecutionResponse,
    )
    assert one.automation_execution is not None
    assert one.automation_execution.id == 2**53 - 1
    assert one.automation_execution.current_version == 3
    assert one.automation_execution.duration == "3.500s"
    page = unmarshal_json(
        to_json(ListAutomationExecutionsResponse(automation_executions=(execution,))).decode(),
        shared.ListAutomationExecutionsResponse,
    )
    assert page.next_page_token == ""
    found = unmarshal_json(
        to_json(SearchAutomationExecutionsResponse(list=(view,))).decode(), shared.SearchAutomationExecutionsResponse
    )
    assert found.list is not None


def test_the_published_sdk_reads_webhooks() -> None:
    webhook = webhooks.Webhook(
        id="2wh",
        display_name="gate",
        url="https://example.com/hook",
        callback_timeout=Duration("691200s"),
        created_at=Timestamp("2026-01-02T03:04:05Z"),
    )
    page = unmarshal_json(to_json(webhooks.ListResponse(list=(webhook,))).decode(), shared.WebhooksServiceListResponse)
    assert page.list is not None
    assert [(item.id, item.url) for item in page.list] == [("2wh", "https://example.com/hook")]


def test_empty_marker_messages_come_back_empty() -> None:
    step = {"createRevokeTasksV2": {"inclusionAll": {}, "exclusionNone": {}, "useSubjectUser": True}}
    body = {
        "automationSteps": [step, {"generatePassword": {}}],
        "triggers": [{"manual": {}}, {"webhook": {"hmac": {}}}],
    }
    emitted = to_wire(read(CreateAutomationRequest, body))
    assert emitted["automationSteps"][0]["createRevokeTasksV2"]["inclusionAll"] == {}
    assert emitted["automationSteps"][1]["generatePassword"] == {"passwordPolicyId": ""}
    assert emitted["triggers"] == [{"manual": {}}, {"webhook": {"hmac": {}, "listenerId": ""}}]


def test_nulls_inside_a_struct_come_back_and_nowhere_else() -> None:
    payload = {"k": [1, None, {"x": None}], "empty": {}}
    body = {"automationSteps": [{"webhook": {"payload": payload, "webhookId": "wh1", "webhookIdCel": None}}]}
    (step,) = to_wire(read(CreateAutomationRequest, body))["automationSteps"]
    assert step["webhook"] == {"payload": payload, "webhookId": "wh1"}


def test_a_legacy_form_keeps_its_members_but_not_its_nulls() -> None:
    form = {"id": "f", "fields": [{"name": "n", "stringField": {"rules": {"min_len": "3"}, "passwordField": None}}]}
    (trigger,) = to_wire(read(CreateAutomationRequest, {"triggers": [{"form": {"form": form}}]}))["triggers"]
    assert trigger["form"]["form"]["fields"] == [{"name": "n", "stringField": {"rules": {"min_len": "3"}}}]


def test_what_was_given_is_told_apart_from_what_was_not() -> None:
    given_false = parse(Automation, b'{"enabled": false, "description": null}')
    assert given_false == parse(Automation, b"{}")
    assert given_false.given("enabled")
    assert not given_false.given("description")


def test_a_change_makes_a_copy_and_a_misspelt_field_is_an_error() -> None:
    automation = Automation(display_name="a")
    assert with_fields(automation, display_name="b").display_name == "b"
    assert automation.display_name == "a"
    with pytest.raises(TypeError, match="displayname"):
        with_fields(automation, displayname="b")
