"""What can happen to a run, and what its plan says comes next."""

from __future__ import annotations

from interlock.rules.changes import Mutation
from interlock.rules.model import AttemptRef, Item, Result, SecretRef, TerminationRequest
from interlock.rules.outcomes import Outcome
from interlock.rules.states import WaitingFor
from interlock.rules.values import value

# --- what comes next --------------------------------------------------------------------------------------------------


@value(frozen=True, slots=True)
class Passed:
    """A step settled on the way to the next one that takes time: skipped, or evaluated at once."""

    position: int
    outcome: Outcome
    input: bytes | None = None
    output: bytes | None = None
    sealed: SecretRef | None = None
    """The output with the secrets that `output` masks; None: it masks none."""


@value(frozen=True, slots=True)
class Announce:
    """Start an attempt at the step, after this commit. `items` are those that are open; most steps have none."""

    position: int
    input: bytes | None = None
    items: tuple[Item, ...] = ()
    passed: tuple[Passed, ...] = ()
    sealed: SecretRef | None = None
    """The input with the secrets that `input` masks; None: it masks none."""
    key: str | None = None
    """The idempotency key that the attempt sends; None: it sends none."""


@value(frozen=True, slots=True)
class Wait:
    """Rest until `until` (None: no limit), or until what is waited for comes."""

    position: int
    waiting_for: WaitingFor
    until: int | None
    input: bytes | None = None
    passed: tuple[Passed, ...] = ()


@value(frozen=True, slots=True)
class Change:
    """Make a change in this very commit. The run then rests: ready for the next step, or waiting at this one."""

    position: int
    mutation: Mutation
    input: bytes | None = None
    """What is shown beside the step."""
    passed: tuple[Passed, ...] = ()
    then: Wait | None = None
    """The wait that the change begins, if the step does not end with it: its `waiting_for` and `until` count."""


@value(frozen=True, slots=True)
class Retry:
    """Try the same step again at `until`."""

    position: int
    until: int


@value(frozen=True, slots=True)
class Finish:
    """No step is left. `steps` is how many the plan has."""

    steps: int
    passed: tuple[Passed, ...] = ()


@value(frozen=True, slots=True)
class Fail:
    """The run cannot go on. `error` (JSON text) is recorded on the step; None if the step's own result says it."""

    position: int
    error: bytes | None = None
    input: bytes | None = None
    passed: tuple[Passed, ...] = ()


Next = Announce | Change | Wait | Retry | Finish | Fail

# --- events -----------------------------------------------------------------------------------------------------------


@value(frozen=True, slots=True)
class Created:
    """A run is let in. `next` is given only if a slot was free to carry it out."""

    at: int
    next: Next | None = None
    holder: str = ""


@value(frozen=True, slots=True)
class Prepared:
    """A run that was ready has been taken on."""

    at: int
    epoch: int
    next: Next
    holder: str = ""


@value(frozen=True, slots=True)
class ItemSettled:
    """One item of the attempt in flight has ended. `again`: it failed, and the next attempt announces it again."""

    at: int
    attempt: AttemptRef
    item: int
    result: Result
    again: bool = False


@value(frozen=True, slots=True)
class Settled:
    """The attempt has reported. `next` is what follows if the run still stands where the attempt began.

    Without one, a success leaves the run ready for the step after it, and anything else moves nothing.
    """

    at: int
    attempt: AttemptRef
    result: Result
    next: Next | None
    holder: str = ""


@value(frozen=True, slots=True)
class Woken:
    """What a waiting run waited for has come; without `next` the run is ready.

    `result` settles the waiting step. A timer needs none (it succeeded), and a retry has none (its step's last attempt
    is settled).
    """

    at: int
    epoch: int
    by: WaitingFor
    result: Result | None = None
    next: Next | None = None
    holder: str = ""


@value(frozen=True, slots=True)
class CalledBack:
    """A remote called the callback URL of the step at `position`, wherever the run stands by now."""

    at: int
    position: int
    result: Result


@value(frozen=True, slots=True)
class Recovered:
    """A run was found in flight and its holder is known to be dead."""

    at: int
    epoch: int
    repeatable: bool


@value(frozen=True, slots=True)
class Terminated:
    """Somebody, or something, ordered the run to stop."""

    at: int
    request: TerminationRequest


@value(frozen=True, slots=True)
class DeadlinePassed:
    """A stopping run's attempt has not settled in time."""

    at: int
    epoch: int


@value(frozen=True, slots=True)
class Released:
    """A paused run is let go. With `cancel` it is terminated instead."""

    at: int
    cancel: TerminationRequest | None = None


Event = Prepared | ItemSettled | Settled | Woken | CalledBack | Recovered | Terminated | DeadlinePassed | Released
