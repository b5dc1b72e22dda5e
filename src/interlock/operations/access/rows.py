"""The rows of clients and tenants."""

from __future__ import annotations

from typing import Final

from interlock.auth.roles import Permission
from interlock.operations.access import handlers, views
from interlock.operations.operation import Lane, Link, Operation, PathParameter, Visibility
from interlock.operations.row_parts import OWN

_TAG: Final = "Access"
_OF_CLIENT: Final = Link("/client/id", (f"{OWN}RevokeClient",))
_OF_TENANT: Final = Link("/tenant/name", (f"{OWN}RevokeTenant",), "name")

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        method="GET",
        path="/interlock/v1/clients",
        id=f"{OWN}ListClients",
        summary="List Clients",
        description="All clients of the tenant, including revoked ones.",
        handler=handlers.list_clients,
        permission=Permission.CLIENTS_READ,
        response=views.ListClientsResponse,
        visibility=Visibility.OWN,
        tag=_TAG,
    ),
    Operation(
        method="POST",
        path="/interlock/v1/clients",
        id=f"{OWN}CreateClient",
        summary="Create Client",
        description=(
            "Create a client of the tenant. Without a `publicKey` the server makes the key pair and returns the secret "
            "once."
        ),
        handler=handlers.create_client,
        permission=Permission.CLIENTS_MANAGE,
        response=views.CreateClientResponse,
        request=views.CreateClientRequest,
        lane=Lane.WORK,
        visibility=Visibility.OWN,
        tag=_TAG,
        link=_OF_CLIENT,
    ),
    Operation(
        method="POST",
        path="/interlock/v1/clients/{id}/actions/revoke",
        id=f"{OWN}RevokeClient",
        summary="Revoke Client",
        description="Revoke a client; its tokens stop working immediately.",
        handler=handlers.revoke_client,
        permission=Permission.CLIENTS_MANAGE,
        response=views.RevokeClientResponse,
        request=views.RevokeClientRequest,
        lane=Lane.WORK,
        visibility=Visibility.OWN,
        parameters=(PathParameter("id", "The client's id, percent-encoded."),),
        tag=_TAG,
    ),
    Operation(
        method="GET",
        path="/interlock/v1/tenants",
        id=f"{OWN}ListTenants",
        summary="List Tenants",
        description="All tenants, including revoked ones. For clients of the default tenant.",
        handler=handlers.list_tenants,
        permission=Permission.TENANTS_READ,
        response=views.ListTenantsResponse,
        visibility=Visibility.OWN,
        tag=_TAG,
    ),
    Operation(
        method="POST",
        path="/interlock/v1/tenants",
        id=f"{OWN}CreateTenant",
        summary="Create Tenant",
        description=(
            "Create a tenant for the given host names, and its first client. For clients of the default tenant."
        ),
        handler=handlers.create_tenant,
        permission=Permission.TENANTS_MANAGE,
        response=views.CreateTenantResponse,
        request=views.CreateTenantRequest,
        lane=Lane.WORK,
        visibility=Visibility.OWN,
        tag=_TAG,
        link=_OF_TENANT,
    ),
    Operation(
        method="POST",
        path="/interlock/v1/tenants/{name}/actions/revoke",
        id=f"{OWN}RevokeTenant",
        summary="Revoke Tenant",
        description=(
            "Revoke a tenant: its host names become available again, its executions are terminated, and its records "
            "are kept. For clients of the default tenant."
        ),
        handler=handlers.revoke_tenant,
        permission=Permission.TENANTS_MANAGE,
        response=views.RevokeTenantResponse,
        request=views.RevokeTenantRequest,
        lane=Lane.WORK,
        visibility=Visibility.OWN,
        parameters=(PathParameter("name", "The tenant's name."),),
        tag=_TAG,
    ),
)
