"""The model of the clients that cannot run here says what they were seen to do."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest

from interlock.contract.automations import (
    Automation,
    ExecuteAutomationResponse,
    GetAutomationResponse,
    ListAutomationsResponse,
)
from interlock.contract.base import Message, to_wire
from interlock.contract.executions import GetAutomationExecutionResponse, TerminateAutomationResponse
from interlock.contract.parse import read
from tests.compatibility.forms import GO, TYPESCRIPT, lost, refusals, zeroes_missing
from tests.compatibility.transcripts import load

Case = tuple[type[Message], int, str, str]

_STATUS: Final = re.compile(r"(?:200 )?(\d{3})(?: term| empty| status json| text)?")
_MEDIA: Final = re.compile(r"(?:200 )?ctype (.+)")
_FIELD: Final = re.compile(r"(exec )?(\w+)=(.*)", re.DOTALL)
_JSON: Final = "application/json"
_ON_EXECUTION: Final = {"state"}
_STEP: Final[dict[str, Any]] = {
    "step duration number": {"waitForDuration": {"duration": 5}},
    "duration number": {"waitForDuration": {"duration": 5}},
    "step unknown kind": {"somethingNew": {}},
    "step null": None,
}
_TRIGGER: Final[dict[str, Any]] = {
    "runDelayed {}": {"usageBasedRevocation": {"runDelayed": {}}},
    "runDelayed null": {"usageBasedRevocation": {"runDelayed": None}},
}
_AUTOMATION: Final[dict[str, Any]] = {
    "unknown fields": {"somethingNew": 1},
    "lists null": {"automationSteps": None, "triggers": None},
    "enabled string": {"enabled": "true"},
    "context null inner": {"context": {"context": None}},
}
_WHOLE: Final[dict[str, tuple[type[Message], Any]]] = {
    "200 {}": (GetAutomationResponse, {}),
    "200 null": (TerminateAutomationResponse, None),
    "200 []": (TerminateAutomationResponse, []),
    "automation null": (GetAutomationResponse, {"automation": None}),
    "view null": (GetAutomationExecutionResponse, {"view": None}),
    "expanded null": (GetAutomationExecutionResponse, {"expanded": None}),
    "expanded any": (GetAutomationExecutionResponse, {"expanded": [{"@type": "x"}]}),
    "list null": (ListAutomationsResponse, {"list": None}),
}
# Redirects and repetitions say nothing about a reply's form, and of two cases it was not recorded what the reply was.
_OTHER: Final = re.compile(r"retry.*|301.*|list \{\}|webhookHmacSecret null.*")


def case_of(label: str) -> Case | None:
    """The reply behind the label of a recorded case."""
    if _OTHER.fullmatch(label):
        return None
    if match := _STATUS.fullmatch(label):
        return GetAutomationResponse, int(match[1]), _JSON, "" if "empty" in label else "{}"
    if label == "200 empty body":
        return GetAutomationResponse, 200, _JSON, ""
    if match := _MEDIA.fullmatch(label):
        return GetAutomationResponse, 200, "" if match[1] == "none" else match[1], "{}"
    if label in _WHOLE:
        model, tree = _WHOLE[label]
        return model, 200, _JSON, json.dumps(tree)
    if label in _STEP:
        return _automation({"automationSteps": [_STEP[label]]})
    if label in _TRIGGER:
        return _automation({"triggers": [_TRIGGER[label]]})
    if label in _AUTOMATION:
        return _automation(_AUTOMATION[label])
    match = _FIELD.fullmatch(label)
    assert match is not None, label
    value = None if match[3] == "<nil>" else json.loads(match[3])
    if match[2] == "executionId":
        return ExecuteAutomationResponse, 200, _JSON, json.dumps({"executionId": value})
    if match[1] or match[2] in _ON_EXECUTION:
        tree = {"automationExecution": {match[2]: value}}
        return GetAutomationExecutionResponse, 200, _JSON, json.dumps(tree)
    return _automation({match[2]: value})


def _automation(tree: dict[str, Any]) -> Case:
    return GetAutomationResponse, 200, _JSON, json.dumps({"automation": tree})


CASES = [
    (reader, recorded["case"], case, recorded["outcome"])
    for reader, client in ((TYPESCRIPT, "typescript-1.2.2"), (GO, "go-1.26.1"))
    for recorded in load("accepted-replies")["cases"][client]
    if (case := case_of(recorded["case"])) is not None
]


@pytest.mark.parametrize(("reader", "label", "case", "outcome"), CASES, ids=[f"{case[0]}: {case[1]}" for case in CASES])
def test_the_model_accepts_what_the_client_accepted(reader: str, label: str, case: Case, outcome: str) -> None:
    assert (refusals(reader, *case) == []) == outcome.startswith("accepted"), refusals(reader, *case)


def test_a_null_that_typescript_rejects_is_noticed_at_any_depth() -> None:
    password = {"generatePassword": {"policy": None}}
    body = json.dumps({"automation": {"automationSteps": [password]}})
    assert refusals(TYPESCRIPT, GetAutomationResponse, 200, _JSON, body) == [
        "automation.automationSteps[0].generatePassword.policy is null"
    ]
    assert refusals(GO, GetAutomationResponse, 200, _JSON, body) == []


def test_a_missing_zero_value_is_noticed_at_any_depth() -> None:
    whole = to_wire(GetAutomationResponse(automation=read(Automation, {"automationSteps": [{"sendEmail": {}}]})))
    assert zeroes_missing(GetAutomationResponse, whole) == []
    del whole["automation"]["automationSteps"][0]["sendEmail"]["useSubjectUser"]
    del whole["automation"]["triggers"]
    assert zeroes_missing(GetAutomationResponse, whole) == [
        "automation.triggers",
        "automation.automationSteps[0].sendEmail.useSubjectUser",
    ]


@pytest.mark.parametrize(
    ("given", "emitted", "expected"),
    [
        ({"a": None, "b": 1}, {"b": 1, "c": 0}, []),
        ({"a": [{"b": ""}]}, {"a": [{}]}, ["a[0].b"]),
        ({"a": False}, {"a": 0}, ["a"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a"]),
        ({"at": "2026-01-02T03:04:05.000Z"}, {"at": "2026-01-02T03:04:05Z"}, []),
        ({"duration": "3600s"}, {"duration": "3600.000s"}, ["duration"]),
    ],
)
def test_what_did_not_come_back_is_named(given: Any, emitted: Any, expected: list[str]) -> None:
    assert lost(given, emitted) == expected
