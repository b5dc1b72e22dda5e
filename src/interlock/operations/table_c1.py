"""C1's part of the operation table, and the callbacks that its webhooks need."""

from __future__ import annotations

from typing import Final

from interlock.auth.roles import Permission
from interlock.contract import automations as automation_messages
from interlock.contract import executions as execution_messages
from interlock.contract import search as search_messages
from interlock.contract import webhooks as webhook_messages
from interlock.operations import (
    automation_search,
    automations,
    breakers,
    callbacks,
    executions,
    terminations,
    views,
    webhooks,
)
from interlock.operations.operation import Header, Lane, Link, Operation, PathParameter, Visibility

_AUTOMATIONS: Final = "c1.api.automations.v1.AutomationService."
_AUTOMATION_SEARCH: Final = "c1.api.automations.v1.AutomationSearchService."
_EXECUTIONS: Final = "c1.api.automations.v1.AutomationExecutionService."
_EXECUTION_SEARCH: Final = "c1.api.automations.v1.AutomationExecutionSearchService."
_ACTIONS: Final = "c1.api.automations.v1.AutomationExecutionActionsService."
_WEBHOOKS: Final = "c1.api.webhooks.v1.WebhooksService."
OWN: Final = "interlock.v1."
"""What the ids of our own operations begin with."""

PAGE: Final = ("page_size", "page_token")
AUTOMATION_ID: Final = (PathParameter("id", "The automation."),)
EXECUTION_ID: Final = (PathParameter("id", "The execution: a whole number, as text.", int64=True),)
_WEBHOOK_ID: Final = (PathParameter("id", "The webhook."),)
_WEBHOOKS_TAG: Final = "Webhooks"

