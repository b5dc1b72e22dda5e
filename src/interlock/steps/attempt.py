"""One attempt at an effectful step: what a step performs, what it reports, and the items that it settles on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol, TypeVar

from interlock.ports import Place, Progress, Vault
from interlock.rules.model import AttemptRef, Item, Ref, SecretRef
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.retry import NO_RETRIES, RetryPolicy
from interlock.rules.states import WaitingFor
from interlock.rules.values import value
from interlock.steps.masking import masked_error

ReportT = TypeVar("ReportT")


@dataclass(slots=True)
class Attempt:
    """One attempt at an effectful step."""

    ref: Ref
    automation: str
    attempt: AttemptRef
    input: bytes
    """As it is stored: secrets are masked in it. What is sent comes from `reveal`."""
    first_started_at: int
    """When the first attempt at this step was announced."""
    vault: Vault
    sealed: SecretRef | None = None
    """The input with the secrets that `input` masks; None: it masks none."""
    key: str | None = None
    """The idempotency key that was announced, the same for all attempts at this step; None: the kind sends none."""
    apps: frozenset[str] | None = None
    """The apps that the publisher of the run's automation was confined to; None: to none."""
    progress: Progress = field(default_factory=Progress)

    def reveal(self) -> bytes:
        """The input with its secrets, to be sent and kept nowhere. Raises SecretUnreadable."""
        if self.sealed is None:
            return self.input
        return self.vault.reveal(Place.input(self.ref, self.attempt.position), self.sealed).document

    def masked(self, report: ReportT) -> ReportT:
        """The report as it is recorded: what it quotes of an answer to a call with a secret is masked."""
        if self.sealed is None or not isinstance(report, Failed):
            return report
        return replace(report, error=masked_error(report.error))


@value(frozen=True, slots=True)
class Succeeded:
    """Done. `output` is what `ctx.<step>` will hold."""

    output: Mapping[str, object]
    status: int | None = None


@value(frozen=True, slots=True)
class Poll:
    """The step asks the receiver for the result at `at` (microseconds), with `handle`, which it alone understands.

    The handle is stored encrypted, and no view shows it.
    """

    handle: bytes
    at: int


@value(frozen=True, slots=True)
class Accepted:
    """The receiver accepted the work, and its result comes at `until` (microseconds) at the latest.

    It comes in a callback, from a task, or from `Step.poll`. A step is polled for at most
    `engine.reports.MAX_POLL_WAIT_SECONDS`, and a poll can only shorten its wait.
    """

    until: int
    status: int | None = None
    waits_for: Literal[WaitingFor.CALLBACK, WaitingFor.TASK] | Poll = WaitingFor.CALLBACK


@value(frozen=True, slots=True)
class Failed:
    """This attempt failed, and `reached` is what is proven about its effect: the receipt judges by it alone.

    `retries` says whether and when there is another attempt, none of them after `last_start`.
    """

    error: bytes
    reached: Reached
    status: int | None = None
    retries: RetryPolicy = NO_RETRIES
    last_start: int | None = None


Report = Succeeded | Accepted | Failed


@value(frozen=True, slots=True)
class Skipped:
    """An item needs nothing: it is as the step would have it."""


ItemReport = Succeeded | Skipped | Failed


@value(frozen=True, slots=True)
class SettledItem:
    """An item that has ended, in this attempt or in one before it."""

    item: Item
    outcome: Outcome
    output: Mapping[str, object] | None
    error: bytes | None
    reached: Reached | None


MAX_STEP_ITEMS: Final = 250
"""Items of one step: each has a commit of its own."""


class ItemsEnded(BaseException):
    """Raised by `Items.settle`: no other item of this attempt may begin. A step lets it pass."""


class Items(Protocol):
    """The items of an attempt. A step performs those that are open one after the other, and settles each."""

    @property
    def open(self) -> tuple[Item, ...]:
        """The items that are still to be performed, in their order; none for a step without items."""
        ...

    @property
    def settled(self) -> Mapping[int, SettledItem]:
        """The items that have ended, by number, in whichever attempt."""
        ...

    def key(self, number: int) -> str | None:
        """The idempotency key of an item, the same for all attempts at it; None: the kind sends none."""
        ...

    async def settle(self, number: int, report: ItemReport) -> None:
        """Record how the first open item ended, in a commit of its own.

        An item that failed with retries left is announced again by the next attempt, after the other items.

        Raises:
            ItemsEnded: no other item may begin: the run is stopped, or the item failed and the step does not
                tolerate that.
        """
        ...
