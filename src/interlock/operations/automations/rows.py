"""The rows of automations: definitions, circuit breakers, searches."""

from __future__ import annotations

from typing import Final

from interlock.auth.roles import Permission
from interlock.contract import automations as messages
from interlock.contract import search as search_messages
from interlock.operations.automations import breakers, handlers, search, views
from interlock.operations.operation import Lane, Link, Operation, Visibility
from interlock.operations.row_parts import AUTOMATION_ID, AUTOMATION_SERVICE, INTERLOCK_TAG, OWN, PAGE

_SEARCH_SERVICE: Final = "c1.api.automations.v1.AutomationSearchService."

_BULK_MORE: Final = (
    "The decision applies to the executions that are paused at that moment. A background job carries it out, oldest "
    "execution first, and continues after a restart. `bulkActionId` is empty if no execution was paused or the request "
    "has no decision. Repeating a decision changes nothing; a later, different decision applies to the executions that "
    "the earlier one has not reached."
)
_OF_AUTOMATION: Final = Link(
    "/automation/id",
    tuple(
        f"{AUTOMATION_SERVICE}{name}"
        for name in (
            "GetAutomation",
            "UpdateAutomation",
            "DeleteAutomation",
            "ExecuteAutomation",
            "ClearAutomationCircuitBreaker",
            "ResolvePausedAutomationExecutions",
        )
    ),
)

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        method="GET",
        path="/api/v1/automations",
        id=f"{AUTOMATION_SERVICE}ListAutomations",
        summary="List Automations",
        description="One page of all automations, in the order of their ids.",
        handler=handlers.list_all,
        permission=Permission.AUTOMATIONS_READ,
        response=messages.ListAutomationsResponse,
        query=PAGE,
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/api/v1/automations",
        id=f"{AUTOMATION_SERVICE}CreateAutomation",
        summary="Create Automation",
        description=(
            "Create an automation. Unless `isDraft` is set, its steps and triggers are checked and published as "
            "version 1."
        ),
        handler=handlers.create,
        permission=Permission.AUTOMATIONS_MANAGE,
        response=messages.CreateAutomationResponse,
        request=messages.CreateAutomationRequest,
        lane=Lane.WORK,
        within_apps=True,
        link=_OF_AUTOMATION,
    ),
    Operation(
        method="GET",
        path="/api/v1/automations/{id}",
        id=f"{AUTOMATION_SERVICE}GetAutomation",
        summary="Get Automation",
        description="One automation with its published and its draft definition.",
        handler=handlers.get,
        permission=Permission.AUTOMATIONS_READ,
        response=messages.GetAutomationResponse,
        parameters=AUTOMATION_ID,
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/api/v1/automations/{id}",
        id=f"{AUTOMATION_SERVICE}UpdateAutomation",
        summary="Update Automation",
        description=(
            "Change the fields that `updateMask` names, or all fields without it. If the automation is not a draft and "
            "its steps, triggers or context have changed, they are published as the next version; running executions "
            "keep their version."
        ),
        handler=handlers.update,
        permission=Permission.AUTOMATIONS_MANAGE,
        response=messages.UpdateAutomationResponse,
        request=messages.UpdateAutomationRequest,
        lane=Lane.WORK,
        parameters=AUTOMATION_ID,
        within_apps=True,
    ),
    Operation(
        method="DELETE",
        path="/api/v1/automations/{id}",
        id=f"{AUTOMATION_SERVICE}DeleteAutomation",
        summary="Delete Automation",
        description=(
            "Delete an automation. No execution of it starts any more; active executions finish, and can still be read "
            "and terminated. With `terminateRunning` they are terminated too."
        ),
        handler=handlers.delete,
        permission=Permission.AUTOMATIONS_MANAGE,
        response=messages.DeleteAutomationResponse,
        request=messages.DeleteAutomationRequest,
        lane=Lane.WORK,
        parameters=AUTOMATION_ID,
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/api/v1/automations/{id}/circuit_breaker/clear",
        id=f"{AUTOMATION_SERVICE}ClearAutomationCircuitBreaker",
        summary="Clear Automation Circuit Breaker",
        description=(
            "Close a circuit breaker that has tripped; its window begins again. `decision` runs or cancels the "
            "executions that it paused; without a decision they stay paused."
        ),
        handler=breakers.clear,
        permission=Permission.AUTOMATIONS_MANAGE,
        response=messages.ClearAutomationCircuitBreakerResponse,
        request=messages.ClearAutomationCircuitBreakerRequest,
        lane=Lane.WORK,
        parameters=AUTOMATION_ID,
        more=_BULK_MORE,
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/api/v1/automations/{id}/circuit_breaker/resolve_paused",
        id=f"{AUTOMATION_SERVICE}ResolvePausedAutomationExecutions",
        summary="Resolve Paused Automation Executions",
        description="Run or cancel the executions that the circuit breaker paused, and leave the breaker as it is.",
        handler=breakers.resolve_paused,
        permission=Permission.AUTOMATIONS_MANAGE,
        response=messages.ResolvePausedAutomationExecutionsResponse,
        request=messages.ResolvePausedAutomationExecutionsRequest,
        lane=Lane.WORK,
        parameters=AUTOMATION_ID,
        more=_BULK_MORE,
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/api/v1/search/automations",
        id=f"{_SEARCH_SERVICE}SearchAutomations",
        summary="Search Automations",
        description="Search automations by app, name, trigger, status or id, in the requested order.",
        handler=search.search,
        permission=Permission.AUTOMATIONS_READ,
        response=search_messages.SearchAutomationsResponse,
        request=search_messages.SearchAutomationsRequest,
        aliases=("/api/v1/automations/search",),
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/api/v1/search/automation_versions",
        id=f"{_SEARCH_SERVICE}SearchAutomationTemplateVersions",
        summary="Search Automation Versions",
        description="The published versions of one automation, newest first.",
        handler=search.search_versions,
        permission=Permission.AUTOMATIONS_READ,
        response=search_messages.SearchAutomationTemplateVersionsResponse,
        request=search_messages.SearchAutomationTemplateVersionsRequest,
        aliases=("/api/v1/automation_versions/search",),
        within_apps=True,
    ),
    Operation(
        method="GET",
        path="/interlock/v1/automations/{id}",
        id=f"{OWN}GetAutomation",
        summary="Get Automation and the Findings on its Draft",
        description="One automation, and the problems that prevent the publication of its draft.",
        handler=handlers.detail,
        permission=Permission.AUTOMATIONS_READ,
        response=views.AutomationDetail,
        visibility=Visibility.OWN,
        parameters=AUTOMATION_ID,
        tag=INTERLOCK_TAG,
        within_apps=True,
    ),
)
