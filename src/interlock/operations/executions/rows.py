"""The rows of executions: starting, reading, searching and following them; leases and addenda."""

from __future__ import annotations

from typing import Final

from interlock.auth.roles import Permission
from interlock.contract import automations as automation_messages
from interlock.contract import executions as messages
from interlock.contract import search as search_messages
from interlock.operations.executions import addenda, detail, events, handlers, leases, views
from interlock.operations.operation import Header, Lane, Link, Operation, Visibility
from interlock.operations.row_parts import (
    AUTOMATION_ID,
    AUTOMATION_SERVICE,
    EXECUTION_ACTIONS_SERVICE,
    EXECUTION_ID,
    INTERLOCK_TAG,
    OWN,
    PAGE,
)

_EXECUTION_SERVICE: Final = "c1.api.automations.v1.AutomationExecutionService."
_SEARCH_SERVICE: Final = "c1.api.automations.v1.AutomationExecutionSearchService."

_OF_EXECUTION: Final = Link(
    "/executionId",
    (
        f"{_EXECUTION_SERVICE}GetAutomationExecution",
        f"{EXECUTION_ACTIONS_SERVICE}TerminateAutomation",
        f"{OWN}GetExecution",
        f"{OWN}GetReceipt",
        f"{OWN}CreateAddendum",
    ),
)

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        method="POST",
        path="/api/v1/automations/{id}/execute",
        id=f"{AUTOMATION_SERVICE}ExecuteAutomation",
        summary="Execute Automation",
        description=(
            "Start an execution. `context.context` becomes `ctx.trigger`; `isDraft` runs the draft. The header "
            "`Idempotency-Key` makes repeating the request harmless for 24 hours."
        ),
        handler=handlers.execute,
        permission=Permission.EXECUTIONS_START,
        response=automation_messages.ExecuteAutomationResponse,
        request=automation_messages.ExecuteAutomationRequest,
        lane=Lane.WORK,
        parameters=AUTOMATION_ID,
        reads=(
            Header(
                "Idempotency-Key",
                "1 to 255 visible ASCII characters. For 24 hours the same key with the same message returns the "
                "execution that was started first; with another message the request is refused (409).",
            ),
            Header(
                "Prefer",
                "`wait=N`, N up to 30: delay the answer until the execution is terminal, or N seconds have passed.",
            ),
        ),
        answers_with=(
            Header(handlers.REPLAYED_HEADER, "`true` if an earlier request with the same key started this execution."),
            Header(
                handlers.STATE_HEADER,
                "With `Prefer: wait`: the state of the execution at the time of the answer, `state=…`.",
            ),
        ),
        within_apps=True,
        link=_OF_EXECUTION,
    ),
    Operation(
        method="GET",
        path="/api/v1/automation_executions",
        id=f"{_EXECUTION_SERVICE}ListAutomationExecutions",
        summary="List Automation Executions",
        description="One page of all executions, newest first. Only Get shows their trigger data.",
        handler=handlers.list_all,
        permission=Permission.EXECUTIONS_READ,
        response=messages.ListAutomationExecutionsResponse,
        query=PAGE,
        within_apps=True,
    ),
    Operation(
        method="GET",
        path="/api/v1/automation_executions/{id}",
        id=f"{_EXECUTION_SERVICE}GetAutomationExecution",
        summary="Get Automation Execution",
        description="One execution. An execution that is stopping is shown as PROCESS_STEP until it is terminal.",
        handler=handlers.get,
        permission=Permission.EXECUTIONS_READ,
        response=messages.GetAutomationExecutionResponse,
        parameters=EXECUTION_ID,
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/api/v1/search/automation_executions",
        id=f"{_SEARCH_SERVICE}SearchAutomationExecutions",
        summary="Search Automation Executions",
        description="Search executions by automation, id, state or the automation's name, newest first.",
        handler=handlers.search,
        permission=Permission.EXECUTIONS_READ,
        response=search_messages.SearchAutomationExecutionsResponse,
        request=search_messages.SearchAutomationExecutionsRequest,
        aliases=("/api/v1/automation_executions/search",),
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/api/v1/search/all_automation_executions",
        id=f"{_SEARCH_SERVICE}SearchAllAutomationExecutions",
        summary="Search All Automation Executions",
        description="Search the executions of all automations by automation, app or state, newest first.",
        handler=handlers.search_all,
        permission=Permission.EXECUTIONS_READ,
        response=search_messages.SearchAllAutomationExecutionsResponse,
        request=search_messages.SearchAllAutomationExecutionsRequest,
        within_apps=True,
    ),
    Operation(
        method="GET",
        path="/interlock/v1/executions/{id}",
        id=f"{OWN}GetExecution",
        summary="Get Execution in Full",
        description=(
            "The whole record of an execution with its stored state (`STOPPING` included): its steps and attempts with "
            "their outcomes, inputs and outputs, its termination and its children."
        ),
        handler=detail.detail,
        permission=Permission.EXECUTIONS_READ,
        response=views.ExecutionDetail,
        visibility=Visibility.OWN,
        parameters=EXECUTION_ID,
        tag=INTERLOCK_TAG,
        within_apps=True,
    ),
    Operation(
        method="GET",
        path="/interlock/v1/executions/{id}/receipt",
        id=f"{OWN}GetReceipt",
        summary="Get Receipt",
        description=(
            "The steps of an execution that are done, failed, interrupted, unknown or never started, and late results, "
            "with actor, reason and times of its termination. `format=markdown` returns it as Markdown."
        ),
        handler=detail.receipt,
        permission=Permission.EXECUTIONS_READ,
        response=views.Receipt,
        documents=(detail.MARKDOWN,),
        visibility=Visibility.OWN,
        parameters=EXECUTION_ID,
        query=("format",),
        tag=INTERLOCK_TAG,
        within_apps=True,
    ),
    Operation(
        method="GET",
        path="/interlock/v1/executions/{id}/events",
        id=f"{OWN}FollowExecution",
        summary="Follow Execution",
        description="The current state of an execution, and each change until it is terminal, as server-sent events.",
        handler=events.follow,
        permission=Permission.EXECUTIONS_READ,
        response=views.ExecutionChange,
        documents=(events.EVENT_STREAM,),
        visibility=Visibility.OWN,
        parameters=EXECUTION_ID,
        tag=INTERLOCK_TAG,
        reads=(Header("Last-Event-ID", "Send only later events: the stream continues where it was interrupted."),),
        more=(
            "Each event is named `execution`, its id is the execution's epoch, and its data is one ExecutionChange. A "
            "stream ends after fifteen minutes, when the execution is terminal, or when the server stops; clients "
            "reconnect with `Last-Event-ID`. A client that has the last event of a terminal execution gets 204 without "
            "a body."
        ),
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/interlock/v1/executions/{id}/lease/actions/renew",
        id=f"{OWN}RenewLease",
        summary="Renew Lease",
        description=(
            "Renew the lease of an execution that was started with one: the lease expires that long from now."
        ),
        handler=leases.renew,
        permission=Permission.EXECUTIONS_START,
        response=views.Lease,
        request=views.RenewLeaseRequest,
        lane=Lane.WORK,
        visibility=Visibility.OWN,
        parameters=EXECUTION_ID,
        tag=INTERLOCK_TAG,
        more=(
            "The server terminates an execution whose lease expires, with the cause `lease_expired`. If the lease "
            "expires while the server is down, the server terminates the execution at its next start."
        ),
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/interlock/v1/executions/{id}/addenda",
        id=f"{OWN}CreateAddendum",
        summary="Create Addendum",
        description=(
            "Add a later finding about a step with an unknown outcome to the record of a terminal execution. The "
            "recorded outcome does not change; the record has the finding, its author and its time in addition."
        ),
        handler=addenda.create,
        permission=Permission.EXECUTIONS_TERMINATE,
        response=views.AddendumView,
        request=views.CreateAddendumRequest,
        lane=Lane.WORK,
        visibility=Visibility.OWN,
        parameters=EXECUTION_ID,
        tag=INTERLOCK_TAG,
        more=(
            "Of several addenda about one entry the newest counts, and all are kept in order: none can be changed or "
            "deleted. The same addendum, sent again by the same client within a day, is added once. An addendum about "
            "an entry that is not in doubt is refused (`FAILED_PRECONDITION`)."
        ),
        within_apps=True,
    ),
)
