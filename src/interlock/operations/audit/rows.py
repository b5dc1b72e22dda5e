"""The rows of the audit record."""

from __future__ import annotations

from typing import Final

from interlock.auth.roles import Permission
from interlock.operations.audit import handlers, views
from interlock.operations.operation import Operation, Visibility
from interlock.operations.row_parts import INTERLOCK_TAG, OWN, PAGE

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        method="GET",
        path="/interlock/v1/audit",
        id=f"{OWN}ListAuditEvents",
        summary="List Audit Events",
        description="One page of the tenant's audit record, oldest first, each row with the hash that seals it.",
        handler=handlers.list_all,
        permission=Permission.AUDIT_READ,
        response=views.ListAuditEventsResponse,
        query=PAGE,
        visibility=Visibility.OWN,
        tag=INTERLOCK_TAG,
    ),
    Operation(
        method="POST",
        path="/interlock/v1/audit/actions/verify",
        id=f"{OWN}VerifyAudit",
        summary="Verify Audit",
        description=(
            "Verify every row of the tenant's audit record against its seal, and name the first row that was changed, "
            "removed or inserted."
        ),
        handler=handlers.check,
        permission=Permission.AUDIT_READ,
        response=views.VerifyAuditResponse,
        request=views.VerifyAuditRequest,
        visibility=Visibility.OWN,
        tag=INTERLOCK_TAG,
        more=(
            "Each row's hash is SHA-256 over the previous hash and the row. An attacker with write access to the disk "
            "could compute all hashes again; a head that was stored elsewhere, sent as the checkpoint, detects that."
        ),
    ),
)
