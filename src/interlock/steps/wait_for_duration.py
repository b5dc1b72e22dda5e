"""waitForDuration: rest until a time has passed. The time is kept on disk; a zero wait passes through."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Self

from interlock.contract.steps import WaitForDuration
from interlock.contract.times import Timestamp
from interlock.rules.events import Wait
from interlock.rules.states import WaitingFor
from interlock.steps.documents import encode
from interlock.steps.kind import CompileContext, Evaluated, Form, PrepareContext, Ready, Step, StepKind, step_kind

MAX_WAIT_DURATION: Final = timedelta(days=366)
_MICROSECOND: Final = timedelta(microseconds=1)


class WaitForDurationStep(Step[WaitForDuration]):
    """Waits `length` microseconds."""

    kind = "waitForDuration"
    form = Form.WAITING

    def __init__(self, length: int) -> None:
        self.length = length

    @classmethod
    def compile(cls, message: WaitForDuration, context: CompileContext) -> Self | None:
        duration = message.duration
        if duration is None:
            context.problem("duration", 'is required, for example "3600s"')
            return None
        length = duration.length
        if length < timedelta(0):
            context.problem("duration", "must not be negative")
            return None
        if length > MAX_WAIT_DURATION:
            context.problem("duration", "must not be longer than 366 days (31622400s)")
            return None
        return cls(length // _MICROSECOND)

    async def prepare(self, context: PrepareContext) -> Ready:
        if self.length == 0:
            return Evaluated(self.waited(context.at))
        until = context.at + self.length
        shown = encode({"until": Timestamp.of_micros(until)})
        return Wait(context.position, WaitingFor.TIMER, until, shown, context.passed)

    def waited(self, until: int) -> Mapping[str, object]:
        return {"waited_until": Timestamp.of_micros(until)}


def kind() -> StepKind:
    """The kind; the engine keeps its timers."""
    return step_kind(WaitForDurationStep, WaitForDuration, WaitForDurationStep.compile)
