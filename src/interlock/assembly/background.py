"""The background jobs of a system, what they settle before the port opens, and what is recorded at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from interlock.audit.sealer import Sealer
from interlock.engine import jobs
from interlock.engine.clock_watch import ClockWatch
from interlock.engine.dispatchers import Dispatcher
from interlock.engine.supervisor import Job, Supervisor
from interlock.errors import Fatal
from interlock.operations.bulk_terminations import handlers as bulk_terminations
from interlock.operations.services import Services
from interlock.ports import Clock, Store
from interlock.rules.model import SECOND
from interlock.system import yield_to_loop
from interlock.telemetry.metrics import Metrics

TICK: Final = SECOND
"""How often the loop's lag is looked at."""
MOST_LAG: Final = 5 * SECOND
"""A loop that is this late can keep no promise about a stop: the server ends, and what is on disk is recovered."""


async def settle_overdue(
    supervisor: Supervisor,
    dispatcher: Dispatcher,
    store: Store,
    clock: Clock,
    set_right: Callable[[], Awaitable[None]],
    failed: asyncio.Future[Fatal],
) -> None:
    """Before a caller can ask: settle what a dead process left in flight, and what is overdue.

    What a full disk does not take is left to the jobs: a server that can serve a termination has to start.

    Raises:
        Fatal: the store failed meanwhile and can settle nothing, so the port stays closed.
    """
    # What is overdue is not known before it is known what time it is.
    await supervisor.attempt("clock", set_right)
    if store.frozen:
        await supervisor.attempt("stops", lambda: jobs.settle_stopping(store, clock))
    else:
        await supervisor.attempt("recovery", dispatcher.recover)
        await supervisor.attempt("leases", lambda: jobs.expire(store, clock))
    if failed.done():
        raise failed.result()


async def complete_record(supervisor: Supervisor, store: Store, sealer: Sealer, clock: Clock) -> None:
    """At an orderly end: write what was only counted, and seal all. The next start seals what a full disk leaves."""
    await supervisor.attempt("refusals", lambda: store.audit.sum_up(clock.now(), every=True))
    await supervisor.attempt("sealer", sealer.seal_all)


def background_jobs(
    dispatcher: Dispatcher, services: Services, store: Store, sealer: Sealer, watch: ClockWatch, metrics: Metrics
) -> list[Job]:
    """List the jobs. In a frozen store these only look after the store and carry out what callers ordered."""
    clock = services.clock
    ordered = [
        jobs.sealing(sealer),
        Job("maintenance", yield_to_loop, lambda: _maintain(store, clock, metrics, watch)),
        jobs.cascades(store, clock),
        jobs.bulk_terminations(store, lambda: bulk_terminations.terminate_next_batch(services)),
    ]
    if store.frozen:
        return [*ordered, jobs.stops_alone(store, clock)]
    return [
        *ordered,
        Job("dispatcher", yield_to_loop, dispatcher.run),
        jobs.leases(store, clock),
        jobs.forgetting(store, clock, watch.may_remove),
        jobs.bulk(store, clock),
    ]


async def _maintain(store: Store, clock: Clock, metrics: Metrics, watch: ClockWatch) -> None:
    """Once a second: is the loop late, and has a full disk room again?

    Raises:
        Fatal: the loop was so late that no stop could have been kept, or the database was taken away.
    """
    due = clock.now() + TICK
    await clock.sleep_until(due)
    lag = clock.now() - due
    metrics.loop_lag.observe(lag / SECOND)
    if lag > MOST_LAG:
        raise Fatal(f"the event loop was {lag / SECOND:.1f} s late: no stop could have been kept in that time")
    await store.audit.sum_up(clock.now())
    await watch.look()
    store.maintain()
