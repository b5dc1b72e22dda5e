"""Our own views of an execution, under /interlock/v1: what C1's messages have no words for.

States are written as they are stored (`STOPPING` included), without C1's prefix. Times are RFC 3339.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator

from interlock.contract.base import Message
from interlock.contract.enums import EnumNames
from interlock.contract.executions import Reason, lease_length, one_line
from interlock.contract.scalars import Bool, Int32, Int64
from interlock.contract.times import Duration, Timestamp
from interlock.operations.terminations.views import TerminationView
from interlock.operations.views import ActorView
from interlock.ports import AddendumFinding

FINDING: Final = EnumNames("AddendumFinding", ("UNSPECIFIED", *(finding.value for finding in AddendumFinding)))


class ExecutionChange(Message):
    """An execution as a commit has left it: the data of one event of its stream."""

    proto_name: ClassVar[str] = "interlock.v1.ExecutionChange"

    execution_id: Int64 = 0
    state: str = ""
    """STOPPING is shown by its name."""
    waiting_for: str = ""
    wake_at: Timestamp | None = None
    step: Int32 = 0
    """The position at which it stands, from 0."""
    attempt: Int32 = 0
    updated_at: Timestamp | None = None
    completed_at: Timestamp | None = None


class ItemView(Message):
    """One item of an attempt."""

    proto_name: ClassVar[str] = "interlock.v1.Item"

    name: str = ""
    outcome: str = ""
    in_doubt: Bool = False
    """Something of this item may have reached the receiver, and no answer tells what became of it."""
    idempotency_key: str = ""
    """The key of this item, the same in all attempts; empty for a kind that sends none."""
    settled_at: Timestamp | None = None
    output: Any = None
    error: Any = None


class AddendumView(Message):
    """What somebody learned later of a step whose outcome was in doubt. The newest speaks; none is ever edited."""

    proto_name: ClassVar[str] = "interlock.v1.Addendum"

    number: Int32 = 0
    """Its place among those of the execution, from 1."""
    position: Int32 = 0
    """Of the step, from 0."""
    step: str = ""
    attempt: Int32 = 0
    """The attempt that it is about, from 1; 0: all of them."""
    item: str = ""
    finding: str = ""
    """`HAPPENED`, `DID_NOT_HAPPEN` or `STILL_UNKNOWN`."""
    note: str = ""
    actor: ActorView | None = None
    at: Timestamp | None = None


class LateView(Message):
    """A result that came when nobody waited for it any more: evidence, which changed nothing."""

    proto_name: ClassVar[str] = "interlock.v1.LateResult"

    item: str = ""
    """Which of several items it tells of; empty: of the attempt as a whole."""
    outcome: str = ""
    at: Timestamp | None = None
    status: Int32 = 0
    output: Any = None
    error: Any = None


class AttemptView(Message):
    """One attempt at a step."""

    proto_name: ClassVar[str] = "interlock.v1.Attempt"

    number: Int32 = 0
    outcome: str = ""
    """Empty while it is open."""
    started_at: Timestamp | None = None
    settled_at: Timestamp | None = None
    waiting_for: str = ""
    status: Int32 = 0
    """The HTTP status of the far end, if one was seen."""
    phase: str = ""
    """How far the request had got."""
    in_doubt: Bool = False
    """Something may have reached the receiver, and no answer tells what became of it."""
    error: Any = None
    items: tuple[ItemView, ...] = ()
    late: tuple[LateView, ...] = ()


class ReceiverView(Message):
    """Whom a step calls: the webhook as it is now, its name and URL empty if it was deleted."""

    proto_name: ClassVar[str] = "interlock.v1.Receiver"

    webhook_id: str = ""
    display_name: str = ""
    url: str = ""


class StepView(Message):
    """One step of the plan, and what became of it. Secrets are masked."""

    proto_name: ClassVar[str] = "interlock.v1.Step"

    position: Int32 = 0
    name: str = ""
    display_name: str = ""
    kind: str = ""
    outcome: str = ""
    """Empty while it is still to come, or under way."""
    idempotency_key: str = ""
    """What its call carried, the same over all attempts; empty for a kind that sends none."""
    receiver: ReceiverView | None = None
    """Absent for a step that calls no webhook, or that has not come to it."""
    input: Any = None
    output: Any = None
    error: Any = None
    started_at: Timestamp | None = None
    settled_at: Timestamp | None = None
    attempts: tuple[AttemptView, ...] = ()
    addenda: tuple[AddendumView, ...] = ()
    """What was learned of it after the end, oldest first. The outcome stays as it was recorded."""


class ChildView(Message):
    """An execution that a step of this one started."""

    proto_name: ClassVar[str] = "interlock.v1.Child"

    id: Int64 = 0
    automation_template_id: str = ""
    automation_display_name: str = ""
    state: str = ""
    created_at: Timestamp | None = None
    completed_at: Timestamp | None = None


class RestoredView(Message):
    """The server was restored from a backup in which the execution was not at rest for good."""

    proto_name: ClassVar[str] = "interlock.v1.Restored"

    backup: str = ""
    """The name of the file."""
    known_until: Timestamp | None = None
    """When the newest change in the backup was made: what was done from then on until the restore is not known."""
    restored_at: Timestamp | None = None


class ExecutionDetail(Message):
    """Everything there is to know of one run."""

    proto_name: ClassVar[str] = "interlock.v1.ExecutionDetail"

    id: Int64 = 0
    automation_template_id: str = ""
    automation_display_name: str = ""
    current_version: Int32 = 0
    is_draft: Bool = False
    state: str = ""
    waiting_for: str = ""
    wake_at: Timestamp | None = None
    """When it goes on, is retried, or is given up."""
    step: Int32 = 0
    """Position of the current step, from 0; the number of steps once DONE."""
    trigger: Any = None
    """The data it was started with: `ctx.trigger`, less the automation's defaults."""
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    completed_at: Timestamp | None = None
    duration: Duration | None = None
    """From creation to completion."""
    parent: Int64 = 0
    root: Int64 = 0
    depth: Int32 = 0
    steps: tuple[StepView, ...] = ()
    termination: TerminationView | None = None
    children: tuple[ChildView, ...] = ()
    more_children: Bool = False
    """There are more than the first hundred children."""
    frozen: Bool = False
    """The server was restored from a backup and is not released: no execution goes on."""
    restored: RestoredView | None = None


