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
    access,
    access_views,
    automation_search,
    automations,
    breakers,
    callbacks,
    execution_detail,
    executions,
    receipt,
    settings,
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
_OWN: Final = "interlock.v1."

_PAGE: Final = ("page_size", "page_token")
_AUTOMATION_ID: Final = (PathParameter("id", "The automation."),)
_EXECUTION_ID: Final = (PathParameter("id", "The execution: a whole number, as text.", int64=True),)
_WEBHOOK_ID: Final = (PathParameter("id", "The webhook."),)
_WEBHOOKS_TAG: Final = "Webhooks"
_INTERLOCK_TAG: Final = "Interlock"
_ACCESS_TAG: Final = "Access"

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
        f"{_OWN}GetExecution",
        f"{_OWN}GetReceipt",
    ),
)
_OF_WEBHOOK: Final = Link("/webhook/id", tuple(f"{_WEBHOOKS}{name}" for name in ("Get", "Update", "Delete")))
_OF_CLIENT: Final = Link("/client/id", (f"{_OWN}RevokeClient",))
_OF_TENANT: Final = Link("/tenant/name", (f"{_OWN}RevokeTenant",), "name")

OPERATIONS: Final[tuple[Operation, ...]] = (
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
        query=_PAGE,
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
        parameters=_AUTOMATION_ID,
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
        parameters=_AUTOMATION_ID,
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
        parameters=_AUTOMATION_ID,
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
        parameters=_AUTOMATION_ID,
        reads=(
            Header(
                "Idempotency-Key",
                "1 to 255 visible ASCII characters. For 24 hours the same key with the same body gives the run that "
                "was started first; with another body it is refused (409).",
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
        parameters=_AUTOMATION_ID,
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
        parameters=_AUTOMATION_ID,
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
        query=_PAGE,
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
        parameters=_EXECUTION_ID,
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
        query=_PAGE,
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
        f"{_OWN}ReceiveCallback",
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
    # --- our own views ------------------------------------------------------------------------------------------------
    Operation(
        "GET",
        "/interlock/v1/automations/{id}",
        f"{_OWN}GetAutomation",
        "Get Automation and the Findings on its Draft",
        "The automation, and what would keep its draft from being published.",
        automations.detail,
        Permission.AUTOMATIONS_READ,
        views.AutomationDetail,
        visibility=Visibility.OWN,
        parameters=_AUTOMATION_ID,
        tag=_INTERLOCK_TAG,
        within_apps=True,
    ),
    Operation(
        "GET",
        "/interlock/v1/executions/{id}",
        f"{_OWN}GetExecution",
        "Get Execution in Full",
        "The run as it truly stands (`STOPPING` included): its steps and attempts with their outcomes, inputs and "
        "outputs, its termination and its children.",
        execution_detail.detail,
        Permission.EXECUTIONS_READ,
        views.ExecutionDetail,
        visibility=Visibility.OWN,
        parameters=_EXECUTION_ID,
        tag=_INTERLOCK_TAG,
        within_apps=True,
    ),
    Operation(
        "GET",
        "/interlock/v1/executions/{id}/receipt",
        f"{_OWN}GetReceipt",
        "Get Receipt",
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
        within_apps=True,
    ),
    # --- settings -----------------------------------------------------------------------------------------------------
    Operation(
        "GET",
        "/interlock/v1/settings",
        f"{_OWN}GetSettings",
        "Get Settings",
        "What is set for all executions of the tenant: the switch that disables automations, and how long what is "
        "recorded of an execution is kept.",
        settings.get,
        Permission.SETTINGS_READ,
        settings.SettingsResponse,
        visibility=Visibility.OWN,
        tag=_INTERLOCK_TAG,
    ),
    Operation(
        "POST",
        "/interlock/v1/settings",
        f"{_OWN}UpdateSettings",
        "Update Settings",
        "Change those settings that are given. While automations are disabled, new executions are created and "
        "terminated at once, and those under way end at their next step. The audit record is always kept.",
        settings.update,
        Permission.SETTINGS_MANAGE,
        settings.SettingsResponse,
        settings.UpdateSettingsRequest,
        lane=Lane.WORK,
        visibility=Visibility.OWN,
        tag=_INTERLOCK_TAG,
    ),
    # --- who may call -------------------------------------------------------------------------------------------------
    Operation(
        "GET",
        "/interlock/v1/clients",
        f"{_OWN}ListClients",
        "List Clients",
        "All clients of the tenant, those revoked included.",
        access.list_clients,
        Permission.CLIENTS_READ,
        access_views.ListClientsResponse,
        visibility=Visibility.OWN,
        tag=_ACCESS_TAG,
    ),
    Operation(
        "POST",
        "/interlock/v1/clients",
        f"{_OWN}CreateClient",
        "Create Client",
        "Make a client of the tenant. Without a `publicKey` the server makes the key pair, and shows the secret once.",
        access.create_client,
        Permission.CLIENTS_MANAGE,
        access_views.CreateClientResponse,
        access_views.CreateClientRequest,
        lane=Lane.WORK,
        visibility=Visibility.OWN,
        tag=_ACCESS_TAG,
        link=_OF_CLIENT,
    ),
    Operation(
        "POST",
        "/interlock/v1/clients/{id}/actions/revoke",
        f"{_OWN}RevokeClient",
        "Revoke Client",
        "Let a client in no more; its tokens are void at once.",
        access.revoke_client,
        Permission.CLIENTS_MANAGE,
        access_views.RevokeClientResponse,
        access_views.RevokeClientRequest,
        lane=Lane.WORK,
        visibility=Visibility.OWN,
        parameters=(PathParameter("id", "The client's id, percent-encoded."),),
        tag=_ACCESS_TAG,
    ),
    Operation(
        "GET",
        "/interlock/v1/tenants",
        f"{_OWN}ListTenants",
        "List Tenants",
        "All tenants, those revoked included. For clients of the default tenant.",
        access.list_tenants,
        Permission.TENANTS_READ,
        access_views.ListTenantsResponse,
        visibility=Visibility.OWN,
        tag=_ACCESS_TAG,
    ),
    Operation(
        "POST",
        "/interlock/v1/tenants",
        f"{_OWN}CreateTenant",
        "Create Tenant",
        "Make a tenant that answers to the given hosts, with its first client. For clients of the default tenant.",
        access.create_tenant,
        Permission.TENANTS_MANAGE,
        access_views.CreateTenantResponse,
        access_views.CreateTenantRequest,
        lane=Lane.WORK,
        visibility=Visibility.OWN,
        tag=_ACCESS_TAG,
        link=_OF_TENANT,
    ),
    Operation(
        "POST",
        "/interlock/v1/tenants/{name}/actions/revoke",
        f"{_OWN}RevokeTenant",
        "Revoke Tenant",
        "Let a tenant in no more. Its hosts are free again, its runs start nothing more, its record stays. For clients "
        "of the default tenant.",
        access.revoke_tenant,
        Permission.TENANTS_MANAGE,
        access_views.RevokeTenantResponse,
        access_views.RevokeTenantRequest,
        lane=Lane.WORK,
        visibility=Visibility.OWN,
        parameters=(PathParameter("name", "The tenant's name."),),
        tag=_ACCESS_TAG,
    ),
)
