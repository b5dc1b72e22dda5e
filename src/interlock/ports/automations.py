"""Automations, their definitions, and the webhooks that their steps call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from interlock.ports.audit import AuditEntry
from interlock.ports.bulk import BulkAction


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """An immutable plan: a published version, or a draft as it was when it was run. The JSON is in stored form."""

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
    """The apps that its publisher was confined to, as a JSON list: what its runs may reach. None: to none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutomationRow:
    """An automation. `document` is the stored form of everything its owner can set, drafts included."""

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
    """Runs that its circuit breaker lets start within the period; 0: it has none."""
    breaker_period: str = ""
    """A `rules.breaker.Period`; "" without a breaker."""
    enabled: bool = False
    """Whether its triggers may start runs."""
    next_fire_at: int | None = None
    """When its schedule starts the next run; None: it has none. Only a start and a new schedule move it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What an update sets of the schedule of an automation."""

    next_fire_at: int | None


class AutomationReads(Protocol):
    """The reads of automations and their definitions."""

    async def get(self, tenant: int, id: str) -> AutomationRow | None:
        """None for a deleted one too."""
        ...

    async def get_many(self, tenant: int, ids: Sequence[str]) -> Mapping[str, AutomationRow]:
        """The automations with these ids, by id. Unknown and deleted ones are left out."""
        ...

    async def apps_of(self, tenant: int, ids: Sequence[str]) -> Mapping[str, str]:
        """Id to the app of the automation, "" if it belongs to none; deleted ones too. Unknown ids are left out."""
        ...

    async def page(self, tenant: int, *, after: str | None = None, limit: int = 25) -> list[AutomationRow]: ...

    async def definition(self, tenant: int, id: int) -> Definition | None: ...

    async def versions(
        self, tenant: int, automation: str, *, before: int | None = None, limit: int = 25
    ) -> list[Definition]:
        """Published versions, newest first, starting below the version `before`."""
        ...


class Automations(AutomationReads, Protocol):
    """Automations and their immutable definitions."""

    def create(self, row: AutomationRow, published: Definition | None, audit: AuditEntry) -> Awaitable[AutomationRow]:
        """Store a new automation and, if given, its first version (the definition's id is assigned here)."""
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
            NotFound: unknown or deleted.
            Conflict: it was updated since `read_at`.
        """
        ...

    def delete(
        self, tenant: int, id: str, at: int, audit: AuditEntry, *, terminate: BulkAction | None = None
    ) -> Awaitable[bool]:
        """Mark as deleted; its runs go on, or are terminated in the same commit (above 10,000 the rest follows).

        False: unknown or deleted already.
        """
        ...

    def draft(self, definition: Definition) -> Awaitable[Definition]:
        """Keep the present draft as a definition; the same draft is kept once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRow:
    """Where an outbound webhook goes. `callback_timeout` is seconds."""

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
    """Outbound webhooks, and the callbacks that are open."""

    def create(self, row: WebhookRow, audit: AuditEntry) -> Awaitable[None]: ...

    def update(
        self, tenant: int, id: str, change: Callable[[WebhookRow], tuple[WebhookRow, AuditEntry]]
    ) -> Awaitable[WebhookRow | None]:
        """Change a webhook in one transaction with the read; None if there is none.

        Args:
            change: given the row as it is in the transaction; what it raises is raised, and nothing is changed then.
        """
        ...

    def delete(self, tenant: int, id: str, at: int, audit: AuditEntry) -> Awaitable[bool]: ...
