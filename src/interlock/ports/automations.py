"""Automations, their definitions, and the webhooks that their steps call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from interlock.ports.audit import AuditEntry
from interlock.ports.bulk import BulkAction
from interlock.rules.values import value


@value(frozen=True, slots=True, kw_only=True)
class Definition:
    """An immutable definition: a published version, or a draft that was run. The JSON is in stored form."""

    tenant: int
    id: int
    automation: str
    version: int
    """1 and up for published versions; 0 for a draft."""
    steps: bytes
    triggers: bytes
    context: bytes | None
    created_at: int
    apps: str | None = None
    """The apps of a publisher with access to some apps only, as a JSON list; its runs may use only these. None: all."""
    on_demand: bool = True
    """Whether no trigger of it starts a run by itself, so that steps of other automations may start it."""


@value(frozen=True, slots=True, kw_only=True)
class AutomationRow:
    """An automation. `document` is the stored form of all fields that its author sets, drafts included."""

    tenant: int
    id: str
    document: bytes
    version: int
    """The newest published version; 0 if none."""
    definition: int | None
    """The definition of that version."""
    created_at: int
    updated_at: int
    deleted_at: int | None = None
    breaker_max: int = 0
    """Maximum number of runs that its circuit breaker allows within the period; 0: it has no breaker."""
    breaker_period: str = ""
    """A `rules.breaker.Period`; "" without a breaker."""
    enabled: bool = False
    """Whether its triggers may start runs."""
    next_fire_at: int | None = None
    """When its schedule starts the next run; None: it has none. Only a start and a new schedule move it."""


@value(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What an update sets of the schedule of an automation."""

    next_fire_at: int | None


@value(frozen=True, slots=True, kw_only=True)
class ScheduledAutomation:
    """An enabled automation with a schedule."""

    fires_at: int
    """Its `next_fire_at`: microseconds of the wall clock."""
    tenant: int
    automation: str
    definition: int | None
    """Its newest published version."""


class AutomationReads(Protocol):
    """The reads of automations and their definitions."""

    async def get(self, tenant: int, id: str) -> AutomationRow | None:
        """Return an automation; None if it is unknown or deleted."""
        ...

    async def get_many(self, tenant: int, ids: Sequence[str]) -> Mapping[str, AutomationRow]:
        """Return automations by id, without unknown and deleted ones."""
        ...

    async def apps_of(self, tenant: int, ids: Sequence[str]) -> Mapping[str, str]:
        """Return the app of each automation by id, "" for no app; with deleted automations, without unknown ids."""
        ...

    async def page(self, tenant: int, *, after: str | None = None, limit: int = 25) -> list[AutomationRow]: ...

    async def scheduled(
        self, *, after: ScheduledAutomation | None = None, limit: int = 100
    ) -> list[ScheduledAutomation]:
        """Return the enabled automations of all tenants whose schedule fires next, the earliest first.

        Args:
            after: Begin after this one; None: with the earliest.
            limit: Maximum number.
        """
        ...

    async def definition(self, tenant: int, id: int) -> Definition | None: ...

    async def versions(
        self, tenant: int, automation: str, *, before: int | None = None, limit: int = 25
    ) -> list[Definition]:
        """Return published versions, newest first, starting below the version `before`."""
        ...


class Automations(AutomationReads, Protocol):
    """Automations and their immutable definitions."""

    def create(self, row: AutomationRow, published: Definition | None, audit: AuditEntry) -> Awaitable[AutomationRow]:
        """Store a new automation and, if given, its first version; the store assigns the id of the definition."""
        ...

    def update(
        self,
        row: AutomationRow,
        published: Definition | None,
        audit: AuditEntry,
        *,
        read_at: int,
        schedule: Schedule | None = None,
    ) -> Awaitable[AutomationRow]:
        """Replace the document and, if given, publish a version.

        Args:
            schedule: set anew; None: the next time stays as the store has it, whatever `row` says.

        Raises:
            NotFound: The automation is unknown or deleted.
            Conflict: It was updated since `read_at`.
        """
        ...

    def delete(
        self, tenant: int, id: str, at: int, audit: AuditEntry, *, terminate: BulkAction | None = None
    ) -> Awaitable[bool]:
        """Mark an automation as deleted. Its runs continue unless `terminate` is given.

        The commit terminates up to 10,000 runs; a background job terminates the rest.

        Returns:
            False if the automation is unknown or was deleted before.
        """
        ...

    def draft(self, definition: Definition) -> Awaitable[Definition]:
        """Store a draft as a definition; an identical draft is stored once."""
        ...


@value(frozen=True, slots=True, kw_only=True)
class WebhookRow:
    """An outbound webhook. `callback_timeout` is seconds."""

    tenant: int
    id: str
    document: bytes
    url: str
    callback_timeout: int
    created_at: int
    updated_at: int


class WebhookReads(Protocol):
    """The reads of outbound webhooks."""

    async def get(self, tenant: int, id: str) -> WebhookRow | None: ...

    async def page(self, tenant: int, *, after: str | None = None, limit: int = 25) -> list[WebhookRow]: ...


class Webhooks(WebhookReads, Protocol):
    """Outbound webhooks."""

    def create(self, row: WebhookRow, audit: AuditEntry) -> Awaitable[None]: ...

    def update(
        self, tenant: int, id: str, change: Callable[[WebhookRow], tuple[WebhookRow, AuditEntry]]
    ) -> Awaitable[WebhookRow | None]:
        """Read and change a webhook in one transaction.

        Args:
            tenant: Id of the tenant.
            id: Id of the webhook.
            change: Receives the row in the transaction, and returns the new one with an audit row. Its errors are
                raised, and the webhook is not changed.

        Returns:
            The new row; None if the webhook is unknown.
        """
        ...

    def delete(self, tenant: int, id: str, at: int, audit: AuditEntry) -> Awaitable[bool]: ...
