"""What the triggers of an automation say together, and what each of their expressions has to return."""

from __future__ import annotations

import json
from typing import Any, Self

import pytest

from interlock.contract.parse import parse
from interlock.contract.triggers import AutomationTrigger, ScheduleTrigger
from interlock.triggers import manual
from interlock.triggers.kind import Trigger, TriggerContext, TriggerKind
from interlock.triggers.registry import RELEASED, TriggerCompilation, TriggerRegistry
from tests.engine.worlds import ENVIRONMENT

DAY = 86_400


class OnceTrigger(Trigger[ScheduleTrigger]):
    """Starts a run at the number that its schedule consists of; at no time without one."""

    kind = "schedule"

    def __init__(self, at: int | None) -> None:
        self.at = at

    @classmethod
    def compile(cls, message: ScheduleTrigger, context: TriggerContext) -> Self | None:
        if message.cron_spec == "never":
            return cls(None)
        if not message.cron_spec.isdigit():
            context.problem("cronSpec", "is no number")
            return None
        return cls(int(message.cron_spec))

    def next_fire_at(self, after: int) -> int | None:
        return self.at if self.at is not None and self.at > after else None


ONCE: TriggerKind[ScheduleTrigger] = TriggerKind(OnceTrigger, ScheduleTrigger)
BOTH = TriggerRegistry([manual.kind(), ONCE])


def at(when: str) -> dict[str, Any]:
    return {"schedule": {"cronSpec": when}}


def compiled(*given: dict[str, Any], registry: TriggerRegistry = BOTH) -> TriggerCompilation:
    messages = [parse(AutomationTrigger, json.dumps(trigger).encode()) for trigger in given]
    return registry.compile(messages, ENVIRONMENT)


MANUAL: dict[str, Any] = {"manual": {}}


@pytest.mark.parametrize(
    ("given", "on_demand"),
    [([], True), ([MANUAL], True), ([at("5")], False), ([MANUAL, at("5")], False), ([at("5"), MANUAL], False)],
)
def test_automation_is_on_demand_unless_a_trigger_starts_runs(given: list[dict[str, Any]], on_demand: bool) -> None:
    assert compiled(*given).on_demand is on_demand


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ([], None),
        ([MANUAL], None),
        ([at("never")], None),
        ([at("50")], 50),
        ([at("70"), at("50"), at("60")], 50),
        ([at("never"), MANUAL, at("50")], 50),
        ([at("10"), at("50")], 50),
        ([at("10")], None),
    ],
)
def test_next_time_is_the_first_one_of_all_triggers(given: list[dict[str, Any]], first: int | None) -> None:
    assert compiled(*given).next_fire_at(10) == first


def test_manual_triggers_are_released() -> None:
    assert "manual" in TriggerRegistry(RELEASED).released


def test_registry_starts_runs_if_one_of_its_kinds_does() -> None:
    assert BOTH.starts_runs
    assert TriggerRegistry([ONCE]).starts_runs
    assert not TriggerRegistry([manual.kind()]).starts_runs
    assert not TriggerRegistry([]).starts_runs


def test_every_trigger_is_compiled_although_one_before_it_is_wrong() -> None:
    found = compiled({}, at("x"), {"userCreated": {}}, at("5"), MANUAL, at("y"))
    assert [problem.field for problem in found.problems] == [
        "triggers[0]",
        "triggers[1].schedule.cronSpec",
        "triggers[5].schedule.cronSpec",
    ]
    assert [problem.field for problem in found.unavailable] == ["triggers[2].userCreated"]
    assert [trigger.kind for trigger in found.triggers] == ["schedule", "manual"]


RESULTS = [
    ("schedule", "condition", "true", "1"),
    ("schedule", "skipIfTrueCel", "true", "1"),
    ("appUserCreated", "appIdCel", "'a'", "1"),
    ("appUserUpdated", "appIdCel", "'a'", "true"),
    ("grantFound", "grantTriggerFilter.inclusionListCel.appEntitlementRefsCel", "[]", "true"),
    ("grantDeleted", "grantTriggerFilter.entitlementFilter.appEntitlementRefsCel", "[]", "'a'"),
]
"""A member, an expression with a result that fits it, and one with another."""


@pytest.mark.parametrize(("kind", "member", "fits", "other"), RESULTS)
def test_expression_has_to_return_what_its_member_needs(kind: str, member: str, fits: str, other: str) -> None:
    def problems(source: str) -> list[str]:
        value: Any = source
        for name in reversed(member.split(".")):
            value = {name: value}
        return [problem.field for problem in compiled({kind: value}, registry=TriggerRegistry(RELEASED)).problems]

    assert problems(fits) == []
    assert problems(other) == [f"triggers[0].{kind}.{member}"]


@pytest.mark.parametrize(("member", "problem"), [("skipIfTrueCel", False), ("condition", True)])
def test_only_a_condition_is_limited_to_the_trigger(member: str, problem: bool) -> None:
    """An expression beside the condition is checked as that of a step."""
    found = compiled({"schedule": {"cronSpec": "5", member: "ctx.a.n > 1"}})
    assert any("trigger condition" in each.description for each in found.problems) is problem
