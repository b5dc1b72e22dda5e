"""Our own messages about what a tenant's administrators set."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.base import Message
from interlock.contract.scalars import Bool
from interlock.contract.times import NonNegativeDuration


class Settings(Message):
    """The settings of a tenant."""

    proto_name: ClassVar[str] = "interlock.v1.Settings"

    automations_disabled: Bool = False
    """New runs are created and terminated at once, and those under way end at their next step."""
    execution_retention: NonNegativeDuration | None = None
    """How long a run is kept after its end: 1 to 3,650 days; 395 days by default."""
    payload_retention: NonNegativeDuration | None = None
    """How long what a run was started with, and what its steps sent and received, is kept after its end: from 1 day up
    to the above; 90 days by default."""


class SettingsResponse(Message):
    """The settings as they stand."""

    proto_name: ClassVar[str] = "interlock.v1.SettingsResponse"

    settings: Settings | None = None


class UpdateSettingsRequest(Settings):
    """Those to change; what is left out stays as it is."""

    proto_name: ClassVar[str] = "interlock.v1.UpdateSettingsRequest"
