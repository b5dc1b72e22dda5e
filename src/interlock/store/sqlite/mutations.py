"""Applying mutations in SQLite: each type has an applier, which works within the job of the commit."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.rules.changes import Applied, Mutation, Refused
from interlock.rules.decision import Effect
from interlock.rules.model import Execution
from interlock.store.tx import Tx


class WroteAndRefused(AssertionError):
    """An applier refused a change after it had written something: a defect, and nothing of its job may be committed."""


@dataclass(slots=True)
class MutationContext:
    """The context of a change: the transaction, the run as the transaction reads it, and the time."""

    tx: Tx
    execution: Execution
    at: int
    effects: list[Effect] = field(default_factory=list)
    """The attempts to make after the commit; the applier adds to them."""


Applier = Callable[[MutationContext, Any], Coroutine[Any, Any, Applied | Refused]]
"""Makes one type of change: reads, checks, and either writes everything or refuses before it writes anything.

It may run several times, each time in a transaction of its own; only the last one is committed.
"""


class Appliers:
    """The appliers of a store, by the type of the mutation."""

    def __init__(self, appliers: Mapping[type, Applier]) -> None:
        self._appliers = dict(appliers)

    async def apply(self, mutation: Mutation, context: MutationContext) -> Applied | Refused:
        """Make the change.

        Raises:
            LookupError: The store has no applier for the type: a defect in its assembly.
            WroteAndRefused: The applier refused after it had written something.
        """
        applier = self._appliers.get(type(mutation))
        if applier is None:
            raise LookupError(f"this store has no applier for the mutation {mutation.name}")
        before = context.tx.rows_written
        answer = await applier(context, mutation)
        if isinstance(answer, Refused) and context.tx.rows_written != before:
            raise WroteAndRefused(f"the applier of {mutation.name} refused after it had written")
        return answer
