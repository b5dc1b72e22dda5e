"""The rows of bulk terminations."""

from __future__ import annotations

from typing import Final

from interlock.auth.roles import Permission
from interlock.operations.bulk_terminations import handlers, views
from interlock.operations.operation import Lane, Link, Operation, PathParameter, Visibility
from interlock.operations.row_parts import INTERLOCK_TAG, OWN, PAGE

_OF_BULK_TERMINATION: Final = Link("/bulkTermination/id", (f"{OWN}GetBulkTermination", f"{OWN}AbortBulkTermination"))

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        method="POST",
        path="/interlock/v1/bulkTerminations/plan",
        id=f"{OWN}PlanBulkTermination",
        summary="Plan Bulk Termination",
        description=(
            "Preview a bulk termination, by ids or by a filter: the completed steps of each execution, and whether it "
            "is in flight or waits. The client that made the plan can use it once, within five minutes."
        ),
        handler=handlers.plan,
        permission=Permission.EXECUTIONS_TERMINATE,
        response=views.TerminationPlan,
        request=views.PlanBulkTerminationRequest,
        visibility=Visibility.OWN,
        tag=INTERLOCK_TAG,
        more=(
            "`expressionCel` is evaluated for each execution that matches the other criteria. It reads `ctx` as the "
            "steps of the execution do, with secrets masked, and `execution.id`, `automationTemplateId`, "
            "`automationDisplayName`, `currentVersion`, `isDraft`, `state`, `waitingFor`, `step`, `stepName`, "
            "`createdAt` and `updatedAt`. An execution for which it fails does not match; `expressionFailures` has the "
            "number of these executions and the error of the first."
        ),
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/interlock/v1/bulkTerminations",
        id=f"{OWN}CreateBulkTermination",
        summary="Create Bulk Termination",
        description=(
            "Terminate the executions of a plan, executions by their ids, or those that a filter matches now. The "
            "server terminates them in batches of 250, each in one commit, and continues after a restart."
        ),
        handler=handlers.create,
        permission=Permission.EXECUTIONS_TERMINATE,
        response=views.BulkTerminationResponse,
        request=views.CreateBulkTerminationRequest,
        lane=Lane.STOP,
        visibility=Visibility.OWN,
        tag=INTERLOCK_TAG,
        more=(
            "With `pauseAutomation`, the circuit breakers of the affected automations pause new executions, including "
            "those of drafts, until an operator clears them: with a filter before the server searches for executions, "
            "with ids or a plan from the commit of the bulk termination on. The server checks the permission of the "
            "client again for each execution before it terminates it."
        ),
        within_apps=True,
        link=_OF_BULK_TERMINATION,
    ),
    Operation(
        method="GET",
        path="/interlock/v1/bulkTerminations",
        id=f"{OWN}ListBulkTerminations",
        summary="List Bulk Terminations",
        description="One page of bulk terminations, newest first.",
        handler=handlers.list_all,
        permission=Permission.EXECUTIONS_READ,
        response=views.ListBulkTerminationsResponse,
        query=PAGE,
        visibility=Visibility.OWN,
        tag=INTERLOCK_TAG,
    ),
    Operation(
        method="GET",
        path="/interlock/v1/bulkTerminations/{id}",
        id=f"{OWN}GetBulkTermination",
        summary="Get Bulk Termination",
        description="One bulk termination and its progress.",
        handler=handlers.get,
        permission=Permission.EXECUTIONS_READ,
        response=views.BulkTerminationResponse,
        visibility=Visibility.OWN,
        parameters=(PathParameter("id", "The bulk termination."),),
        tag=INTERLOCK_TAG,
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/interlock/v1/bulkTerminations/{id}/actions/abort",
        id=f"{OWN}AbortBulkTermination",
        summary="Abort Bulk Termination",
        description="Abort a bulk termination. Executions that it has terminated stay terminated.",
        handler=handlers.abort,
        permission=Permission.EXECUTIONS_TERMINATE,
        response=views.BulkTerminationResponse,
        request=views.AbortBulkTerminationRequest,
        lane=Lane.STOP,
        visibility=Visibility.OWN,
        parameters=(PathParameter("id", "The bulk termination."),),
        tag=INTERLOCK_TAG,
        within_apps=True,
    ),
)
