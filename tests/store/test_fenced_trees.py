"""A tree too large for one commit is fenced: nothing in it starts, while the batches reach the rest of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from interlock.rules.events import (
    Announce,
    Event,
    ItemSettled,
    Prepared,
    Recovered,
    Released,
)
from interlock.rules.model import (
    Actor,
    AttemptRef,
    Cause,
    Execution,
    Item,
    Ref,
    Result,
)
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from interlock.store.sqlite import stops
from simulation.reads import finished
from tests.store.runs_to_stop import AT, REQUESTS, another_tenant, audited, here, pause
from tests.store.stores import World, on_connection, sqlite

__all__ = ["here"]
pytestmark = pytest.mark.anyio


async def fenced(here: World, id_: int) -> bool:
    sql = "SELECT fenced FROM executions WHERE tenant = ? AND id = ?"
    [(mark,)] = await sqlite(here.store).writer.submit(
        on_connection(lambda connection: list(connection.execute(sql, (here.tenant, id_))))
    )
    return bool(mark)


async def test_a_tree_too_large_for_one_commit_is_fenced_until_the_rest_has_followed(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stops, "ONE_COMMIT", 3)
    monkeypatch.setattr(stops, "BATCH", 2)
    root = (await here.in_flight()).execution
    children = [(await here.start(parent=root.ref)).execution for _ in range(8)]
    termination = replace(REQUESTS[0], actor=Actor("ann", "::1", "key"), cascade=True, deadline=1)
    stopped = await here.store.executions.terminate_tree(root.ref, AT, termination)
    assert stopped is not None
    assert (stopped.descendants, stopped.more, await fenced(here, root.id)) == (3, True, True)
    assert len(await audited(here)) == 1 + 3
    last = children[-1]
    decision = await here.store.executions.apply(last.ref, Prepared(AT + 1, last.epoch, Announce(0), "me"))
    assert decision is not None
    assert decision.execution.state is State.TERMINATE, (
        "a fenced run starts nothing, although the cascade has not reached it"
    )
    while await here.store.executions.continue_cascades(AT + 2):
        pass
    for child in children:
        row, kept = await here.store.executions.get(child.ref), await here.store.executions.termination(child.ref)
        assert row is not None
        assert kept is not None
        assert row.state is State.TERMINATE
        assert kept.request == replace(termination, cause=Cause.CASCADE, cause_execution=root.id)
    assert (len(await audited(here)), await fenced(here, root.id)) == (1 + 8, False)
    assert await here.store.executions.continue_cascades(AT + 3) == 0


NAMED, SIBLING, OTHER = 4, 5, 1
TREES = {1: None, 2: 1, 11: 1, 12: 1, 3: None, 4: 3, 5: 3, 6: 4, 7: 4, 8: 4, 9: 5, 10: 5}
"""Two trees, as id and parent: in the second, two runs that have others below them."""


async def trees(here: World) -> dict[int, Execution]:
    made = {}
    for id_, parent in TREES.items():
        made[id_] = (await here.start(id=id_, parent=Ref(here.tenant, parent) if parent else None)).execution
    return made


def unreached(here: World, above: int) -> list[int]:
    rows = finished(here.store.executions.children(Ref(here.tenant, above)))
    return [row.id for row in rows if row.state is State.PENDING]


async def test_concurrent_cascades_reach_their_descendants_and_no_other_run(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stops, "ONE_COMMIT", 1)
    monkeypatch.setattr(stops, "BATCH", 1)
    there = await another_tenant(here)
    mine, theirs = await trees(here), await trees(there)
    termination, executions = replace(REQUESTS[0], cascade=True), here.store.executions

    async def begins(where: World, run: Execution) -> bool:
        decision = await executions.apply(run.ref, Prepared(AT + 1, run.epoch, Announce(0), "me"))
        assert decision is not None
        return decision.execution.state is State.PROCESS_STEP

    await executions.terminate_tree(mine[NAMED].ref, AT, termination)
    assert [await fenced(here, root) for root in (1, 3)] == [False, True]
    assert [await fenced(there, root) for root in (1, 3)] == [False, False]
    assert not await begins(here, mine[8])
    assert [await begins(here, mine[id_]) for id_ in (9, 12)] == [True, True]
    assert await begins(there, theirs[8])

    await executions.terminate_tree(mine[SIBLING].ref, AT, termination)
    await executions.terminate_tree(mine[OTHER].ref, AT, termination)
    await executions.terminate_tree(theirs[NAMED].ref, AT, termination)
    while await executions.continue_cascades(AT + 2):
        left = [unreached(here, above) for above in (NAMED, SIBLING, OTHER)]
        assert not (left[0] or left[1]) or await fenced(here, 3)
        assert not left[2] or await fenced(here, 1)
        assert not unreached(there, NAMED) or await fenced(there, 3)
    for where, roots in ((here, (NAMED, SIBLING, OTHER)), (there, (NAMED,))):
        assert [await fenced(where, root) for root in (1, 3)] == [False, False]
        for id_, parent in TREES.items():
            kept = await executions.termination(Ref(where.tenant, id_))
            named = id_ if id_ in roots else parent if parent in roots else None
            assert (kept is not None) == (named is not None), (where.tenant, id_)
            assert kept is None or kept.request.cause_execution in {None, named}


async def test_a_tree_that_just_fits_into_one_commit_needs_no_other(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stops, "ONE_COMMIT", 3)
    root = (await here.in_flight()).execution
    for _ in range(3):
        await here.start(parent=root.ref)
    stopped = await here.store.executions.terminate_tree(root.ref, AT, replace(REQUESTS[0], cascade=True))
    assert stopped is not None
    assert (stopped.descendants, stopped.more, await fenced(here, root.id)) == (3, False, False)


def test_first_commit_stops_ten_thousand_runs_and_later_ones_fewer() -> None:
    assert (stops.ONE_COMMIT, stops.BATCH) == (10_000, 250)


async def test_what_is_fenced_is_not_recovered_released_or_taken_to_its_next_item(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = (await here.in_flight()).execution
    # The stop reaches only the oldest run in its commit.
    first = (await here.start(parent=root.ref)).execution
    lost = (await here.in_flight(parent=root.ref)).execution
    paused = (await here.start(parent=root.ref)).execution
    await sqlite(here.store).writer.submit(on_connection(partial(pause, paused.id)))
    items = (await here.start(Announce(0, None, (Item(0, "a"), Item(1, "b"))), parent=root.ref)).execution
    monkeypatch.setattr(stops, "ONE_COMMIT", 1)
    await here.store.executions.terminate_tree(root.ref, AT, replace(REQUESTS[0], cascade=True))
    assert await here.store.executions.get(first.ref) != first
    assert await here.store.executions.get(lost.ref) == lost
    events: list[tuple[Execution, Event]] = [
        (lost, Recovered(AT + 1, lost.epoch, repeatable=False)),
        (paused, Released(AT + 1)),
        (items, ItemSettled(AT + 1, AttemptRef(0, 1, items.epoch), 0, Result(Outcome.SUCCEEDED))),
    ]
    ends = []
    for run, event in events:
        decision = await here.store.executions.apply(run.ref, event)
        assert decision is not None
        ends.append(decision.execution.state)
    assert ends == [State.TERMINATE, State.TERMINATE, State.STOPPING]
    assert [row.outcome for row in await here.store.executions.steps(lost.ref)] == [Outcome.ABANDONED]
