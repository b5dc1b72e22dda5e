"""Changes that a transactional step makes in the store, in the commit that records its outcome.

The rules decide whether a change is made and what its answer means for the run. What is changed is unknown to them: the
store has an applier for each type of mutation, and gives its answer to the rules within the same transaction.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from interlock.rules.values import value


class Mutation(Protocol):
    """A change of the store, with all that its applier needs to make it."""

    name: ClassVar[str]
    """The name of the type, for messages."""


@value(frozen=True, slots=True)
class Applied:
    """The change is made. `output` (JSON text) is what the step returns; None if the step then waits."""

    output: bytes | None = None


@value(frozen=True, slots=True)
class Refused:
    """The change cannot be made, and nothing was written. `error` (JSON text) is recorded on the step."""

    error: bytes
