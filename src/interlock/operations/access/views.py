"""Our own messages about clients and tenants."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.base import Message
from interlock.contract.scalars import Int64
from interlock.contract.times import NonNegativeDuration, Timestamp


class Client(Message):
    """A client: a program or a person with credentials and roles. The server does not store its secret."""

    proto_name: ClassVar[str] = "interlock.v1.Client"

    id: str = ""
    """It never changes."""
    display_name: str = ""
    roles: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    """The ids of the apps that a client with the role `app_admin` administers."""
    public_key: str = ""
    """Ed25519, its 32 bytes in base64url without padding: the `x` of a JWK (RFC 8037)."""
    created_at: Timestamp | None = None
    expires_at: Timestamp | None = None
    revoked_at: Timestamp | None = None


class CreateClientRequest(Message):
    """Create a client."""

    proto_name: ClassVar[str] = "interlock.v1.CreateClientRequest"

    display_name: str = ""
    name: str = ""
    """The beginning of its id; two words and a number by default."""
    roles: tuple[str, ...] = ()
    """At least one of `super_admin`, `app_admin`, `read_only`, `basic`."""
    apps: tuple[str, ...] = ()
    """The ids of the apps that it administers; required with `app_admin`, and only then."""
    public_key: str = ""
    """The public key of the caller's own key pair. Without it the server makes a pair and returns the secret once."""
    expires_in: NonNegativeDuration | None = None
    """The time until the client expires; without it, it works until it is revoked."""


class CreateClientResponse(Message):
    """The new client, and its secret if the server made the key pair: the secret is shown only here."""

    proto_name: ClassVar[str] = "interlock.v1.CreateClientResponse"

    client: Client | None = None
    client_secret: str = ""


class ListClientsResponse(Message):
    """All clients of the tenant, including revoked ones."""

    proto_name: ClassVar[str] = "interlock.v1.ListClientsResponse"

    list: tuple[Client, ...] = ()


class RevokeClientRequest(Message):
    """Revoke a client."""

    proto_name: ClassVar[str] = "interlock.v1.RevokeClientRequest"


class RevokeClientResponse(Message):
    """The revoked client."""

    proto_name: ClassVar[str] = "interlock.v1.RevokeClientResponse"

    client: Client | None = None


class Tenant(Message):
    """A tenant: an isolated set of automations, executions and clients with host names of its own."""

    proto_name: ClassVar[str] = "interlock.v1.Tenant"

    id: Int64 = 0
    name: str = ""
    hosts: tuple[str, ...] = ()
    url: str = ""
    """The URL for its clients and for callbacks to it; empty once it is revoked."""
    created_at: Timestamp | None = None
    revoked_at: Timestamp | None = None


class CreateTenantRequest(Message):
    """Create a tenant and its first client."""

    proto_name: ClassVar[str] = "interlock.v1.CreateTenantRequest"

    name: str = ""
    hosts: tuple[str, ...] = ()
    """Its host names, at least one; the id of its first client contains the first."""


class CreateTenantResponse(Message):
    """The new tenant, and the secret of its first client, a super admin: the secret is shown only here."""

    proto_name: ClassVar[str] = "interlock.v1.CreateTenantResponse"

    tenant: Tenant | None = None
    client: Client | None = None
    client_secret: str = ""


class ListTenantsResponse(Message):
    """All tenants, including revoked ones."""

    proto_name: ClassVar[str] = "interlock.v1.ListTenantsResponse"

    list: tuple[Tenant, ...] = ()


class RevokeTenantRequest(Message):
    """Revoke a tenant."""

    proto_name: ClassVar[str] = "interlock.v1.RevokeTenantRequest"


class RevokeTenantResponse(Message):
    """The revoked tenant."""

    proto_name: ClassVar[str] = "interlock.v1.RevokeTenantResponse"

    tenant: Tenant | None = None
