"""What a step kind is: a class with declared facts, compiled once for each published version.

The life of a compiled step: `prepare` looks at the context and says what is to be done, without doing it; for an
effectful step the engine commits that announcement and then calls `perform`. A kind knows no engine and no store: the
function `kind` of its module takes what its steps act on, and gives a `StepKind` for the registry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import ClassVar, Final, Generic, Protocol, TypeVar
from urllib.parse import quote

from interlock.contract.base import Message
from interlock.errors import Problem
from interlock.expressions.check import Checker
from interlock.expressions.names import Kind
from interlock.expressions.program import Program
from interlock.expressions.script import Unit
from interlock.expressions.template import Template
from interlock.ports import Place, Progress, Vault
from interlock.rules.events import Announce, Change, Passed, Wait
from interlock.rules.model import Ref, SecretRef
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.values import value
from interlock.settings import KindSetting
from interlock.steps.attempt import Attempt, Items, Report
from interlock.steps.documents import StepFailed, encode_output
from interlock.steps.masking import (
    NO_SECRETS,
    MaskedCopy,
    Secrets,
    masked_copy,
    reads_secret,
    sealed_members,
)
from interlock.steps.targets import NamedTarget, Target

FIRST: Final = 1
"""The occurrence of a step that runs once in its run, as all do while a plan has no loops."""

MessageT = TypeVar("MessageT", bound=Message)
ReportT = TypeVar("ReportT")
MessageT_co = TypeVar("MessageT_co", bound=Message, covariant=True)


class Form(StrEnum):
    """How a kind does its work."""

    PURE = "pure"
    """Evaluated before a transaction and folded into it."""
    TRANSACTIONAL = "transactional"
    """The change is made in the commit that records it: exactly once."""
    EFFECTFUL = "effectful"
    """The attempt is announced, performed and recorded."""
    WAITING = "waiting"
    """The step waits for a time, a callback or a person; nothing is in flight."""


class Values(Protocol):
    """The values of a run's expressions, wherever they are evaluated."""

    async def values(self, unit: Unit) -> Sequence[object]: ...


@dataclass(slots=True)
class PrepareContext:
    """A step about to run: where it stands, and what its expressions give."""

    ref: Ref
    """The run."""
    position: int
    at: int
    expressions: Values
    vault: Vault
    secrets: Secrets = NO_SECRETS
    passed: tuple[Passed, ...] = ()

    async def evaluate(self, program: Program) -> object:
        """In the clear. Raises ExpressionFailed; Unavailable if it needs a process and none can be had."""
        return (await self.expressions.values((program,)))[0]

    async def render(self, template: Template) -> object:
        """In the clear, as it is sent."""
        if template.constant:
            return template.fill(())
        return template.fill(await self.expressions.values(template.programs))

    def hides(self, program: str | Program) -> bool:
        """Whether the result of this expression must not be shown."""
        return not isinstance(program, str) and reads_secret(program, self.secrets)

    def masked(self, template: Template, value: object) -> MaskedCopy | None:
        """What may be shown of the rendered template; None: all of it."""
        return masked_copy(template, value, self.secrets)

    def seal_input(self, input: bytes) -> SecretRef:
        """The reference to an input with secrets. Beside it, the announcement has a copy in which they are masked."""
        return self.vault.seal(Place.input(self.ref, self.position), input, frozenset())

    async def text(self, program: Program, name: str) -> str:
        """A text that must not be empty. Raises StepFailed naming the field."""
        value = await self.evaluate(program)
        if not isinstance(value, str) or not value:
            raise StepFailed("INVALID_VALUE", f"{name} must give a text that is not empty", field=name)
        return value


