"""Operations on the clients of the caller's tenant, and on tenants, which only the default tenant may manage."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from interlock.auth.credentials import Credential, credential_of_key, make_credential
from interlock.auth.encoding import from_base64url, to_base64url
from interlock.auth.tenants import DEFAULT_TENANT, normalise
from interlock.contract.times import Duration
from interlock.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Problem
from interlock.operations import shown
from interlock.operations.access.views import (
    Client,
    CreateClientRequest,
    CreateClientResponse,
    CreateTenantRequest,
    CreateTenantResponse,
    ListClientsResponse,
    ListTenantsResponse,
    RevokeClientRequest,
    RevokeClientResponse,
    RevokeTenantRequest,
    RevokeTenantResponse,
    Tenant,
)
from interlock.operations.authorise import record_refusal
from interlock.operations.operation import Answer, Call
from interlock.operations.services import Services
from interlock.ports import AuditEntry, BulkAction, BulkKind, ClientRow, Role, TenantRow
from interlock.ports.bulk import EVERY_AUTOMATION

MAX_DISPLAY_NAME_CHARACTERS: Final = 256
MAX_TENANT_HOSTS: Final = 32
MAX_CLIENT_APPS: Final = 1_000
_TENANT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)

# --- clients ----------------------------------------------------------------------------------------------------------


async def create_client(services: Services, call: Call, body: CreateClientRequest) -> Answer:
    """Create a client of the caller's tenant.

    Raises:
        InvalidArgument: A role, a name or the key is not valid.
        AlreadyExists: A client with that name exists.
    """
    if len(body.display_name) > MAX_DISPLAY_NAME_CHARACTERS:
        raise InvalidArgument.at("displayName", f"must not be longer than {MAX_DISPLAY_NAME_CHARACTERS} characters")
    roles = _roles(body.roles)
    apps = _apps(body.apps, roles)
    host, name = call.headers["host"], body.name or None
    if body.public_key:
        made = credential_of_key(services.chance, host, _key(body.public_key), name=name)
    else:
        made = make_credential(services.ids, services.chance, host, name=name)
    row = replace(_row(services, call.tenant.id, made, body.display_name, roles, body.expires_in), apps=apps)
    details = json.dumps({"roles": roles, "apps": apps}).encode()
    await services.store.access.create_client(
        row, AuditEntry(actor=call.actor, action="client.create", target=f"client:{row.id}", details=details)
    )
    return Answer(CreateClientResponse(client=_client(row), client_secret=made.secret))


async def list_clients(services: Services, call: Call, body: None) -> Answer:
    """List all clients of the caller's tenant."""
    rows = await services.store.access.clients(call.tenant.id)
    return Answer(ListClientsResponse(list=tuple(map(_client, rows))))


async def revoke_client(services: Services, call: Call, body: RevokeClientRequest) -> Answer:
    """Revoke a client: it gets no token, and its tokens are invalid from this commit on.

    Raises:
        NotFound: There is no client with that id.
        FailedPrecondition: No other client could create clients.
    """
    access, tenant, id_ = services.store.access, call.tenant.id, call.path["id"]
    row = await access.client(tenant, id_)
    if row is None:
        raise NotFound

    def check(clients: Sequence[ClientRow]) -> None:
        lasting = [client.id for client in clients if _is_permanent_admin(client)]
        if lasting == [id_]:
            raise FailedPrecondition("this is the last client with the role super_admin; create another one first")

    audit = AuditEntry(actor=call.actor, action="client.revoke", target=f"client:{id_}")
    await access.revoke_client(tenant, id_, services.clock.wall(), audit, check=check)
    return Answer(RevokeClientResponse(client=_client(await access.client(tenant, id_) or row)))


def _is_permanent_admin(row: ClientRow) -> bool:
    """Whether this client may create clients, and neither expires nor is revoked."""
    return Role.SUPER_ADMIN in row.roles and row.revoked_at is None and row.expires_at is None


def _row(
    services: Services,
    tenant: int,
    made: Credential,
    display_name: str,
    roles: tuple[Role, ...],
    expires_in: Duration | None = None,
) -> ClientRow:
    at = services.clock.wall()
    expires_at = None if expires_in is None else at + expires_in.nanos // 1000
    return ClientRow(
        tenant=tenant,
        id=made.client_id,
        display_name=display_name,
        public_key=made.public_key,
        roles=roles,
        created_at=at,
        expires_at=expires_at,
    )


def _roles(names: Iterable[str]) -> tuple[Role, ...]:
    roles, choice, known = tuple(dict.fromkeys(names)), ", ".join(Role), frozenset(Role)
    if not roles:
        raise InvalidArgument.at("roles", f"is required: at least one of {choice}")
    unknown = (at for at, name in enumerate(roles) if name not in known)
    problems = [Problem(f"roles[{at}]", f"must be one of {choice}") for at in unknown]
    if problems:
        raise InvalidArgument(problems=tuple(problems))
    return tuple(Role(name) for name in roles)