class RenewLeaseRequest(Message):
    """Let the run go on for its lease again, from now, or for another length."""

    proto_name: ClassVar[str] = "interlock.v1.RenewLeaseRequest"

    lease: Annotated[Duration, AfterValidator(lease_length)] | None = None
    """1 s to 30 days; without it, as long as before."""


class Lease(Message):
    """Until when a run goes on unless its lease is renewed."""

    proto_name: ClassVar[str] = "interlock.v1.Lease"

    execution_id: Int64 = 0
    expires_at: Timestamp | None = None


class CreateAddendumRequest(Message):
    """What was learned, and of what. The step is named by its name or by its position."""

    proto_name: ClassVar[str] = "interlock.v1.CreateAddendumRequest"

    step: str = ""
    position: Int32 | None = None
    """From 0."""
    attempt: Int32 = 0
    """Only this attempt, from 1; 0 or absent: the step, whichever of its attempts it was."""
    item: str = ""
    """Which of several items, where the step has several."""
    finding: Annotated[str, FINDING] = FINDING.zero
    """`HAPPENED`, `DID_NOT_HAPPEN`, or `STILL_UNKNOWN`: somebody asked, and it could not be found out."""
    note: Annotated[Reason, AfterValidator(one_line)] = ""
    """How it was learned; at most 1,024 bytes of UTF-8, without control characters."""
