"""Our own messages about who may call: clients and tenants."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.base import Message
from interlock.contract.scalars import Int64
from interlock.contract.times import NonNegativeDuration, Timestamp


class Client(Message):
    """A client: whose calls are let in, and what they may do. Its secret is kept nowhere."""

    proto_name: ClassVar[str] = "interlock.v1.Client"

    id: str = ""
    """Fixed once made."""
    display_name: str = ""
    roles: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    """What a client with the role `app_admin` administers."""
    public_key: str = ""
    """Ed25519, its 32 bytes in base64url without padding: the `x` of a JWK (RFC 8037)."""
    created_at: Timestamp | None = None
    expires_at: Timestamp | None = None
    revoked_at: Timestamp | None = None


class CreateClientRequest(Message):
    """Make a client."""

    proto_name: ClassVar[str] = "interlock.v1.CreateClientRequest"

    display_name: str = ""
    name: str = ""
    """What its id begins with; by default two words and a number."""
    roles: tuple[str, ...] = ()
    """At least one of `super_admin`, `app_admin`, `read_only`, `basic`."""
    apps: tuple[str, ...] = ()
    """The ids of the apps that it administers; required with `app_admin`, and only then."""
    public_key: str = ""
    """Of a key pair of the caller's own. Without it the server makes a pair and answers with the secret, once."""
    expires_in: NonNegativeDuration | None = None
    """How long it is let in; without it, until it is revoked."""


class CreateClientResponse(Message):
    """The client made, and its secret if the server made the key pair: it is shown this once."""

    proto_name: ClassVar[str] = "interlock.v1.CreateClientResponse"

    client: Client | None = None
    client_secret: str = ""


class ListClientsResponse(Message):
    """All clients of the tenant, those revoked included."""

    proto_name: ClassVar[str] = "interlock.v1.ListClientsResponse"

    list: tuple[Client, ...] = ()


class RevokeClientRequest(Message):
    """Let a client in no more."""

    proto_name: ClassVar[str] = "interlock.v1.RevokeClientRequest"


class RevokeClientResponse(Message):
    """The client as it is now."""

    proto_name: ClassVar[str] = "interlock.v1.RevokeClientResponse"

    client: Client | None = None


class Tenant(Message):
    """A tenant: whose automations and runs nobody else can see, reached by its own host names."""

    proto_name: ClassVar[str] = "interlock.v1.Tenant"

    id: Int64 = 0
    name: str = ""
    hosts: tuple[str, ...] = ()
    url: str = ""
    """Where its clients and the receivers of its webhooks reach it; empty once it is revoked."""
    created_at: Timestamp | None = None
    revoked_at: Timestamp | None = None


class CreateTenantRequest(Message):
    """Make a tenant, and its first client."""

    proto_name: ClassVar[str] = "interlock.v1.CreateTenantRequest"

    name: str = ""
    hosts: tuple[str, ...] = ()
    """The names that it answers to, at least one; the first goes into its first client's id."""


class CreateTenantResponse(Message):
    """The tenant made, and the secret of its first client, a super admin: it is shown this once."""

    proto_name: ClassVar[str] = "interlock.v1.CreateTenantResponse"

    tenant: Tenant | None = None
    client: Client | None = None
    client_secret: str = ""


class ListTenantsResponse(Message):
    """All tenants, those revoked included."""

    proto_name: ClassVar[str] = "interlock.v1.ListTenantsResponse"

    list: tuple[Tenant, ...] = ()


class RevokeTenantRequest(Message):
    """Let a tenant in no more."""

    proto_name: ClassVar[str] = "interlock.v1.RevokeTenantRequest"


class RevokeTenantResponse(Message):
    """The tenant as it is now."""

    proto_name: ClassVar[str] = "interlock.v1.RevokeTenantResponse"

    tenant: Tenant | None = None
