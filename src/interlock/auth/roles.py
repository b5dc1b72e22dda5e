"""Roles, and what each of them may do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Final

from interlock.ports import Role


class Permission(StrEnum):
    """What an operation asks of its caller."""

    AUTOMATIONS_READ = "automations.read"
    AUTOMATIONS_MANAGE = "automations.manage"
    EXECUTIONS_READ = "executions.read"
    EXECUTIONS_START = "executions.start"
    EXECUTIONS_TERMINATE = "executions.terminate"
    WEBHOOKS_READ = "webhooks.read"
    WEBHOOKS_MANAGE = "webhooks.manage"
    CLIENTS_READ = "clients.read"
    CLIENTS_MANAGE = "clients.manage"
    TENANTS_READ = "tenants.read"
    TENANTS_MANAGE = "tenants.manage"
    AUDIT_READ = "audit.read"
    SETTINGS_READ = "settings.read"
    SETTINGS_MANAGE = "settings.manage"


PERMISSIONS: Final[dict[Role, frozenset[Permission]]] = {
    Role.SUPER_ADMIN: frozenset(Permission),
    Role.APP_ADMIN: frozenset({Permission.WEBHOOKS_READ}),
    Role.BASIC: frozenset(),
    Role.READ_ONLY: frozenset(
        {
            Permission.AUTOMATIONS_READ,
            Permission.EXECUTIONS_READ,
            Permission.WEBHOOKS_READ,
            Permission.CLIENTS_READ,
            Permission.TENANTS_READ,
            Permission.AUDIT_READ,
            Permission.SETTINGS_READ,
        }
    ),
}
"""What a role allows throughout the tenant; what is neither here nor below is not allowed."""

APP_PERMISSIONS: Final[dict[Role, frozenset[Permission]]] = {
    Role.APP_ADMIN: frozenset(
        {
            Permission.AUTOMATIONS_READ,
            Permission.AUTOMATIONS_MANAGE,
            Permission.EXECUTIONS_READ,
            Permission.EXECUTIONS_START,
            Permission.EXECUTIONS_TERMINATE,
        }
    ),
}
"""What a role allows within the apps of the client."""

_NOTHING: Final[frozenset[Permission]] = frozenset()


@lru_cache(maxsize=256)
def permissions_of(roles: tuple[Role, ...], scope: tuple[Role, ...] = ()) -> frozenset[Permission]:
    """What a client with `roles` may do throughout, by a token narrowed to `scope`; an empty scope narrows nothing."""
    allowed = _union(PERMISSIONS, roles)
    return allowed & _union(PERMISSIONS, scope) if scope else allowed


@lru_cache(maxsize=256)
def app_permissions_of(roles: tuple[Role, ...], scope: tuple[Role, ...] = ()) -> frozenset[Permission]:
    """The same within the client's apps."""
    allowed = _within_apps(roles)
    return allowed & _within_apps(scope) if scope else allowed


def covers(roles: tuple[Role, ...], scope: tuple[Role, ...]) -> bool:
    """Whether a client with `roles` may ask for a token of this scope."""
    return permissions_of(scope) <= permissions_of(roles) and app_permissions_of(scope) <= app_permissions_of(roles)


def _within_apps(roles: tuple[Role, ...]) -> frozenset[Permission]:
    return _union(APP_PERMISSIONS, roles) | _union(PERMISSIONS, roles)


def _union(table: Mapping[Role, frozenset[Permission]], roles: Iterable[Role]) -> frozenset[Permission]:
    return frozenset().union(*(table.get(role, _NOTHING) for role in roles))
