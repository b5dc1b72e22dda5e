"""The README says what runs, and it is what publishing accepts."""

from __future__ import annotations

import pytest

from interlock.contract.parse import read
from interlock.contract.steps import STEP_KINDS, AutomationStep
from interlock.contract.triggers import LEGACY_TRIGGER_KINDS, TRIGGER_KINDS, AutomationTrigger
from interlock.errors import FailedPrecondition, InvalidArgument
from tests.operations.conftest import admin
from tests.operations.operations_client import OperationsClient
from tools.readme import BEGIN, PAGE, page, refused, running

__all__ = ["admin"]
pytestmark = pytest.mark.anyio
FIRST_SCREEN_LINES = 40
WAIT = {"stepName": "w", "waitForDuration": {"duration": "60s"}}


def test_readme_has_the_table_of_the_registries_on_its_first_screen() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "run: python -m tools.readme"
    assert BEGIN.strip() in text.splitlines()[:FIRST_SCREEN_LINES]


def test_every_kind_is_in_the_table_once() -> None:
    (steps, triggers), (no_steps, no_triggers) = running(), refused()
    assert sorted(steps + no_steps) == sorted(STEP_KINDS)
    assert sorted(triggers + no_triggers) == sorted((*TRIGGER_KINDS, *LEGACY_TRIGGER_KINDS))


@pytest.mark.parametrize("kind", STEP_KINDS)
async def test_a_step_kind_is_refused_at_publish_as_the_table_says(kind: str, admin: OperationsClient) -> None:
    step = read(AutomationStep, {"stepName": "s", kind: {}})
    steps = admin.services.steps
    unavailable = steps.compile([step], admin.services.environment).unavailable
    unconfigured = {each.step.kind for each in steps.unconfigured}
    assert bool(unavailable) == (kind in refused()[0] or kind in unconfigured)


@pytest.mark.parametrize("kind", [*TRIGGER_KINDS, *LEGACY_TRIGGER_KINDS])
async def test_a_trigger_kind_is_refused_at_publish_as_the_table_says(kind: str, admin: OperationsClient) -> None:
    trigger: dict[str, object] = {kind: {}}
    assert read(AutomationTrigger, trigger).kind is not None
    body = {"displayName": "t", "enabled": True, "automationSteps": [WAIT], "triggers": [trigger]}
    if kind in running()[1]:
        findings = admin.services.triggers.compile([read(AutomationTrigger, trigger)], admin.services.environment)
        assert not findings.unavailable
    else:
        with pytest.raises((FailedPrecondition, InvalidArgument), match="cannot start runs on this server yet"):
            await admin.ask("CreateAutomation", body)
