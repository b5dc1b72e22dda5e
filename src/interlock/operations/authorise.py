"""Checks the permissions of a caller, and audits refusals. Edges call this before they parse a body."""

from __future__ import annotations

from interlock.errors import PermissionDenied
from interlock.operations.operation import Call, Operation
from interlock.operations.services import Services
from interlock.ports import AuditEntry


async def authorise(services: Services, call: Call, operation: Operation) -> None:
    """Check that the caller may call the operation, and audit a refusal.

    The refusal is the same whether or not the requested resource exists.

    Raises:
        PermissionDenied: The caller's roles, or the scope of its token, do not allow it.
    """
    permission, principal = operation.permission, call.principal
    if permission is None or permission in principal.permissions:
        return
    if operation.within_apps and principal.apps and permission in principal.app_permissions:
        return
    await record_refusal(services, call, operation.id, f"permission {permission} is missing")
    raise PermissionDenied(f"the permission {permission} is required, and the caller's roles do not include it")


async def record_refusal(services: Services, call: Call, action: str, reason: str) -> None:
    """Record a refusal in the audit record."""
    target = next(iter(call.path.values()), "")[:200]
    entry = AuditEntry(actor=call.actor, action=action, target=target, outcome="denied", reason=reason)
    await services.store.audit.refuse(call.tenant.id, services.clock.now(), entry)
