"""What is remembered, and who is told of it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from interlock.ports.access import Access
from interlock.ports.addenda import Addenda, AddendumReads
from interlock.ports.audit import AuditLog
from interlock.ports.automations import AutomationReads, Automations, WebhookReads, Webhooks
from interlock.ports.breakers import Breakers
from interlock.ports.bulk import Bulk
from interlock.ports.bulk_terminations import BulkTerminations
from interlock.ports.clocks import Clocks
from interlock.ports.executions import ExecutionReads, Executions
from interlock.ports.leases import Leases
from interlock.ports.retention import Retention
from interlock.rules.model import Ref


class CommitListener(Protocol):
    """Told after each commit, before anybody who waits for that commit; interrupts before everything else."""

    def interrupt(self, ref: Ref, epoch: int) -> None: ...

    def ready(self, ref: Ref, at: int | None) -> None: ...

    def stopped(self, ref: Ref) -> None:
        """A termination of the run was accepted: nothing of it may begin."""
        ...


class ChangeListener(Protocol):
    """Told which runs a commit moved, after the commit listener and before anybody who waits for that commit."""

    def changed(self, tenant: int, id: int) -> None: ...


class Reads(Protocol):
    """Reads of several ports. A store has them, and so has a snapshot of it."""

    @property
    def executions(self) -> ExecutionReads: ...

    @property
    def automations(self) -> AutomationReads: ...

    @property
    def webhooks(self) -> WebhookReads: ...

    @property
    def addenda(self) -> AddendumReads: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What a store has done since it was opened."""

    commits: int
    """Groups of changes that were committed."""


class Store(Protocol):
    """What is remembered."""

    @property
    def executions(self) -> Executions: ...

    @property
    def automations(self) -> Automations: ...

    @property
    def breakers(self) -> Breakers: ...

    @property
    def bulk(self) -> Bulk: ...

    @property
    def bulk_terminations(self) -> BulkTerminations: ...

    @property
    def leases(self) -> Leases: ...

    @property
    def retention(self) -> Retention: ...

    @property
    def webhooks(self) -> Webhooks: ...

    @property
    def clocks(self) -> Clocks: ...

    @property
    def addenda(self) -> Addenda: ...

    @property
    def access(self) -> Access: ...

    @property
    def audit(self) -> AuditLog: ...

    @property
    def frozen(self) -> bool:
        """Whether it was restored from a backup and not released: nothing of it moves by itself."""
        ...

    @property
    def full(self) -> bool:
        """Whether the disk is full: runs can be terminated and can end, and none can be started."""
        ...

    def counters(self) -> Counters:
        """What it has done; read by the metrics, and by tests that count commits."""
        ...

    def maintain(self) -> None:
        """Check the store against its surroundings, about once a second: room on the disk, and files that are in place.

        Raises:
            Fatal: what is committed would be found by no later process.
        """
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Reads]:
        """A handle whose reads show the store as one commit has left it. Within, nothing but them may be awaited."""
        ...

    def listen(self, listener: CommitListener) -> None: ...

    def follow(self, listener: ChangeListener) -> None: ...

    async def close(self) -> None: ...
