"""Our own messages about bulk terminations."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator

from interlock.contract.base import Message
from interlock.contract.enums import AutomationExecutionState
from interlock.contract.executions import TERMINATION_MODE, Reason, TerminationMode, one_line, short_deadline
from interlock.contract.scalars import Bool, Int32, Int64
from interlock.contract.times import Duration, NonNegativeDuration, Timestamp
from interlock.operations.views import ActorView


class TerminationFilter(Message):
    """The active executions that match all of these criteria."""

    proto_name: ClassVar[str] = "interlock.v1.TerminationFilter"

    automation_template_ids: tuple[str, ...] = ()
    states: tuple[AutomationExecutionState, ...] = ()
    older_than: NonNegativeDuration | None = None
    """Started at least this long ago."""
    subject_user_ids: tuple[str, ...] = ()
    """The subject is one of these people: the `user_id` of the trigger data."""
    expression_cel: str | None = None
    """A CEL expression that is true for the execution. It reads `execution` and, as an automation does, `ctx`. An
    execution for which it fails does not match."""
    all_executions: Bool = False
    """Match all active executions; required if there is no other criterion."""


class PlanBulkTerminationRequest(Message):
    """The executions to preview: these, or those that a filter matches now."""

    proto_name: ClassVar[str] = "interlock.v1.PlanBulkTerminationRequest"

    execution_ids: tuple[Int64, ...] = ()
    filter: TerminationFilter | None = None
    cascade: Bool = False
    """Count the descendants of these executions as well."""


class PlannedExecution(Message):
    """One execution that would be terminated."""

    proto_name: ClassVar[str] = "interlock.v1.PlannedExecution"

    execution_id: Int64 = 0
    automation_template_id: str = ""
    automation_display_name: str = ""
    state: str = ""
    created_at: Timestamp | None = None
    done_steps: tuple[str, ...] = ()
    """The completed steps; they will not be undone."""
    in_flight: str = ""
    """The step whose attempt would be interrupted."""
    waiting_for: str = ""


class ExpressionFailures(Message):
    """Executions for which the expression of a filter failed. They do not match, and are not terminated."""

    proto_name: ClassVar[str] = "interlock.v1.ExpressionFailures"

    count: Int32 = 0
    execution_id: Int64 = 0
    """The first of these executions."""
    error: str = ""
    """The error for that execution, with line and column. It never contains the data that was read."""


class StateCount(Message):
    """The number of executions of a plan in one state."""

    proto_name: ClassVar[str] = "interlock.v1.StateCount"

    state: str = ""
    count: Int32 = 0


class TerminationPlan(Message):
    """The preview of a bulk termination. The client that made it can use it once, until it expires."""

    proto_name: ClassVar[str] = "interlock.v1.TerminationPlan"

    id: str = ""
    expires_at: Timestamp | None = None
    total: Int32 = 0
    """The number of executions that the ids name or the filter matches."""
    cascade: Bool = False
    descendants: Int32 = 0
    """With `cascade`: active descendants, which would be terminated as well."""
    more_descendants: Bool = False
    """There are more descendants than were counted; at most 100,000 are read."""
    states: tuple[StateCount, ...] = ()
    not_found: Int32 = 0
    """Ids that are unknown, or not visible to the caller."""
    expression_failures: ExpressionFailures | None = None
    """Absent if the filter has no expression, or it could be evaluated for all executions."""
    executions: tuple[PlannedExecution, ...] = ()
    """The first hundred executions that would be terminated."""


class CreateBulkTerminationRequest(Message):
    """Terminate the executions of a plan, these executions, or those that a filter matches now."""

    proto_name: ClassVar[str] = "interlock.v1.CreateBulkTerminationRequest"

    plan_id: str = ""
    execution_ids: tuple[Int64, ...] = ()
    filter: TerminationFilter | None = None
    reason: Annotated[Reason, AfterValidator(one_line)] = ""
    """The reason; at most 1,024 bytes of UTF-8, without control characters."""
    mode: TerminationMode = TERMINATION_MODE.zero
    cascade: Bool = False
    """Terminate the descendants of these executions as well."""
    deadline: Annotated[Duration, AfterValidator(short_deadline)] | None = None
    """When an attempt in flight is abandoned at the latest; 0 s to 300 s, 10 s by default."""
    pause_automation: Bool = False
    """Pause new executions of the affected automations from the first commit on, until an operator clears them."""


class BulkTerminationView(Message):
    """A request to terminate many executions, and its progress."""

    proto_name: ClassVar[str] = "interlock.v1.BulkTermination"

    id: str = ""
    state: str = ""
    """`RUNNING`, `DONE` or `ABORTED`."""
    actor: ActorView | None = None
    reason: str = ""
    mode: str = ""
    cascade: Bool = False
    paused_automations: tuple[str, ...] = ()
    created_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    total: Int32 = 0
    accepted: Int32 = 0
    repeated: Int32 = 0
    already_finished: Int32 = 0
    denied: Int32 = 0
    not_found: Int32 = 0
    """Unknown, or executions of another tenant; the server does not tell which."""
    descendants: Int32 = 0
    """With `cascade`: terminated descendants. In trees of more than 10,000 executions, those terminated so far."""


class BulkTerminationResponse(Message):
    """One bulk termination."""

    proto_name: ClassVar[str] = "interlock.v1.BulkTerminationResponse"

    bulk_termination: BulkTerminationView | None = None
    expression_failures: ExpressionFailures | None = None
    """In the answer to a request with a filter whose expression failed for some executions: they are not terminated."""


class ListBulkTerminationsResponse(Message):
    """One page of bulk terminations, newest first."""

    proto_name: ClassVar[str] = "interlock.v1.ListBulkTerminationsResponse"

    list: tuple[BulkTerminationView, ...] = ()
    next_page_token: str = ""


class AbortBulkTerminationRequest(Message):
    """Abort a bulk termination: it terminates no further executions."""

    proto_name: ClassVar[str] = "interlock.v1.AbortBulkTerminationRequest"
