"""The background jobs of a system, the recovery before the port opens, and the records at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from interlock.audit.sealer import Sealer
from interlock.engine import jobs
from interlock.engine.clock_watch import ClockWatch
from interlock.engine.dispatchers import Dispatcher
from interlock.engine.supervisor import Job, Supervisor
from interlock.errors import Fatal
from interlock.operations.automations import schedules
from interlock.operations.bulk_terminations import handlers as bulk_terminations
from interlock.operations.services import Services
from interlock.ports import Clock, Store
from interlock.rules.model import SECOND
from interlock.system import yield_to_loop
from interlock.telemetry.metrics import Metrics

LOOP_CHECK_INTERVAL: Final = SECOND
"""Interval at which the lag of the loop is measured, in microseconds."""
MAX_LOOP_LAG: Final = 5 * SECOND
"""Lag of the loop, in microseconds, beyond which the server ends: it cannot terminate runs in time."""


async def settle_overdue(
    supervisor: Supervisor,
    dispatcher: Dispatcher,
    store: Store,
    clock: Clock,
    set_right: Callable[[], Awaitable[None]],
    failed: asyncio.Future[Fatal],
) -> None:
    """Recover before the port opens: settle attempts of a previous process, overdue terminations and leases.

    If the disk is full, the jobs do the rest later: a server that can serve a termination has to start.

    Raises:
        Fatal: The store failed meanwhile, so the port stays closed.
    """
    # The clock has to be right before overdue times are read.
    await supervisor.attempt("clock", set_right)
    if store.frozen:
        await supervisor.attempt("stops", lambda: jobs.settle_stopping(store, clock))
    else:
        await supervisor.attempt("recovery", dispatcher.recover)
        await supervisor.attempt("leases", lambda: jobs.expire(store, clock))
    if failed.done():
        raise failed.result()


async def complete_record(supervisor: Supervisor, store: Store, sealer: Sealer, clock: Clock) -> None:
    """Write the counted refusals and seal the audit record at an orderly end; the next start seals the rest."""
    await supervisor.attempt("refusals", lambda: store.audit.sum_up(clock.now(), every=True))
    await supervisor.attempt("sealer", sealer.seal_all)


def background_jobs(
    dispatcher: Dispatcher, services: Services, store: Store, sealer: Sealer, watch: ClockWatch, metrics: Metrics
) -> list[Job]:
    """Return the jobs. In a frozen store they only maintain the store and carry out terminations."""
    clock = services.clock
    always = [
        jobs.sealing(sealer),
        Job("maintenance", yield_to_loop, lambda: _maintain(store, clock, metrics, watch)),
        jobs.cascades(store, clock),
        jobs.bulk_terminations(store, lambda: bulk_terminations.terminate_next_batch(services)),
    ]
    if store.frozen:
        return [*always, jobs.stops_alone(store, clock)]
    if services.triggers.starts_runs:
        always.append(jobs.schedules(store, clock, services.starter.start, partial(schedules.next_fire_at, services)))
    return [
        *always,
        Job("dispatcher", yield_to_loop, dispatcher.run),
        jobs.leases(store, clock),
        jobs.forgetting(store, clock, watch.may_remove),
        jobs.bulk(store, clock),
    ]


async def _maintain(store: Store, clock: Clock, metrics: Metrics, watch: ClockWatch) -> None:
    """Measure the lag of the loop and check the disk and the clock, once a second.

    Raises:
        Fatal: The loop was too late to terminate runs, or the database was removed.
    """
    due = clock.now() + LOOP_CHECK_INTERVAL
    await clock.sleep_until(due)
    lag = clock.now() - due
    metrics.loop_lag.observe(lag / SECOND)
    if lag > MAX_LOOP_LAG:
        raise Fatal(f"the event loop was {lag / SECOND:.1f} s late: it could not terminate runs in that time")
    await store.audit.sum_up(clock.now())
    await watch.look()
    store.maintain()
