"""Limits callers that administer some apps only to the automations of those apps, and to the runs of these."""

from __future__ import annotations

from collections.abc import Collection

from interlock.errors import NotFound, PermissionDenied
from interlock.operations.authorise import record_refusal
from interlock.operations.operation import Call
from interlock.operations.services import Services
from interlock.ports import Reads


async def visible(reads: Reads, call: Call, automation: str) -> bool:
    """Return whether the caller may see the automation, deleted or not, and its runs."""
    return automation in await all_visible(reads, call, (automation,))


async def all_visible(reads: Reads, call: Call, automations: Collection[str]) -> Collection[str]:
    """Return those of the automations that the caller may see."""
    if call.apps is None:
        return automations
    apps = await reads.automations.apps_of(call.tenant.id, tuple(automations))
    return {automation for automation, app in apps.items() if app in call.apps}


async def require_visible(reads: Reads, call: Call, automation: str) -> None:
    """Check that the caller may see the automation, deleted or not.

    Raises:
        NotFound: The automation belongs to none of the caller's apps; the caller must not learn that it exists.
    """
    if not await visible(reads, call, automation):
        raise NotFound


async def require_app(services: Services, call: Call, action: str, app: str) -> None:
    """Check that the caller may create automations of an app.

    Raises:
        PermissionDenied: The caller does not administer the app; the refusal is audited.
    """
    if call.apps is not None and app not in call.apps:
        await record_refusal(services, call, action, "the app is not one of the caller's")
        allowed = ", ".join(sorted(call.apps))
        raise PermissionDenied(f"appId must be an app that the caller administers: {allowed}")
