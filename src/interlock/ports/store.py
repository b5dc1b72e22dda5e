"""The store, and the listeners to its commits."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
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
from interlock.rules.values import value


class CommitListener(Protocol):
    """Called after each commit, before the callers that wait for the commit; `interrupt` is called first."""

    def interrupt(self, ref: Ref, epoch: int) -> None: ...

    def ready(self, ref: Ref, at: int | None) -> None: ...

    def stopped(self, ref: Ref) -> None:
        """A termination of the run was accepted: no attempt of it may begin."""
        ...


class ChangeListener(Protocol):
    """Called with the runs that a commit changed, after the commit listener and before the callers that wait."""

    def changed(self, tenant: int, id: int) -> None: ...


class Reads(Protocol):
    """The reads of several ports, of a store or of a snapshot of it."""

    @property
    def executions(self) -> ExecutionReads: ...

    @property
    def automations(self) -> AutomationReads: ...

    @property
    def webhooks(self) -> WebhookReads: ...

    @property
    def addenda(self) -> AddendumReads: ...


@value(frozen=True, slots=True, kw_only=True)
class Counters:
    """Counters of a store since it was opened."""

    commits: int
    """Groups of changes that were committed."""


class Store(Protocol):
    """The data of an installation, by port."""

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
        """Whether the store was restored from a backup and not released: no run moves."""
        ...

    @property
    def full(self) -> bool:
        """Whether the disk is full: runs can end and be terminated, but not started."""
        ...

    def counters(self) -> Counters:
        """Return the counters, for metrics and for tests that count commits."""
        ...

    def maintain(self) -> None:
        """Check the disk space and the files of the store; called about once a second.

        Raises:
            Fatal: The files were removed, so that no later process would find the commits.
        """
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Reads]:
        """Return a handle whose reads show the store after one commit. Within it only these reads may be awaited."""
        ...

    def listen(self, listener: CommitListener) -> None: ...

    def follow(self, listener: ChangeListener) -> None: ...

    async def close(self) -> None: ...
