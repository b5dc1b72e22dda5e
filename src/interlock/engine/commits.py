"""Commits of the engine: each applies one event, and is repeated while the store is unavailable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from interlock.engine.context import RunContext
from interlock.engine.plans import Plan
from interlock.errors import Unavailable
from interlock.ports import Clock, Executions, ItemRow, Run, StepRow
from interlock.rules.decision import Decision, StepClosed, Verdict
from interlock.rules.events import (
    Announce,
    Change,
    Event,
    Fail,
    ItemSettled,
    Polled,
    Prepared,
    Retry,
    Settled,
    Wait,
    Woken,
)
from interlock.rules.model import SECOND, Execution, Item, Ref, SecretRef
from interlock.rules.states import State
from interlock.steps.attempt import SettledItem
from interlock.steps.documents import decode


@dataclass(slots=True)
class ActiveRun:
    """A run that this process advances: its last row, automation, context and announced input."""

    execution: Execution
    plan: Plan
    context: RunContext
    input: bytes = b"{}"
    sealed: SecretRef | None = None
    """The input with the secrets that `input` masks, which the answer may repeat; None if `input` masks none."""
    key: str | None = None
    """The idempotency key last announced."""
    items: tuple[Item, ...] = ()
    """The items last announced."""
    settled_items: Mapping[int, SettledItem] = field(default_factory=dict)
    """The items of the current step that had ended before the attempt was announced, by number."""
    began_at: int = 0
    """When the first attempt at the current step was announced; 0 if it has to be read from the store."""
    stale: bool = False
    """Whether the context does not match the row, so that the run has to be loaded again."""
    waits_for: str | None = None
    """The host for which the next call or poll needs a slot; None if the run does not wait for one."""
    ref: Ref = field(init=False)

    def __post_init__(self) -> None:
        self.ref = self.execution.ref

    def take(self, announce: Announce) -> None:
        """Store the input, key and items of the attempt in flight."""
        if announce.input is not None:
            self.input, self.sealed = announce.input, announce.sealed
        self.key, self.items = announce.key, announce.items


class Commits:
    """Applies events of runs. `holder` is the name of this node in the attempts that it announces."""

    def __init__(self, executions: Executions, clock: Clock, holder: str) -> None:
        self._executions = executions
        self._clock = clock
        self.holder = holder

    async def commit(self, active: ActiveRun, event: Prepared | Settled | Woken | Polled) -> bool:
        """Apply the event and update the run with the decision. Returns False if the run has moved meanwhile."""
        before = active.execution
        decision = await self.apply(active.ref, event)
        if decision is None or decision.verdict is Verdict.SUPERSEDED:
            return False
        row = active.execution = decision.execution
        following = event.next
        if row.state is State.PENDING and isinstance(event, Settled) and isinstance(following, _NO_SUCCESS):
            # A stored callback settled the step, and its output is not in this context.
            active.stale = True
        if isinstance(following, Announce):
            active.take(following)
            if row.step != before.step or row.attempt <= 1:
                active.began_at, active.settled_items = 0, {}
        elif isinstance(following, Change) and row.state is State.PENDING:
            self._take_output(active, decision, following.position)
        return True

    @staticmethod
    def _take_output(active: ActiveRun, decision: Decision, position: int) -> None:
        """Add the output of a change to the context."""
        closed = (each for each in decision.records if isinstance(each, StepClosed) and each.position == position)
        made = next(closed, None)
        if made is None:
            # The change was not made, or only its row is known after a commit in doubt: the store has its output.
            active.stale = True
        elif made.output is not None:
            active.context.add(active.plan.steps[position].name, decode(made.output))

    async def apply(self, ref: Ref, event: Event) -> Decision | None:
        """Apply the event, and repeat that while it is unknown whether the commit was made, so that no result is lost.

        Returns:
            The decision; None if the run does not exist.
        """
        try:
            return await self._executions.apply(ref, event)
        except Unavailable:
            pass
        while True:
            await self._clock.sleep_until(self._clock.now() + SECOND)
            try:
                known = await self.own_write(ref, event)
                return known if known is not None else await self._executions.apply(ref, event)
            except Unavailable:
                continue

    async def own_write(self, ref: Ref, event: Event) -> Decision | None:
        """Return the decision of a commit in doubt if the store shows that it was made; None if it was not."""
        run = await self._executions.load(ref)
        if run is None or not isinstance(event, Prepared | Settled | Woken | Polled | ItemSettled):
            return None
        if isinstance(event, ItemSettled):
            items = await self._executions.items_of_step(ref, event.attempt.position)
            own = any(_is_own_item(row, event) for row in items)
            return Decision(Verdict.ACCEPTED, run.execution) if own else None
        if not _is_own(run, event, self.holder, await self._executions.steps(ref)):
            return None
        return Decision(Verdict.ACCEPTED, run.execution, moved=True)


_NO_SUCCESS: Final = (Wait, Retry, Fail)
"""What can follow an attempt that did not succeed."""


def moved(decision: Decision | None) -> Execution | None:
    """Return the run after the event; None if it had moved before."""
    return None if decision is None or decision.verdict is Verdict.SUPERSEDED else decision.execution


def _is_own_item(row: ItemRow, event: ItemSettled) -> bool:
    """Return whether the row shows this event. Only this process settles the items of its attempts."""
    same = row.attempt == event.attempt.number and row.item == event.item
    return same and row.settled_at == event.at and row.outcome is event.result.outcome


def _is_own(run: Run, event: Prepared | Settled | Woken | Polled, holder: str, rows: list[StepRow]) -> bool:
    """Return whether the stored run shows that this event was committed.

    A settled or polled attempt has the time and the outcome of the event. For other events, the epoch is the next one,
    the row has the time of the event, and an attempt in flight has the name of this node.
    """
    row = run.execution
    if isinstance(event, Settled):
        attempt, result = event.attempt, event.result
        mine = next((r for r in rows if (r.position, r.attempt) == (attempt.position, attempt.number)), None)
        if mine is None or row.attempt_epoch == attempt.epoch:
            return False
        if result.outcome is None:
            return row.state is State.WAITING and row.epoch == attempt.epoch + 1 and row.updated_at == event.at
        return mine.settled_at == event.at and mine.outcome is result.outcome
    if isinstance(event, Polled) and event.result.outcome is not None:
        polled = (event.attempt.position, event.attempt.number)
        at, outcome = event.at, event.result.outcome
        return any((r.position, r.attempt) == polled and (r.settled_at, r.outcome) == (at, outcome) for r in rows)
    moved_by_it = row.epoch == event.epoch + 1 and row.updated_at == event.at
    if isinstance(event, Polled):
        return moved_by_it and row.state is State.WAITING
    return moved_by_it and (row.state is not State.PROCESS_STEP or row.holder == holder)
