"""Automations, their versions, and the operations on them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from interlock.contract.base import Message
from interlock.contract.enums import (
    CIRCUIT_BREAKER_PERIOD,
    PAUSED_EXECUTION_DECISION,
    TRIGGER_TYPE,
    CircuitBreakerPeriod,
    PausedExecutionDecision,
    TriggerType,
)
from interlock.contract.executions import Reason, lease_length
from interlock.contract.fieldmask import FieldMask
from interlock.contract.refs import AutomationContext
from interlock.contract.scalars import Bool, Int64, UInt32
from interlock.contract.steps import AutomationStep
from interlock.contract.times import Duration, Timestamp
from interlock.contract.triggers import AutomationTrigger


class DisabledReasonCircuitBreaker(Message):
    """How the circuit breaker came to trip."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.DisabledReasonCircuitBreaker"

    observed_count: UInt32 = 0
    period: CircuitBreakerPeriod = CIRCUIT_BREAKER_PERIOD.zero
    threshold: UInt32 = 0
    tripped_at: Timestamp | None = None


class Automation(Message):
    """An automation: its published and its draft definition."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.Automation"

    id: str = ""
    display_name: str = ""
    description: str = ""
    app_id: str = ""
    enabled: Bool = False
    is_draft: Bool = False
    current_version: Int64 = 0
    primary_trigger_type: TriggerType = TRIGGER_TYPE.zero
    created_at: Timestamp | None = None
    last_executed_at: Timestamp | None = None
    automation_steps: tuple[AutomationStep, ...] = ()
    triggers: tuple[AutomationTrigger, ...] = ()
    draft_automation_steps: tuple[AutomationStep, ...] = ()
    draft_triggers: tuple[AutomationTrigger, ...] = ()
    context: AutomationContext | None = None
    annotations: dict[str, str] = Field(default_factory=dict)
    circuit_breaker_max: UInt32 = 0
    circuit_breaker_period: CircuitBreakerPeriod = CIRCUIT_BREAKER_PERIOD.zero
    circuit_breaker: DisabledReasonCircuitBreaker | None = None


class AutomationTemplateVersion(Message):
    """What was published under one version number."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.AutomationTemplateVersion"

    automation_template_id: str = ""
    version: Int64 = 0
    automation_steps: tuple[AutomationStep, ...] = ()
    triggers: tuple[AutomationTrigger, ...] = ()
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    deleted_at: Timestamp | None = None


class CreateAutomationRequest(Message):
    """Make an automation."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.CreateAutomationRequest"

    display_name: str = ""
    description: str = ""
    app_id: str = ""
    enabled: Bool = False
    is_draft: Bool = False
    automation_steps: tuple[AutomationStep, ...] = ()
    triggers: tuple[AutomationTrigger, ...] = ()
    draft_automation_steps: tuple[AutomationStep, ...] = ()
    draft_triggers: tuple[AutomationTrigger, ...] = ()
    context: AutomationContext | None = None
    annotations: dict[str, str] = Field(default_factory=dict)
    circuit_breaker_max: UInt32 = 0
    circuit_breaker_period: CircuitBreakerPeriod = CIRCUIT_BREAKER_PERIOD.zero


class CreateAutomationResponse(Message):
    """The automation made, with what is shown only once."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.CreateAutomationResponse"

    automation: Automation | None = None
    webhook_capability_url: str = ""
    webhook_hmac_secret: str = ""


class GetAutomationResponse(Message):
    """One automation."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GetAutomationResponse"

    automation: Automation | None = None


class ListAutomationsResponse(Message):
    """One page of automations."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ListAutomationsResponse"

    list: tuple[Automation, ...] = ()
    next_page_token: str = ""


class UpdateAutomationRequest(Message):
    """Change an automation: the masked fields, or without a mask all of them."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.UpdateAutomationRequestInput"

    automation: Automation | None = None
    update_mask: FieldMask | None = None


class UpdateAutomationResponse(Message):
    """The automation as it is now, with what is shown only once."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.UpdateAutomationResponse"

    automation: Automation | None = None
    webhook_capability_url: str = ""
    webhook_hmac_secret: str = ""


class DeleteAutomationRequest(Message):
    """Delete an automation."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.DeleteAutomationRequestInput"

    terminate_running: Bool = False
    """An addition of ours: terminate the automation's running executions in the same commit."""


class DeleteAutomationResponse(Message):
    """Done."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.DeleteAutomationResponse"


class ExecuteAutomationRequest(Message):
    """Start a run by hand."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ExecuteAutomationRequestInput"

    context: AutomationContext | None = None
    is_draft: Bool = False
    """An addition of ours: run the draft instead of the published version."""
    lease: Annotated[Duration, AfterValidator(lease_length)] | None = None
    """An addition of ours: terminate the run after so long, 1 s to 30 days, unless its lease is renewed."""


class ExecuteAutomationResponse(Message):
    """The run that was started."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ExecuteAutomationResponse"

    execution_id: Int64 = 0


class ClearAutomationCircuitBreakerRequest(Message):
    """Close the circuit breaker again, and say what becomes of the paused runs."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ClearAutomationCircuitBreakerRequestInput"

    decision: PausedExecutionDecision = PAUSED_EXECUTION_DECISION.zero
    reason: Reason = ""


class ClearAutomationCircuitBreakerResponse(Message):
    """The bulk work that was begun."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ClearAutomationCircuitBreakerResponse"

    bulk_action_id: str = ""


class ResolvePausedAutomationExecutionsRequest(Message):
    """Say what becomes of the paused runs."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ResolvePausedAutomationExecutionsRequestInput"

    decision: PausedExecutionDecision = PAUSED_EXECUTION_DECISION.zero
    reason: Reason = ""


class ResolvePausedAutomationExecutionsResponse(Message):
    """The bulk work that was begun."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ResolvePausedAutomationExecutionsResponse"

    bulk_action_id: str = ""
    errored_count: UInt32 = 0
    paused_count: UInt32 = 0
