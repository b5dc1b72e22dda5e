"""The operation table: everything that can be asked, one row each.

Adding an operation takes a handler and a row. Routing, lanes, permissions, the OpenAPI document and the documentation
follow from it.
"""

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
    callbacks,
    execution_detail,
    executions,
    receipt,
    terminations,
    views,
    webhooks,
)
from interlock.operations.operation import Lane, Operation, PathParameter, Visibility

_AUTOMATIONS: Final = "c1.api.automations.v1.AutomationService."
_AUTOMATION_SEARCH: Final = "c1.api.automations.v1.AutomationSearchService."
_EXECUTIONS: Final = "c1.api.automations.v1.AutomationExecutionService."
_EXECUTION_SEARCH: Final = "c1.api.automations.v1.AutomationExecutionSearchService."
_ACTIONS: Final = "c1.api.automations.v1.AutomationExecutionActionsService."
_WEBHOOKS: Final = "c1.api.webhooks.v1.WebhooksService."
_OWN: Final = "interlock.v1."

_PAGE: Final = ("page_size", "page_token")
_AUTOMATION_ID: Final = (PathParameter("id", "The automation."),)
_EXECUTION_ID: Final = (PathParameter("id", "The execution: a whole number, as text.", int64=True),)
_WEBHOOK_ID: Final = (PathParameter("id", "The webhook."),)
_WEBHOOKS_TAG: Final = "Webhooks"
_INTERLOCK_TAG: Final = "Interlock"

