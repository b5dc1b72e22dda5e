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
from interlock.steps.kind import Drafting, Evaluated, Form, Moment, Ready, Step, StepEnvironment

LONGEST: Final = timedelta(days=366)
_MICROSECOND: Final = timedelta(microseconds=1)


class WaitForDurationStep(Step):
    """Waits `length` microseconds."""

    kind = "waitForDuration"
    form = Form.WAITING
    when_interrupted = "The timer ends at once."

    def __init__(self, length: int) -> None:
        self.length = length

    @classmethod
    def compile(cls, message: WaitForDuration, drafting: Drafting, environment: StepEnvironment) -> Self | None:
        duration = message.duration
        if duration is None:
            drafting.problem("duration", 'is required, for example "3600s"')
            return None
        length = duration.length
        if length < timedelta(0):
            drafting.problem("duration", "must not be negative")
            return None
        if length > LONGEST:
            drafting.problem("duration", "must not be longer than 366 days (31622400s)")
            return None
        return cls(length // _MICROSECOND)

    async def prepare(self, moment: Moment) -> Ready:
        if self.length == 0:
            return Evaluated(self.waited(moment.at))
        until = moment.at + self.length
        shown = encode({"until": Timestamp.of_micros(until)})
        return Wait(moment.position, WaitingFor.TIMER, until, shown, moment.passed)

    def waited(self, until: int) -> Mapping[str, object]:
        return {"waited_until": Timestamp.of_micros(until)}
