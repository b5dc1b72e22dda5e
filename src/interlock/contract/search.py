"""The four searches."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.automations import Automation, AutomationTemplateVersion
from interlock.contract.base import Message
from interlock.contract.enums import (
    AUTOMATION_SORT_FIELD,
    SORT_DIRECTION,
    AutomationExecutionState,
    AutomationSortField,
    AutomationStatusFilter,
    SortDirection,
    TriggerType,
)
from interlock.contract.executions import AutomationExecutionExpandMask, AutomationExecutionRef, AutomationExecutionView
from interlock.contract.refs import AutomationTemplateRef
from interlock.contract.scalars import Bool, Int32, Int64, Struct


class SearchAutomationsRequest(Message):
    """Automations by app, name, trigger or status."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.SearchAutomationsRequest"

    app_id: str = ""
    app_ids: tuple[str, ...] = ()
    direction: SortDirection = SORT_DIRECTION.zero
    is_draft: Bool | None = None
    page_size: Int32 = 0
    page_token: str = ""
    query: str = ""
    refs: tuple[AutomationTemplateRef, ...] = ()
    sort_field: AutomationSortField = AUTOMATION_SORT_FIELD.zero
    statuses: tuple[AutomationStatusFilter, ...] = ()
    trigger_types: tuple[TriggerType, ...] = ()


class SearchAutomationsResponse(Message):
    """One page of automations."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.SearchAutomationsResponse"

    list: tuple[Automation, ...] = ()
    next_page_token: str = ""


class SearchAutomationTemplateVersionsRequest(Message):
    """Versions of one automation."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.SearchAutomationTemplateVersionsRequest"

    automation_template_id: str = ""
    page_size: Int32 = 0
    page_token: str = ""


class SearchAutomationTemplateVersionsResponse(Message):
    """One page of versions."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.SearchAutomationTemplateVersionsResponse"

    list: tuple[AutomationTemplateVersion, ...] = ()
    next_page_token: str = ""


class SearchAutomationExecutionsRequest(Message):
    """Runs by automation, id or state."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.SearchAutomationExecutionsRequest"

    automation_template_id: str = ""
    execution_id: Int64 = 0
    execution_step_states: tuple[AutomationExecutionState, ...] = ()
    expand_mask: AutomationExecutionExpandMask | None = None
    page_size: Int32 = 0
    page_token: str = ""
    query: str = ""
    refs: tuple[AutomationExecutionRef, ...] = ()


class SearchAutomationExecutionsResponse(Message):
    """One page of runs."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.SearchAutomationExecutionsResponse"

    expanded: tuple[Struct, ...] = ()
    list: tuple[AutomationExecutionView, ...] = ()
    next_page_token: str = ""


class SearchAllAutomationExecutionsRequest(Message):
    """Runs of any automation."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.SearchAllAutomationExecutionsRequest"

    app_ids: tuple[str, ...] = ()
    automation_template_ids: tuple[str, ...] = ()
    execution_states: tuple[AutomationExecutionState, ...] = ()
    expand_mask: AutomationExecutionExpandMask | None = None
    page_size: Int32 = 0
    page_token: str = ""
    subject_user_ids: tuple[str, ...] = ()


class SearchAllAutomationExecutionsResponse(Message):
    """One page of runs."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.SearchAllAutomationExecutionsResponse"

    expanded: tuple[Struct, ...] = ()
    list: tuple[AutomationExecutionView, ...] = ()
    next_page_token: str = ""
