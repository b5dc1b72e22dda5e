"""The next time of an automation's schedule: stored with the version whose triggers say it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Self

import pytest

from interlock.contract.triggers import ScheduleTrigger
from interlock.engine import jobs
from interlock.engine.start import StartRequest
from interlock.engine.supervisor import Supervisor
from interlock.operations.automations.schedules import next_fire_at
from interlock.ports import AutomationRow, ScheduledFire
from interlock.rules.model import SYSTEM
from interlock.triggers import manual
from interlock.triggers.kind import Trigger, TriggerContext, TriggerKind
from interlock.triggers.registry import TriggerRegistry
from tests.clocks import SECOND, START
from tests.engine.worlds import AUDIT
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


@asynccontextmanager
async def firing(caller: OperationsClient) -> AsyncIterator[None]:
    """The job that fires schedules, at work."""
    services = caller.services
    job = jobs.schedules(services.store, services.clock, services.starter.start, partial(next_fire_at, services))
    task = asyncio.ensure_future(Supervisor(services.clock).keep(job))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def runs(caller: OperationsClient, automation: str) -> int:
    found = await caller.ask("SearchAutomationExecutions", {"automationTemplateId": automation})
    return len(found.body["list"])


async def test_each_due_time_starts_one_run(timed: OperationsClient) -> None:
    made = await timed.make(WAIT, triggers=every(60), enabled=True)
    async with firing(timed):
        await timed.engine.clock.pass_time(59)
        assert await runs(timed, made) == 0
        await timed.engine.clock.pass_time(1.5)
        assert await runs(timed, made) == 1
        await timed.engine.clock.pass_time(121)
        assert await runs(timed, made) == 3


async def test_times_that_passed_without_a_server_start_one_run(timed: OperationsClient) -> None:
    made = await timed.make(WAIT, triggers=every(60), enabled=True)
    await timed.wait(3_600)
    async with firing(timed):
        await timed.engine.clock.pass_time(5)
        assert await runs(timed, made) == 1
    async with firing(timed):
        await timed.engine.clock.pass_time(5)
        assert await runs(timed, made) == 1


async def test_disabled_or_deleted_automation_does_not_fire(timed: OperationsClient) -> None:
    disabled = await timed.make(WAIT, triggers=every(5))
    deleted = await timed.make(WAIT, triggers=every(5), enabled=True)
    await timed.ask("DeleteAutomation", {}, id=deleted)
    async with firing(timed):
        await timed.engine.clock.pass_time(20)
        assert (await runs(timed, disabled), await runs(timed, deleted)) == (0, 0)


async def test_schedule_that_this_server_cannot_compile_does_not_hide_the_next_one(
    timed: OperationsClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """More of them than one read returns, all due before the last automation."""
    monkeypatch.setattr(jobs, "SCHEDULE_BATCH", 2)
    caplog.set_level(logging.WARNING, "interlock")
    broken = [await timed.make(WAIT, triggers=every(5), enabled=True) for _ in range(5)]
    for automation in broken:
        found = await row(timed, automation)
        published = await timed.services.store.automations.definition(found.tenant, found.definition or 0)
        assert published is not None
        changed = replace(published, triggers=b'[{"userCreated":{}}]')
        await timed.services.store.automations.update(found, changed, AUDIT, read_at=found.updated_at)
    made = await timed.make(WAIT, triggers=every(9), enabled=True)
    async with firing(timed):
        await timed.engine.clock.pass_time(12)
        assert await runs(timed, made) == 1
        assert [await runs(timed, automation) for automation in broken] == [0] * 5
    assert len(caplog.records) == 5


async def test_server_without_such_a_kind_has_no_job_for_schedules(timed: OperationsClient) -> None:
    assert timed.services.triggers.starts_runs
    assert not TriggerRegistry([manual.kind()]).starts_runs


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
