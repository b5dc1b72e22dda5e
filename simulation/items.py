"""The rules of items, held against what the receivers were sent.

I1: an item begins when those before it are on record. I2: an item that has ended is not performed again. I3: an item
that failed ends its step, unless the step tolerates that. I4: what may not be repeated is not repeated. That a stop
starts no other item is S2, and that the receipt says of each item what its receiver saw is S9, as for any call.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

from interlock.assembly.system import System
from interlock.ports import ItemRow, StepRow
from interlock.rules.model import Execution
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from simulation.coverage import Situation
from simulation.network import Call
from simulation.parts import World
from simulation.reads import finished
from simulation.recipients import Recipients, recipients_of
from simulation.verdicts import require

_DONE = frozenset({Outcome.SUCCEEDED, Outcome.SKIPPED})


def judge_call(world: World, system: System, row: Execution, call: Call) -> None:
    """Judge an item as its first byte is about to leave. `row` is its run, as the process knows it.

    Raises:
        Violated: it must not be performed now.
    """
    rows = finished(system.store.executions.items_of_step(row.ref, _position(call)))
    of_step, how = _said(world, row, call.step), f"{row.id} {call.step} calls {call.item}: {_brief(rows)}"
    ended = [each for each in rows if each.name == call.item and _ended(each)]
    require(not ended, "I2", how)
    sent = [each for each in _ledger(world, row, call.step, call.item) if each is not call and each.first_byte_at]
    require(of_step.repeatable or not sent, "I4", how)
    if call.deaf:
        return
    now = [each for each in rows if each.attempt == row.attempt]
    announced = next((each for each in now if each.name == call.item), None)
    require(announced is not None, "I1", how)
    assert announced is not None
    require(all((each.outcome is None) == (each.item >= announced.item) for each in now), "I1", how)
    require(of_step.tolerant or not any(map(_failed, rows)), "I3", how)


def judge_step(world: World, row: Execution, steps: Sequence[StepRow], rows: Sequence[ItemRow]) -> None:
    """Judge a step with items whose run is over, by the rows of its attempts and of their items.

    Raises:
        Violated: its items and its outcome do not fit together.
    """
    last, name = steps[-1], f"s{steps[-1].position}"
    of_step, how = _said(world, row, name), f"{row.id} {name} is {last.outcome}: {_brief(rows)}"
    ended = {each.name for each in rows if _ended(each)}
    if last.outcome is Outcome.SUCCEEDED and row.state is not State.ERROR:
        require(ended == set(of_step.names), "I1", how)
        require(of_step.tolerant or not any(map(_failed, rows)), "I3", how)
    announced = [each.name for each in rows if each.attempt == steps[0].attempt]
    require(announced == list(of_step.names), "I2", how)
    _situations(world, row, name, steps, rows)


def _situations(world: World, row: Execution, name: str, steps: Sequence[StepRow], rows: Sequence[ItemRow]) -> None:
    saw, last, of_step = world.saw, steps[-1], _said(world, row, name)
    attempts = [list(group) for _, group in groupby(rows, key=lambda each: each.attempt)]
    outcomes = {step.attempt: step.outcome for step in steps}
    for before, after in pairwise(attempts):
        if len(after) < len(before):
            lost = outcomes[before[0].attempt] is Outcome.ABANDONED
            saw(Situation.ITEMS_RECOVERED if lost else Situation.ITEMS_RETRIED)
    if last.outcome is Outcome.SUCCEEDED and len(of_step.names) > 1:
        saw(Situation.ITEMS_TOLERATED if any(map(_failed, rows)) else Situation.ITEMS_DONE)
    if row.state is State.ERROR:
        if any(_failed(one) and other.outcome is None for one, other in pairwise(attempts[-1])):
            saw(Situation.ITEMS_ENDED)
        if not of_step.repeatable and last.outcome in {Outcome.INTERRUPTED_OUTCOME_UNKNOWN, Outcome.INTERRUPTED_PARTLY}:
            saw(Situation.ITEMS_LOST)
    if row.state is State.TERMINATE:
        if last.outcome is Outcome.INTERRUPTED_PARTLY:
            saw(Situation.ITEMS_CUT)
        for before_it, each in pairwise(attempts[-1]):
            ended = before_it.outcome in _DONE and each.outcome is Outcome.INTERRUPTED_NOT_SENT
            if ended and not _ledger(world, row, name, each.name):
                saw(Situation.STOP_BETWEEN_ITEMS)
    if any(step.late is not None and b'"item":' in step.late for step in steps):
        saw(Situation.LATE_ITEM)


def _ledger(world: World, row: Execution, step: str, item: str) -> list[Call]:
    return [call for call in world.calls() if (call.execution, call.step, call.item) == (row.id, step, item)]


def _said(world: World, row: Execution, step: str) -> Recipients:
    """What the scenario says of a step with items."""
    steps = world.scenario.automations[world.clients.automations.index(row.automation)]
    return recipients_of(next(each for each in steps if each["stepName"] == step))


def _position(call: Call) -> int:
    return int(call.step[1:])


def _ended(row: ItemRow) -> bool:
    """Whether the row says that its item is not to be performed again, whatever the engine noted beside it."""
    return row.outcome in _DONE or _failed(row)


def _failed(row: ItemRow) -> bool:
    return row.outcome is Outcome.FAILED and not row.again


def _brief(rows: Sequence[ItemRow]) -> str:
    return " ".join(f"#{each.attempt} {each.name}={each.outcome}{'+' if each.again else ''}" for each in rows)
