"""The platform that a server runs on, and the server without its port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from interlock.api.app import Api
from interlock.api.connection import Connection
from interlock.api.idle_connections import MAX_CALLER_CONNECTIONS
from interlock.auth.credentials import Credential
from interlock.auth.tenants import PublicUrls
from interlock.engine.clock_watch import ClockWatch
from interlock.engine.dispatchers import Dispatcher
from interlock.engine.feed import Feed
from interlock.engine.start import Starter
from interlock.errors import Fatal
from interlock.expressions.evaluate import Evaluator
from interlock.expressions.pool import EvaluatorPool
from interlock.ports import Clock, Health, Http, Ids, Marks, Randomness, Store, TenantRow, Vault
from interlock.rules.values import value
from interlock.secrets.keys import open_vault
from interlock.steps.kind import StepKind
from interlock.steps.registry import StepRegistry
from interlock.store.marks import FileMarks
from interlock.store.sqlite.store import SqliteStore
from interlock.system import SystemClock, SystemIds, SystemRandomness


@value(frozen=True, slots=True)
class Platform:
    """The clock, ids, store and network that a server runs on: `real`, or those of a test or the simulator."""

    clock: Clock
    chance: Randomness
    ids: Callable[[int], Ids]
    """Receives the greatest execution id that was ever stored."""
    store: Callable[[Path, Callable[[Fatal], None]], Store]
    """Opens the store in a directory; its second argument is called when the store has failed."""
    http: Http | None = None
    """Outbound HTTP; None: the guarded client of the settings."""
    evaluator: Callable[[], Evaluator] = EvaluatorPool
    marks: Callable[[Path], Marks] = FileMarks
    """Receives the path of the file of marks."""
    vault: Callable[[Path, Ids], Vault] = open_vault
    """Receives the data directory, and the source of random bits."""
    more_kinds: Callable[[Http], Sequence[StepKind]] = lambda http: ()
    """Receives outbound HTTP, and returns step kinds beside those of the release: test kinds of a test, or none."""

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
    """A running server without its port."""

    api: Api
    store: Store
    dispatcher: Dispatcher
    tenant: TenantRow
    credential: Credential | None
    """The client that this start created, if any; its secret is stored nowhere else."""
    clock: Clock
    """Engine time."""
    steps: StepRegistry
    urls: PublicUrls
    feed: Feed
    failed: asyncio.Future[Fatal]
    """Done when the process has to end."""
    starter: Starter
    grace: float
    """Seconds in which attempts in flight may finish at an orderly stop."""
    watch: ClockWatch
    connection: type[asyncio.Protocol] = Connection
    """The protocol class of a connection."""
    max_connections: int = MAX_CALLER_CONNECTIONS
    """Maximum number of connections, if the operating system permits so many open files."""
    draining: bool = False

    def reached_at(self, url: str, *, is_known: bool = True) -> None:
        """Set the URL at which remotes reach this server; not `is_known` if only its scheme and port are right."""
        self.urls.reached_at(url, is_known=is_known)

    def begin_shutdown(self) -> None:
        """Begin an orderly stop: start no more runs and attempts, and still serve terminations, reads and health."""
        self.draining = True
        self.starter.close()
        self.dispatcher.take_no_more()

    async def drain(self) -> None:
        """Wait until attempts in flight have finished, for at most `grace`; then end the streams of changes."""
        try:
            await self.dispatcher.drain(self.grace)
        finally:
            self.feed.close()

    def skip_grace(self) -> None:
        """Set the grace to 0: attempts in flight are cancelled, and the next start settles them."""
        self.grace = 0

    def health(self) -> Health:
        """Return whether this server should receive requests, and what is wrong."""
        reasons: dict[str, str] = {}
        if self.draining:
            reasons["draining"] = "the server is stopping"
        if self.failed.done():
            reasons["store"] = "the store failed"
        ready = not reasons
        if self.dispatcher.holding and not self.store.frozen:
            reasons["recovering"] = (
                "the server did not end in order: runs can be terminated, and are resumed in a moment"
            )
        if self.store.frozen:
            reasons["frozen"] = "restored from a backup and not released: runs can be terminated, and no run moves"
        if self.store.full:
            reasons["disk"] = "the disk is full: runs can be terminated, and none can be started"
        if self.watch.problem:
            reasons["clock"] = self.watch.problem
        return Health(ready, reasons)