def _apps(apps: tuple[str, ...], roles: tuple[Role, ...]) -> tuple[str, ...]:
    if bool(apps) != (Role.APP_ADMIN in roles):
        raise InvalidArgument.at("apps", f"must be given with the role {Role.APP_ADMIN}, and only then")
    if not all(apps) or len(apps) > MAX_CLIENT_APPS:
        raise InvalidArgument.at("apps", f"must be at most {MAX_CLIENT_APPS} ids of apps, none of them empty")
    return tuple(dict.fromkeys(apps))


def _key(text: str) -> bytes:
    try:
        return from_base64url(text)
    except ValueError:
        raise InvalidArgument.at("publicKey", "must be base64url without padding, as the x of a JWK") from None


def _client(row: ClientRow) -> Client:
    return Client(
        id=row.id,
        display_name=row.display_name,
        roles=row.roles,
        apps=row.apps,
        public_key=to_base64url(row.public_key),
        created_at=shown.moment(row.created_at),
        expires_at=shown.moment(row.expires_at),
        revoked_at=shown.moment(row.revoked_at),
    )


# --- tenants ----------------------------------------------------------------------------------------------------------


async def create_tenant(services: Services, call: Call, body: CreateTenantRequest) -> Answer:
    """Create a tenant and its first client in one commit.

    Raises:
        PermissionDenied: The caller is not a client of the default tenant.
        InvalidArgument: The name or a host is not valid.
        AlreadyExists: The name or a host is taken.
    """
    await _require_default_tenant(services, call, "tenant.create")
    problems: list[Problem] = []
    if not _TENANT_NAME.fullmatch(body.name):
        problems.append(Problem("name", "must be 1 to 64 lower case letters, digits, dots, - or _"))
    if not 1 <= len(body.hosts) <= MAX_TENANT_HOSTS:
        problems.append(
            Problem("hosts", f"must name between 1 and {MAX_TENANT_HOSTS} hosts that the tenant answers to")
        )
    hosts = []
    for at, host in enumerate(body.hosts[:MAX_TENANT_HOSTS]):
        try:
            hosts.append(normalise(host))
        except InvalidArgument:
            problems.append(Problem(f"hosts[{at}]", "is not the name or address of a host"))
    if problems:
        raise InvalidArgument(problems=tuple(problems))
    made = make_credential(services.ids, services.chance, services.urls.authority(hosts[0]))
    first = _row(services, 0, made, "First client", (Role.SUPER_ADMIN,))
    audit = AuditEntry(actor=call.actor, action="tenant.create", target=f"tenant:{body.name}")
    tenant = await services.store.access.create_tenant(
        body.name, tuple(hosts), services.clock.wall(), audit, first=first
    )
    client = _client(replace(first, tenant=tenant.id))
    shown_tenant = await _tenant(services, tenant)
    return Answer(CreateTenantResponse(tenant=shown_tenant, client=client, client_secret=made.secret))


async def list_tenants(services: Services, call: Call, body: None) -> Answer:
    """List all tenants."""
    await _require_default_tenant(services, call, "tenant.list")
    rows = await services.store.access.tenants()
    return Answer(ListTenantsResponse(list=tuple([await _tenant(services, row) for row in rows])))


async def revoke_tenant(services: Services, call: Call, body: RevokeTenantRequest) -> Answer:
    """Revoke a tenant: release its hosts, terminate its runs, and keep its records.

    The commit that revokes the tenant terminates up to 10,000 runs; a background job terminates the rest.

    Raises:
        PermissionDenied: The caller is not a client of the default tenant.
        NotFound: There is no tenant with that name.
        FailedPrecondition: It is the default tenant.
    """
    await _require_default_tenant(services, call, "tenant.revoke")
    access, name = services.store.access, call.path["name"]
    found = next((tenant for tenant in await access.tenants() if tenant.name == name), None)
    if found is None:
        raise NotFound
    if found.id == call.tenant.id:
        raise FailedPrecondition("the default tenant cannot be revoked: only its clients can manage tenants")
    audit = AuditEntry(actor=call.actor, action="tenant.revoke", target=f"tenant:{name}")
    reason = f"the tenant {name} was revoked"
    terminate = BulkAction(
        id=services.ids.text(),
        automation=EVERY_AUTOMATION,
        kind=BulkKind.TERMINATE_ACTIVE,
        actor=call.actor,
        reason=reason,
    )
    await access.revoke_tenant(found.id, services.clock.wall(), audit, terminate, now=services.clock.now())
    revoked = next(tenant for tenant in await access.tenants() if tenant.id == found.id)
    return Answer(RevokeTenantResponse(tenant=await _tenant(services, revoked)))


async def _require_default_tenant(services: Services, call: Call, action: str) -> None:
    if call.tenant.name != DEFAULT_TENANT:
        await record_refusal(services, call, action, "the caller is not a client of the default tenant")
        raise PermissionDenied("only clients of the default tenant may manage tenants")


async def _tenant(services: Services, row: TenantRow) -> Tenant:
    return Tenant(
        id=row.id,
        name=row.name,
        hosts=row.hosts,
        url=await services.urls.of(row.id) if row.revoked_at is None else "",
        created_at=shown.moment(row.created_at),
        revoked_at=shown.moment(row.revoked_at),
    )
