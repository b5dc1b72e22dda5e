"""What a caller may see who administers some apps only: their automations, and the runs of those."""

from __future__ import annotations

from collections.abc import Collection

from interlock.errors import NotFound, PermissionDenied
from interlock.operations.authorise import record_refusal
from interlock.operations.operation import Call
from interlock.operations.services import Services
from interlock.ports import Reads


async def visible(reads: Reads, call: Call, automation: str) -> bool:
    """Whether the automation, deleted or not, and its runs are the caller's to see."""
    return automation in await all_visible(reads, call, (automation,))


async def all_visible(reads: Reads, call: Call, automations: Collection[str]) -> Collection[str]:
    """Those of the automations that are the caller's to see."""
    if call.apps is None:
        return automations
    apps = await reads.automations.apps_of(call.tenant.id, tuple(automations))
    return {automation for automation, app in apps.items() if app in call.apps}


async def require_visible(reads: Reads, call: Call, automation: str) -> None:
    """
    Raises:
        NotFound: the automation, deleted or not, is of none of the caller's apps: to the caller it is not there.
    """
    if not await visible(reads, call, automation):
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
