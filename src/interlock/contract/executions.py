"""Executions and the operations on them."""

from __future__ import annotations

import unicodedata
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator

from interlock.contract.base import Message
from interlock.contract.enums import AUTOMATION_EXECUTION_STATE, AutomationExecutionState, EnumNames
from interlock.contract.refs import AutomationContext
from interlock.contract.scalars import Bool, Int32, Int64, Struct, refused
from interlock.contract.times import Duration, Timestamp

REASON_LIMIT: Final = 1024
DEADLINE_LIMIT: Final = 300
LEASE_LIMIT: Final = 30 * 86_400
TERMINATION_MODE: Final = EnumNames("TerminationMode", ("interrupt", "drain"))
TerminationMode = Annotated[str, TERMINATION_MODE]


def _short(reason: str) -> str:
    if len(reason.encode()) > REASON_LIMIT:
        raise refused(f"must not be longer than {REASON_LIMIT} bytes; got {len(reason.encode())}")
    return reason


Reason = Annotated[str, AfterValidator(_short)]
"""Why something was decided; at most 1,024 bytes of UTF-8."""


def one_line(reason: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in reason):
        raise refused("must not hold control characters, such as a line break")
    return reason


def short_deadline(deadline: Duration) -> Duration:
    if not 0 <= deadline.nanos <= DEADLINE_LIMIT * 1_000_000_000:
        raise refused(f"must be between 0s and {DEADLINE_LIMIT}s")
    return deadline


def lease_length(lease: Duration) -> Duration:
    if not 1 <= lease.seconds <= LEASE_LIMIT:
        raise refused(f"must be between 1s and {LEASE_LIMIT}s (30 days)")
    return lease


class AutomationExecution(Message):
    """One run."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.AutomationExecution"

    id: Int64 = 0
    automation_template_id: str = ""
    current_version: Int32 = 0
    is_draft: Bool = False
    state: AutomationExecutionState = AUTOMATION_EXECUTION_STATE.zero
    context: AutomationContext | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    completed_at: Timestamp | None = None
    deleted_at: Timestamp | None = None
    duration: Duration | None = None


class AutomationExecutionRef(Message):
    """A run, by id."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.AutomationExecutionRef"

    id: Int64 = 0


class AutomationExecutionView(Message):
    """A run, and where its relations stand in `expanded`."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.AutomationExecutionView"

    automation_execution: AutomationExecution | None = None
    automation_execution_trigger_path: str = ""
    automation_path: str = ""


class AutomationExecutionExpandMask(Message):
    """Which relations to send along."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.AutomationExecutionExpandMask"

    paths: tuple[str, ...] = ()


class GetAutomationExecutionResponse(Message):
    """One run."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GetAutomationExecutionResponse"

    automation_execution: AutomationExecution | None = None
    expanded: tuple[Struct, ...] = ()
    view: AutomationExecutionView | None = None


class ListAutomationExecutionsResponse(Message):
    """One page of runs."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ListAutomationExecutionsResponse"

    automation_executions: tuple[AutomationExecution, ...] = ()
    next_page_token: str = ""


class TerminateAutomationRequest(Message):
    """Stop a run. C1 has no fields here; these are optional additions of ours."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.TerminateAutomationRequestInput"

    reason: Annotated[Reason, AfterValidator(one_line)] = ""
    """Why; at most 1,024 bytes of UTF-8, without control characters."""
    mode: TerminationMode = TERMINATION_MODE.zero
    cascade: Bool = False
    """Terminate what this run started as well, and what that started."""
    deadline: Annotated[Duration, AfterValidator(short_deadline)] | None = None
    """When the attempt in flight is given up at the latest, counted from the acceptance; 0 s to 300 s."""


class TerminateAutomationResponse(Message):
    """Accepted."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.TerminateAutomationResponse"
