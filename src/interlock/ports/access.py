"""Tenants, clients and their tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Protocol

from interlock.ports.audit import AuditEntry
from interlock.ports.bulk import BulkAction
from interlock.rules.values import value


class Role(StrEnum):
    """A named set of permissions of a client."""

    SUPER_ADMIN = "super_admin"
    APP_ADMIN = "app_admin"
    """Manages the automations of the client's apps, and their runs."""
    READ_ONLY = "read_only"
    BASIC = "basic"
    """Has no permissions in Interlock; in C1 it may request access."""


@value(frozen=True, slots=True, kw_only=True)
class TenantRow:
    """A tenant. `hosts` are its normalised host names."""

    id: int
    name: str
    hosts: tuple[str, ...]
    created_at: int
    automations_disabled: bool = False
    revoked_at: int | None = None


@value(frozen=True, slots=True, kw_only=True)
class TenantSettings:
    """The settings of a tenant for all its runs. Durations are microseconds."""

    automations_disabled: bool
    """New runs are created and terminated immediately, and active ones end at their next step."""
    executions_kept: int
    """How long a run is kept after its end."""
    payloads_kept: int
    """How long its trigger data, and what its steps sent and received, are kept after its end."""


@value(frozen=True, slots=True, kw_only=True)
class ClientRow:
    """A client with its public key; the store has no secret. Its `id` never changes."""

    tenant: int
    id: str
    display_name: str
    public_key: bytes
    roles: tuple[Role, ...]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    apps: tuple[str, ...] = ()
    """The ids of the apps that a client with the role `APP_ADMIN` administers."""


@value(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """An access token, stored by its SHA-256; `client` is the current row of its client."""

    digest: bytes
    client: ClientRow
    expires_at: int
    scope: tuple[Role, ...] = ()
    """The roles to which the token request limited the token; empty for all roles of the client."""


class Access(Protocol):
    """Tenants, clients, tokens and used assertions."""

    revocations: int
    """Increased by each commit that revokes something; it invalidates cached tokens."""

    async def tenants(self) -> list[TenantRow]: ...

    async def tenant_of_host(self, host: str) -> TenantRow | None: ...

    def create_tenant(
        self, name: str, hosts: tuple[str, ...], at: int, audit: AuditEntry, *, first: ClientRow | None = None
    ) -> Awaitable[TenantRow]:
        """Create a tenant, and in the same commit its first client, whose `tenant` is filled in.

        Raises:
            AlreadyExists: The name or a host is taken.
        """
        ...

    def revoke_tenant(
        self, tenant: int, at: int, audit: AuditEntry, terminate: BulkAction, *, now: int
    ) -> Awaitable[bool]:
        """Revoke a tenant and its clients, release its hosts, disable its automations, and terminate its runs.

        The commit terminates up to 10,000 runs; a background job terminates the rest.

        Args:
            tenant: Id of the tenant.
            at: Wall time, which clients and tokens use.
            audit: The audit row of the commit.
            terminate: The bulk action that terminates the rest of the runs.
            now: Engine time, which runs use.

        Returns:
            False if the tenant was revoked before.
        """
        ...

    async def settings(self, tenant: int) -> TenantSettings | None: ...

    def change_settings(
        self, tenant: int, change: Callable[[TenantSettings], tuple[TenantSettings, AuditEntry]], at: int
    ) -> Awaitable[TenantSettings]:
        """Read and change the settings in one transaction.

        The automations of a revoked tenant stay disabled.

        Args:
            tenant: Id of the tenant.
            change: Receives the settings in the transaction, and returns the new ones with an audit row.
            at: Engine time of the change.

        Raises:
            NotFound: The tenant is unknown.
            Exception: Any error of `change`; the settings are not changed.
        """
        ...

    def add_hosts(self, tenant: int, hosts: tuple[str, ...], at: int) -> Awaitable[None]:
        """Add host names to a tenant; names that it has are ignored. Raises `AlreadyExists` for those of others."""
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
        """Revoke a client and all its tokens.

        Args:
            tenant: Id of the tenant.
            id: Id of the client.
            at: Wall time of the revocation.
            audit: The audit row of the commit.
            check: Receives all clients of the tenant in the transaction; an error that it raises prevents the
                revocation.

        Returns:
            False if the client is unknown or was revoked before.
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
        """Store a token.

        `assertion` is the digest of the presented assertion; the method returns False if it was used before.

        Raises:
            TooManyRequests: The store remembers as many used assertions as it can.
        """
        ...

    async def token(self, tenant: int, digest: bytes) -> TokenRow | None: ...

    async def setting(self, name: str) -> bytes | None:
        """Return a value of the installation, such as its id."""
        ...

    def keep_setting(self, name: str, value: bytes) -> Awaitable[bytes]:
        """Store `value` unless the setting has a value, and return its value."""
        ...
