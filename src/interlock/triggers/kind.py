"""What a trigger kind is: the member of an AutomationTrigger that it compiles, and the trigger that comes of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic, Self, TypeVar

from interlock.contract.base import Message
from interlock.errors import Problem
from interlock.expressions.program import Program
from interlock.rules.values import value

MessageT = TypeVar("MessageT", bound=Message)


@value(frozen=True, slots=True)
class TriggerContext:
    """What a kind is given to compile one trigger with."""

    field: str
    """The path of the trigger in the request; findings begin with it."""
    programs: Mapping[str, Program]
    """Every expression of the trigger, compiled, by its path below `field`: "condition", "grantTriggerFilter.…"."""
    problems: list[Problem]
    """What was found in the triggers so far."""

    def problem(self, member: str, text: str) -> None:
        """Report what must be fixed in a member of the trigger before the automation can be published."""
        self.problems.append(Problem(f"{self.field}.{member}" if member else self.field, text))


class Trigger(ABC, Generic[MessageT]):
    """One compiled trigger of an automation."""

    kind: ClassVar[str]
    """The member of an AutomationTrigger, as on the wire."""
    on_demand: ClassVar[bool] = False
    """Whether it starts no run by itself. Only automations without another trigger can be started by a step."""

    @classmethod
    @abstractmethod
    def compile(cls, message: MessageT, context: TriggerContext) -> Self | None:
        """Compile a trigger; None if a problem was reported."""

    def next_fire_at(self, after: int) -> int | None:
        """Return the first time after `after` at which it starts a run by itself; None if it never does.

        Both are microseconds of the wall clock. Publishing the trigger stores the time with the automation.
        """
        return None


@value(frozen=True, slots=True)
class TriggerKind(Generic[MessageT]):
    """A kind with what its triggers act on. A file of a kind has a function `kind` that makes one."""

    trigger: type[Trigger[MessageT]]
    message: type[MessageT]

    @property
    def name(self) -> str:
        """The member of an AutomationTrigger."""
        return self.trigger.kind

    def compile(self, message: Message, context: TriggerContext) -> Trigger[MessageT] | None:
        """Compile a trigger of this kind."""
        assert isinstance(message, self.message)
        return self.trigger.compile(message, context)
