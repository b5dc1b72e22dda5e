"""Events: everything that can happen to a run, and what the engine prepared to come next."""

from __future__ import annotations

from interlock.rules.changes import Mutation
from interlock.rules.model import AttemptRef, Item, Result, SecretRef, TerminationRequest
from interlock.rules.outcomes import Outcome
from interlock.rules.states import WaitingFor
from interlock.rules.values import value

# --- what comes next --------------------------------------------------------------------------------------------------


@value(frozen=True, slots=True)
class Passed:
    """A step that settled without an attempt: it was skipped, or it only evaluates expressions."""

    position: int
    outcome: Outcome
    input: bytes | None = None
    output: bytes | None = None
    sealed: SecretRef | None = None
    """The output with the secrets that `output` masks; None if `output` masks none."""


@value(frozen=True, slots=True)
class Announce:
    """Announce an attempt, which starts after this commit. `items` are the open items; most steps have none."""

    position: int
    input: bytes | None = None
    items: tuple[Item, ...] = ()
    passed: tuple[Passed, ...] = ()
    sealed: SecretRef | None = None
    """The input with the secrets that `input` masks; None if `input` masks none."""
    key: str | None = None
    """The idempotency key that the attempt sends; None if it sends none."""


@value(frozen=True, slots=True)
class Wait:
    """Wait until `until` (None: no time limit), or until the event that the step waits for."""

    position: int
    waiting_for: WaitingFor
    until: int | None
    input: bytes | None = None
    passed: tuple[Passed, ...] = ()


@value(frozen=True, slots=True)
class Change:
    """Make a change in this commit. Afterwards the run is ready for the next step, or waits at this one."""

    position: int
    mutation: Mutation
    input: bytes | None = None
    """The input that is shown with the step."""
    passed: tuple[Passed, ...] = ()
    then: Wait | None = None
    """The wait after the change; None if the change ends the step. Only its `waiting_for` and `until` are used."""


@value(frozen=True, slots=True)
class Retry:
    """Retry the same step at `until`."""

    position: int
    until: int


@value(frozen=True, slots=True)
class Finish:
    """End the run in `DONE`. `steps` is the number of steps of the automation."""

    steps: int
    passed: tuple[Passed, ...] = ()


@value(frozen=True, slots=True)
class Fail:
    """End the run in `ERROR`. `error` (JSON text) is recorded on the step; None if the step's result has the error."""

    position: int
    error: bytes | None = None
    input: bytes | None = None
    passed: tuple[Passed, ...] = ()


Next = Announce | Change | Wait | Retry | Finish | Fail

# --- events -----------------------------------------------------------------------------------------------------------


@value(frozen=True, slots=True)
class Created:
    """A run is created. `next` is given only if the run has a slot."""

    at: int
    next: Next | None = None
    holder: str = ""


@value(frozen=True, slots=True)
class Prepared:
    """A ready run got a slot, and its next step was prepared."""

    at: int
    epoch: int
    next: Next
    holder: str = ""


@value(frozen=True, slots=True)
class ItemSettled:
    """One item of the attempt in flight has ended. With `again`, the next attempt announces the item again."""

    at: int
    attempt: AttemptRef
    item: int
    result: Result
    again: bool = False


@value(frozen=True, slots=True)
class Settled:
    """The attempt in flight has reported a result. `next` follows if the run has not moved since the announcement.

    Without `next`, a success makes the run ready for the following step, and any other result changes nothing.
    """

    at: int
    attempt: AttemptRef
    result: Result
    next: Next | None
    holder: str = ""


@value(frozen=True, slots=True)
class Woken:
    """A waiting run has what it waited for. Without `next` the run becomes ready.

    `result` settles the waiting step. It is optional for a timer, which succeeded, and None for a retry, whose last
    attempt is settled already.
    """

    at: int
    epoch: int
    by: WaitingFor
    result: Result | None = None
    next: Next | None = None
    holder: str = ""


@value(frozen=True, slots=True)
class Polled:
    """The receiver of an accepted attempt was asked for its result. An outcome of None: it is not known yet.

    `epoch` is that of the run when the poll began, `attempt` is the attempt as it was announced. Without `next`, a
    success makes the run ready for the following step, and any other result changes nothing.
    """

    at: int
    attempt: AttemptRef
    epoch: int
    result: Result
    next: Next | None
    holder: str = ""
    wake_at: int | None = None
    """The time of the poll, if the event says when the wait ends, or that it has ended: it is void if the stored times
    were moved with the clock since."""


@value(frozen=True, slots=True)
class CalledBack:
    """A remote called the callback URL of the step at `position`. The run may have moved on."""

    at: int
    position: int
    result: Result


@value(frozen=True, slots=True)
class Recovered:
    """A run was found in flight, and its holder no longer exists."""

    at: int
    epoch: int
    repeatable: bool


@value(frozen=True, slots=True)
class Terminated:
    """A terminate of the run was requested, by a client or by the server."""

    at: int
    request: TerminationRequest


@value(frozen=True, slots=True)
class DeadlinePassed:
    """The deadline of a stopping run has passed, and its attempt has not settled."""

    at: int
    epoch: int


@value(frozen=True, slots=True)
class Released:
    """A paused run is resumed. With `cancel` it is terminated instead."""

    at: int
    cancel: TerminationRequest | None = None


Event = (
    Prepared | ItemSettled | Settled | Woken | Polled | CalledBack | Recovered | Terminated | DeadlinePassed | Released
)