@value(frozen=True, slots=True)
class Evaluated:
    """A pure step is done. `input` is what is shown beside it, `secret` are the members of its output that are not."""

    output: Mapping[str, object]
    input: bytes | None = None
    secret: frozenset[str] = frozenset()

    def passed(self, context: PrepareContext) -> Passed:
        """As it is recorded. Raises StepFailed if the output is too large."""
        place = Place.output(context.ref, context.position)
        output, sealed = sealed_members(context.vault, place, self.output, encode_output(self.output), self.secret)
        return Passed(context.position, Outcome.SUCCEEDED, self.input, output, sealed)


Ready = Evaluated | Announce | Change | Wait


class CompileContext:
    """One step being compiled: compiles its expressions, and collects the problems of its message."""

    def __init__(self, checker: Checker, field_path: str, name: str) -> None:
        self._checker = checker
        self._field = field_path
        self.targets: list[NamedTarget] = []
        """The resources that the message names by their ids."""
        self.name = name
        """The name of the step."""

    def problem(self, member: str, description: str) -> None:
        """Note a problem of a member of the message; "" is the message as a whole."""
        self._checker.problems.append(Problem(self._path(member), description, self.name))

    def names(self, target: Target, member: str) -> None:
        """Note that a member of the message names a resource: publishing checks that the publisher may use it."""
        self.targets.append(NamedTarget(target, self._path(member), self.name))

    def expression(self, source: str, kind: Kind, member: str) -> Program | None:
        """Compile a member that is a bare expression; None, with the problem noted, if it has one."""
        return self._checker.expression(source, kind, field=self._path(member), step=self.name)

    def tree(self, value: object, member: str) -> Template | None:
        """Compile a member that is JSON with `{{ }}` in its strings; None, with the problem noted, if it has one."""
        return self._checker.tree(value, field=self._path(member), step=self.name)

    def _path(self, member: str) -> str:
        return f"{self._field}.{member}" if member else self._field


class Step(ABC, Generic[MessageT_co]):
    """A compiled step, shared by all runs of its version: it holds nothing of any one run.

    The type parameter is the message that it is compiled from. The class attributes are the facts that a kind declares.
    """

    kind: ClassVar[str]
    """C1's name: the member of an AutomationStep."""
    form: ClassVar[Form]
    repeatable: ClassVar[bool] = True
    """Whether an attempt whose performer was lost may be made again, with the same idempotency key."""
    tolerates_failed_items: bool = False
    """Whether the step goes on, and may succeed, after an item has failed for good."""
    settings: ClassVar[tuple[KindSetting, ...]] = ()
    """What an operator can set for this kind; `interlock serve` has an option for each."""

    units: tuple[Unit, ...] = ()
    """The expressions that `prepare` asks for, in its order; together those of one template."""
    keys: tuple[str, ...] | None = None
    """Of a step whose output is the values of its units, their names."""

    @abstractmethod
    async def prepare(self, context: PrepareContext) -> Ready:
        """What is to be done; touches nothing. Raises StepFailed, ExpressionFailed, Unavailable."""

    async def destination(self, tenant: int, input: bytes) -> str | None:
        """The host that an attempt with this input, secrets included, calls, for fair sharing; None: it calls none."""
        return None

    @classmethod
    def receiver(cls, input: Mapping[str, object]) -> Target | None:
        """Return the resource that an attempt with this input, secrets masked, called; None: it called none."""
        return None

    @classmethod
    def account(cls, output: object) -> str | None:
        """Return the sentence of the receipt for a step that succeeded with this output; None: the general one."""
        return None

    async def fixed_destination(self, tenant: int) -> str | None:
        """The same where it is known before anything is evaluated."""
        return None

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        """Do it, once, with what `attempt.reveal` gives. Effectful kinds only.

        Keeps `attempt.progress` true, and ends soon after it is cancelled.

        A step that was announced with items performs those that are open, and reports success when all are settled;
        `attempt.progress` is that of the item that is performed, and begins anew after each.
        """
        raise TypeError(f"{self.kind} has nothing to perform")

    async def poll(self, attempt: Attempt, handle: bytes, until: int) -> Report:
        """Ask the receiver of an accepted attempt for its result. Kinds that report `Accepted` with a `Poll` only.

        A poll is a read: it changes nothing at the receiver, and may be cut and repeated at any time. It is cut after
        `engine.polls.MAX_POLL_SECONDS`, and repeated later. A poll that gets no answer reports `Accepted` again.
        `Failed` is about the accepted work, never about the poll; with retries left, the next attempt requests it anew.

        Args:
            attempt: The attempt that the receiver accepted, with the input and the key that it was announced with.
            handle: That of the last `Poll`.
            until: When the wait ends, in microseconds. A poll that reports `Accepted` then or later ends the step.
        """
        raise TypeError(f"{self.kind} is not polled")

    def interruption(self, progress: Progress) -> Outcome:
        """What became of an attempt that was cut. In doubt: unknown."""
        return interruption(progress)

    def waited(self, until: int) -> Mapping[str, object]:
        """What `ctx.<step>` holds after a timer ended at `until`."""
        raise TypeError(f"{self.kind} does not wait for a time")

    def expired(self) -> bytes:
        """The error of a wait that ended without what was waited for."""
        raise TypeError(f"{self.kind} does not wait for an answer")


