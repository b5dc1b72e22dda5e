"""The stop of a tree or a batch in a few statements: the same, run for run, as the rules' own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import apsw
import pytest

from interlock.ports import StepRow
from interlock.rules.events import (
    Announce,
    Event,
    Fail,
    Finish,
    ItemSettled,
    Prepared,
    Recovered,
    Released,
    Settled,
    Terminated,
    Wait,
)
from interlock.rules.model import (
    Actor,
    AttemptRef,
    Cause,
    Execution,
    Mode,
    Ref,
    Result,
    Termination,
    TerminationRequest,
)
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from interlock.store.sqlite import stops
from tests.store.stores import ANN, World, opened, world

pytestmark = pytest.mark.anyio

FIRST = TerminationRequest(ANN, "first", mode=Mode.DRAIN, deadline=5_000_000)
ORDERS = [
    TerminationRequest(ANN, "enough"),
    TerminationRequest(ANN, "at once", deadline=0),
    TerminationRequest(ANN, "gently", mode=Mode.DRAIN, deadline=300_000_000),
    TerminationRequest(ANN, "sooner", mode=Mode.DRAIN, deadline=1_000_000),
    TerminationRequest(ANN, "gently and at once", mode=Mode.DRAIN, deadline=0),
]
AT = 50_000


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with opened(None) as store:
        yield await world(store)


async def one_in_every_state(here: World, parent: Ref | None = None) -> list[int]:
    """Runs in each state, STOPPING by drain included; returns their ids."""
    executions = here.store.executions
    ids = []
    for state in State:
        match state:
            case State.PENDING:
                row = (await here.start(parent=parent)).execution
            case State.WAITING:
                row = (await here.start(Wait(0, WaitingFor.TIMER, 9_000_000), parent=parent)).execution
            case State.PAUSED_BY_CIRCUIT_BREAKER:
                row = (await here.start(parent=parent)).execution
                await here.store.writer.submit(partial(pause, row.id))
            case _:
                row = (await here.start(Announce(0), parent=parent)).execution
        if state in {State.STOPPING, State.TERMINATE}:
            order = FIRST if state is State.STOPPING else replace(FIRST, deadline=0)
            await executions.apply(row.ref, Terminated(2_000, order))
        if state in {State.DONE, State.ERROR}:
            attempt = AttemptRef(0, 1, row.attempt_epoch)
            outcome = Outcome.SUCCEEDED if state is State.DONE else Outcome.FAILED
            await executions.apply(row.ref, Settled(2_000, attempt, Result(outcome), _end(state), "me"))
        found = executions.get(row.ref)
        assert found is not None
        assert found.state is state
        ids.append(row.id)
    return ids


def pause(id_: int, connection: apsw.Connection) -> None:
    sql = "UPDATE executions SET state = ?, waiting_for = NULL, wake_at = NULL WHERE id = ?"
    connection.execute(sql, (State.PAUSED_BY_CIRCUIT_BREAKER, id_))


def _end(state: State) -> Finish | Fail:
    return Finish(1) if state is State.DONE else Fail(0)


def account(here: World, id_: int) -> tuple[Execution, Termination | None, list[StepRow]]:
    """All that is kept of a run, with its identity taken out."""
    ref = Ref(here.tenant, id_)
    found = here.store.executions.get(ref)
    assert found is not None
    return (
        replace(found, id=0, root=0, parent=None, depth=0),
        here.store.executions.termination(ref),
        here.store.executions.steps(ref),
    )


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.reason)
async def test_a_batch_is_stopped_as_each_of_its_runs_would_be(here: World, order: TerminationRequest) -> None:
    by_rule = await one_in_every_state(here)
    by_set = await one_in_every_state(here)
    here.listener.interrupts.clear()
    here.listener.woken.clear()
    verdicts = {}
    for id_ in by_rule:
        decision = await here.store.executions.apply(Ref(here.tenant, id_), Terminated(AT, order))
        assert decision is not None
        verdicts[id_] = decision.verdict
    told = {(ref.id - by_rule[0], epoch) for ref, epoch in here.listener.interrupts if ref.id in by_rule}
    woken = {(ref.id - by_rule[0], at) for ref, at in here.listener.woken if ref.id in by_rule}
    here.listener.interrupts.clear()
    here.listener.woken.clear()
    found = await here.store.executions.terminate_many(here.tenant, [*by_set, 839265], AT, order)
    assert list(found.values()) == list(verdicts.values())
    assert [account(here, id_) for id_ in by_set] == [account(here, id_) for id_ in by_rule]
    assert {(ref.id - by_set[0], epoch) for ref, epoch in here.listener.interrupts} == told
    assert {(ref.id - by_set[0], at) for ref, at in here.listener.woken} == woken


class Follower:
    """Notes whose changes it hears of."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def changed(self, tenant: int, id: int) -> None:
        self.heard.append(id)


