"""Our own messages about terminating many executions by one order."""

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
    """Executions that are not at rest for good, narrowed down by all that is given."""

    proto_name: ClassVar[str] = "interlock.v1.TerminationFilter"

    automation_template_ids: tuple[str, ...] = ()
    states: tuple[AutomationExecutionState, ...] = ()
    older_than: NonNegativeDuration | None = None
    """Started at least so long ago."""
    subject_user_ids: tuple[str, ...] = ()
    """About one of these people: the `user_id` of their trigger data."""
    expression_cel: str | None = None
    """A CEL expression that is true for them. It reads `execution` and, as an automation does, `ctx`. An execution that
    it fails for does not fit."""
    all_executions: Bool = False
    """Says that nothing narrows it down and that this is meant."""


class PlanBulkTerminationRequest(Message):
    """What is to be looked at: these executions, or those that a filter finds now."""

    proto_name: ClassVar[str] = "interlock.v1.PlanBulkTerminationRequest"

    execution_ids: tuple[Int64, ...] = ()
    filter: TerminationFilter | None = None
    cascade: Bool = False
    """Count what these executions started as well, and what that started."""


class PlannedExecution(Message):
    """One execution that would be stopped."""

    proto_name: ClassVar[str] = "interlock.v1.PlannedExecution"

    execution_id: Int64 = 0
    automation_template_id: str = ""
    automation_display_name: str = ""
    state: str = ""
    created_at: Timestamp | None = None
    done_steps: tuple[str, ...] = ()
    """What has already happened, and will not be undone."""
    in_flight: str = ""
    """The step whose attempt would be cut."""
    waiting_for: str = ""


class ExpressionFailures(Message):
    """Executions that the expression of a filter failed for. They count as not fitting, and are not stopped."""

    proto_name: ClassVar[str] = "interlock.v1.ExpressionFailures"

    count: Int32 = 0
    execution_id: Int64 = 0
    """The first of them."""
    error: str = ""
    """Why it failed for that one, with line and column. It never says what was read."""


class StateCount(Message):
    """How many executions of a plan stand in a state."""

    proto_name: ClassVar[str] = "interlock.v1.StateCount"

    state: str = ""
    count: Int32 = 0


class TerminationPlan(Message):
    """What an order would stop. It can be carried out once, by the client that made it, until it expires."""

    proto_name: ClassVar[str] = "interlock.v1.TerminationPlan"

    id: str = ""
    expires_at: Timestamp | None = None
    total: Int32 = 0
    """Executions that are named, or that the filter finds."""
    cascade: Bool = False
    descendants: Int32 = 0
    """With `cascade`: active executions below those, which would be stopped too."""
    more_descendants: Bool = False
    """There are more than were counted: 100,000 are looked at."""
    states: tuple[StateCount, ...] = ()
    not_found: Int32 = 0
    """Ids that are unknown here, or not the caller's to see."""
    expression_failures: ExpressionFailures | None = None
    """Absent if the filter's expression, if there is one, could be evaluated for all."""
    executions: tuple[PlannedExecution, ...] = ()
    """The first hundred of those that would be stopped."""


class CreateBulkTerminationRequest(Message):
    """Terminate: what a plan holds, these executions, or those that a filter finds now."""

    proto_name: ClassVar[str] = "interlock.v1.CreateBulkTerminationRequest"

    plan_id: str = ""
    execution_ids: tuple[Int64, ...] = ()
    filter: TerminationFilter | None = None
    reason: Annotated[Reason, AfterValidator(one_line)] = ""
    """Why; at most 1,024 bytes of UTF-8, without control characters."""
    mode: TerminationMode = TERMINATION_MODE.zero
    cascade: Bool = False
    """Terminate what these executions started as well, and what that started."""
    deadline: Annotated[Duration, AfterValidator(short_deadline)] | None = None
    """When an attempt in flight is given up at the latest; 0 s to 300 s, 10 s by default."""
    pause_automation: Bool = False
    """Hold back new executions of the automations concerned, from the first commit on, until somebody clears it."""


class BulkTerminationView(Message):
    """A request to terminate many executions, and how far it has been carried out."""

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
    """Unknown, or another tenant's: there is no telling which."""
    descendants: Int32 = 0
    """With `cascade`: executions stopped below those that are named. In trees of more than 10,000, those so far."""


class BulkTerminationResponse(Message):
    """One order."""

    proto_name: ClassVar[str] = "interlock.v1.BulkTerminationResponse"

    bulk_termination: BulkTerminationView | None = None
    expression_failures: ExpressionFailures | None = None
    """In the answer to an order with a filter, if its expression failed for some: they are not stopped."""


class ListBulkTerminationsResponse(Message):
    """One page of orders, newest first."""

    proto_name: ClassVar[str] = "interlock.v1.ListBulkTerminationsResponse"

    list: tuple[BulkTerminationView, ...] = ()
    next_page_token: str = ""


class AbortBulkTerminationRequest(Message):
    """Stop nobody further by this order."""

    proto_name: ClassVar[str] = "interlock.v1.AbortBulkTerminationRequest"
