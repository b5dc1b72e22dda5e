"""Whether a caller may do what is asked; the refusal is audited. The edges call this before they look at a body."""

from __future__ import annotations

from interlock.errors import PermissionDenied
from interlock.operations.operation import Call, Operation
from interlock.operations.services import Services
from interlock.ports import AuditEntry


async def authorise(services: Services, call: Call, operation: Operation) -> None:
    """Let the call pass, or record that it was refused.

    The answer is the same whether or not the thing asked for exists.

    Raises:
        PermissionDenied: the caller's roles, or the scope of its token, do not allow it.
    """
    permission, principal = operation.permission, call.principal
    if permission is None or permission in principal.permissions:
        return
    if operation.within_apps and principal.apps and permission in principal.app_permissions:
        return
    await record_refusal(services, call, operation.id, f"permission {permission} is missing")
    raise PermissionDenied(f"this takes the permission {permission}, which the caller's roles do not give")


async def record_refusal(services: Services, call: Call, action: str, reason: str) -> None:
    """Put into the audit record that the caller was not allowed to do this."""
    target = next(iter(call.path.values()), "")[:200]
    entry = AuditEntry(actor=call.actor, action=action, target=target, outcome="denied", reason=reason)
    await services.store.audit.refuse(call.tenant.id, services.clock.now(), entry)
