"""Roles, and what each of them may do."""

from __future__ import annotations

from collections.abc import Iterable
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
"""The whole of it: what is not listed is not allowed."""


@lru_cache(maxsize=256)
def permissions_of(roles: tuple[Role, ...], scope: tuple[Role, ...] = ()) -> frozenset[Permission]:
    """What a client with `roles` may do through a token narrowed to `scope`; an empty scope narrows nothing."""
    allowed = _union(roles)
    return allowed & _union(scope) if scope else allowed


def covers(roles: tuple[Role, ...], scope: tuple[Role, ...]) -> bool:
    """Whether a client with `roles` may ask for a token of this scope."""
    return _union(scope) <= permissions_of(roles)


def _union(roles: Iterable[Role]) -> frozenset[Permission]:
    return frozenset().union(*(PERMISSIONS[role] for role in roles))
