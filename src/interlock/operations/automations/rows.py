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
    "The decision is about the executions held back at that moment. It is carried out in the background, oldest first, "
    "and outlives a restart. `bulkActionId` is empty if nothing was held back or nothing was decided. Asking again for "
    "the same changes nothing; a later, different decision counts for those executions that the earlier one has not "
    "reached."
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
            "Make an automation. Unless `isDraft` is set, its steps and triggers are checked and published as version "
            "1."
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
        description="One automation, published and draft definition.",
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
            "Change the fields that `updateMask` names, or without it all of them. If the automation is no draft and "
            "what runs has changed, it is published as the next version; running executions finish on theirs."
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
            "Delete an automation. Nothing starts it any more; executions under way finish, and can still be read and "
            "terminated. With `terminateRunning` they are terminated too."
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
            "Close a circuit breaker that has tripped: its window begins anew. `decision` says what becomes of the "
            "executions that it held back: run them, cancel them, or, without one, leave them paused."
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
        description="Run or cancel the executions that the circuit breaker held back, and leave the breaker as it is.",
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
        description="Automations by app, name, trigger, status or id, sorted as asked.",
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
        description="What was published of one automation, newest first.",
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
        description="The automation, and what would keep its draft from being published.",
        handler=handlers.detail,
        permission=Permission.AUTOMATIONS_READ,
        response=views.AutomationDetail,
        visibility=Visibility.OWN,
        parameters=AUTOMATION_ID,
        tag=INTERLOCK_TAG,
        within_apps=True,
    ),
)
