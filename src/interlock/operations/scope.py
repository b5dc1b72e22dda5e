"""What a caller may see who administers some apps only: their automations, and the runs of those."""

from __future__ import annotations

from interlock.errors import NotFound, PermissionDenied
from interlock.operations.authorise import record_refusal
from interlock.operations.operation import Call
from interlock.operations.services import Services


def visible(services: Services, call: Call, automation: str) -> bool:
    """Whether the automation, deleted or not, and its runs are the caller's to see."""
    return call.apps is None or services.store.automations.app_of(call.tenant.id, automation) in call.apps


def require_visible(services: Services, call: Call, automation: str) -> None:
    """
    Raises:
        NotFound: the automation, deleted or not, is of none of the caller's apps: to the caller it is not there.
    """
    if not visible(services, call, automation):
        raise NotFound


async def require_app(services: Services, call: Call, action: str, app: str) -> None:
    """
    Raises:
        PermissionDenied: an automation of that app is not the caller's to make; the refusal is audited.
    """
    if call.apps is not None and app not in call.apps:
        await record_refusal(services, call, action, "the app is not one of the caller's")
        allowed = ", ".join(sorted(call.apps))
        raise PermissionDenied(f"appId must be an app that the caller administers: {allowed}")
