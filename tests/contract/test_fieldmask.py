"""Update masks: two forms, two spellings, and only what may be changed."""

import json

import pytest

from interlock.contract.automations import Automation, UpdateAutomationRequest
from interlock.contract.base import to_wire
from interlock.contract.fieldmask import FieldMask, apply, check, copy_fields
from interlock.contract.parse import parse
from interlock.contract.refs import AutomationContext, AutomationTemplateRef
from interlock.contract.steps import RunAutomation
from interlock.errors import InvalidArgument
from tests.contract.messages import short

MUTABLE = {
    "display_name",
    "description",
    "enabled",
    "context",
    "annotations",
    "automation_steps",
    "circuit_breaker_max",
}


def mask(sent: object) -> FieldMask | None:
    return parse(UpdateAutomationRequest, json.dumps({"updateMask": sent}).encode()).update_mask


@pytest.mark.parametrize(
    "sent",
    [
        "displayName,circuit_breaker_max",
        " displayName , circuit_breaker_max,,displayName",
        {"paths": ["displayName", "circuit_breaker_max"]},
    ],
    ids=short,
)
def test_a_mask_is_text_or_an_object_of_paths(sent: object) -> None:
    read = mask(sent)
    assert read is not None
    assert read.paths == ("displayName", "circuit_breaker_max")
    assert to_wire(UpdateAutomationRequest(update_mask=read))["updateMask"] == "displayName,circuit_breaker_max"


def test_no_mask_and_an_empty_one_are_both_false() -> None:
    assert mask(None) is None
    empty: list[object] = ["", " , ", {}, {"paths": []}, {"paths": None}]
    assert not any(map(mask, empty))


@pytest.mark.parametrize("sent", [5, ["displayName"], {"paths": "displayName"}, {"paths": [1]}], ids=short)
def test_any_other_form_is_refused(sent: object) -> None:
    with pytest.raises(InvalidArgument, match="updateMask"):
        mask(sent)


def test_paths_that_cannot_be_changed_are_named_with_the_reason() -> None:
    paths = FieldMask.of(
        ["displayName", "nope", "createdAt", "automationSteps.stepName", "annotations.key", "context.x"]
    )
    found = [str(problem) for problem in check(paths, Automation, MUTABLE)]
    reasons = [
        "nope",
        "createdAt is set by the server",
        "automationSteps is a list",
        "annotations can only",
        "no such field",
    ]
    assert len(found) == len(reasons)
    for problem, reason in zip(found, reasons, strict=True):
        assert reason in problem
        assert "circuitBreakerMax" in problem


def test_masked_fields_are_taken_or_cleared_and_others_stay() -> None:
    before = Automation(display_name="a", description="d", enabled=True, circuit_breaker_max=5)
    patch = Automation(display_name="b", description="ignored")
    after = apply(before, patch, FieldMask("display_name,enabled"), MUTABLE)
    assert after == Automation(display_name="b", description="d", enabled=False, circuit_breaker_max=5)


def test_a_path_into_a_message_changes_that_part_only() -> None:
    patch = Automation(context=AutomationContext(context={"k": 1}))
    assert apply(Automation(), patch, FieldMask("context.context"), MUTABLE).context == patch.context
    cleared = apply(patch, Automation(), FieldMask("context.context"), MUTABLE)
    assert cleared.context == AutomationContext()


def test_a_star_stands_for_all_that_may_be_changed() -> None:
    before = Automation(id="2a", display_name="a", annotations={"k": "v"})
    assert check(FieldMask("*"), Automation, MUTABLE) == []
    assert apply(before, Automation(), FieldMask("*"), MUTABLE) == Automation(id="2a")
    assert copy_fields(before, Automation(), {"annotations"}) == Automation(id="2a", display_name="a")


def test_setting_one_arm_of_a_oneof_clears_the_others() -> None:
    before = RunAutomation(automation_template_id_cel="x")
    patch = RunAutomation(automation_template_ref=AutomationTemplateRef(id="2a"))
    assert apply(before, patch, FieldMask("automationTemplateRef"), set()) == patch
