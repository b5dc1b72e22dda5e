"""Our own views of an execution, under /interlock/v1, with data that C1's messages do not have.

States are the stored ones (`STOPPING` included), without C1's prefix. Times are RFC 3339.
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
    """An execution after a commit: the data of one event of its stream."""

    proto_name: ClassVar[str] = "interlock.v1.ExecutionChange"

    execution_id: Int64 = 0
    state: str = ""
    """The stored state, STOPPING included."""
    waiting_for: str = ""
    wake_at: Timestamp | None = None
    step: Int32 = 0
    """Position of the current step, from 0."""
    attempt: Int32 = 0
    updated_at: Timestamp | None = None
    completed_at: Timestamp | None = None


class ItemView(Message):
    """One item of an attempt."""

    proto_name: ClassVar[str] = "interlock.v1.Item"

    name: str = ""
    outcome: str = ""
    in_doubt: Bool = False
    """The item may have reached the receiver, and no complete answer came back."""
    idempotency_key: str = ""
    """The key of this item, the same in all attempts; empty for a kind that sends none."""
    settled_at: Timestamp | None = None
    output: Any = None
    error: Any = None


class AddendumView(Message):
    """A later finding about a step whose outcome was in doubt. The newest counts; none is ever changed."""

    proto_name: ClassVar[str] = "interlock.v1.Addendum"

    number: Int32 = 0
    """Its number among the addenda of the execution, from 1."""
    position: Int32 = 0
    """Position of the step, from 0."""
    step: str = ""
    attempt: Int32 = 0
    """The attempt that it is about, from 1; 0: all attempts."""
    item: str = ""
    finding: str = ""
    """`HAPPENED`, `DID_NOT_HAPPEN` or `STILL_UNKNOWN`."""
    note: str = ""
    actor: ActorView | None = None
    at: Timestamp | None = None


class LateView(Message):
    """A result that arrived after the attempt was settled. It is evidence, and changes no outcome."""

    proto_name: ClassVar[str] = "interlock.v1.LateResult"

    item: str = ""
    """The item of the result; empty for the attempt as a whole."""
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
    """Empty while the attempt is open."""
    started_at: Timestamp | None = None
    settled_at: Timestamp | None = None
    waiting_for: str = ""
    """The wait of the attempt: `callback`, `task`, `poll` or `timer`; empty for a call whose answer was its result."""
    status: Int32 = 0
    """The HTTP status of the receiver's answer, if there was one."""
    phase: str = ""
    """The last phase that the request reached."""
    in_doubt: Bool = False
    """The attempt may have reached the receiver, and no complete answer came back."""
    error: Any = None
    items: tuple[ItemView, ...] = ()
    late: tuple[LateView, ...] = ()


class ReceiverView(Message):
    """The webhook that a step calls, with its current name and URL; both are empty if it was deleted."""

    proto_name: ClassVar[str] = "interlock.v1.Receiver"

    webhook_id: str = ""
    display_name: str = ""
    url: str = ""


class StepView(Message):
    """One step and its outcome. Secrets are masked."""

    proto_name: ClassVar[str] = "interlock.v1.Step"

    position: Int32 = 0
    name: str = ""
    display_name: str = ""
    kind: str = ""
    outcome: str = ""
    """Empty until the step has an outcome."""
    idempotency_key: str = ""
    """The key that its requests send, the same in all attempts; empty for a kind that sends none."""
    receiver: ReceiverView | None = None
    """Absent for a step that calls no webhook, or has not started."""
    input: Any = None
    output: Any = None
    error: Any = None
    started_at: Timestamp | None = None
    settled_at: Timestamp | None = None
    attempts: tuple[AttemptView, ...] = ()
    addenda: tuple[AddendumView, ...] = ()
    """The later findings about it, oldest first. They do not change the outcome."""


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
    """The server was restored from a backup in which the execution was active."""

    proto_name: ClassVar[str] = "interlock.v1.Restored"

    backup: str = ""
    """The name of the backup file."""
    known_until: Timestamp | None = None
    """The time of the newest change in the backup: the record has nothing from then until the restore."""
    restored_at: Timestamp | None = None


class ExecutionDetail(Message):
    """The whole record of one execution."""

    proto_name: ClassVar[str] = "interlock.v1.ExecutionDetail"

    id: Int64 = 0
    automation_template_id: str = ""
    automation_display_name: str = ""
    current_version: Int32 = 0
    is_draft: Bool = False
    state: str = ""
    waiting_for: str = ""
    """The wait of the execution: `ready` (for a slot), `timer`, `retry`, `callback`, `task`, `poll` (the receiver
    accepted the call, and is asked for the result) or `deadline`; empty while a step is at work, and at the end."""
    wake_at: Timestamp | None = None
    """The time until which it waits: of the next retry or poll, or the end of the wait."""
    """When it continues, is retried, or is abandoned."""
    step: Int32 = 0
    """Position of the current step, from 0; the number of steps once DONE."""
    trigger: Any = None
    """The data of the request that started it: `ctx.trigger` without the defaults of the automation."""
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
    """The server was restored from a backup and is frozen: no execution moves until an operator releases it."""
    restored: RestoredView | None = None


