"""A wall clock that is wrong when the server starts, is corrected while it runs, or jumps while it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

from interlock.engine import jobs
from interlock.engine.clock_watch import CLOCK_DRIFT_MICROSECONDS, FAR, MOVE_ACTION, NO_REMOVAL_AFTER_START, ClockWatch
from interlock.ports import AuditEntry, ClientRow, Role
from interlock.rules.model import SECOND, SYSTEM
from interlock.store.sqlite.store import SqliteStore
from interlock.system import SystemClock
from tests.clocks import ManualClock, settle
from tests.operations.operations_client import CALL, WAIT, OperationsClient, operations_client

pytestmark = pytest.mark.anyio

HOUR = 3_600
DAY = 24 * HOUR
YEAR = 365 * DAY
JUMPS = (6, 2 * HOUR, 40 * DAY, 3 * YEAR, -6, -2 * HOUR, -40 * DAY, -3 * YEAR)
"""Seconds by which the wall clock jumps."""
HALF_AN_HOUR = {"stepName": "half", "waitForDuration": {"duration": "1800s"}}


@pytest.fixture
async def watch(admin: OperationsClient) -> ClockWatch:
    return await watched(admin)


@pytest.fixture
async def admin() -> AsyncIterator[OperationsClient]:
    async with operations_client() as made:
        # The record of a store in use, which says what time it is.
        await made.make(WAIT)
        yield made


async def watched(admin: OperationsClient) -> ClockWatch:
    """The watch of a process that starts now."""
    engine = admin.engine
    made = ClockWatch(engine.store.clocks, engine.clock, lambda by: engine.dispatcher.clock_moved())
    await made.read_record()
    return made


async def jump(admin: OperationsClient, watch: ClockWatch, seconds: float) -> None:
    """The wall clock jumps, and the server looks at it."""
    admin.engine.clock.wall_ahead += round(seconds * SECOND)
    await admin.wait(5)
    await watch.look()
    await settle()


# --- what waits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", JUMPS)
async def test_wait_keeps_the_time_that_is_left_of_it(admin: OperationsClient, watch: ClockWatch, seconds: int) -> None:
    run = await admin.start(await admin.make(HALF_AN_HOUR))
    await admin.wait(600)
    await jump(admin, watch, seconds)
    assert admin.engine.clock.now() == admin.engine.clock.wall()
    await admin.wait(1_194)
    assert await admin.state(run) == "WAITING"
    await admin.wait(2)
    assert await admin.state(run) == "DONE"


@pytest.mark.parametrize("seconds", JUMPS)
async def test_lease_keeps_the_time_that_is_left_of_it(
    admin: OperationsClient, watch: ClockWatch, seconds: int
) -> None:
    automation = await admin.make(WAIT)
    run = int((await admin.ask("ExecuteAutomation", {"lease": "600s"}, id=automation)).body["executionId"])
    store, clock = admin.engine.store, admin.engine.clock
    await jump(admin, watch, seconds)
    await admin.wait(590)
    await jobs.expire(store, clock)
    assert await admin.state(run) == "WAITING"
    await admin.wait(6)
    await jobs.expire(store, clock)
    assert await admin.state(run) == "TERMINATE"


@pytest.mark.parametrize("seconds", JUMPS)
async def test_plan_and_key_and_breaker_keep_theirs(admin: OperationsClient, watch: ClockWatch, seconds: int) -> None:
    id_ = await admin.make(WAIT, circuitBreakerMax=1, circuitBreakerPeriod="CIRCUIT_BREAKER_PERIOD_HOUR")
    key = {"idempotency-key": "k"}
    first = (await admin.ask("ExecuteAutomation", {}, id=id_, headers=key)).body["executionId"]
    plan = (await admin.ask("OwnPlanBulkTermination", {"executionIds": [first]})).body
    await jump(admin, watch, seconds)
    assert (await admin.ask("ExecuteAutomation", {}, id=id_, headers=key)).body["executionId"] == first
    assert await admin.state(await admin.start(id_)) == "PAUSED_BY_CIRCUIT_BREAKER"
    await admin.wait(290)
    assert (await admin.ask("OwnCreateBulkTermination", {"planId": plan["id"]})).body["bulkTermination"]["id"] == plan[
        "id"
    ]


async def test_what_starts_afterwards_has_the_right_time(admin: OperationsClient, watch: ClockWatch) -> None:
    await jump(admin, watch, 2 * HOUR)
    wall = admin.engine.clock.wall()
    run = await admin.start(await admin.make(WAIT))
    row = await admin.services.store.executions.get(admin.ref(run))
    assert row is not None
    assert row.created_at == wall


@pytest.mark.parametrize("seconds", [0, 4.9, -4.9])
async def test_small_difference_is_left_alone(admin: OperationsClient, watch: ClockWatch, seconds: float) -> None:
    await jump(admin, watch, seconds)
    assert admin.engine.clock.now() != admin.engine.clock.wall() or seconds == 0
    assert not await admin.audited(MOVE_ACTION)
    assert not watch.problem


async def test_move_is_one_commit_and_on_every_tenants_record(admin: OperationsClient, watch: ClockWatch) -> None:
    eve = await admin.of_another_tenant()
    await watch.look()
    admin.engine.clock.wall_ahead = 2 * HOUR * SECOND
    assert "7200.0 s ahead" in watch.problem
    await admin.wait(5)
    before = admin.engine.store.counters().commits
    await watch.look()
    assert admin.engine.store.counters().commits == before + 1
    assert not watch.problem
    for each in (admin, eve):
        (entry,) = await each.audited(MOVE_ACTION)
        assert entry.reason == "the clock was 7200.0 s behind the time"


async def test_clock_that_keeps_jumping_is_followed_each_time(admin: OperationsClient, watch: ClockWatch) -> None:
    run = await admin.start(await admin.make(HALF_AN_HOUR))
    for seconds in JUMPS:
        await jump(admin, watch, seconds)
    await admin.wait(1_800 - 5 * len(JUMPS) - 1)
    assert await admin.state(run) == "WAITING"
    await admin.wait(2)
    assert await admin.state(run) == "DONE"


@pytest.mark.parametrize("seconds", JUMPS)
async def test_token_outlives_its_time_by_no_jump(admin: OperationsClient, watch: ClockWatch, seconds: int) -> None:
    """A token is judged by the wall: one that was issued by a clock that was ahead would be valid for years."""
    access, clock = admin.services.store.access, admin.engine.clock
    row = ClientRow(
        tenant=admin.tenant.id, id="c", display_name="", public_key=bytes(32), roles=(Role.BASIC,), created_at=1
    )
    await access.create_client(row, AuditEntry(actor=SYSTEM, action="client.create", target="c"))
    until = clock.wall() + HOUR * SECOND
    await access.issue(
        admin.tenant.id, "c", b"d" * 32, clock.wall(), until, None, AuditEntry(actor=SYSTEM, action="t", target="c")
    )
    before = access.revocations
    await jump(admin, watch, seconds)
    found = await access.token(admin.tenant.id, b"d" * 32)
    assert found is not None
    assert found.expires_at <= clock.wall() + HOUR * SECOND
    assert access.revocations > before


@pytest.mark.parametrize("is_retried", [True, False])
@pytest.mark.parametrize("seconds", [by for by in JUMPS if by < 0])
async def test_callback_is_waited_for_no_longer_than_its_time(
    admin: OperationsClient, watch: ClockWatch, seconds: int, is_retried: bool
) -> None:
    """The first attempt was recorded by a clock that was ahead, by years perhaps."""
    run = await admin.start(await admin.make(CALL))
    far = admin.engine.far
    if is_retried:
        far.calls[-1].answer(503)
        await settle()
    await jump(admin, watch, seconds)
    if is_retried:
        await admin.wait(60)
    far.calls[-1].answer(202)
    await settle()
    row, hook = (
        await admin.services.store.executions.get(admin.ref(run)),
        await admin.services.store.webhooks.get(admin.tenant.id, "hook"),
    )
    assert row is not None
    assert row.wake_at is not None
    assert hook is not None
    assert await admin.state(run) == "WAITING"
    assert row.wake_at <= admin.engine.clock.now() + hook.callback_timeout * SECOND


@pytest.mark.parametrize("seconds", JUMPS)
async def test_what_begins_beside_the_move_keeps_its_time(
    admin: OperationsClient, watch: ClockWatch, seconds: int
) -> None:
    """In the turn of the loop in which the clock is moved, before it and after it."""
    automation = await admin.make(HALF_AN_HOUR)
    admin.engine.clock.wall_ahead += seconds * SECOND
    await admin.wait(5)
    starts = [admin.ask("ExecuteAutomation", {"lease": "3600s"}, id=automation) for _ in range(4)]
    outcomes = await asyncio.gather(*starts[:2], watch.look(), *starts[2:])
    runs = [int(reply.body["executionId"]) for reply in outcomes if reply is not None]
    assert len(runs) == 4
    await admin.wait(1_799)
    assert {await admin.state(run) for run in runs} == {"WAITING"}
    await jobs.expire(admin.engine.store, admin.engine.clock)
    await admin.wait(2)
    assert {await admin.state(run) for run in runs} == {"DONE"}


# --- across a restart ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", JUMPS)
async def test_jump_while_no_server_runs_is_found_by_the_uptime(
    admin: OperationsClient, watch: ClockWatch, seconds: int
) -> None:
    await watch.begin()
    run = await admin.start(await admin.make(HALF_AN_HOUR))
    await admin.wait(600)
    clock = admin.engine.clock
    # A process that starts takes the wall as it is then.
    clock.move(seconds * SECOND)
    clock.wall_ahead = 0
    again = await watched(admin)
    await again.begin()
    await settle()
    await admin.wait(1_199)
    assert await admin.state(run) == "WAITING"
    await admin.wait(2)
    assert await admin.state(run) == "DONE"


async def test_time_that_passed_while_the_machine_was_off_counts(admin: OperationsClient, watch: ClockWatch) -> None:
    await watch.begin()
    run = await admin.start(await admin.make(HALF_AN_HOUR))
    clock = admin.engine.clock
    clock.move(HOUR * SECOND)
    clock.wall_ahead, clock.booted = 0, "another boot"
    await (await watched(admin)).begin()
    await admin.wait(1)
    assert not await admin.audited(MOVE_ACTION)
    assert await admin.services.store.executions.due(clock.now(), 10, 0)
    assert run


# --- what is removed -------------------------------------------------------------------------------------------------


async def test_nothing_is_removed_in_the_first_hour(admin: OperationsClient, watch: ClockWatch) -> None:
    await watch.begin()
    assert not watch.may_remove()
    await admin.wait(NO_REMOVAL_AFTER_START / SECOND - 1)
    assert not watch.may_remove()
    await admin.wait(2)
    assert watch.may_remove()
    admin.engine.clock.wall_ahead = CLOCK_DRIFT_MICROSECONDS + 1
    assert not watch.may_remove()


async def client(admin: OperationsClient) -> None:
    row = ClientRow(
        tenant=admin.tenant.id, id="c", display_name="", public_key=bytes(32), roles=(Role.BASIC,), created_at=1
    )
    await admin.services.store.access.create_client(row, AuditEntry(actor=SYSTEM, action="client.create", target="c"))


async def forgotten(admin: OperationsClient, watch: ClockWatch) -> None:
    job: Any = jobs.forgetting(admin.engine.store, admin.engine.clock, watch.may_remove)
    await job.work()


async def test_start_three_years_ahead_for_four_seconds_removes_nothing(
    admin: OperationsClient, watch: ClockWatch
) -> None:
    run = await admin.start(await admin.make(WAIT))
    await admin.ask("TerminateAutomation", {}, id=run)
    await watch.begin()
    clock = admin.engine.clock
    for seconds in (3 * YEAR, -3 * YEAR):
        clock.move(seconds * SECOND)
        clock.wall_ahead, clock.booted = 0, f"boot {seconds}"
        wrong = await watched(admin)
        await wrong.begin()
        await forgotten(admin, wrong)
        await admin.wait(4)
        await forgotten(admin, wrong)
    # However long it runs: until an operator says that the clock is right.
    await admin.wait(2 * HOUR)
    await forgotten(admin, wrong)
    assert "--confirm-clock 2025-06-15" in wrong.problem
    assert await admin.services.store.executions.get(admin.ref(run)) is not None


@pytest.mark.parametrize("same_boot", [True, False])
@pytest.mark.parametrize("seconds", [3 * YEAR, -3 * YEAR])
async def test_start_far_from_the_newest_record_holds_removal(
    admin: OperationsClient, watch: ClockWatch, seconds: int, same_boot: bool
) -> None:
    """Whether or not the uptime tells what the clock should be, and whatever the start itself records."""
    await watch.begin()
    clock = admin.engine.clock
    clock.move(seconds * SECOND)
    clock.wall_ahead = 0
    if not same_boot:
        clock.booted = "another boot"
    wrong = await watched(admin)
    await client(admin)
    await wrong.begin()
    # It is kept together with the mark that says that all is well.
    for each in (wrong, await watched(admin)):
        await each.begin()
        await admin.wait(2 * HOUR)
        assert not each.may_remove()
        assert "nothing old is removed" in each.problem


async def test_hold_is_kept_with_the_move_that_needs_it(admin: OperationsClient, watch: ClockWatch) -> None:
    """A process that dies right after the commit of the move has left it."""
    await watch.begin()
    admin.engine.clock.wall_ahead = 3 * YEAR * SECOND
    await admin.wait(5)
    before = admin.engine.store.counters().commits
    look = asyncio.ensure_future(watch.look())
    while admin.engine.store.counters().commits == before:
        await checkpoint()
    assert (await watched(admin)).problem
    await look


@pytest.mark.parametrize("confirmed", ["", "2025-06-14", "2028-06-14", "yes"])
async def test_confirmation_is_the_date_of_today(admin: OperationsClient, watch: ClockWatch, confirmed: str) -> None:
    await watch.begin()
    clock = admin.engine.clock
    clock.move(FAR + SECOND)
    clock.wall_ahead, clock.booted = 0, "another boot"
    held = await watched(admin)
    await held.begin()
    clock.move(-FAR - SECOND)
    clock.wall_ahead = 0
    again = await watched(admin)
    await again.begin(confirmed=confirmed)
    assert again.problem
    once_more = await watched(admin)
    await once_more.begin(confirmed="2025-06-15")
    assert not once_more.problem
    assert not (await watched(admin)).problem
    assert len(await admin.audited("clock.confirm")) == 1


async def test_move_that_is_far_holds_removal_too(admin: OperationsClient, watch: ClockWatch) -> None:
    await jump(admin, watch, 3 * YEAR)
    await admin.wait(2 * HOUR)
    assert not watch.may_remove()
    assert "nothing old is removed" in watch.problem


async def test_new_store_is_not_held() -> None:
    store = SqliteStore(None)
    watch = ClockWatch(store.clocks, ManualClock())
    await watch.begin()
    assert not watch.problem
    await store.close()


# --- the real clock --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [10**9, -(10**9)])
def test_real_clock_moves_and_its_uptime_does_not(by: int) -> None:
    clock = SystemClock()
    uptime, before = clock.uptime(), clock.now()
    clock.move(by)
    assert abs(clock.now() - before - by) < 60 * SECOND
    assert 0 <= clock.uptime() - uptime < 60 * SECOND
    assert abs(clock.wall() - before) < 60 * SECOND
    assert clock.boot() == SystemClock().boot()


async def test_sleep_of_the_real_clock_ends_in_its_time_though_the_clock_is_moved_back() -> None:
    clock = SystemClock()
    at = clock.now() + SECOND // 20
    sleeping = asyncio.ensure_future(clock.sleep_until(at))
    await settle()
    clock.move(-HOUR * SECOND)
    await sleeping
    assert clock.now() < at
