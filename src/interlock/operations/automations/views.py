"""Our own views of an automation, under /interlock/v1."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.automations import Automation
from interlock.contract.base import Message
from interlock.contract.scalars import Bool, Int32


class Finding(Message):
    """One thing that keeps a draft from being published."""

    proto_name: ClassVar[str] = "interlock.v1.Finding"

    kind: str = ""
    """`problem`: it must be mended; `unavailable`: it is valid, and cannot run on this server yet."""
    field: str = ""
    description: str = ""
    step: str = ""
    line: Int32 = 0
    column: Int32 = 0


class AutomationDetail(Message):
    """An automation, and how its draft stands."""

    proto_name: ClassVar[str] = "interlock.v1.AutomationDetail"

    automation: Automation | None = None
    draft_differs: Bool = False
    """Whether publishing the draft would change what runs."""
    publishable: Bool = False
    warnings: tuple[Finding, ...] = ()
    """All that keeps the draft from being published."""
