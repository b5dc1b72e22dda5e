"""Tenants, clients and their tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from interlock.ports.audit import AuditEntry
from interlock.ports.bulk import BulkAction


class Role(StrEnum):
    """What a client may do."""

    SUPER_ADMIN = "super_admin"
    APP_ADMIN = "app_admin"
    """The automations of the client's apps, and their runs."""
    READ_ONLY = "read_only"
    BASIC = "basic"
    """Nothing here: it may ask for things elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRow:
    """A tenant. `hosts` are the normalised names it answers to."""

    id: int
    name: str
    hosts: tuple[str, ...]
    created_at: int
    automations_disabled: bool = False
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantSettings:
    """What a tenant's administrators set for all its runs. Lengths are microseconds."""

    automations_disabled: bool
    """New runs are created and terminated at once, and those under way end at their next step."""
    executions_kept: int
    """How long a run is kept after its end."""
    payloads_kept: int
    """How long what it was started with, and what its steps sent and received, is kept after its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRow:
    """A client credential: only the public key is kept. `id` is fixed once made."""

    tenant: int
    id: str
    display_name: str
    public_key: bytes
    roles: tuple[Role, ...]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    apps: tuple[str, ...] = ()
    """What a client with the role `APP_ADMIN` administers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """An access token, found by its SHA-256; `client` is its client as it stands now."""

    digest: bytes
    client: ClientRow
    expires_at: int
    scope: tuple[Role, ...] = ()
    """What the token was narrowed to when it was asked for; empty if to nothing."""


class Access(Protocol):
    """Tenants, clients, tokens and used assertions."""

    revocations: int
    """Raised by each commit that revokes something: what was remembered of tokens before is void."""

    async def tenants(self) -> list[TenantRow]: ...

    async def tenant_of_host(self, host: str) -> TenantRow | None: ...

    def create_tenant(
        self, name: str, hosts: tuple[str, ...], at: int, audit: AuditEntry, *, first: ClientRow | None = None
    ) -> Awaitable[TenantRow]:
        """Make a tenant, and in the same commit its first client (whose `tenant` is filled in).

        Raises:
            AlreadyExists: the name or a host is taken.
        """
        ...

    def revoke_tenant(
        self, tenant: int, at: int, audit: AuditEntry, terminate: BulkAction, *, now: int
    ) -> Awaitable[bool]:
        """Let it and its clients in no more, free its hosts, switch its automations off, and terminate its runs: up to
        10,000 in the same commit, the rest in the background. False if it was revoked before.

        Args:
            at: the wall clock's time, as of clients and tokens.
            now: the engine's time, as of runs.
        """
        ...

    async def settings(self, tenant: int) -> TenantSettings | None: ...

    def change_settings(
        self, tenant: int, change: Callable[[TenantSettings], tuple[TenantSettings, AuditEntry]], at: int
    ) -> Awaitable[TenantSettings]:
        """Change them in one transaction with the read: `change` is given the settings as they are in it.

        The automations of a tenant that was revoked stay switched off.

        Raises:
            NotFound: unknown tenant.
            Exception: whatever `change` raises; nothing is changed then.
        """
        ...

    def add_hosts(self, tenant: int, hosts: tuple[str, ...], at: int) -> Awaitable[None]:
        """Let a tenant answer to more names; those it has are passed over. Raises `AlreadyExists` as above."""
        ...

    async def clients(self, tenant: int) -> list[ClientRow]: ...

    async def client(self, tenant: int, id: str) -> ClientRow | None: ...

    def create_client(self, row: ClientRow, audit: AuditEntry) -> Awaitable[None]: ...

    def revoke_client(
        self,
        tenant: int,
        id: str,
        at: int,
        audit: AuditEntry,
        *,
        check: Callable[[Sequence[ClientRow]], None] = lambda clients: None,
    ) -> Awaitable[bool]:
        """Revoke the client and every token it holds; False if that was so, or if there is none.

        Args:
            check: given all clients of the tenant as they are in the transaction; what it raises keeps the client.
        """
        ...

    def issue(
        self,
        tenant: int,
        client: str,
        digest: bytes,
        at: int,
        expires_at: int,
        assertion: bytes | None,
        audit: AuditEntry,
        *,
        scope: tuple[Role, ...] = (),
    ) -> Awaitable[bool]:
        """Store a token. `assertion` is the digest of the one that was presented: False if it was used before.

        Raises:
            TooManyRequests: so many assertions were used lately that no more can be remembered.
        """
        ...

    async def token(self, tenant: int, digest: bytes) -> TokenRow | None: ...

    async def setting(self, name: str) -> bytes | None:
        """A value that belongs to the installation, such as its id."""
        ...

    def keep_setting(self, name: str, value: bytes) -> Awaitable[bytes]:
        """Keep `value` unless there is one already; returns the one that stands."""
        ...
