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
            "What an order would stop, by ids or by a filter: what has already happened, what is in flight, what "
            "waits. The plan can be carried out once, within five minutes, by the client that made it."
        ),
        handler=handlers.plan,
        permission=Permission.EXECUTIONS_TERMINATE,
        response=views.TerminationPlan,
        request=views.PlanBulkTerminationRequest,
        visibility=Visibility.OWN,
        tag=INTERLOCK_TAG,
        more=(
            "An `expressionCel` is asked about each execution that fits otherwise. It reads `ctx` as the steps of the "
            "execution would, with its secrets masked, and `execution.id`, `automationTemplateId`, "
            "`automationDisplayName`, `currentVersion`, `isDraft`, `state`, `waitingFor`, `step`, `stepName`, "
            "`createdAt` and `updatedAt`. One that it fails for does not fit; `expressionFailures` says how many those "
            "are, and why the first of them failed."
        ),
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/interlock/v1/bulkTerminations",
        id=f"{OWN}CreateBulkTermination",
        summary="Create Bulk Termination",
        description=(
            "Terminate what a plan holds, executions by their ids, or those that a filter finds now. It is carried out "
            "in batches of 250, each in one commit, and outlives a restart."
        ),
        handler=handlers.create,
        permission=Permission.EXECUTIONS_TERMINATE,
        response=views.BulkTerminationResponse,
        request=views.CreateBulkTerminationRequest,
        lane=Lane.STOP,
        visibility=Visibility.OWN,
        tag=INTERLOCK_TAG,
        more=(
            "With `pauseAutomation`, new executions of the automations concerned, drafts included, are held back as by "
            "their circuit breaker until an operator clears it: with a filter before it looks for executions, with ids "
            "or a plan from the order's commit on. Whether the client may terminate is checked again for each "
            "execution when its turn comes."
        ),
        within_apps=True,
        link=_OF_BULK_TERMINATION,
    ),
    Operation(
        method="GET",
        path="/interlock/v1/bulkTerminations",
        id=f"{OWN}ListBulkTerminations",
        summary="List Bulk Terminations",
        description="One page of orders to terminate many executions, newest first.",
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
        description="One order to terminate many executions, and how far it has come.",
        handler=handlers.get,
        permission=Permission.EXECUTIONS_READ,
        response=views.BulkTerminationResponse,
        visibility=Visibility.OWN,
        parameters=(PathParameter("id", "The order."),),
        tag=INTERLOCK_TAG,
        within_apps=True,
    ),
    Operation(
        method="POST",
        path="/interlock/v1/bulkTerminations/{id}/actions/abort",
        id=f"{OWN}AbortBulkTermination",
        summary="Abort Bulk Termination",
        description="Stop nobody further by this order. What it has stopped stays stopped.",
        handler=handlers.abort,
        permission=Permission.EXECUTIONS_TERMINATE,
        response=views.BulkTerminationResponse,
        request=views.AbortBulkTerminationRequest,
        lane=Lane.STOP,
        visibility=Visibility.OWN,
        parameters=(PathParameter("id", "The order."),),
        tag=INTERLOCK_TAG,
        within_apps=True,
    ),
)
