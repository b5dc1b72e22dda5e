"""Commits of the engine: what happened to a run is put to the rules, and no result is lost while the store is away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from interlock.engine.context import RunContext
from interlock.engine.plans import Plan
from interlock.errors import Unavailable
from interlock.ports import Clock, Executions, ItemRow, Run, StepRow
from interlock.rules.decision import Decision, StepClosed, Verdict
from interlock.rules.events import Announce, Change, Event, Fail, ItemSettled, Prepared, Retry, Settled, Wait, Woken
from interlock.rules.model import SECOND, Execution, Item, Ref, SecretRef
from interlock.rules.states import State
from interlock.steps.documents import decode
from interlock.steps.kind import SettledItem


@dataclass(slots=True)
class Carried:
    """A run in hand: the row as the last commit left it, its plan and context, and the input last announced."""

    execution: Execution
    plan: Plan
    context: RunContext
    input: bytes = b"{}"
    sealed: SecretRef | None = None
    """The input with the secrets that `input` masks: then the answer may repeat one. None: it masks none."""
    key: str | None = None
    """The idempotency key last announced."""
    items: tuple[Item, ...] = ()
    """The items last announced."""
    settled_items: Mapping[int, SettledItem] = field(default_factory=dict)
    """The items of the present step that had ended when they were announced, by number."""
    began_at: int = 0
    """When the first attempt at the present step was announced; 0: not known, the store has it."""
    stale: bool = False
    """The context is not that of the row, because of a defect or an early callback: the run has to be loaded again."""
    waits_for: str | None = None
    """The host whose turn the next call has to wait for."""

    def take(self, announce: Announce) -> None:
        """Keep what the attempt in flight was announced with."""
        if announce.input is not None:
            self.input, self.sealed = announce.input, announce.sealed
        self.key, self.items = announce.key, announce.items


class Commits:
    """Writes events of runs. `holder` names this process in what it announces."""

    def __init__(self, executions: Executions, clock: Clock, holder: str) -> None:
        self._executions = executions
        self._clock = clock
        self.holder = holder

    async def commit(self, carried: Carried, event: Prepared | Settled | Woken) -> bool:
        """Put the event to the rules and take over what they decided. False: the run moved meanwhile."""
        before = carried.execution
        decision = await self.apply(before.ref, event)
        if decision is None or decision.verdict is Verdict.SUPERSEDED:
            return False
        row = carried.execution = decision.execution
        following = event.next
        if row.state is State.PENDING and isinstance(event, Settled) and isinstance(following, _NO_SUCCESS):
            # A callback that was kept settled the step: what it brought is not in this context.
            carried.stale = True
        if isinstance(following, Announce):
            carried.take(following)
            if row.step != before.step or row.attempt <= 1:
                carried.began_at, carried.settled_items = 0, {}
        elif isinstance(following, Change) and row.state is State.PENDING:
            self._take_output(carried, decision, following.position)
        return True

    @staticmethod
    def _take_output(carried: Carried, decision: Decision, position: int) -> None:
        """Add what a change returned to the context."""
        closed = (each for each in decision.records if isinstance(each, StepClosed) and each.position == position)
        made = next(closed, None)
        if made is None:
            # It was not made, or its commit was in doubt and is only known by the row: the store has what it returned.
            carried.stale = True
        elif made.output is not None:
            carried.context.add(carried.plan.steps[position].name, decode(made.output))

    async def apply(self, ref: Ref, event: Event) -> Decision | None:
        """`apply`, again and again while it is not known whether the commit was made: a result must not be lost."""
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
        """If the commit in doubt was made after all, the decision as it must have been; None: it was not."""
        run = await self._executions.load(ref)
        if run is None or not isinstance(event, Prepared | Settled | Woken | ItemSettled):
            return None
        if isinstance(event, ItemSettled):
            items = await self._executions.items_of_step(ref, event.attempt.position)
            own = any(_is_own_item(row, event) for row in items)
            return Decision(Verdict.ACCEPTED, run.execution) if own else None
        if not _is_own(run, event, self.holder, await self._executions.steps(ref)):
            return None
        return Decision(Verdict.ACCEPTED, run.execution, moved=True)


_NO_SUCCESS: Final = (Wait, Retry, Fail)
"""What can follow an attempt that has not succeeded."""


def moved(decision: Decision | None) -> Execution | None:
    """The run as the event left it; None: it moved before that."""
    return None if decision is None or decision.verdict is Verdict.SUPERSEDED else decision.execution


def _is_own_item(row: ItemRow, event: ItemSettled) -> bool:
    """Whether an item ended as this event says. Only this process settles items of its attempt."""
    same = row.attempt == event.attempt.number and row.item == event.item
    return same and row.settled_at == event.at and row.outcome is event.result.outcome


def _is_own(run: Run, event: Prepared | Settled | Woken, holder: str, rows: list[StepRow]) -> bool:
    """Whether the run stands where this event put it.

    A settled attempt shows its own time and outcome. Otherwise the epoch is the next one, the time is the event's, and
    an attempt in flight carries our name.
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
    moved_by_it = row.epoch == event.epoch + 1 and row.updated_at == event.at
    return moved_by_it and (row.state is not State.PROCESS_STEP or row.holder == holder)