async def test_whoever_follows_a_run_of_a_batch_hears_of_it_unless_it_had_ended(here: World) -> None:
    ids = dict(zip(State, await one_in_every_state(here), strict=True))
    follower = Follower()
    here.store.follow(follower)
    await here.store.executions.terminate_many(here.tenant, list(ids.values()), AT, ORDERS[1])
    assert sorted(follower.heard) == sorted(ids[state] for state in set(State) - {State.DONE, State.ERROR})


async def the_tree_below_is_stopped_and_nothing_else(here: World) -> None:
    above = (await here.in_flight()).execution
    named, sibling = [(await here.in_flight(parent=above.ref)).execution for _ in range(2)]
    cousin = (await here.in_flight(parent=sibling.ref)).execution
    stranger = (await here.in_flight()).execution
    children = await one_in_every_state(here, parent=named.ref)
    grandchildren = [
        id_ for child in children for id_ in await one_in_every_state(here, parent=Ref(here.tenant, child))
    ]
    order = replace(ORDERS[0], cascade=True)
    stopped = await here.store.executions.terminate_tree(named.ref, AT, order)
    assert stopped is not None
    assert not stopped.more
    for id_ in (named.id, *children, *grandchildren):
        found = here.store.executions.get(Ref(here.tenant, id_))
        assert found is not None
        assert found.state in {State.STOPPING, State.TERMINATE, State.DONE, State.ERROR}
    for other in (above, sibling, cousin, stranger):
        assert here.store.executions.get(other.ref) == other
    kept = here.store.executions.termination(Ref(here.tenant, children[0]))
    assert kept is not None
    assert kept.request == replace(order, cause=Cause.CASCADE, cause_execution=named.id)
    running = here.store.executions.get(Ref(here.tenant, children[list(State).index(State.PROCESS_STEP)]))
    assert running is not None
    assert (running.state, running.wake_at) == (State.STOPPING, AT + order.deadline)


async def test_a_tree_is_stopped_through_its_finished_members_and_nothing_outside_is_touched(here: World) -> None:
    await the_tree_below_is_stopped_and_nothing_else(here)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("e.parent = below.id", "e.parent = below.id WHERE below.state NOT IN ('DONE', 'ERROR', 'TERMINATE')"),
        ("parent = :execution", "parent = (SELECT parent FROM executions WHERE id = :execution)"),
        ("parent IS NOT NULL AND parent = :execution", "parent IS NOT NULL"),
    ],
    ids=["stops at finished members", "takes the siblings along", "takes every child along"],
)
async def test_a_stop_of_another_tree_than_the_one_below_is_found_out(
    here: World, monkeypatch: pytest.MonkeyPatch, right: str, wrong: str
) -> None:
    statement = stops._SQL["doomed_tree"]
    assert right in statement
    monkeypatch.setitem(stops._SQL, "doomed_tree", statement.replace(right, wrong))
    with pytest.raises(AssertionError):
        await the_tree_below_is_stopped_and_nothing_else(here)


async def test_the_descendants_of_a_finished_run_are_stopped_too(here: World) -> None:
    root = (await here.in_flight()).execution
    child = (await here.in_flight(parent=root.ref)).execution
    attempt = AttemptRef(0, 1, root.attempt_epoch)
    await here.store.executions.apply(
        root.ref, Settled(2_000, attempt, Result(Outcome.SUCCEEDED), _end(State.DONE), "me")
    )
    stopped = await here.store.executions.terminate_tree(root.ref, AT, replace(ORDERS[1], cascade=True))
    assert stopped is not None
    assert (stopped.decision.verdict, stopped.descendants) == ("already-finished", 1)
    found = here.store.executions.get(child.ref)
    assert found is not None
    assert found.state is State.TERMINATE


