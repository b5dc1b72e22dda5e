"""Our own view of a termination."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.base import Message
from interlock.contract.scalars import Bool, Int32, Int64
from interlock.contract.times import Timestamp
from interlock.operations.views import ActorView


class TerminationView(Message):
    """The record of a termination. A repeated terminate keeps it, and can only tighten its mode and deadline."""

    proto_name: ClassVar[str] = "interlock.v1.Termination"

    execution_id: Int64 = 0
    state: str = ""
    """The current state of the execution."""
    actor: ActorView | None = None
    reason: str = ""
    mode: str = ""
    cascade: Bool = False
    cause: str = ""
    cause_execution_id: Int64 = 0
    """With the cause `cascade`: the execution that the request named."""
    found: str = ""
    """The state of the execution before the termination."""
    accepted_at: Timestamp | None = None
    deadline_at: Timestamp | None = None
    """When the attempt in flight is abandoned at the latest."""
    settled_at: Timestamp | None = None
    """When the execution became terminal; absent while it is stopping."""
    descendants: Int32 = 0
    """How many descendants were terminated with it; in the answer to a terminate, those of its commit."""
    more: Bool = False
    """With `cascade`, in the answer to a terminate: more descendants follow; they start nothing in the meantime."""
