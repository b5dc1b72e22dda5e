"""The messages have the fields, oneofs, enums and zero values that C1's clients know."""

import json
from pathlib import Path
from typing import Any

import pytest

from interlock.contract import enums
from interlock.contract.base import Message, shape_of, to_wire
from interlock.contract.enums import EnumNames
from interlock.contract.steps import STEP_KINDS, AutomationStep
from interlock.contract.triggers import LEGACY_TRIGGER_KINDS, TRIGGER_KINDS, TRIGGER_TYPES, AutomationTrigger
from tests.contract.messages import MESSAGES

PUBLISHED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "fixtures" / "contract-fields.json").read_bytes())
BY_NAME = {model.proto_name: model for model in MESSAGES}
ADDITIONS = {
    "c1.api.automations.v1.TerminateAutomationRequestInput": {"reason", "mode", "cascade", "deadline"},
    "c1.api.automations.v1.DeleteAutomationRequestInput": {"terminateRunning"},
    "c1.api.automations.v1.ExecuteAutomationRequestInput": {"isDraft", "lease"},
}


def test_every_message_has_its_own_name() -> None:
    assert "" not in BY_NAME
    assert len(BY_NAME) == len(MESSAGES)


@pytest.mark.parametrize("name", PUBLISHED["messages"])
def test_a_message_has_the_published_fields_and_oneofs(name: str) -> None:
    published, shape = PUBLISHED["messages"][name], shape_of(BY_NAME[name])
    assert {field.wire for field in shape.fields.values()} == published["fields"].keys() | ADDITIONS.get(name, set())
    assert {oneof: sorted(wire for wire, _ in arms) for oneof, arms in shape.arms.items()} == published["oneofs"]


@pytest.mark.parametrize("name", PUBLISHED["messages"])
def test_unset_scalars_enums_and_lists_are_emitted_and_unset_messages_times_and_arms_are_not(name: str) -> None:
    published = PUBLISHED["messages"][name]["fields"]
    expected = {field: zero for field, zero in published.items() if zero != "(absent)"}
    emitted = to_wire(BY_NAME[name]())
    assert {field: value for field, value in emitted.items() if field in published} == expected


@pytest.mark.parametrize("name", PUBLISHED["enums"])
def test_an_enum_has_the_published_names(name: str) -> None:
    known = {value.name: value.values for value in vars(enums).values() if isinstance(value, EnumNames)}
    assert list(known[name]) == PUBLISHED["enums"][name]


def test_a_step_names_its_kind() -> None:
    step = AutomationStep.model_validate({"stepName": "w", "waitForDuration": {"duration": "5s"}})
    assert step.kind == ("waitForDuration", step.wait_for_duration)
    assert AutomationStep().kind is None
    assert len(STEP_KINDS) == 21


def test_a_trigger_names_its_kind_and_each_kind_has_a_type() -> None:
    trigger = AutomationTrigger.model_validate({"manual": {}})
    assert trigger.kind == ("manual", trigger.manual)
    assert len(TRIGGER_KINDS) == 12
    assert TRIGGER_TYPES.keys() == {*TRIGGER_KINDS, *LEGACY_TRIGGER_KINDS}
    assert set(TRIGGER_TYPES.values()) <= set(enums.TRIGGER_TYPE.values)


@pytest.mark.parametrize("model", MESSAGES, ids=lambda model: model.proto_name)
def test_every_message_has_a_json_schema(model: type[Message]) -> None:
    assert model.model_json_schema()["type"] == "object"
