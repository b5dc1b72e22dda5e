"""Operations on the circuit breaker: close it, and run or cancel the runs that it paused."""

from __future__ import annotations

import json
from typing import Final

from interlock.contract.automations import (
    ClearAutomationCircuitBreakerRequest,
    ClearAutomationCircuitBreakerResponse,
    ResolvePausedAutomationExecutionsRequest,
    ResolvePausedAutomationExecutionsResponse,
)
from interlock.operations.operation import Answer, Call
from interlock.operations.scope import require_visible
from interlock.operations.services import Services
from interlock.ports import AuditEntry, BulkAction, BulkKind

_KINDS: Final = {
    "PAUSED_EXECUTION_DECISION_RUN": BulkKind.RUN_PAUSED,
    "PAUSED_EXECUTION_DECISION_CANCEL": BulkKind.CANCEL_PAUSED,
}


async def clear(services: Services, call: Call, body: ClearAutomationCircuitBreakerRequest) -> Answer:
    """Close the breaker: its window begins again, and new runs start.

    Without a decision, the runs that it paused stay paused.

    Raises:
        NotFound: The automation is unknown.
    """
    bulk = await _settle(services, call, "automation.circuit_breaker.clear", body.decision, body.reason, reset=True)
    return Answer(ClearAutomationCircuitBreakerResponse(bulk_action_id=bulk))


async def resolve_paused(services: Services, call: Call, body: ResolvePausedAutomationExecutionsRequest) -> Answer:
    """Run or cancel the paused runs, and leave the breaker as it is.

    Raises:
        NotFound: The automation is unknown.
    """
    action = "automation.circuit_breaker.resolve_paused"
    bulk = await _settle(services, call, action, body.decision, body.reason, reset=False)
    return Answer(ResolvePausedAutomationExecutionsResponse(bulk_action_id=bulk))


async def _settle(services: Services, call: Call, action: str, decision: str, reason: str, *, reset: bool) -> str:
    automation, kind = call.path["id"], _KINDS.get(decision)
    await require_visible(services.store, call, automation)
    decided = (
        None
        if kind is None
        else BulkAction(id=services.ids.text(), automation=automation, kind=kind, actor=call.actor, reason=reason)
    )
    details = json.dumps({"decision": "" if kind is None else kind}, separators=(",", ":")).encode()
    audit = AuditEntry(actor=call.actor, action=action, target=automation, reason=reason, details=details)
    return await services.store.breakers.settle(
        call.tenant.id, automation, services.clock.now(), audit, reset=reset, decided=decided
    )
