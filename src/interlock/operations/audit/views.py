"""Our own messages about the audit record."""

from __future__ import annotations

from typing import Any, ClassVar

from interlock.contract.base import Message
from interlock.contract.scalars import Bool, Int64
from interlock.contract.times import Timestamp
from interlock.operations.views import ActorView


class AuditEvent(Message):
    """One row of the audit record."""

    proto_name: ClassVar[str] = "interlock.v1.AuditEvent"

    id: Int64 = 0
    at: Timestamp | None = None
    actor: ActorView | None = None
    action: str = ""
    target: str = ""
    outcome: str = ""
    reason: str = ""
    details: Any = None
    hash: str = ""
    """SHA-256 over the previous hash and this row, in hexadecimal digits; empty until the row is sealed."""


class ListAuditEventsResponse(Message):
    """One page of the audit record, oldest first."""

    proto_name: ClassVar[str] = "interlock.v1.ListAuditEventsResponse"

    list: tuple[AuditEvent, ...] = ()
    next_page_token: str = ""


class VerifyAuditRequest(Message):
    """Verify the audit record. A checkpoint is the head of an earlier verification that was stored elsewhere."""

    proto_name: ClassVar[str] = "interlock.v1.VerifyAuditRequest"

    checkpoint_id: Int64 = 0
    checkpoint_hash: str = ""


class VerifyAuditResponse(Message):
    """The result of the verification."""

    proto_name: ClassVar[str] = "interlock.v1.VerifyAuditResponse"

    intact: Bool = False
    sealed: Int64 = 0
    """Rows that were verified."""
    unsealed: Int64 = 0
    """Rows too young to be sealed."""
    head_id: Int64 = 0
    head_hash: str = ""
    """The hash of the newest intact row. Stored elsewhere, it detects later whether the record was rewritten."""
    bad_id: Int64 = 0
    """The first row that was changed after it was sealed, or that is missing."""
    problem: str = ""
