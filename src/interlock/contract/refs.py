"""Small messages that point at something, and the free-form context."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.base import Message
from interlock.contract.scalars import Struct


class AppEntitlementRef(Message):
    """One entitlement of one app."""

    proto_name: ClassVar[str] = "c1.api.app.v1.AppEntitlementRef"

    app_id: str = ""
    id: str = ""


class UserRef(Message):
    """A person."""

    proto_name: ClassVar[str] = "c1.api.user.v1.UserRef"

    id: str = ""


class ConnectorRef(Message):
    """One connector of one app."""

    proto_name: ClassVar[str] = "c1.api.app.v1.ConnectorRef"

    app_id: str = ""
    id: str = ""


class AutomationTemplateRef(Message):
    """An automation."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.AutomationTemplateRef"

    id: str = ""


class AutomationContext(Message):
    """Free-form data of a run."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.AutomationContext"

    context: Struct | None = None