_BULK_MORE: Final = (
    "The decision is about the executions held back at that moment. It is carried out in the background, oldest first, "
    "and outlives a restart. `bulkActionId` is empty if nothing was held back or nothing was decided. Asking again for "
    "the same changes nothing; a later, different decision counts for those executions that the earlier one has not "
    "reached."
)
_OF_AUTOMATION: Final = Link(
    "/automation/id",
    tuple(
        f"{_AUTOMATIONS}{name}"
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
_OF_EXECUTION: Final = Link(
    "/executionId",
    (
        f"{_EXECUTIONS}GetAutomationExecution",
        f"{_ACTIONS}TerminateAutomation",
        f"{OWN}GetExecution",
        f"{OWN}GetReceipt",
        f"{OWN}CreateAddendum",
    ),
)
_OF_WEBHOOK: Final = Link("/webhook/id", tuple(f"{_WEBHOOKS}{name}" for name in ("Get", "Update", "Delete")))

C1: Final[tuple[Operation, ...]] = (
    # --- automations --------------------------------------------------------------------------------------------------
    Operation(
        "GET",
        "/api/v1/automations",
        f"{_AUTOMATIONS}ListAutomations",
        "List Automations",
        "One page of all automations, in the order of their ids.",
        automations.list_all,
        Permission.AUTOMATIONS_READ,
        automation_messages.ListAutomationsResponse,
        query=PAGE,
        within_apps=True,
    ),
    Operation(
        "POST",
        "/api/v1/automations",
        f"{_AUTOMATIONS}CreateAutomation",
        "Create Automation",
        "Make an automation. Unless `isDraft` is set, its steps and triggers are checked and published as version 1.",
        automations.create,
        Permission.AUTOMATIONS_MANAGE,
        automation_messages.CreateAutomationResponse,
        automation_messages.CreateAutomationRequest,
        lane=Lane.WORK,
        within_apps=True,
        link=_OF_AUTOMATION,
    ),
    Operation(
        "GET",
        "/api/v1/automations/{id}",
        f"{_AUTOMATIONS}GetAutomation",
        "Get Automation",
        "One automation, published and draft definition.",
        automations.get,
        Permission.AUTOMATIONS_READ,
        automation_messages.GetAutomationResponse,
        parameters=AUTOMATION_ID,
        within_apps=True,
    ),
    Operation(
        "POST",
        "/api/v1/automations/{id}",
        f"{_AUTOMATIONS}UpdateAutomation",
        "Update Automation",
        "Change the fields that `updateMask` names, or without it all of them. If the automation is no draft and what "
        "runs has changed, it is published as the next version; running executions finish on theirs.",
        automations.update,
        Permission.AUTOMATIONS_MANAGE,
        automation_messages.UpdateAutomationResponse,
        automation_messages.UpdateAutomationRequest,
        lane=Lane.WORK,
        parameters=AUTOMATION_ID,
        within_apps=True,
    ),
    Operation(
        "DELETE",
        "/api/v1/automations/{id}",
        f"{_AUTOMATIONS}DeleteAutomation",
        "Delete Automation",
        "Delete an automation. Nothing starts it any more; executions under way finish, and can still be read and "
        "terminated. With `terminateRunning` they are terminated too.",
        automations.delete,
        Permission.AUTOMATIONS_MANAGE,
        automation_messages.DeleteAutomationResponse,
        automation_messages.DeleteAutomationRequest,
        lane=Lane.WORK,
        parameters=AUTOMATION_ID,
        within_apps=True,
    ),
    Operation(
        "POST",
        "/api/v1/automations/{id}/execute",
        f"{_AUTOMATIONS}ExecuteAutomation",
        "Execute Automation",
        "Start a run. `context.context` becomes `ctx.trigger`; `isDraft` runs the draft. The header `Idempotency-Key` "
        "makes repeating the request harmless for 24 hours.",
        executions.execute,
        Permission.EXECUTIONS_START,
        automation_messages.ExecuteAutomationResponse,
        automation_messages.ExecuteAutomationRequest,
        lane=Lane.WORK,
        parameters=AUTOMATION_ID,
        reads=(
            Header(
                "Idempotency-Key",
                "1 to 255 visible ASCII characters. For 24 hours the same key with the same message gives the run that "
                "was started first, whatever has become of the automation; with another message it is refused (409).",
            ),
            Header(
                "Prefer",
                "`wait=N`, N up to 30: hold the answer back until the run is over, or N seconds have passed.",
            ),
        ),
        answers_with=(
            Header(executions.REPLAYED_HEADER, "`true` if an earlier request with the same key started this run."),
            Header(
                executions.STATE_HEADER,
                "With `Prefer: wait`: the state of the run at the time of the answer, `state=…`.",
            ),
        ),
        within_apps=True,
        link=_OF_EXECUTION,
    ),
    Operation(
        "POST",
        "/api/v1/automations/{id}/circuit_breaker/clear",
        f"{_AUTOMATIONS}ClearAutomationCircuitBreaker",
        "Clear Automation Circuit Breaker",
        "Close a circuit breaker that has tripped: its window begins anew. `decision` says what becomes of the "
        "executions that it held back: run them, cancel them, or, without one, leave them paused.",
        breakers.clear,
        Permission.AUTOMATIONS_MANAGE,
        automation_messages.ClearAutomationCircuitBreakerResponse,
        automation_messages.ClearAutomationCircuitBreakerRequest,
        lane=Lane.WORK,
        parameters=AUTOMATION_ID,
        more=_BULK_MORE,
        within_apps=True,
    ),
    Operation(
        "POST",
        "/api/v1/automations/{id}/circuit_breaker/resolve_paused",
        f"{_AUTOMATIONS}ResolvePausedAutomationExecutions",
        "Resolve Paused Automation Executions",
        "Run or cancel the executions that the circuit breaker held back, and leave the breaker as it is.",
        breakers.resolve_paused,
        Permission.AUTOMATIONS_MANAGE,
        automation_messages.ResolvePausedAutomationExecutionsResponse,
        automation_messages.ResolvePausedAutomationExecutionsRequest,
        lane=Lane.WORK,
        parameters=AUTOMATION_ID,
        more=_BULK_MORE,
        within_apps=True,
    ),
    Operation(
        "POST",
        "/api/v1/search/automations",
        f"{_AUTOMATION_SEARCH}SearchAutomations",
        "Search Automations",
        "Automations by app, name, trigger, status or id, sorted as asked.",
        automation_search.search,
        Permission.AUTOMATIONS_READ,
        search_messages.SearchAutomationsResponse,
        search_messages.SearchAutomationsRequest,
        aliases=("/api/v1/automations/search",),
        within_apps=True,
    ),
    Operation(
        "POST",
        "/api/v1/search/automation_versions",
        f"{_AUTOMATION_SEARCH}SearchAutomationTemplateVersions",
        "Search Automation Versions",
        "What was published of one automation, newest first.",
        automation_search.search_versions,
        Permission.AUTOMATIONS_READ,
        search_messages.SearchAutomationTemplateVersionsResponse,
        search_messages.SearchAutomationTemplateVersionsRequest,
        aliases=("/api/v1/automation_versions/search",),
        within_apps=True,
    ),
    # --- executions ---------------------------------------------------------------------------------------------------
    Operation(
        "GET",
        "/api/v1/automation_executions",
        f"{_EXECUTIONS}ListAutomationExecutions",
        "List Automation Executions",
        "One page of all runs, newest first. What they were started with is shown by Get.",
        executions.list_all,
        Permission.EXECUTIONS_READ,
        execution_messages.ListAutomationExecutionsResponse,
        query=PAGE,
        within_apps=True,
    ),
    Operation(
        "GET",
        "/api/v1/automation_executions/{id}",
        f"{_EXECUTIONS}GetAutomationExecution",
        "Get Automation Execution",
        "One run. An execution that is stopping is shown as PROCESS_STEP until it has come to rest.",
        executions.get,
        Permission.EXECUTIONS_READ,
        execution_messages.GetAutomationExecutionResponse,
        parameters=EXECUTION_ID,
        within_apps=True,
    ),
    Operation(
        "POST",
        "/api/v1/automation_executions/{id}/actions/terminate",
        f"{_ACTIONS}TerminateAutomation",
        "Terminate Automation",
        "Terminate a running automation execution asynchronously, stopping it and marking it as terminated.",
        terminations.terminate,
        Permission.EXECUTIONS_TERMINATE,
        execution_messages.TerminateAutomationResponse,
        execution_messages.TerminateAutomationRequest,
        lane=Lane.STOP,
        parameters=(
            PathParameter("id", "The unique identifier of the automation execution to terminate.", int64=True),
        ),
        body_limit=64_000,
        reads=(
            Header(
                "Prefer",
                "`return=representation`: answer with the termination record. `wait=N`, N up to 30: hold the answer "
                "back until the run has come to rest, or N seconds have passed (RFC 7240).",
            ),
        ),
        answers_with=(
            Header(
                terminations.HEADER,
                "What became of the order, and the state: `accepted`, `repeated` or `already-finished`, `; state=…`.",
            ),
        ),
        more="From the commit on that precedes the answer no further step, retry, timer, callback or child of the run "
        "starts; what is in flight is cut at once, and given up at the deadline at the latest. Nothing that was done "
        "is undone.",
        within_apps=True,
    ),
    Operation(
        "POST",
        "/api/v1/search/automation_executions",
        f"{_EXECUTION_SEARCH}SearchAutomationExecutions",
        "Search Automation Executions",
        "Runs by automation, id, state or the automation's name, newest first.",
        executions.search,
        Permission.EXECUTIONS_READ,
        search_messages.SearchAutomationExecutionsResponse,
        search_messages.SearchAutomationExecutionsRequest,
        aliases=("/api/v1/automation_executions/search",),
        within_apps=True,
    ),
    Operation(
        "POST",
        "/api/v1/search/all_automation_executions",
        f"{_EXECUTION_SEARCH}SearchAllAutomationExecutions",
        "Search All Automation Executions",
        "Runs of any automations, by automation, app or state, newest first.",
        executions.search_all,
        Permission.EXECUTIONS_READ,
        search_messages.SearchAllAutomationExecutionsResponse,
        search_messages.SearchAllAutomationExecutionsRequest,
        within_apps=True,
    ),
    # --- webhooks -----------------------------------------------------------------------------------------------------
    Operation(
        "GET",
        "/api/v1/webhooks",
        f"{_WEBHOOKS}List",
        "List Webhooks",
        "One page of all outbound webhooks.",
        webhooks.list_all,
        Permission.WEBHOOKS_READ,
        webhook_messages.ListResponse,
        query=PAGE,
        tag=_WEBHOOKS_TAG,
    ),
    Operation(
        "POST",
        "/api/v1/webhooks",
        f"{_WEBHOOKS}Create",
        "Create Webhook",
        "Make an outbound webhook. Its URL is refused now if it could never be called.",
        webhooks.create,
        Permission.WEBHOOKS_MANAGE,
        webhook_messages.CreateResponse,
        webhook_messages.CreateRequest,
        lane=Lane.WORK,
        tag=_WEBHOOKS_TAG,
        link=_OF_WEBHOOK,
    ),
    Operation(
        "GET",
        "/api/v1/webhooks/{id}",
        f"{_WEBHOOKS}Get",
        "Get Webhook",
        "One outbound webhook.",
        webhooks.get,
        Permission.WEBHOOKS_READ,
        webhook_messages.GetResponse,
        parameters=_WEBHOOK_ID,
        tag=_WEBHOOKS_TAG,
    ),
    Operation(
        "POST",
        "/api/v1/webhooks/{id}",
        f"{_WEBHOOKS}Update",
        "Update Webhook",
        "Change the fields that `updateMask` names, or without it all of them.",
        webhooks.update,
        Permission.WEBHOOKS_MANAGE,
        webhook_messages.UpdateResponse,
        webhook_messages.UpdateRequest,
        lane=Lane.WORK,
        parameters=_WEBHOOK_ID,
        tag=_WEBHOOKS_TAG,
    ),
    Operation(
        "DELETE",
        "/api/v1/webhooks/{id}",
        f"{_WEBHOOKS}Delete",
        "Delete Webhook",
        "Delete an outbound webhook. A step that comes to it later fails.",
        webhooks.delete,
        Permission.WEBHOOKS_MANAGE,
        webhook_messages.DeleteResponse,
        webhook_messages.DeleteRequest,
        lane=Lane.WORK,
        parameters=_WEBHOOK_ID,
        tag=_WEBHOOKS_TAG,
    ),
    Operation(
        "POST",
        "/api/v1/search/webhooks",
        "c1.api.webhooks.v1.WebhooksSearch.Search",
        "Search Webhooks",
        "Outbound webhooks by id, or by a part of their name, description or URL.",
        webhooks.search,
        Permission.WEBHOOKS_READ,
        webhook_messages.SearchResponse,
        webhook_messages.SearchRequest,
        tag=_WEBHOOKS_TAG,
    ),
    Operation(
        "POST",
        "/api/v1/webhooks/callback/{execution}/{token}",
        f"{OWN}ReceiveCallback",
        "Receive Callback",
        "The answer of a webhook that said 202, sent to the `Webhook-Callback-Url` it was given: a JSON object, once. "
        "No bearer token is needed: the URL is the proof.",
        callbacks.receive,
        None,
        views.CallbackResponse,
        raw_body=True,
        lane=Lane.WORK,
        visibility=Visibility.OWN,
        parameters=(
            PathParameter("execution", "The execution whose step waits.", int64=True),
            PathParameter("token", "What proves that the step gave this URL out."),
        ),
        tag=_WEBHOOKS_TAG,
        body_limit=callbacks.MAX_BODY,
    ),
)