@value(frozen=True, slots=True)
class StepKind:
    """A kind that runs on this server: its facts, and how its steps are compiled with what they act on."""

    step: type[Step[Message]]
    compile: Callable[[Message, CompileContext], Step[Message] | None]
    """From the kind's message; None, with problems noted, if it can never run."""


@value(frozen=True, slots=True)
class UnconfiguredKind:
    """A kind that this release has and this server cannot run, because the operator has not set what it needs."""

    step: type[Step[Message]]
    missing: tuple[KindSetting, ...]


def step_kind(
    step: type[Step[MessageT]],
    message: type[MessageT],
    compile_step: Callable[[MessageT, CompileContext], Step[MessageT] | None],
) -> StepKind:
    """The kind whose steps are compiled from `message` by `compile_step`, which holds what they act on."""

    def compiled(given: Message, context: CompileContext) -> Step[Message] | None:
        if not isinstance(given, message):
            raise TypeError(f"{step.kind} is compiled from {message.__name__}, not from {type(given).__name__}")
        return compile_step(given, context)

    return StepKind(step, compiled)


def unconfigured(step: type[Step[Message]], given: Mapping[str, str]) -> UnconfiguredKind | None:
    """The kind as one that cannot run, if a setting that it requires is not among those given; else None."""
    missing = tuple(setting for setting in step.settings if setting.required and not given.get(setting.name))
    return UnconfiguredKind(step, missing) if missing else None


def units(target: str | Program, template: Template) -> tuple[Unit, ...]:
    """What a step with a target and one template asks for."""
    targets: tuple[Unit, ...] = () if isinstance(target, str) else ((target,),)
    return targets if template.constant else (*targets, template.programs)


def interruption(progress: Progress) -> Outcome:
    """The outcome of an attempt that was cut, from how far it had got."""
    return _INTERRUPTED[progress.reached]


_INTERRUPTED: Final = {
    Reached.NOT_SENT: Outcome.INTERRUPTED_NOT_SENT,
    Reached.ANSWERED: Outcome.INTERRUPTED_RESPONSE,
    Reached.UNKNOWN: Outcome.INTERRUPTED_OUTCOME_UNKNOWN,
}


@lru_cache(maxsize=4_096)
def _quoted(step: str) -> str:
    return quote(step, safe="")


def idempotency_key(
    installation: str, execution: int, step: str, occurrence: int = FIRST, item: int | None = None
) -> str:
    """The key of a mutating call: the same over all attempts at it, and no other call's."""
    key = f"{installation}:{execution}:{_quoted(step)}:{occurrence}"
    return key if item is None else f"{key}:{item}"


def reference(message: Message | None) -> str:
    """The id inside a reference message, or ""."""
    return str(getattr(message, "id", "")) if message is not None else ""
