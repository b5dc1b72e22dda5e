"""The rows of executions: starting, reading, searching and following them; leases and addenda."""

from __future__ import annotations

from typing import Final

from interlock.auth.roles import Permission
from interlock.contract import automations as automation_messages
from interlock.contract import executions as messages
from interlock.contract import search as search_messages
from interlock.operations.executions import addenda, detail, events, handlers, leases, receipt, views
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
            "Start a run. `context.context` becomes `ctx.trigger`; `isDraft` runs the draft. The header "
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
                "1 to 255 visible ASCII characters. For 24 hours the same key with the same message gives the run that "
                "was started first, whatever has become of the automation; with another message it is refused (409).",
            ),
            Header(
                "Prefer",
                "`wait=N`, N up to 30: hold the answer back until the run is over, or N seconds have passed.",
            ),
        ),
        answers_with=(
            Header(handlers.REPLAYED_HEADER, "`true` if an earlier request with the same key started this run."),
            Header(
                handlers.STATE_HEADER,
                "With `Prefer: wait`: the state of the run at the time of the answer, `state=…`.",
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
        description="One page of all runs, newest first. What they were started with is shown by Get.",
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
        description="One run. An execution that is stopping is shown as PROCESS_STEP until it has come to rest.",
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
        description="Runs by automation, id, state or the automation's name, newest first.",
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
        description="Runs of any automations, by automation, app or state, newest first.",
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
            "The run as it truly stands (`STOPPING` included): its steps and attempts with their outcomes, inputs and "
            "outputs, its termination and its children."
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
            "What it had done, what was interrupted, what nobody can know, what never started and what was learned too "
            "late, with actor, reason and times of its stop. `format=markdown` gives it as a text for a person."
        ),
        handler=detail.receipt,
        permission=Permission.EXECUTIONS_READ,
        response=receipt.Receipt,
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
        description="The execution as it is and then each change of it, as server-sent events, until it has ended.",
        handler=events.follow,
        permission=Permission.EXECUTIONS_READ,
        response=views.ExecutionChange,
        documents=(events.EVENT_STREAM,),
        visibility=Visibility.OWN,
        parameters=EXECUTION_ID,
        tag=INTERLOCK_TAG,
        reads=(
            Header("Last-Event-ID", "Only what came after this event: the stream goes on where it was interrupted."),
        ),
        more=(
            "Each event is named `execution`, its id is the execution's epoch, and its data is one ExecutionChange. A "
            "stream ends after fifteen minutes, when the execution has ended, or when the server stops; clients ask "
            "again with `Last-Event-ID`. A client that has seen the last event of an execution that has ended gets "
            "204, without a body."
        ),
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/interlock/v1/executions/{id}/lease/actions/renew",
        id=f"{OWN}RenewLease",
        summary="Renew Lease",
        description=(
            "Say that an execution which was started with a `lease` is still wanted: it goes on for that long from now."
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
            "An execution whose lease expires is terminated as by a person, with the cause `lease_expired`. If that "
            "was while the server was away, it happens at its next start."
        ),
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/interlock/v1/executions/{id}/addenda",
        id=f"{OWN}CreateAddendum",
        summary="Create Addendum",
        description=(
            "Add to the record of an execution what was learned after its end of a step whose outcome is not known. "
            "The outcome stays as it was recorded; what was learned, by whom and when, stands beside it from then on."
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
            "Of several addenda about the same, the newest speaks, and all are kept in order: none can be changed or "
            "deleted. The same one sent again by the same client within a day is added once. What is not in doubt "
            "takes none (`FAILED_PRECONDITION`)."
        ),
        within_apps=True,
    ),
)
