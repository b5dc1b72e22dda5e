"""Our own views of an automation, under /interlock/v1."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.automations import Automation
from interlock.contract.base import Message
from interlock.contract.scalars import Bool, Int32


class Finding(Message):
    """One problem that prevents the publication of a draft."""

    proto_name: ClassVar[str] = "interlock.v1.Finding"

    kind: str = ""
    """`problem`: the author has to fix it; `unavailable`: it is valid, but cannot run on this server."""
    field: str = ""
    description: str = ""
    step: str = ""
    line: Int32 = 0
    column: Int32 = 0


class AutomationDetail(Message):
    """An automation, and the state of its draft."""

    proto_name: ClassVar[str] = "interlock.v1.AutomationDetail"

    automation: Automation | None = None
    draft_differs: Bool = False
    """Whether publishing the draft would change new executions."""
    publishable: Bool = False
    warnings: tuple[Finding, ...] = ()
    """All problems that prevent the publication of the draft."""
