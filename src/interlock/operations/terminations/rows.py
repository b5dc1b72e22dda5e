"""The row of the termination of one execution."""

from __future__ import annotations

from typing import Final

from interlock.auth.roles import Permission
from interlock.contract import executions as messages
from interlock.operations.operation import Header, Lane, Operation, PathParameter
from interlock.operations.row_parts import EXECUTION_ACTIONS_SERVICE
from interlock.operations.terminations import handlers

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        method="POST",
        path="/api/v1/automation_executions/{id}/actions/terminate",
        id=f"{EXECUTION_ACTIONS_SERVICE}TerminateAutomation",
        summary="Terminate Automation",
        description=(
            "Terminate a running automation execution asynchronously, stopping it and marking it as terminated."
        ),
        handler=handlers.terminate,
        permission=Permission.EXECUTIONS_TERMINATE,
        response=messages.TerminateAutomationResponse,
        request=messages.TerminateAutomationRequest,
        lane=Lane.STOP,
        parameters=(
            PathParameter("id", "The unique identifier of the automation execution to terminate.", int64=True),
        ),
        body_limit=64_000,
        reads=(
            Header(
                "Prefer",
                "`return=representation`: answer with the termination record. `wait=N`, N up to 30: delay the answer "
                "until the execution is terminal, or N seconds have passed (RFC 7240).",
            ),
        ),
        answers_with=(
            Header(
                handlers.HEADER,
                "The result and the state: `accepted`, `repeated` or `already-finished`, then `; state=…`.",
            ),
        ),
        more=(
            "The server commits the termination before it answers. After the commit no step, retry, timer, callback "
            "or child of the execution starts. The attempt in flight is interrupted immediately, and abandoned at the "
            "deadline at the latest. Completed steps are not undone."
        ),
        within_apps=True,
    ),
)
