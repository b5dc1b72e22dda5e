"""The stop of a tree or a batch in a few statements: the same, run for run, as the rules' own."""

from __future__ import annotations

from dataclasses import replace

import apsw
import pytest

from interlock.ports import AuditEntry, StepRow
from interlock.rules.events import (
    Settled,
    Terminated,
)
from interlock.rules.model import (
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
from interlock.rules.states import State
from interlock.store.sqlite import tx
from interlock.store.statements import Dialect, Statement, texts
from simulation.reads import finished
from tests.store.runs_to_stop import AT, FIRST, REQUESTS, another_tenant, audited, end_of, here, one_in_every_state
from tests.store.stores import World, on_connection, sqlite

__all__ = ["here"]
pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("called", [False, True], ids=["", "called back"])
@pytest.mark.parametrize("termination", REQUESTS, ids=lambda termination: termination.reason)
async def test_a_tree_is_stopped_as_each_of_its_runs_would_be(
    here: World, termination: TerminationRequest, called: bool
) -> None:
    root = (await here.start()).execution
    by_rule = await one_in_every_state(here, called=called)
    by_set = await one_in_every_state(here, parent=root.ref, called=called)
    below = replace(termination, cause=Cause.CASCADE, cause_execution=root.id)
    for id_ in by_rule:
        await here.store.executions.apply(Ref(here.tenant, id_), Terminated(AT, below))
    await here.store.executions.terminate_tree(root.ref, AT, termination)
    assert [account(here, id_) for id_ in by_set] == [account(here, id_) for id_ in by_rule]
    assert await sqlite(here.store).writer.submit(on_connection(left_of_callbacks)) == 0


def left_of_callbacks(connection: apsw.Connection) -> int:
    """How many kept callbacks belong to runs that have nothing in flight."""
    sql = "SELECT count(*) FROM callbacks c JOIN executions e ON e.tenant = c.tenant AND e.id = c.execution"
    (left,) = next(connection.execute(f"{sql} WHERE e.attempt_epoch = 0"))
    return int(left)


async def test_a_run_that_is_named_twice_is_stopped_and_audited_once(here: World) -> None:
    ids = [(await here.in_flight()).execution.id for _ in range(2)]
    found = await here.store.executions.terminate_many(here.tenant, [*reversed(ids), *ids], AT, REQUESTS[1])
    assert list(found.items()) == [(id_, "accepted") for id_ in ids]
    assert len(await audited(here)) == 2


async def test_interrupted_run_of_a_batch_keeps_its_own_deadline(here: World) -> None:
    runs = [(await here.in_flight()).execution for _ in range(3)]
    for seconds, run in enumerate(runs, 1):
        drain = replace(FIRST, deadline=seconds * 1_000_000)
        await here.store.executions.apply(run.ref, Terminated(2_000, drain))
    await here.store.executions.terminate_many(here.tenant, [run.id for run in runs], AT, REQUESTS[0])
    for seconds, run in enumerate(runs, 1):
        row, kept = await here.store.executions.get(run.ref), await here.store.executions.termination(run.ref)
        assert row is not None
        assert kept is not None
        assert row.wake_at == kept.deadline_at == 2_000 + seconds * 1_000_000
        assert kept.mode is Mode.INTERRUPT


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
@pytest.mark.parametrize("termination", REQUESTS, ids=lambda termination: termination.reason)
async def test_a_batch_is_stopped_as_each_of_its_runs_would_be(
    here: World, termination: TerminationRequest, called: bool
) -> None:
    by_rule = await one_in_every_state(here, called=called)
    by_set = await one_in_every_state(here, called=called)
    here.listener.interrupts.clear()
    here.listener.woken.clear()
    verdicts = {}
    for id_ in by_rule:
        decision = await here.store.executions.apply(Ref(here.tenant, id_), Terminated(AT, termination))
        assert decision is not None
        verdicts[id_] = decision.verdict
    told = {(ref.id - by_rule[0], epoch) for ref, epoch in here.listener.interrupts if ref.id in by_rule}
    woken = {(ref.id - by_rule[0], at) for ref, at in here.listener.woken if ref.id in by_rule}
    here.listener.interrupts.clear()
    here.listener.woken.clear()
    found = await here.store.executions.terminate_many(here.tenant, [*by_set, 839265], AT, termination)
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


async def test_follower_of_a_run_of_a_batch_is_told_unless_it_had_ended(here: World) -> None:
    ids = dict(zip(State, await one_in_every_state(here), strict=True))
    follower = Follower()
    here.store.follow(follower)
    await here.store.executions.terminate_many(here.tenant, list(ids.values()), AT, REQUESTS[1])
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
    termination = replace(REQUESTS[0], cascade=True)
    stopped = await here.store.executions.terminate_tree(named.ref, AT, termination)
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
    assert kept.request == replace(termination, cause=Cause.CASCADE, cause_execution=named.id)
    running = await here.store.executions.get(Ref(here.tenant, children[list(State).index(State.PROCESS_STEP)]))
    assert running is not None
    assert (running.state, running.wake_at) == (State.STOPPING, AT + termination.deadline)


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
        root.ref, Settled(2_000, attempt, Result(Outcome.SUCCEEDED), end_of(State.DONE), "me")
    )
    stopped = await here.store.executions.terminate_tree(root.ref, AT, replace(REQUESTS[1], cascade=True))
    assert stopped is not None
    assert (stopped.decision.verdict, stopped.descendants) == ("already-finished", 1)
    found = await here.store.executions.get(child.ref)
    assert found is not None
    assert found.state is State.TERMINATE


async def test_each_transition_into_terminate_has_exactly_one_audit_row(here: World) -> None:
    """S16."""
    root = (await here.in_flight()).execution
    await one_in_every_state(here, parent=root.ref)
    await here.store.executions.terminate_tree(root.ref, AT, replace(REQUESTS[1], cascade=True))
    rows = [row.entry for row in await here.store.audit.rows(here.tenant) if row.entry.action == "execution.terminate"]
    accepted = [entry.target for entry in rows if entry.outcome == "accepted"]
    terminated = [row.id for row in await here.store.executions.page(here.tenant, states=[State.TERMINATE], limit=100)]
    assert sorted(map(int, accepted)) == sorted(terminated)


async def test_stop_in_one_tenant_leaves_runs_with_the_same_ids_in_another(here: World) -> None:
    there = await another_tenant(here)
    for where in (here, there):
        where.next_id = 1
        await one_in_every_state(where)
        await where.start(id=100)
        await one_in_every_state(where, parent=Ref(where.tenant, 100))
    ids = range(1, 110)
    before = [accounts(there, ids), len(await there.store.audit.rows(there.tenant))]
    termination = replace(REQUESTS[1], cascade=True)
    await here.store.executions.terminate_many(here.tenant, list(ids), AT, termination)
    await here.store.executions.terminate_tree(Ref(here.tenant, 100), AT, termination)
    assert [accounts(there, ids), len(await there.store.audit.rows(there.tenant))] == before


def accounts(here: World, ids: range) -> list[object]:
    return [account(here, id_) for id_ in ids if finished(here.store.executions.get(Ref(here.tenant, id_)))]
