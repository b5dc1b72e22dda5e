"""The stop of a tree or a batch in a few statements: the same, run for run, as the rules' own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import apsw
import pytest

from interlock.ports import AuditEntry, AutomationRow, Definition, StepRow
from interlock.rules.events import (
    Announce,
    CalledBack,
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
    Item,
    Mode,
    Ref,
    Result,
    Termination,
    TerminationRequest,
)
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from interlock.store.sqlite import stops, tx
from interlock.store.sqlite.writer import Form
from interlock.store.statements import Dialect, Statement, texts
from simulation.reads import finished
from tests.store.stores import ANN, AUDIT, PLAN, World, named, on_connection, opened_as, sqlite, world

pytestmark = pytest.mark.anyio

FIRST = TerminationRequest(ANN, "first", mode=Mode.DRAIN, deadline=5_000_000)
ORDERS = [
    TerminationRequest(ANN, "enough"),
    TerminationRequest(ANN, "at once", deadline=0),
    TerminationRequest(ANN, "gently", mode=Mode.DRAIN, deadline=300_000_000),
    TerminationRequest(ANN, "sooner", mode=Mode.DRAIN, deadline=1_000_000),
    TerminationRequest(ANN, "gently and at once", mode=Mode.DRAIN, deadline=0),
    TerminationRequest(ANN, "at the same moment", mode=Mode.DRAIN, deadline=4_952_000),
]
AT = 50_000


@pytest.fixture(params=[None, Form.INLINE], ids=named)
async def here(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    form: Form | None = request.param
    async with opened_as(form, tmp_path) as store:
        yield await world(store)


async def one_in_every_state(here: World, parent: Ref | None = None, *, called: bool = False) -> list[int]:
    """Runs in each state, STOPPING by drain included; returns their ids. `called`: those in flight were called back."""
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
                await sqlite(here.store).writer.submit(on_connection(partial(pause, row.id)))
            case _:
                row = (await here.start(Announce(0), parent=parent)).execution
        if called and state in {State.PROCESS_STEP, State.STOPPING}:
            answer = Result(Outcome.SUCCEEDED, b'{"ticket":1}', status=202)
            await executions.apply(row.ref, CalledBack(1_500, 0, answer))
        if state in {State.STOPPING, State.TERMINATE}:
            order = FIRST if state is State.STOPPING else replace(FIRST, deadline=0)
            await executions.apply(row.ref, Terminated(2_000, order))
        if state in {State.DONE, State.ERROR}:
            attempt = AttemptRef(0, 1, row.attempt_epoch)
            outcome = Outcome.SUCCEEDED if state is State.DONE else Outcome.FAILED
            await executions.apply(row.ref, Settled(2_000, attempt, Result(outcome), _end(state), "me"))
        found = await executions.get(row.ref)
        assert found is not None
        assert found.state is state
        ids.append(row.id)
    return ids


@pytest.mark.parametrize("called", [False, True], ids=["", "called back"])
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.reason)
async def test_a_tree_is_stopped_as_each_of_its_runs_would_be(
    here: World, order: TerminationRequest, called: bool
) -> None:
    root = (await here.start()).execution
    by_rule = await one_in_every_state(here, called=called)
    by_set = await one_in_every_state(here, parent=root.ref, called=called)
    below = replace(order, cause=Cause.CASCADE, cause_execution=root.id)
    for id_ in by_rule:
        await here.store.executions.apply(Ref(here.tenant, id_), Terminated(AT, below))
    await here.store.executions.terminate_tree(root.ref, AT, order)
    assert [account(here, id_) for id_ in by_set] == [account(here, id_) for id_ in by_rule]
    assert await sqlite(here.store).writer.submit(on_connection(left_of_callbacks)) == 0


def left_of_callbacks(connection: apsw.Connection) -> int:
    """How many kept callbacks belong to runs that have nothing in flight."""
    sql = "SELECT count(*) FROM callbacks c JOIN executions e ON e.tenant = c.tenant AND e.id = c.execution"
    (left,) = next(connection.execute(f"{sql} WHERE e.attempt_epoch = 0"))
    return int(left)


async def test_a_run_that_is_named_twice_is_stopped_and_audited_once(here: World) -> None:
    ids = [(await here.in_flight()).execution.id for _ in range(2)]
    found = await here.store.executions.terminate_many(here.tenant, [*reversed(ids), *ids], AT, ORDERS[1])
    assert list(found.items()) == [(id_, "accepted") for id_ in ids]
    assert len(await audited(here)) == 2


async def test_each_draining_run_of_a_batch_keeps_its_own_deadline_when_it_is_interrupted(here: World) -> None:
    runs = [(await here.in_flight()).execution for _ in range(3)]
    for seconds, run in enumerate(runs, 1):
        drain = replace(FIRST, deadline=seconds * 1_000_000)
        await here.store.executions.apply(run.ref, Terminated(2_000, drain))
    await here.store.executions.terminate_many(here.tenant, [run.id for run in runs], AT, ORDERS[0])
    for seconds, run in enumerate(runs, 1):
        row, kept = await here.store.executions.get(run.ref), await here.store.executions.termination(run.ref)
        assert row is not None
        assert kept is not None
        assert row.wake_at == kept.deadline_at == 2_000 + seconds * 1_000_000
        assert kept.mode is Mode.INTERRUPT


def pause(id_: int, connection: apsw.Connection) -> None:
    sql = "UPDATE executions SET state = ?, waiting_for = NULL, wake_at = NULL WHERE id = ?"
    connection.execute(sql, (State.PAUSED_BY_CIRCUIT_BREAKER, id_))


def _end(state: State) -> Finish | Fail:
    return Finish(1) if state is State.DONE else Fail(0)


def account(here: World, id_: int) -> tuple[Execution, Termination | None, list[StepRow]]:
    """All that is kept of a run, with its identity taken out."""
    ref = Ref(here.tenant, id_)
    found = finished(here.store.executions.get(ref))
    assert found is not None
    return (
        replace(found, id=0, root=0, parent=None, depth=0),
        finished(here.store.executions.termination(ref)),
        finished(here.store.executions.steps(ref)),
    )


async def said(here: World, id_: int) -> list[AuditEntry]:
    """What the audit record says of a run, with its name taken out."""
    rows = await here.store.audit.rows(here.tenant)
    return [replace(row.entry, target="") for row in rows if row.entry.target == str(id_)]


@pytest.mark.parametrize("called", [False, True], ids=["", "called back"])
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.reason)
async def test_a_batch_is_stopped_as_each_of_its_runs_would_be(
    here: World, order: TerminationRequest, called: bool
) -> None:
    by_rule = await one_in_every_state(here, called=called)
    by_set = await one_in_every_state(here, called=called)
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
    assert [await said(here, id_) for id_ in by_set] == [await said(here, id_) for id_ in by_rule]
    assert await sqlite(here.store).writer.submit(on_connection(left_of_callbacks)) == 0


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
    record = await here.store.executions.termination(named.ref)
    assert record is not None
    stopping_before = 1 + len(children)  # one of the children, and one below each of them
    assert record.below == stopped.descendants - stopping_before
    for id_ in (named.id, *children, *grandchildren):
        found = await here.store.executions.get(Ref(here.tenant, id_))
        assert found is not None
        assert found.state in {State.STOPPING, State.TERMINATE, State.DONE, State.ERROR}
    for other in (above, sibling, cousin, stranger):
        assert await here.store.executions.get(other.ref) == other
    kept = await here.store.executions.termination(Ref(here.tenant, children[0]))
    assert kept is not None
    assert kept.request == replace(order, cause=Cause.CASCADE, cause_execution=named.id)
    running = await here.store.executions.get(Ref(here.tenant, children[list(State).index(State.PROCESS_STEP)]))
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
    name = "doomed_tree"
    text = texts("terminations", Dialect.SQLITE)[name]
    assert right in text
    monkeypatch.setitem(tx.STATEMENTS, name, Statement.of(name, text.replace(right, wrong), Dialect.SQLITE))
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
    found = await here.store.executions.get(child.ref)
    assert found is not None
    assert found.state is State.TERMINATE


async def test_each_transition_into_terminate_has_exactly_one_audit_row(here: World) -> None:
    """S16."""
    root = (await here.in_flight()).execution
    await one_in_every_state(here, parent=root.ref)
    await here.store.executions.terminate_tree(root.ref, AT, replace(ORDERS[1], cascade=True))
    rows = [row.entry for row in await here.store.audit.rows(here.tenant) if row.entry.action == "execution.terminate"]
    accepted = [entry.target for entry in rows if entry.outcome == "accepted"]
    terminated = [row.id for row in await here.store.executions.page(here.tenant, states=[State.TERMINATE], limit=100)]
    assert sorted(map(int, accepted)) == sorted(terminated)


async def audited(here: World) -> list[str]:
    rows = await here.store.audit.rows(here.tenant)
    return [
        row.entry.target for row in rows if (row.entry.action, row.entry.outcome) == ("execution.terminate", "accepted")
    ]


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
    order = replace(ORDERS[0], actor=Actor("ann", "::1", "key"), cascade=True, deadline=1)
    stopped = await here.store.executions.terminate_tree(root.ref, AT, order)
    assert stopped is not None
    assert (stopped.descendants, stopped.more, await fenced(here, root.id)) == (3, True, True)
    assert len(await audited(here)) == 1 + 3
    last = children[-1]
    decision = await here.store.executions.apply(last.ref, Prepared(AT + 1, last.epoch, Announce(0), "me"))
    assert decision is not None
    assert decision.execution.state is State.TERMINATE, "what is fenced starts nothing, although nobody reached it yet"
    while await here.store.executions.continue_cascades(AT + 2):
        pass
    for child in children:
        row, kept = await here.store.executions.get(child.ref), await here.store.executions.termination(child.ref)
        assert row is not None
        assert kept is not None
        assert row.state is State.TERMINATE
        assert kept.request == replace(order, cause=Cause.CASCADE, cause_execution=root.id)
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


async def test_orders_under_way_side_by_side_reach_what_is_below_them_and_nothing_else(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stops, "ONE_COMMIT", 1)
    monkeypatch.setattr(stops, "BATCH", 1)
    there = await another_tenant(here)
    mine, theirs = await trees(here), await trees(there)
    order, executions = replace(ORDERS[0], cascade=True), here.store.executions

    async def begins(where: World, run: Execution) -> bool:
        decision = await executions.apply(run.ref, Prepared(AT + 1, run.epoch, Announce(0), "me"))
        assert decision is not None
        return decision.execution.state is State.PROCESS_STEP

    await executions.terminate_tree(mine[NAMED].ref, AT, order)
    assert [await fenced(here, root) for root in (1, 3)] == [False, True]
    assert [await fenced(there, root) for root in (1, 3)] == [False, False]
    assert not await begins(here, mine[8])
    assert [await begins(here, mine[id_]) for id_ in (9, 12)] == [True, True]
    assert await begins(there, theirs[8])

    await executions.terminate_tree(mine[SIBLING].ref, AT, order)
    await executions.terminate_tree(mine[OTHER].ref, AT, order)
    await executions.terminate_tree(theirs[NAMED].ref, AT, order)
    while await executions.continue_cascades(AT + 2):
        left = [unreached(here, above) for above in (NAMED, SIBLING, OTHER)]
        assert not (left[0] or left[1]) or await fenced(here, 3)
        assert not left[2] or await fenced(here, 1)
        assert not unreached(there, NAMED) or await fenced(there, 3)
    for where, orders in ((here, (NAMED, SIBLING, OTHER)), (there, (NAMED,))):
        assert [await fenced(where, root) for root in (1, 3)] == [False, False]
        for id_, parent in TREES.items():
            kept = await executions.termination(Ref(where.tenant, id_))
            named = id_ if id_ in orders else parent if parent in orders else None
            assert (kept is not None) == (named is not None), (where.tenant, id_)
            assert kept is None or kept.request.cause_execution in {None, named}


async def another_tenant(here: World) -> World:
    """The same automation in the hands of somebody else, over the same store."""
    tenant = await here.store.access.create_tenant("other", ("other.example",), 1, AUDIT)
    row = AutomationRow(
        tenant=tenant.id, id="auto", document=b"{}", version=0, definition=None, created_at=1, updated_at=1
    )
    made = await here.store.automations.create(
        row,
        Definition(
            tenant=tenant.id, id=0, automation="auto", version=1, steps=PLAN, triggers=b"[]", context=None, created_at=1
        ),
        AUDIT,
    )
    assert made.definition is not None
    return World(here.store, tenant.id, made.id, made.definition, here.listener)


async def test_a_stop_in_one_tenant_is_none_in_another_whose_runs_have_the_same_ids(here: World) -> None:
    there = await another_tenant(here)
    for where in (here, there):
        where.next_id = 1
        await one_in_every_state(where)
        await where.start(id=100)
        await one_in_every_state(where, parent=Ref(where.tenant, 100))
    ids = range(1, 110)
    before = [accounts(there, ids), len(await there.store.audit.rows(there.tenant))]
    order = replace(ORDERS[1], cascade=True)
    await here.store.executions.terminate_many(here.tenant, list(ids), AT, order)
    await here.store.executions.terminate_tree(Ref(here.tenant, 100), AT, order)
    assert [accounts(there, ids), len(await there.store.audit.rows(there.tenant))] == before


def accounts(here: World, ids: range) -> list[object]:
    return [account(here, id_) for id_ in ids if finished(here.store.executions.get(Ref(here.tenant, id_)))]


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
    await sqlite(here.store).writer.submit(on_connection(partial(pause, paused.id)))
    items = (await here.start(Announce(0, None, (Item(0, "a"), Item(1, "b"))), parent=root.ref)).execution
    monkeypatch.setattr(stops, "ONE_COMMIT", 1)
    await here.store.executions.terminate_tree(root.ref, AT, replace(ORDERS[0], cascade=True))
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
