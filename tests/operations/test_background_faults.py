"""Every background job, with the store failing at each place where the job reads or writes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from interlock.audit.chain import verify
from interlock.audit.sealer import Sealer
from interlock.contract.triggers import ScheduleTrigger
from interlock.engine import jobs
from interlock.engine.supervisor import Job, Supervisor
from interlock.errors import Fatal, InterlockError, Unavailable
from interlock.operations.automations.schedules import next_fire_at
from interlock.operations.bulk_terminations.handlers import terminate_next_batch
from interlock.ports import AuditEntry, ClientRow, PlanRow, Role
from interlock.ports.bulk import BulkAction, BulkKind
from interlock.rules.events import Terminated
from interlock.rules.model import SYSTEM, TerminationRequest
from interlock.rules.states import State
from interlock.store.sqlite import bulk, stops
from interlock.store.tx import Tx
from interlock.triggers.kind import TriggerKind
from interlock.triggers.registry import TriggerRegistry
from tests.clocks import settle
from tests.engine.worlds import ANN, AUDIT, run_automation
from tests.operations.operations_client import CALL, WAIT, OperationsClient, operations_client
from tests.operations.test_schedules import EverySeconds
from tests.store.stores import sqlite

pytestmark = pytest.mark.anyio

OFTEN = 6
"""How often in a row one place fails, where it does so more than once."""
PATIENCE = 120.0
"""Virtual seconds within which the work is done once the store works again."""


@dataclass
class Faults:
    """Which calls of the store fail, and how."""

    first: int = -1
    """Number of the first call that fails; -1: none."""
    times: int = 0
    make: Callable[[], Exception] = Unavailable
    after: bool = False
    """The call has its effect, and its caller does not hear of it."""
    calls: list[str] = field(default_factory=list)
    chosen: int = 0
    raised: int = 0

    def hit(self, name: str) -> bool:
        number = len(self.calls)
        self.calls.append(name)
        fails = self.first <= number and self.chosen < self.times and self.first >= 0
        self.chosen += fails
        return fails

    def error(self) -> Exception:
        self.raised += 1
        return self.make()


class Faulty:
    """A port that passes everything on, and fails where it is told to."""

    def __init__(self, real: Any, faults: Faults, name: str = "store") -> None:
        self._real = real
        self._faults = faults
        self._name = name

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        where = f"{self._name}.{name}"
        if callable(real):
            return self._call(real, where)
        return Faulty(real, self._faults, where) if hasattr(real, "_writer") else real

    def _call(self, real: Callable[..., Any], where: str) -> Callable[..., Any]:
        faults = self._faults

        def call(*arguments: Any, **named: Any) -> Any:
            fails = faults.hit(where)
            if fails and not faults.after:
                raise faults.error()
            answer = real(*arguments, **named)
            if not fails:
                return answer
            if not isinstance(answer, Awaitable):
                raise faults.error()

            async def lost() -> None:
                await answer
                raise faults.error()

            return lost()

        return call


@dataclass
class Scene:
    """Something that a job has to do, and whether it is done."""

    job: Callable[[Any], Job]
    done: Callable[[], Awaitable[bool]]


async def terminated(admin: OperationsClient, runs: list[int]) -> bool:
    return {admin.engine.state(admin.ref(run)) for run in runs} == {State.TERMINATE}


async def a_bulk_termination(admin: OperationsClient) -> Scene:
    row = ClientRow(
        tenant=admin.tenant.id,
        id="ann@localhost",
        display_name="",
        public_key=bytes(32),
        roles=(Role.SUPER_ADMIN,),
        created_at=1,
    )
    await admin.services.store.access.create_client(row, AuditEntry(actor=SYSTEM, action="client.create", target="ann"))
    automation = await admin.make(WAIT)
    runs = [await admin.start(automation) for _ in range(3)]
    await admin.ask("OwnCreateBulkTermination", {"executionIds": runs})

    def job(store: Any) -> Job:
        services = replace(admin.services, store=store)
        return jobs.bulk_terminations(store, lambda: terminate_next_batch(services))

    return Scene(job, lambda: terminated(admin, runs))


async def a_cascade(admin: OperationsClient) -> Scene:
    child = await admin.make(WAIT)
    parent = await admin.make(*(run_automation(f"s{number}", child) for number in range(5)), WAIT)
    root = await admin.start(parent)
    rows = [row.id for row in await admin.engine.store.executions.children(admin.ref(root))]
    assert len(rows) == 5
    await admin.ask("TerminateAutomation", {"cascade": True}, id=root)
    return Scene(lambda store: jobs.cascades(store, admin.engine.clock), lambda: terminated(admin, [root, *rows]))


async def a_decision(admin: OperationsClient) -> Scene:
    automation = await admin.make(WAIT)
    runs = [await admin.start(automation) for _ in range(3)]
    store, tenant = admin.engine.store, admin.tenant.id
    action = BulkAction(id="d", automation=automation, kind=BulkKind.TERMINATE_ACTIVE, actor=ANN, reason="")

    async def job(tx: Tx) -> None:
        await bulk.put(tx, tenant, action, 1, max(runs))

    await sqlite(store).writer.submit(job)
    sqlite(store).bulk.begun()
    return Scene(lambda store: jobs.bulk(store, admin.engine.clock), lambda: terminated(admin, runs))


async def a_lease(admin: OperationsClient) -> Scene:
    automation = await admin.make(WAIT)
    reply = await admin.ask("ExecuteAutomation", {"lease": "5s"}, id=automation)
    await settle()
    run = int(reply.body["executionId"])
    return Scene(lambda store: jobs.leases(store, admin.engine.clock), lambda: terminated(admin, [run]))


async def a_stop_in_a_frozen_store(admin: OperationsClient) -> Scene:
    run = await admin.start(await admin.make(CALL))
    await admin.engine.down()
    now = admin.engine.clock.now()
    await admin.engine.store.executions.apply(admin.ref(run), Terminated(now, TerminationRequest(ANN)))
    assert admin.engine.state(admin.ref(run)) is State.STOPPING
    return Scene(lambda store: jobs.stops_alone(store, admin.engine.clock), lambda: terminated(admin, [run]))


async def rows_to_seal(admin: OperationsClient) -> Scene:
    for number in range(3):
        await admin.services.store.audit.append(admin.tenant.id, number, AUDIT)

    async def done() -> bool:
        audit = admin.engine.store.audit
        return verify(await audit.rows(admin.tenant.id), await audit.head(admin.tenant.id)).unsealed == 0

    return Scene(lambda store: jobs.sealing(Sealer(store.audit, admin.engine.clock)), done)


async def a_plan_to_forget(admin: OperationsClient) -> Scene:
    now, plans = admin.engine.clock.now(), admin.engine.store.bulk_terminations
    await plans.plan(
        admin.tenant.id, PlanRow(id="p", client="ann", expires_at=now - 1, total=0), now - 48 * 3_600_000_000, []
    )

    async def done() -> bool:
        return await plans.find_plan(admin.tenant.id, "p") is None

    return Scene(lambda store: jobs.forgetting(store, admin.engine.clock), done)


async def a_due_schedule(admin: OperationsClient) -> Scene:
    services = replace(admin.services, triggers=TriggerRegistry([TriggerKind(EverySeconds, ScheduleTrigger)]))
    timed = replace(admin, services=services)
    automation = await timed.make(WAIT, triggers=[{"schedule": {"cronSpec": "1000"}}], enabled=True)

    def job(store: Any) -> Job:
        following = partial(next_fire_at, replace(services, store=store))
        return jobs.schedules(store, admin.engine.clock, admin.services.starter.start, following)

    async def done() -> bool:
        runs = await admin.ask("SearchAutomationExecutions", {"automationTemplateId": automation})
        return len(runs.body["list"]) == 1

    admin.engine.clock.advance(1_000)
    return Scene(job, done)


SCENES = {
    "terminations": a_bulk_termination,
    "cascades": a_cascade,
    "bulk": a_decision,
    "leases": a_lease,
    "stops": a_stop_in_a_frozen_store,
    "sealer": rows_to_seal,
    "forgetting": a_plan_to_forget,
    "schedules": a_due_schedule,
}
ERRORS: dict[str, tuple[Callable[[], Exception], bool]] = {
    "unavailable": (lambda: Unavailable("the disk is full"), False),
    "reply lost": (lambda: Unavailable("the disk is full"), True),
    "refused": (lambda: InterlockError("the store refused a statement"), False),
    "defect": (ZeroDivisionError, False),
}


@asynccontextmanager
async def at_work(
    name: str, faults: Faults
) -> AsyncIterator[tuple[OperationsClient, Scene, asyncio.Task[None], list[str]]]:
    """The job at work on its scene, in a server of its own."""
    counted: list[str] = []
    ended: list[Fatal] = []
    async with operations_client() as admin:
        scene = await SCENES[name](admin)
        clock = admin.engine.clock
        supervisor = Supervisor(clock, ended.append, lambda job, error: counted.append(job))
        task = asyncio.ensure_future(supervisor.keep(scene.job(Faulty(admin.services.store, faults))))
        try:
            yield admin, scene, task, counted
        finally:
            assert not ended
            task.cancel()
            await asyncio.wait((task,))


async def places(name: str) -> int:
    """How often the job asks the store for something while it does its work."""
    faults = Faults()
    async with at_work(name, faults) as (admin, scene, _, counted):
        await admin.engine.clock.pass_time(PATIENCE)
        assert await scene.done()
        assert not counted
    return len(faults.calls)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", SCENES)
async def test_job_does_its_work_wherever_the_store_fails(
    name: str, error: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stops, "ONE_COMMIT", 1)
    caplog.set_level(logging.CRITICAL, "interlock")
    make, after = ERRORS[error]
    for first in range(min(await places(name), 12)):
        for times in (1, OFTEN):
            faults = Faults(first, times, make, after)
            async with at_work(name, faults) as (admin, scene, task, counted):
                await admin.engine.clock.pass_time(PATIENCE)
                # A wait that nothing ends does not come to its failure.
                assert faults.raised == times or after, faults.calls
                assert await scene.done(), (first, times, faults.calls)
                assert not task.done()
                assert counted == [name] * faults.raised


async def test_store_that_fails_for_an_hour_is_asked_every_few_seconds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "interlock")
    faults = Faults(0, 10_000, Unavailable)
    async with at_work("leases", faults) as (admin, scene, _, counted):
        await admin.engine.clock.pass_time(3_600)
        assert 900 <= len(counted) <= 910
        assert not await scene.done()
        faults.times = 0
        await admin.engine.clock.pass_time(4)
        assert await scene.done()


async def test_fatal_error_of_a_job_ends_the_process_in_order() -> None:
    ended: list[Fatal] = []
    async with operations_client() as admin:

        async def work() -> None:
            raise Fatal("no sync")

        await Supervisor(admin.engine.clock, ended.append).keep(Job("x", settle, work))
    assert [error.message for error in ended] == ["no sync"]
