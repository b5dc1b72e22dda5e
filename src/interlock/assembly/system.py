"""What a system runs on, and the system that runs, less the port that it is reached by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from interlock.api.app import Api
from interlock.api.connection import MAX_CALLER_CONNECTIONS, Connection
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
from interlock.secrets.keys import open_vault
from interlock.steps.registry import StepRegistry
from interlock.store.marks import FileMarks
from interlock.store.sqlite.store import SqliteStore
from interlock.system import SystemClock, SystemIds, SystemRandomness


@dataclass(frozen=True, slots=True)
class Machine:
    """What a system runs on: the machine it finds itself on, unless somebody wants to hold everything still."""

    clock: Clock
    chance: Randomness
    ids: Callable[[int], Ids]
    """Given the greatest execution id that was ever stored."""
    store: Callable[[Path, Callable[[Fatal], None]], Store]
    """Opens the store in a directory; told what to call when it can no longer be vouched for."""
    http: Http | None = None
    """The way out; None: the guarded client, as the settings have it."""
    evaluator: Callable[[], Evaluator] = EvaluatorPool
    marks: Callable[[Path], Marks] = FileMarks
    """Given the file in which runs are marked that are being evaluated."""
    vault: Callable[[Path, Ids], Vault] = open_vault
    """Given the data directory, and where random bits come from."""

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
    store: Store
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
