"""Our own view of a termination."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.base import Message
from interlock.contract.scalars import Bool, Int32, Int64
from interlock.contract.times import Timestamp
from interlock.operations.views import ActorView


class TerminationView(Message):
    """The record of a termination: the first order stands; a later one can only have sharpened mode and deadline."""

    proto_name: ClassVar[str] = "interlock.v1.Termination"

    execution_id: Int64 = 0
    state: str = ""
    """The state of the execution now."""
    actor: ActorView | None = None
    reason: str = ""
    mode: str = ""
    cascade: Bool = False
    cause: str = ""
    cause_execution_id: Int64 = 0
    """For the cause `cascade`: the execution that was named."""
    found: str = ""
    """The state in which the order found the execution."""
    accepted_at: Timestamp | None = None
    deadline_at: Timestamp | None = None
    """When the attempt in flight is, or was, given up at the latest."""
    settled_at: Timestamp | None = None
    """When the execution came to rest; absent while it is stopping."""
    descendants: Int32 = 0
    """How many executions below were stopped with it; in the answer to an order, those of its commit."""
    more: Bool = False
    """With `cascade`, in the answer to the order: more follow, and none of them can start anything meanwhile."""
