"""The rows of a tenant's settings."""

from __future__ import annotations

from typing import Final

from interlock.auth.roles import Permission
from interlock.operations.operation import Lane, Operation, Visibility
from interlock.operations.row_parts import INTERLOCK_TAG, OWN
from interlock.operations.settings import handlers, views

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        method="GET",
        path="/interlock/v1/settings",
        id=f"{OWN}GetSettings",
        summary="Get Settings",
        description=(
            "The settings for all executions of the tenant: the switch that disables automations, and how long the "
            "records of an execution are kept."
        ),
        handler=handlers.get,
        permission=Permission.SETTINGS_READ,
        response=views.SettingsResponse,
        visibility=Visibility.OWN,
        tag=INTERLOCK_TAG,
    ),
    Operation(
        method="POST",
        path="/interlock/v1/settings",
        id=f"{OWN}UpdateSettings",
        summary="Update Settings",
        description=(
            "Change the settings in the request. While automations are disabled, new executions are created and "
            "terminated immediately, and active ones end at their next step. The audit record is always kept."
        ),
        handler=handlers.update,
        permission=Permission.SETTINGS_MANAGE,
        response=views.SettingsResponse,
        request=views.UpdateSettingsRequest,
        lane=Lane.WORK,
        visibility=Visibility.OWN,
        tag=INTERLOCK_TAG,
    ),
)
