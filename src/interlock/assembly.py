"""The one place where the parts are put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

import apsw

from interlock.api import endpoints
from interlock.api.app import Api
from interlock.api.connection import MAX_CALLER_CONNECTIONS, Connection
from interlock.audit.sealer import Sealer
from interlock.auth.bearer import Bearer
from interlock.auth.credentials import Credential, make_credential
from interlock.auth.signing import SigningKey
from interlock.auth.tenants import PublicUrls, Tenants, ensure_default_tenant
from interlock.auth.token_endpoint import TokenEndpoint
from interlock.engine import jobs
from interlock.engine.advance import Advance
from interlock.engine.clock_watch import ClockWatch
from interlock.engine.dispatchers import Dispatcher
from interlock.engine.dispatchers.embedded import EmbeddedDispatcher
from interlock.engine.feed import Feed
from interlock.engine.plans import Plans
from interlock.engine.prepare import Preparer
from interlock.engine.start import Starter
from interlock.engine.supervisor import Job, Supervisor
from interlock.engine.turns import Limits
from interlock.errors import Fatal
from interlock.expressions.evaluate import Evaluator
from interlock.expressions.pool import EvaluatorPool
from interlock.net.egress import EgressPolicy
from interlock.net.http import MAX_CONNECTIONS, GuardedHttp
from interlock.operations import bulk_terminations
from interlock.operations.services import Services
from interlock.operations.table import FORMER, OPERATIONS
from interlock.ports import AuditEntry, ClientRow, Clock, Health, Http, Ids, Marks, Randomness, Role, TenantRow
from interlock.rules.model import SECOND, SYSTEM
from interlock.settings import Settings
from interlock.steps import evaluate_expressions, run_automation, wait_for_duration, webhook
from interlock.steps.registry import StepRegistry
from interlock.store.marks import FILE_NAME, FileMarks
from interlock.store.sqlite.store import SqliteStore
from interlock.system import SystemClock, SystemIds, SystemRandomness, everybody_else
from interlock.telemetry.metrics import Metrics

TICK: Final = SECOND
"""How often the loop's lag is looked at."""
MOST_LAG: Final = 5 * SECOND
"""A loop that is this late can keep no promise about a stop: the server ends, and what is on disk is recovered."""