async def test_each_transition_into_terminate_has_exactly_one_audit_row(here: World) -> None:
    """S16."""
    root = (await here.in_flight()).execution
    await one_in_every_state(here, parent=root.ref)
    await here.store.executions.terminate_tree(root.ref, AT, replace(ORDERS[1], cascade=True))
    rows = [row.entry for row in here.store.audit.rows(here.tenant) if row.entry.action == "execution.terminate"]
    accepted = [entry.target for entry in rows if entry.outcome == "accepted"]
    terminated = [row.id for row in here.store.executions.page(here.tenant, states=[State.TERMINATE], limit=100)]
    assert sorted(map(int, accepted)) == sorted(terminated)


def audited(here: World) -> list[str]:
    rows = here.store.audit.rows(here.tenant)
    return [
        row.entry.target for row in rows if (row.entry.action, row.entry.outcome) == ("execution.terminate", "accepted")
    ]


async def fenced(here: World, id_: int) -> bool:
    sql = "SELECT fenced FROM executions WHERE id = ?"
    [(mark,)] = await here.store.writer.submit(lambda connection: list(connection.execute(sql, (id_,))))
    return bool(mark)


async def test_a_tree_too_large_for_one_commit_is_fenced_until_the_rest_has_followed(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stops, "ONE_COMMIT", 3)
    monkeypatch.setattr(stops, "BATCH", 2)
    root = (await here.in_flight()).execution
    children = [(await here.start(parent=root.ref)).execution for _ in range(8)]
    order = replace(ORDERS[0], actor=Actor("ann", "::1", "key"), cascade=True, deadline=1)
    stopped = await here.store.executions.terminate_tree(root.ref, AT, order)
    assert stopped is not None
    assert (stopped.descendants, stopped.more, await fenced(here, root.id)) == (3, True, True)
    assert len(audited(here)) == 1 + 3
    last = children[-1]
    decision = await here.store.executions.apply(last.ref, Prepared(AT + 1, last.epoch, Announce(0), "me"))
    assert decision is not None
    assert decision.execution.state is State.TERMINATE, "what is fenced starts nothing, although nobody reached it yet"
    while await here.store.executions.continue_cascades(AT + 2):
        pass
    for child in children:
        row, kept = here.store.executions.get(child.ref), here.store.executions.termination(child.ref)
        assert row is not None
        assert kept is not None
        assert row.state is State.TERMINATE
        assert kept.request == replace(order, cause=Cause.CASCADE, cause_execution=root.id)
    assert (len(audited(here)), await fenced(here, root.id)) == (1 + 8, False)
    assert await here.store.executions.continue_cascades(AT + 3) == 0


async def test_a_tree_that_just_fits_into_one_commit_needs_no_other(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stops, "ONE_COMMIT", 3)
    root = (await here.in_flight()).execution
    for _ in range(3):
        await here.start(parent=root.ref)
    stopped = await here.store.executions.terminate_tree(root.ref, AT, replace(ORDERS[0], cascade=True))
    assert stopped is not None
    assert (stopped.descendants, stopped.more, await fenced(here, root.id)) == (3, False, False)


def test_a_commit_stops_ten_thousand_runs_at_most_and_those_that_follow_fewer() -> None:
    assert (stops.ONE_COMMIT, stops.BATCH) == (10_000, 250)


async def test_what_is_fenced_is_not_recovered_released_or_taken_to_its_next_item(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = (await here.in_flight()).execution
    # The stop reaches the oldest run first, and nobody else in its commit.
    first = (await here.start(parent=root.ref)).execution
    lost = (await here.in_flight(parent=root.ref)).execution
    paused = (await here.start(parent=root.ref)).execution
    await here.store.writer.submit(partial(pause, paused.id))
    items = (await here.start(Announce(0, None, ("a", "b")), parent=root.ref)).execution
    monkeypatch.setattr(stops, "ONE_COMMIT", 1)
    await here.store.executions.terminate_tree(root.ref, AT, replace(ORDERS[0], cascade=True))
    assert here.store.executions.get(first.ref) != first
    assert here.store.executions.get(lost.ref) == lost
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
    assert [row.outcome for row in here.store.executions.steps(lost.ref)] == [Outcome.ABANDONED]
