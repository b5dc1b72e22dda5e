"""Creates, starts and stops the parts of a server in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from hashlib import sha256

import apsw

from interlock.api import endpoints
from interlock.api.app import Api
from interlock.assembly.background import background_jobs, complete_record, settle_overdue
from interlock.assembly.step_kinds import KindParts, step_kinds
from interlock.assembly.system import Platform, System
from interlock.audit.sealer import Sealer
from interlock.auth.bearer import Bearer
from interlock.auth.credentials import Credential, make_credential
from interlock.auth.signing import SigningKey
from interlock.auth.tenants import PublicUrls, Tenants, ensure_default_tenant
from interlock.auth.token_endpoint import TokenEndpoint
from interlock.engine.advance import Advance
from interlock.engine.clock_watch import ClockWatch
from interlock.engine.dispatchers import Dispatcher
from interlock.engine.dispatchers.embedded import EmbeddedDispatcher
from interlock.engine.feed import Feed
from interlock.engine.plans import Plans
from interlock.engine.prepare import Preparer
from interlock.engine.start import Starter
from interlock.engine.supervisor import Supervisor
from interlock.engine.turns import Limits
from interlock.errors import Fatal
from interlock.net.egress import EgressPolicy
from interlock.net.http import MAX_CONNECTIONS, GuardedHttp
from interlock.operations.services import Services
from interlock.operations.table import FORMER, OPERATIONS
from interlock.ports import AuditEntry, ClientRow, Clock, Health, Ids, Randomness, Role, Store, TenantRow
from interlock.rules.model import SECOND, SYSTEM
from interlock.settings import Settings
from interlock.steps.registry import StepRegistry
from interlock.store.marks import FILE_NAME
from interlock.telemetry.metrics import Metrics
from interlock.triggers.registry import RELEASED as TRIGGERS
from interlock.triggers.registry import TriggerRegistry

log = logging.getLogger("interlock.assembly")


@asynccontextmanager
async def assembled(
    settings: Settings,
    host: str,
    *,
    platform: Platform | None = None,
    on_fatal: Callable[[Fatal], None] = lambda error: None,
) -> AsyncIterator[System]:
    """Run a server without its port within this context, from recovery to an orderly stop.

    Args:
        settings: The settings of the server.
        host: Host and port under which clients will reach the server, for the first client's id.
        platform: The platform; the real one by default.
        on_fatal: Called when the process has to end.

    Raises:
        Unavailable: Another process uses the data directory.
        Fatal: The data cannot be used.
        InvalidArgument: A setting is not valid.
    """
    try:
        async with _assembled(settings, host, platform or Platform.real(), on_fatal) as system:
            yield system
    except apsw.Error as error:
        # A damaged page that the start has to read, before the store can report it.
        raise Fatal(
            f"the database in {settings.data_dir} cannot be read: {error}; restore a backup into another directory "
            "(interlock backup restore)"
        ) from error


@asynccontextmanager
async def _assembled(
    settings: Settings, host: str, platform: Platform, on_fatal: Callable[[Fatal], None]
) -> AsyncIterator[System]:
    clock, chance = platform.clock, platform.chance
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[Fatal] = loop.create_future()

    def fail(error: Fatal) -> None:
        if not failed.done():
            failed.set_result(error)
            on_fatal(error)

    async with AsyncExitStack() as stack:
        store = platform.store(settings.data_dir, fail)
        stack.push_async_callback(store.close)
        # Before anything is written with the time that the watch has to check.
        watch = ClockWatch(store.clocks, clock, lambda by: dispatcher.clock_moved())
        await watch.read_record()
        ids = platform.ids(await store.executions.greatest_id())
        http = platform.http
        if http is None:
            http = await stack.enter_async_context(_client(settings))
        evaluator = platform.evaluator()
        stack.push_async_callback(evaluator.aclose)
        evaluator.start()

        tenant = await ensure_default_tenant(store.access, settings.hosts, clock.wall())
        credential = await _new_client(store, tenant, host, clock, ids, chance, another=settings.new_client)
        installation, secret = await _installation(store, ids)
        urls = PublicUrls(store.access)
        parts = KindParts(
            http=http,
            webhooks=store.webhooks,
            clock=clock,
            ids=ids,
            urls=urls,
            installation=installation,
            secret=secret,
            slices=evaluator.slices,
            settings=settings.of_kinds,
        )
        registry = StepRegistry([*step_kinds(parts), *platform.more_kinds(http)])
        expressions = evaluator.environment()
        plans = Plans(store.automations, registry, expressions)
        marks, vault = platform.marks(settings.data_dir / FILE_NAME), platform.vault(settings.data_dir, ids)
        advance = Advance(
            store.executions,
            plans,
            Preparer(clock, evaluator, vault),
            clock,
            chance,
            ids.text(),
            marks,
            slices=evaluator.slices,
            vault=vault,
        )
        metrics = Metrics()
        supervisor = Supervisor(clock, fail, metrics.job_failed)
        dispatcher = EmbeddedDispatcher(
            store.executions, advance, clock, slots=_limits(settings), supervisor=supervisor, marks=marks
        )
        feed, sealer = Feed(), Sealer(store.audit, clock)
        store.listen(dispatcher)
        store.follow(feed)
        starter = Starter(store.executions, plans, dispatcher, clock, ids, vault)
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
            triggers=TriggerRegistry(TRIGGERS),
            feed=feed,
            page_key=sha256(b"page tokens" + secret).digest(),
            callback_secret=secret,
            urls=urls,
            vault=vault,
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
        await settle_overdue(supervisor, dispatcher, store, clock, set_right, failed)
        background = background_jobs(dispatcher, services, store, sealer, watch, metrics)
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(supervisor.keep(job), name=job.name) for job in background]
            try:
                yield system
            finally:
                system.begin_shutdown()
                if not failed.done():
                    await system.drain()
                for task in work:
                    task.cancel()
        if not failed.done():
            await complete_record(supervisor, store, sealer, clock)
            marks.close()


def _log_missing_parts(registry: StepRegistry) -> None:
    for kind in registry.unconfigured:
        log.info("step kind not configured", extra={"reason": registry.unavailable(kind.step.kind)})
    if not endpoints.has_pages():
        log.warning("no documentation pages", extra={"reason": endpoints.NO_PAGES})


def _client(settings: Settings) -> GuardedHttp:
    """Return the HTTP client. It has a connection for each slot, so that no call waits for a connection."""
    policy = EgressPolicy.parse(settings.allow_egress)
    connections = max(MAX_CONNECTIONS, settings.slots)
    return GuardedHttp(policy, ca_file=settings.ca_file, connections=connections)


def _limits(settings: Settings) -> Limits:
    return Limits(settings.slots, settings.slots_per_host, settings.slots_per_tenant)


def _show(metrics: Metrics, dispatcher: Dispatcher, store: Store, watch: ClockWatch) -> None:
    """Register the metrics that read the state of the parts."""
    metrics.watch(
        "interlock_clock_drift_seconds", "Wall time minus engine time, in seconds.", lambda: watch.drift / SECOND
    )
    metrics.watch("interlock_slots_busy", "Runs that have a slot.", lambda: dispatcher.busy)
    metrics.watch("interlock_runs_in_line", "Runs that are ready and wait for a slot.", lambda: dispatcher.in_line)
    metrics.watch(
        "interlock_commits", "Groups of changes that were committed since the start.", lambda: store.counters().commits
    )


async def _new_client(
    store: Store, tenant: TenantRow, host: str, clock: Clock, ids: Ids, chance: Randomness, *, another: bool
) -> Credential | None:
    """Create the first client if there is none, or `another` one."""
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


async def _installation(store: Store, ids: Ids) -> tuple[str, bytes]:
    """Return the id and the secret of this installation, which never change."""
    name = await store.access.keep_setting("installation", ids.text().encode())
    secret = await store.access.keep_setting("callback_secret", sha256(ids.secret().encode()).digest())
    return name.decode(), secret