log = logging.getLogger("interlock.assembly")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a system runs on: the machine it finds itself on, unless somebody wants to hold everything still."""

    clock: Clock
    chance: Randomness
    ids: Callable[[int], Ids]
    """Given the greatest execution id that was ever stored."""
    store: Callable[[Path, Callable[[Fatal], None]], SqliteStore]
    """Opens the store in a directory; told what to call when it can no longer be vouched for."""
    http: Http | None = None
    """The way out; None: the guarded client, as the settings have it."""
    evaluator: Callable[[], Evaluator] = EvaluatorPool
    marks: Callable[[Path], Marks] = FileMarks
    """Given the file in which runs are marked that are being evaluated."""

    @classmethod
    def real(cls, http: Http | None = None) -> Self:
        clock = SystemClock()
        return cls(
            clock,
            SystemRandomness(),
            lambda greatest: SystemIds(clock, greatest),
            lambda directory, fail: SqliteStore(directory, on_fatal=fail),
            http,
        )


@dataclass(slots=True)
class System:
    """A running system, less the port that it is reached by."""

    api: Api
    store: SqliteStore
    dispatcher: Dispatcher
    tenant: TenantRow
    credential: Credential | None
    """The client that was made just now, if one was: its secret is nowhere else."""
    clock: Clock
    """Engine time."""
    steps: StepRegistry
    urls: PublicUrls
    feed: Feed
    failed: asyncio.Future[Fatal]
    """Done when the process has to end."""
    starter: Starter
    grace: float
    """Seconds that attempts in flight are given at an orderly stop."""
    watch: ClockWatch
    connection: type[asyncio.Protocol] = Connection
    """What the port speaks to each caller."""
    max_connections: int = MAX_CALLER_CONNECTIONS
    """Connections at a time, where the system permits so many open files."""
    draining: bool = False

    def reached_at(self, url: str, *, is_known: bool = True) -> None:
        """Say where remotes reach this server; not `is_known` if only the scheme and the port of the URL are right."""
        self.urls.reached_at(url, is_known=is_known)

    def wind_up(self) -> None:
        """Begin an orderly stop: start nothing more. Terminations, reads and health are still served."""
        self.draining = True
        self.starter.close()
        self.dispatcher.take_no_more()

    async def drain(self) -> None:
        """Let attempts in flight end for as long as they are given; then end what waits for changes."""
        try:
            await self.dispatcher.drain(self.grace)
        finally:
            self.feed.close()

    def hurry(self) -> None:
        """Give attempts in flight no more time: they are cut off, and the next start settles them."""
        self.grace = 0

    def health(self) -> Health:
        """Whether requests should be sent here, and what is wrong."""
        reasons: dict[str, str] = {}
        if self.draining:
            reasons["draining"] = "the server is stopping"
        if self.failed.done():
            reasons["store"] = "the store failed"
        ready = not reasons
        if self.dispatcher.holding and not self.store.frozen:
            reasons["recovering"] = "the server did not end in order: runs can be stopped, and are taken on in a moment"
        if self.store.frozen:
            reasons["frozen"] = "restored from a backup and not released: runs can be stopped, and nothing moves"
        if self.store.full:
            reasons["disk"] = "the disk is full: runs can be stopped, and none can be started"
        if self.watch.problem:
            reasons["clock"] = self.watch.problem
        return Health(ready, reasons)


@asynccontextmanager
async def assembled(
    settings: Settings,
    host: str,
    *,
    machine: Machine | None = None,
    on_fatal: Callable[[Fatal], None] = lambda error: None,
) -> AsyncIterator[System]:
    """Everything but the port: opened, recovered and at work within this context, and stopped in order after it.

    Args:
        host: host and port under which clients will reach the server, for the first client's id.
        machine: what it runs on, if not on this machine.
        on_fatal: told when the process has to end.

    Raises:
        Unavailable: another process uses the data directory.
        Fatal: the data cannot be used.
        InvalidArgument: a setting makes no sense.
    """
    try:
        async with _assembled(settings, host, machine or Machine.real(), on_fatal) as system:
            yield system
    except apsw.Error as error:
        # Met before the store could say so itself: a damaged page that the start has to read.
        raise Fatal(
            f"the database in {settings.data_dir} cannot be read: {error}; restore a backup into another directory "
            "(interlock backup restore)"
        ) from error


@asynccontextmanager
async def _assembled(
    settings: Settings, host: str, machine: Machine, on_fatal: Callable[[Fatal], None]
) -> AsyncIterator[System]:
    clock, chance = machine.clock, machine.chance
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[Fatal] = loop.create_future()

    def fail(error: Fatal) -> None:
        if not failed.done():
            failed.set_result(error)
            on_fatal(error)

    async with AsyncExitStack() as stack:
        store = machine.store(settings.data_dir, fail)
        stack.push_async_callback(store.close)
        # Before anything is written with the time that it has to judge.
        watch = ClockWatch(store.clocks, clock, lambda by: dispatcher.clock_moved())
        await watch.read_record()
        ids = machine.ids(await store.executions.greatest_id())
        http = machine.http
        if http is None:
            http = await stack.enter_async_context(_client(settings))
        evaluator = machine.evaluator()
        stack.push_async_callback(evaluator.aclose)
        evaluator.start()

        tenant = await ensure_default_tenant(store.access, settings.hosts, clock.wall())
        credential = await _new_client(store, tenant, host, clock, ids, chance, another=settings.new_client)
        installation, secret = await _installation(store, ids)
        urls = PublicUrls(store.access)
        registry = StepRegistry(
            [
                evaluate_expressions.kind(),
                run_automation.kind(ids),
                wait_for_duration.kind(),
                webhook.kind(
                    http,
                    store.webhooks,
                    clock=clock,
                    urls=urls,
                    installation=installation,
                    secret=secret,
                    slices=evaluator.slices,
                ),
            ]
        )
        expressions = evaluator.environment()
        plans = Plans(store.automations, registry, expressions)
        marks = machine.marks(settings.data_dir / FILE_NAME)
        advance = Advance(
            store.executions,
            plans,
            Preparer(clock, evaluator),
            clock,
            chance,
            ids.text(),
            marks,
            slices=evaluator.slices,
        )
        metrics = Metrics()
        supervisor = Supervisor(clock, fail, metrics.job_failed)
        dispatcher = EmbeddedDispatcher(
            store.executions, advance, clock, slots=_limits(settings), supervisor=supervisor, marks=marks
        )
        feed = Feed()
        store.listen(dispatcher)
        store.follow(feed)
        starter = Starter(store.executions, plans, dispatcher, clock, ids)
        services = Services(
            store=store,
            clock=clock,
            ids=ids,
            chance=chance,
            http=http,
            starter=starter,
            environment=expressions,
            evaluator=evaluator,
            steps=registry,
            feed=feed,
            page_key=sha256(b"page tokens" + secret).digest(),
            callback_secret=secret,
            urls=urls,
            installation=installation,
        )
        _show(metrics, dispatcher, store, watch)
        bearer = Bearer(store.access, clock)
        system: System

        def health() -> Health:
            return system.health()

        api = Api(
            services,
            Tenants(store.access),
            bearer,
            (*OPERATIONS, *FORMER),
            (
                endpoints.token(TokenEndpoint(store.access, store.audit, clock, ids)),
                endpoints.key_set(SigningKey(sha256(b"signing key" + secret).digest())),
                endpoints.health(),
                endpoints.readiness(health),
                endpoints.document("json", "application/json"),
                endpoints.document("yaml", "application/yaml"),
                *endpoints.pages(),
                endpoints.metrics(metrics, bearer),
            ),
            metrics,
        )
        _log_missing_parts(registry)
        system = System(
            api=api,
            store=store,
            dispatcher=dispatcher,
            tenant=tenant,
            credential=credential,
            clock=clock,
            steps=registry,
            urls=urls,
            feed=feed,
            failed=failed,
            starter=starter,
            grace=settings.grace,
            watch=watch,
        )
        set_right = partial(watch.begin, confirmed=settings.confirm_clock)
        await _settle_overdue(supervisor, dispatcher, store, clock, set_right, failed)
        sealer = Sealer(store.audit, clock)
        background = [
            jobs.sealing(sealer),
            Job("maintenance", everybody_else, lambda: _maintain(store, clock, metrics, watch)),
            *_jobs(dispatcher, services, watch),
        ]
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(supervisor.keep(job), name=job.name) for job in background]
            try:
                yield system
            finally:
                system.wind_up()
                if not failed.done():
                    await system.drain()
                for task in work:
                    task.cancel()
        if not failed.done():
            await _complete_record(supervisor, store, sealer, clock)
            marks.close()


def _log_missing_parts(registry: StepRegistry) -> None:
    for kind in registry.unconfigured:
        log.info("step kind not configured", extra={"reason": registry.unavailable(kind.step.kind)})
    if not endpoints.has_pages():
        log.warning("no documentation pages", extra={"reason": endpoints.NO_PAGES})


def _client(settings: Settings) -> GuardedHttp:
    """The way out. Slots are shared fairly before a call is made, so that none has to wait for a connection."""
    policy = EgressPolicy.parse(settings.allow_egress)
    connections = max(MAX_CONNECTIONS, settings.slots)
    return GuardedHttp(policy, ca_file=settings.ca_file, connections=connections)


def _limits(settings: Settings) -> Limits:
    return Limits(settings.slots, settings.slots_per_host, settings.slots_per_tenant)


async def _settle_overdue(
    supervisor: Supervisor,
    dispatcher: Dispatcher,
    store: SqliteStore,
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


async def _complete_record(supervisor: Supervisor, store: SqliteStore, sealer: Sealer, clock: Clock) -> None:
    """At an orderly end: write what was only counted, and seal all. The next start seals what a full disk leaves."""
    await supervisor.attempt("refusals", lambda: store.audit.sum_up(clock.now(), every=True))
    await supervisor.attempt("sealer", sealer.seal_all)


def _jobs(dispatcher: Dispatcher, services: Services, watch: ClockWatch) -> list[Job]:
    """The background jobs; in a frozen store those alone that carry out what callers ordered."""
    store, clock = services.store, services.clock
    ordered = [
        jobs.cascades(store, clock),
        jobs.bulk_terminations(store, lambda: bulk_terminations.carry_out_next(services)),
    ]
    if store.frozen:
        return [*ordered, jobs.stops_alone(store, clock)]
    return [
        *ordered,
        Job("dispatcher", everybody_else, dispatcher.run),
        jobs.leases(store, clock),
        jobs.forgetting(store, clock, watch.may_remove),
        jobs.bulk(store, clock),
    ]


def _show(metrics: Metrics, dispatcher: Dispatcher, store: SqliteStore, watch: ClockWatch) -> None:
    """Show what the parts are at."""
    metrics.watch(
        "interlock_clock_drift_seconds", "Wall clock less engine time, in seconds.", lambda: watch.drift / SECOND
    )
    metrics.watch("interlock_slots_busy", "Runs that are being carried on.", lambda: dispatcher.busy)
    metrics.watch("interlock_runs_in_line", "Runs that are ready and wait for a slot.", lambda: dispatcher.in_line)
    metrics.watch("interlock_commits", "Groups committed since the start.", lambda: store.writer.commits)


async def _new_client(
    store: SqliteStore, tenant: TenantRow, host: str, clock: Clock, ids: Ids, chance: Randomness, *, another: bool
) -> Credential | None:
    """Make the first client, if there is none, or `another`."""
    if await store.access.clients(tenant.id) and not another:
        return None
    made = make_credential(ids, chance, host)
    name = "Made by serve --new-client" if another else "First client"
    row = ClientRow(
        tenant=tenant.id,
        id=made.client_id,
        display_name=name,
        public_key=made.public_key,
        roles=(Role.SUPER_ADMIN,),
        created_at=clock.wall(),
    )
    await store.access.create_client(
        row, AuditEntry(actor=SYSTEM, action="client.create", target=f"client:{made.client_id}")
    )
    return made


async def _installation(store: SqliteStore, ids: Ids) -> tuple[str, bytes]:
    """The name and the secret of this installation, which never change."""
    name = await store.access.keep_setting("installation", ids.text().encode())
    secret = await store.access.keep_setting("callback_secret", sha256(ids.secret().encode()).digest())
    return name.decode(), secret


async def _maintain(store: SqliteStore, clock: Clock, metrics: Metrics, watch: ClockWatch) -> None:
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
    store.require_own_files()
    store.look_for_room()
