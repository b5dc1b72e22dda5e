"""The next time of an automation's schedule: stored with the version whose triggers say it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import pytest

from interlock.contract.triggers import ScheduleTrigger
from interlock.engine.start import StartRequest
from interlock.ports import AutomationRow, ScheduledFire
from interlock.rules.model import SYSTEM
from interlock.triggers import manual
from interlock.triggers.kind import Trigger, TriggerContext, TriggerKind
from interlock.triggers.registry import TriggerRegistry
from tests.clocks import SECOND, START
from tests.operations.operations_client import WAIT, OperationsClient

pytestmark = pytest.mark.anyio


class EverySeconds(Trigger[ScheduleTrigger]):
    """A kind that only the tests have: it fires each time that many seconds have passed."""

    kind = "schedule"

    def __init__(self, seconds: int) -> None:
        self._length = seconds * SECOND

    @classmethod
    def compile(cls, message: ScheduleTrigger, context: TriggerContext) -> Self:
        return cls(int(message.cron_spec or "0"))

    def next_fire_at(self, after: int) -> int:
        return after + self._length


@pytest.fixture
def timed(admin: OperationsClient) -> OperationsClient:
    """A caller of a server that has such triggers."""
    kinds: list[TriggerKind[Any]] = [manual.kind(), TriggerKind(EverySeconds, ScheduleTrigger)]
    return replace(admin, services=replace(admin.services, triggers=TriggerRegistry(kinds)))


def every(*seconds: int) -> list[dict[str, Any]]:
    return [{"manual": {}}, *({"schedule": {"cronSpec": str(each)}} for each in seconds)]


async def row(operations_client: OperationsClient, automation: str) -> AutomationRow:
    found = await operations_client.services.store.automations.get(operations_client.tenant.id, automation)
    assert found is not None
    return found


async def update(operations_client: OperationsClient, automation: str, mask: str, **fields: Any) -> None:
    await operations_client.ask("UpdateAutomation", {"automation": fields, "updateMask": mask}, id=automation)


async def test_publishing_stores_the_first_time_of_all_triggers(timed: OperationsClient) -> None:
    made = await timed.make(WAIT, triggers=every(9, 5, 7))
    assert (await row(timed, made)).next_fire_at == START + 5 * SECOND
    await timed.wait(1)
    await update(timed, made, "triggers", triggers=every(7))
    assert (await row(timed, made)).next_fire_at == START + 8 * SECOND
    await update(timed, made, "triggers", triggers=every())
    assert (await row(timed, made)).next_fire_at is None


async def test_a_draft_has_no_next_time_until_it_is_published(timed: OperationsClient) -> None:
    made = await timed.make(WAIT, triggers=every(5), isDraft=True)
    assert (await row(timed, made)).next_fire_at is None
    await update(timed, made, "isDraft", isDraft=False)
    assert (await row(timed, made)).next_fire_at == START + 5 * SECOND


async def test_what_publishes_nothing_leaves_the_next_time(timed: OperationsClient) -> None:
    made = await timed.make(WAIT, triggers=every(5), enabled=True)
    stored = await row(timed, made)
    assert stored.definition is not None
    fire = ScheduledFire(due_at=START + 5 * SECOND, next_at=START + 10 * SECOND)
    await timed.wait(5)
    request = StartRequest(timed.tenant.id, made, stored.definition, SYSTEM, {}, fire=fire)
    await timed.services.starter.start(request)
    await update(timed, made, "displayName,enabled", displayName="B", enabled=False)
    assert ((await row(timed, made)).enabled, (await row(timed, made)).next_fire_at) == (False, fire.next_at)


async def started_by_a_step(caller: OperationsClient, automation: str) -> tuple[str, str]:
    """The outcome of a step that starts the automation, and the code of its error."""
    step = {"stepName": "begin", "runAutomation": {"automationTemplateRef": {"id": automation}}}
    run = await caller.start(await caller.make(step, WAIT))
    found = (await caller.detail(run))["steps"][0]
    return found["outcome"], (found.get("error") or {}).get("code", "")


async def test_automation_whose_triggers_start_runs_cannot_be_started_by_a_step(timed: OperationsClient) -> None:
    made = await timed.make(WAIT, triggers=every())
    assert await started_by_a_step(timed, made) == ("SUCCEEDED", "")
    await update(timed, made, "triggers", triggers=every(5))
    assert await started_by_a_step(timed, made) == ("FAILED", "CHILD_NOT_ON_DEMAND")
    await update(timed, made, "triggers", triggers=[])
    assert await started_by_a_step(timed, made) == ("SUCCEEDED", "")
