"""The registry of trigger kinds: what starts runs, what does not, and which expressions are compiled."""

from __future__ import annotations

import json
from typing import Any, Self

import pytest

from interlock.contract.base import Message
from interlock.contract.parse import parse
from interlock.contract.triggers import LEGACY_TRIGGER_KINDS, TRIGGER_KINDS, AutomationTrigger, ScheduleTrigger
from interlock.triggers import manual
from interlock.triggers.kind import Trigger, TriggerContext, TriggerKind
from interlock.triggers.registry import RELEASED, TriggerRegistry, expressions
from tests.engine.worlds import ENVIRONMENT

BROKEN = "1 +"

EXPRESSIONS = (
    ("appUserCreated", {"appIdCel": BROKEN}, "appIdCel"),
    ("appUserCreated", {"appId": "x", "condition": BROKEN}, "condition"),
    ("appUserUpdated", {"appIdCel": BROKEN}, "appIdCel"),
    ("schedule", {"condition": BROKEN}, "condition"),
    ("schedule", {"skipIfTrueCel": BROKEN}, "skipIfTrueCel"),
    ("scheduleAppUser", {"condition": BROKEN}, "condition"),
    ("userCreated", {"condition": BROKEN}, "condition"),
    ("userProfileChange", {"condition": BROKEN}, "condition"),
    (
        "grantFound",
        {"grantTriggerFilter": {"inclusionListCel": {"appEntitlementRefsCel": BROKEN}}},
        "grantTriggerFilter.inclusionListCel.appEntitlementRefsCel",
    ),
    (
        "grantDeleted",
        {"grantTriggerFilter": {"entitlementFilter": {"appEntitlementRefsCel": BROKEN}}},
        "grantTriggerFilter.entitlementFilter.appEntitlementRefsCel",
    ),
)


class DailyTrigger(Trigger[ScheduleTrigger]):
    """A kind as another engineer adds it: one class, and one function that makes the kind."""

    kind = "schedule"

    def __init__(self, programs: frozenset[str]) -> None:
        self.programs = programs

    @classmethod
    def compile(cls, message: ScheduleTrigger, context: TriggerContext) -> Self | None:
        if not message.cron_spec:
            context.problem("cronSpec", "is required")
            return None
        return cls(frozenset(context.programs))


def schedule() -> TriggerKind[ScheduleTrigger]:
    return TriggerKind(DailyTrigger, ScheduleTrigger)


def triggers(*given: dict[str, Any]) -> list[AutomationTrigger]:
    return [parse(AutomationTrigger, json.dumps(trigger).encode()) for trigger in given]


def members(message: type[Message], below: tuple[type[Message], ...] = ()) -> set[str]:
    """The names of all members with an expression in a message and in those that it holds."""
    found: set[str] = set()
    for name, field in message.model_fields.items():
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, Message) and kind not in below:
                found |= members(kind, (*below, kind))
        if name == "condition" or name.endswith("_cel"):
            found.add(name)
    return found - {"inclusion_list_cel"}


@pytest.mark.parametrize("registry", [TriggerRegistry(RELEASED), TriggerRegistry([schedule()])])
@pytest.mark.parametrize(("kind", "message", "path"), EXPRESSIONS)
def test_every_expression_of_a_trigger_is_compiled(
    registry: TriggerRegistry, kind: str, message: dict[str, Any], path: str
) -> None:
    if kind == "schedule":
        message = {**message, "cronSpec": "0 9 * * *"}
    found = registry.compile(triggers({kind: message}), ENVIRONMENT)
    assert [problem.field for problem in found.problems] == [f"triggers[0].{kind}.{path}"]


def test_table_has_every_member_that_holds_an_expression() -> None:
    tried = {name for kind, message, _ in EXPRESSIONS for _, name, _ in expressions(arm(kind, message))}
    assert tried == members(AutomationTrigger)


def arm(kind: str, message: dict[str, Any]) -> Message:
    (trigger,) = triggers({kind: message})
    found = trigger.kind
    assert found is not None
    return found[1]


@pytest.mark.parametrize("kind", [*TRIGGER_KINDS, *LEGACY_TRIGGER_KINDS])
def test_kind_is_unavailable_unless_it_is_registered(kind: str) -> None:
    """A registered kind may find problems in a message without members."""
    found = TriggerRegistry(RELEASED).compile(triggers({kind: {}}), ENVIRONMENT)
    is_released = kind in {released.name for released in RELEASED}
    assert bool(found.unavailable) == (not is_released)
    assert bool(found.triggers or found.problems) == is_released


def test_added_kind_is_compiled_with_its_expressions() -> None:
    registry = TriggerRegistry([manual.kind(), schedule()])
    given = triggers(
        {"schedule": {"cronSpec": "0 9 * * *", "condition": "ctx.trigger.n > 1", "skipIfTrueCel": "false"}},
        {"manual": {}},
    )
    found = registry.compile(given, ENVIRONMENT)
    assert (found.problems, found.unavailable) == ((), ())
    daily, by_hand = found.triggers
    assert isinstance(daily, DailyTrigger)
    assert daily.programs == {"condition", "skipIfTrueCel"}
    assert isinstance(by_hand, manual.ManualTrigger)
    assert registry.released == {"manual", "schedule"}


def test_problem_of_a_kind_names_its_member() -> None:
    (problem,) = TriggerRegistry([schedule()]).compile(triggers({"schedule": {}}), ENVIRONMENT, "x.triggers").problems
    assert (problem.field, problem.description) == ("x.triggers[0].schedule.cronSpec", "is required")


def test_condition_reads_no_step() -> None:
    found = TriggerRegistry([schedule()]).compile(triggers({"schedule": {"condition": "ctx.a.n > 1"}}), ENVIRONMENT)
    assert "a trigger condition can read only ctx.trigger" in found.problems[0].description


def test_trigger_without_a_kind_is_a_problem() -> None:
    (problem,) = TriggerRegistry(RELEASED).compile(triggers({}), ENVIRONMENT).problems
    assert problem.field == "triggers[0]"
