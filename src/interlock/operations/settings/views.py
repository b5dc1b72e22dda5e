"""Our own messages about the settings of a tenant."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.base import Message
from interlock.contract.scalars import Bool
from interlock.contract.times import NonNegativeDuration


class Settings(Message):
    """The settings of a tenant."""

    proto_name: ClassVar[str] = "interlock.v1.Settings"

    automations_disabled: Bool = False
    """New executions are created and terminated immediately, and active ones end at their next step."""
    execution_retention: NonNegativeDuration | None = None
    """How long an execution is kept after its end: 1 to 3,650 days; 395 days by default."""
    payload_retention: NonNegativeDuration | None = None
    """How long the trigger data of an execution, and what its steps sent and received, are kept after its end: from 1
    day to `executionRetention`; 90 days by default."""


class SettingsResponse(Message):
    """The current settings."""

    proto_name: ClassVar[str] = "interlock.v1.SettingsResponse"

    settings: Settings | None = None


class UpdateSettingsRequest(Settings):
    """The settings to change; absent ones keep their values."""

    proto_name: ClassVar[str] = "interlock.v1.UpdateSettingsRequest"