class ReceiptEntry(Message):
    """One step, or one item of a step, and its outcome."""

    proto_name: ClassVar[str] = "interlock.v1.ReceiptEntry"

    position: Int32 = 0
    step: str = ""
    display_name: str = ""
    kind: str = ""
    item: str = ""
    """The item; empty for a step as a whole."""
    outcome: str = ""
    account: str = ""
    """The outcome as a sentence."""
    idempotency_key: str = ""
    """The key to ask the receiver about; empty for a kind that sends none, and for a step that sent nothing."""
    receiver: ReceiverView | None = None
    """The receiver that the step called."""
    attempts: Int32 = 0
    status: Int32 = 0
    """The last HTTP status of the receiver; 0 if there was none."""
    accepted: Bool = False
    """The receiver accepted the call, its result was to come later, and the run was terminated first."""
    answer: str = ""
    """The beginning of the receiver's newest error answer, at most 4,096 bytes."""
    next_attempt_at: Timestamp | None = None
    """In `open`: the time of the next attempt."""
    next_poll_at: Timestamp | None = None
    """In `open`: the receiver accepted the call, and the server asks it for the result at this time."""
    waits_until: Timestamp | None = None
    """In `open`: the time at which the wait ends at the latest."""
    started_at: Timestamp | None = None
    settled_at: Timestamp | None = None
    resolved: Bool = False
    """In `unknown`: a later finding says whether it happened."""
    since: str = ""
    """The newest addendum as a sentence."""
    addenda: tuple[AddendumView, ...] = ()
    """The later findings about it, oldest first."""


class Receipt(Message):
    """What a run has and has not done. Each step, or each of its items, is in one of the lists up to `open`."""

    proto_name: ClassVar[str] = "interlock.v1.Receipt"

    execution_id: Int64 = 0
    automation_template_id: str = ""
    automation_display_name: str = ""
    current_version: Int32 = 0
    is_draft: Bool = False
    state: str = ""
    settled: Bool = False
    """The run is terminal: only late results and addenda can be added to this receipt."""
    created_at: Timestamp | None = None
    completed_at: Timestamp | None = None
    termination: TerminationView | None = None
    """The termination, with actor and reason. After `acceptedAt`, nothing more was started."""
    done: tuple[ReceiptEntry, ...] = ()
    """Succeeded, or skipped."""
    failed: tuple[ReceiptEntry, ...] = ()
    """Failed with certainty: with an answer, or before anything was sent."""
    interrupted: tuple[ReceiptEntry, ...] = ()
    """Interrupted by the termination, at a known point."""
    unknown: tuple[ReceiptEntry, ...] = ()
    """A request may have reached the receiver, and no complete answer came back."""
    unresolved: Int32 = 0
    """The number of entries in `unknown` without a later finding that settles them."""
    never_started: tuple[ReceiptEntry, ...] = ()
    open: tuple[ReceiptEntry, ...] = ()
    """In progress, or not started yet; empty once the run is terminal."""
    late: tuple[ReceiptEntry, ...] = ()
    """Results that arrived after the step was settled. They are evidence, and change no outcome."""
    children: tuple[ChildView, ...] = ()
    more_children: Bool = False
    frozen: Bool = False
    """The server was restored from a backup and is frozen: no execution moves until an operator releases it."""
    restored: RestoredView | None = None
    """The restore. This receipt does not contain what was done between the backup and the restore."""


class RenewLeaseRequest(Message):
    """Renew the lease, with the same length or with another one, from now."""

    proto_name: ClassVar[str] = "interlock.v1.RenewLeaseRequest"

    lease: Annotated[Duration, AfterValidator(lease_length)] | None = None
    """1 s to 30 days; the previous length by default."""


class Lease(Message):
    """The time at which an execution is terminated unless its lease is renewed."""

    proto_name: ClassVar[str] = "interlock.v1.Lease"

    execution_id: Int64 = 0
    expires_at: Timestamp | None = None


class CreateAddendumRequest(Message):
    """A later finding about a step, which is named by its name or by its position."""

    proto_name: ClassVar[str] = "interlock.v1.CreateAddendumRequest"

    step: str = ""
    position: Int32 | None = None
    """From 0."""
    attempt: Int32 = 0
    """Only this attempt, from 1; 0 or absent: all attempts at the step."""
    item: str = ""
    """The item, if the step has items."""
    finding: Annotated[str, FINDING] = FINDING.zero
    """`HAPPENED`, `DID_NOT_HAPPEN`, or `STILL_UNKNOWN`: it was asked, without an answer."""
    note: Annotated[Reason, AfterValidator(one_line)] = ""
    """The source of the finding; at most 1,024 bytes of UTF-8, without control characters."""
