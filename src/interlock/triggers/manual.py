"""manual: on demand, as older clients say it. A person, the API or another automation starts the run."""

from __future__ import annotations

from typing import Self

from interlock.contract.triggers import ManualAutomationTrigger
from interlock.triggers.kind import Trigger, TriggerContext, TriggerKind


class ManualTrigger(Trigger[ManualAutomationTrigger]):
    """Starts nothing by itself."""

    kind = "manual"
    on_demand = True

    @classmethod
    def compile(cls, message: ManualAutomationTrigger, context: TriggerContext) -> Self:
        return cls()


def kind() -> TriggerKind[ManualAutomationTrigger]:
    """The kind; it needs nothing."""
    return TriggerKind(ManualTrigger, ManualAutomationTrigger)