OPERATIONS: Final[tuple[Operation, ...]] = (
    # --- automations --------------------------------------------------------------------------------------------------
    Operation(
        "GET",
        "/api/v1/automations",
        f"{_AUTOMATIONS}ListAutomations",
        "List automations",
        "One page of all automations, in the order of their ids.",
        automations.list_all,
        Permission.AUTOMATIONS_READ,
        automation_messages.ListAutomationsResponse,
        query=_PAGE,
    ),
    Operation(
        "POST",
        "/api/v1/automations",
        f"{_AUTOMATIONS}CreateAutomation",
        "Create automation",
        "Make an automation. Unless `isDraft` is set, its steps and triggers are checked and published as version 1.",
        automations.create,
        Permission.AUTOMATIONS_MANAGE,
        automation_messages.CreateAutomationResponse,
        automation_messages.CreateAutomationRequest,
        lane=Lane.WORK,
    ),
    Operation(
        "GET",
        "/api/v1/automations/{id}",
        f"{_AUTOMATIONS}GetAutomation",
        "Get automation",
        "One automation, published and draft definition.",
        automations.get,
        Permission.AUTOMATIONS_READ,
        automation_messages.GetAutomationResponse,
        parameters=_AUTOMATION_ID,
    ),
    Operation(
        "POST",
        "/api/v1/automations/{id}",
        f"{_AUTOMATIONS}UpdateAutomation",
        "Update automation",
        "Change the fields that `updateMask` names, or without it all of them. If the automation is no draft and what "
        "runs has changed, it is published as the next version; running executions finish on theirs.",
        automations.update,
        Permission.AUTOMATIONS_MANAGE,
        automation_messages.UpdateAutomationResponse,
        automation_messages.UpdateAutomationRequest,
        lane=Lane.WORK,
        parameters=_AUTOMATION_ID,
    ),
    Operation(
        "DELETE",
        "/api/v1/automations/{id}",
        f"{_AUTOMATIONS}DeleteAutomation",
        "Delete automation",
        "Delete an automation. Nothing starts it any more; executions under way finish, and can still be read and "
        "terminated. With `terminateRunning` they are terminated too.",
        automations.delete,
        Permission.AUTOMATIONS_MANAGE,
        automation_messages.DeleteAutomationResponse,
        automation_messages.DeleteAutomationRequest,
        lane=Lane.WORK,
        parameters=_AUTOMATION_ID,
    ),
    Operation(
        "POST",
        "/api/v1/automations/{id}/execute",
        f"{_AUTOMATIONS}ExecuteAutomation",
        "Execute automation",
        "Start a run. `context.context` becomes `ctx.trigger`; `isDraft` runs the draft. The header `Idempotency-Key` "
        "makes repeating the request harmless for 24 hours.",
        executions.execute,
        Permission.EXECUTIONS_START,
        automation_messages.ExecuteAutomationResponse,
        automation_messages.ExecuteAutomationRequest,
        lane=Lane.WORK,
        parameters=_AUTOMATION_ID,
    ),
    Operation(
        "POST",
        "/api/v1/search/automations",
        f"{_AUTOMATION_SEARCH}SearchAutomations",
        "Search automations",
        "Automations by app, name, trigger, status or id, sorted as asked.",
        automation_search.search,
        Permission.AUTOMATIONS_READ,
        search_messages.SearchAutomationsResponse,
        search_messages.SearchAutomationsRequest,
        aliases=("/api/v1/automations/search",),
    ),
    Operation(
        "POST",
        "/api/v1/search/automation_versions",
        f"{_AUTOMATION_SEARCH}SearchAutomationTemplateVersions",
        "Search automation versions",
        "What was published of one automation, newest first.",
        automation_search.search_versions,
        Permission.AUTOMATIONS_READ,
        search_messages.SearchAutomationTemplateVersionsResponse,
        search_messages.SearchAutomationTemplateVersionsRequest,
        aliases=("/api/v1/automation_versions/search",),
    ),
    # --- executions ---------------------------------------------------------------------------------------------------
    Operation(
        "GET",
        "/api/v1/automation_executions",
        f"{_EXECUTIONS}ListAutomationExecutions",
        "List automation executions",
        "One page of all runs, newest first. What they were started with is shown by Get.",
        executions.list_all,
        Permission.EXECUTIONS_READ,
        execution_messages.ListAutomationExecutionsResponse,
        query=_PAGE,
    ),
    Operation(
        "GET",
        "/api/v1/automation_executions/{id}",
        f"{_EXECUTIONS}GetAutomationExecution",
        "Get automation execution",
        "One run. An execution that is stopping is shown as PROCESS_STEP until it has come to rest.",
        executions.get,
        Permission.EXECUTIONS_READ,
        execution_messages.GetAutomationExecutionResponse,
        parameters=_EXECUTION_ID,
    ),
    Operation(
        "POST",
        "/api/v1/automation_executions/{id}/actions/terminate",
        f"{_ACTIONS}TerminateAutomation",
        "Terminate automation",
        "Stop a run. From the commit on that precedes the answer no further step, retry, timer, callback or child of "
        "it starts; what is in flight is cut at once, and given up at the deadline at the latest. Nothing already done "
        "is undone. The header `Interlock-Termination` of the answer says what became of the order; with "
        "`Prefer: return=representation` the body is the termination record, with `Prefer: wait=N` (at most 30) the "
        "answer is held back until the run has come to rest.",
        terminations.terminate,
        Permission.EXECUTIONS_TERMINATE,
        execution_messages.TerminateAutomationResponse,
        execution_messages.TerminateAutomationRequest,
        lane=Lane.STOP,
        parameters=_EXECUTION_ID,
        body_limit=64_000,
    ),
    Operation(
        "POST",
        "/api/v1/search/automation_executions",
        f"{_EXECUTION_SEARCH}SearchAutomationExecutions",
        "Search automation executions",
        "Runs by automation, id, state or the automation's name, newest first.",
        executions.search,
        Permission.EXECUTIONS_READ,
        search_messages.SearchAutomationExecutionsResponse,
        search_messages.SearchAutomationExecutionsRequest,
        aliases=("/api/v1/automation_executions/search",),
    ),
    Operation(
        "POST",
        "/api/v1/search/all_automation_executions",
        f"{_EXECUTION_SEARCH}SearchAllAutomationExecutions",
        "Search all automation executions",
        "Runs of any automations, by automation, app or state, newest first.",
        executions.search_all,
        Permission.EXECUTIONS_READ,
        search_messages.SearchAllAutomationExecutionsResponse,
        search_messages.SearchAllAutomationExecutionsRequest,
    ),
    # --- webhooks -----------------------------------------------------------------------------------------------------
    Operation(
        "GET",
        "/api/v1/webhooks",
        f"{_WEBHOOKS}List",
        "List webhooks",
        "One page of all outbound webhooks.",
        webhooks.list_all,
        Permission.WEBHOOKS_READ,
        webhook_messages.ListResponse,
        query=_PAGE,
        tag=_WEBHOOKS_TAG,
    ),
    Operation(
        "POST",
        "/api/v1/webhooks",
        f"{_WEBHOOKS}Create",
        "Create webhook",
        "Make an outbound webhook. Its URL is refused now if it could never be called.",
        webhooks.create,
        Permission.WEBHOOKS_MANAGE,
        webhook_messages.CreateResponse,
        webhook_messages.CreateRequest,
        lane=Lane.WORK,
        tag=_WEBHOOKS_TAG,
    ),
    Operation(
        "GET",
        "/api/v1/webhooks/{id}",
        f"{_WEBHOOKS}Get",
        "Get webhook",
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
        "Update webhook",
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
        "Delete webhook",
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
        "Search webhooks",
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
        f"{_OWN}ReceiveCallback",
        "Receive callback",
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
    # --- our own views ------------------------------------------------------------------------------------------------
    Operation(
        "GET",
        "/interlock/v1/automations/{id}",
        f"{_OWN}GetAutomation",
        "Get automation, with the findings on its draft",
        "The automation, and what would keep its draft from being published.",
        automations.detail,
        Permission.AUTOMATIONS_READ,
        views.AutomationDetail,
        visibility=Visibility.OWN,
        parameters=_AUTOMATION_ID,
        tag=_INTERLOCK_TAG,
    ),
    Operation(
        "GET",
        "/interlock/v1/executions/{id}",
        f"{_OWN}GetExecution",
        "Get execution, with everything there is to know of it",
        "The run as it truly stands (`STOPPING` included): its steps and attempts with their outcomes, inputs and "
        "outputs, its termination and its children.",
        execution_detail.detail,
        Permission.EXECUTIONS_READ,
        views.ExecutionDetail,
        visibility=Visibility.OWN,
        parameters=_EXECUTION_ID,
        tag=_INTERLOCK_TAG,
    ),
    Operation(
        "GET",
        "/interlock/v1/executions/{id}/receipt",
        f"{_OWN}GetReceipt",
        "Get the receipt of an execution",
        "What it had done, what was interrupted, what nobody can know, what never started and what was learned too "
        "late, with actor, reason and times of its stop. `format=markdown` gives it as a text for a person.",
        execution_detail.receipt,
        Permission.EXECUTIONS_READ,
        receipt.Receipt,
        documents=(execution_detail.MARKDOWN,),
        visibility=Visibility.OWN,
        parameters=_EXECUTION_ID,
        query=("format",),
        tag=_INTERLOCK_TAG,
    ),
)
