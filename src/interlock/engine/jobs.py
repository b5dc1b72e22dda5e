"""Background jobs: decisions about many runs that are active out in batches, and work that is due at a time.

Each function returns one job for the supervisor. A pass finds its work in the store, so that it can be repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from interlock.audit.sealer import Sealer
from interlock.engine.start import StartRequest
from interlock.engine.supervisor import Job
from interlock.engine.waiting import wait_for
from interlock.errors import Conflict, FailedPrecondition, NotFound
from interlock.ports import Clock, Definition, ScheduledAutomation, ScheduledFire, Store
from interlock.rules.events import Recovered
from interlock.rules.model import SECOND, SYSTEM
from interlock.rules.states import State

FORGET_EVERY: Final = 3_600 * SECOND
FORGET_AFTER: Final = SECOND
"""Microseconds after the start until old records are first removed."""
TRUST_AGAIN: Final = 60 * SECOND
"""Microseconds until the next attempt if the clock cannot be trusted."""
REMOVAL_PAUSE: Final = SECOND // 20
"""Microseconds between two batches of old runs to remove, so that requests are not delayed."""
LEASE_SWEEP: Final = 3_600 * SECOND
FROZEN_BATCH: Final = 1_000
LOOK_AGAIN: Final = SECOND
SCHEDULE_LOOK: Final = SECOND
"""Microseconds between two looks for schedules that are due."""
SCHEDULE_BATCH: Final = 100
"""Automations that one read of due schedules returns."""

_log = logging.getLogger(__name__)


async def expire(store: Store, clock: Clock) -> None:
    """Terminate every run whose lease has expired."""
    while await store.leases.expire(clock.now()):
        pass


def forgetting(store: Store, clock: Clock, may_remove: Callable[[], bool] = lambda: True) -> Job:
    """Remove expired idempotency keys, events and plans, and records whose retention time has passed.

    Args:
        store: The store to remove them from.
        clock: Engine time.
        may_remove: Returns whether the clock can be trusted.
    """
    next_at = clock.now() + FORGET_AFTER

    async def idle() -> None:
        await clock.sleep_until(next_at)

    async def work() -> None:
        nonlocal next_at
        if not may_remove():
            next_at = clock.now() + TRUST_AGAIN
            return
        await store.executions.forget_keys(clock.now())
        await store.bulk_terminations.forget_plans(clock.now())
        while may_remove() and await store.retention.remove(clock.now()):
            await clock.sleep_until(clock.now() + REMOVAL_PAUSE)
        next_at = clock.now() + FORGET_EVERY

    return Job("forgetting", idle, work)


def cascades(store: Store, clock: Clock) -> Job:
    """Complete the terminations of very large trees, also those that an earlier process accepted."""

    async def work() -> None:
        while await store.executions.continue_cascades(clock.now()):
            pass

    return Job("cascades", store.executions.cascades_left, work)


def leases(store: Store, clock: Clock) -> Job:
    """Terminate each run when its lease expires."""

    async def idle() -> None:
        next_at = await store.leases.next()
        until = clock.now() + LEASE_SWEEP if next_at is None else next_at
        await wait_for(store.leases.news, clock, until)

    return Job("leases", idle, lambda: expire(store, clock))


def stops_alone(store: Store, clock: Clock) -> Job:
    """Settle the stopping runs of a frozen store, which no process advances."""

    async def idle() -> None:
        await clock.sleep_until(clock.now() + LOOK_AGAIN)

    return Job("stops", idle, lambda: settle_stopping(store, clock))


async def settle_stopping(store: Store, clock: Clock) -> None:
    """Settle every stopping run. Call it only if no process advances them."""
    for row in await store.executions.in_flight(FROZEN_BATCH, (State.STOPPING,)):
        await store.executions.apply(row.ref, Recovered(clock.now(), row.epoch, repeatable=False))


def bulk(store: Store, clock: Clock) -> Job:
    """Carry out decisions about many runs, also those that an earlier process accepted."""

    async def work() -> None:
        while await store.bulk.proceed(clock.now()):
            pass

    return Job("bulk", store.bulk.left, work)


def bulk_terminations(store: Store, carry_out_next: Callable[[], Awaitable[bool]]) -> Job:
    """Carry out bulk terminations, also those that an earlier process accepted.

    Args:
        store: The store of the bulk terminations.
        carry_out_next: Carries out the next batch; returns False if there is none.
    """

    async def work() -> None:
        while await carry_out_next():
            pass

    return Job("terminations", store.bulk_terminations.unfinished, work)


def schedules(
    store: Store,
    clock: Clock,
    start: Callable[[StartRequest], Awaitable[object]],
    next_fire_at: Callable[[Definition, int], Awaitable[int | None]],
) -> Job:
    """Start a run for each automation whose schedule is due. A due time starts one run, also after a crash.

    The commit of the run moves the schedule on, so that a time which was read twice is refused the second time. If
    several times have passed, while no server was running for example, they start one run together.

    Args:
        store: has the automations and the times of their schedules.
        clock: its wall time says what is due.
        start: starts a run: `Starter.start`.
        next_fire_at: gives the first time after another at which a definition fires; raises FailedPrecondition if its
            triggers cannot be compiled on this server.
    """
    unusable: set[tuple[int, int]] = set()
    """Definitions that cannot be compiled, by tenant and id: neither they nor this server will change."""
    is_first = True

    async def idle() -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            return
        found = await store.automations.scheduled(limit=1)
        until = found[0].fires_at - clock.wall() if found else 0
        # The wall clock may be changed, and a schedule be set, while this sleeps.
        await clock.sleep_until(clock.now() + (until if 0 < until < SCHEDULE_LOOK else SCHEDULE_LOOK))

    async def work() -> None:
        last: ScheduledAutomation | None = None
        while found := await store.automations.scheduled(after=last, limit=SCHEDULE_BATCH):
            for due in found:
                if due.fires_at > clock.wall():
                    return
                await fire(due)
            last = found[-1]

    async def fire(due: ScheduledAutomation) -> None:
        if due.definition is None or (due.tenant, due.definition) in unusable:
            return
        definition = await store.automations.definition(due.tenant, due.definition)
        if definition is None:
            return
        try:
            next_at = await next_fire_at(definition, max(due.fires_at, clock.wall()))
            moved = ScheduledFire(due_at=due.fires_at, next_at=next_at)
            await start(StartRequest(due.tenant, due.automation, due.definition, SYSTEM, {}, fire=moved))
        except FailedPrecondition as error:
            unusable.add((due.tenant, due.definition))
            _log.warning("the schedule of automation %s cannot start runs: %s", due.automation, error.message)
        except (Conflict, NotFound):
            # It was fired, changed, disabled or deleted since it was read.
            return

    return Job("schedules", idle, work)


def sealing(sealer: Sealer) -> Job:
    """Seal audit rows soon after their commit."""
    return Job("sealer", sealer.idle, sealer.seal_all)
