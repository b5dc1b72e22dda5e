"""Changes that a transactional step makes in the store, in the commit that records its outcome.

The rules decide whether a change is made and what its answer means for the run. They do not know what is changed: the
store has an applier for each type of mutation and passes its answer to the rules in the same transaction.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from interlock.rules.values import value


class Mutation(Protocol):
    """A change of the store, with everything that its applier needs."""

    name: ClassVar[str]
    """The name of the type, for log lines."""


@value(frozen=True, slots=True)
class Applied:
    """The change was made. `output` (JSON text) is the output of the step; None if the step waits after the change."""

    output: bytes | None = None


@value(frozen=True, slots=True)
class Refused:
    """The change is impossible, and nothing was written. `error` (JSON text) is recorded on the step."""

    error: bytes
