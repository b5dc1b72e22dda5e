"""Rows of a decision: each value reaches the column with its name, and is read back unchanged."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest

from interlock.ports import Announced
from interlock.rules.decide import decide
from interlock.rules.decision import (
    CallbackKept,
    Decision,
    ItemRecord,
    Record,
    StepClosed,
    StepOpened,
    StepSettled,
    TerminationRecord,
    Verdict,
)
from interlock.rules.events import Terminated
from interlock.rules.model import (
    Actor,
    Cause,
    Execution,
    Item,
    KeptCallback,
    Mode,
    Ref,
    Result,
    SecretRef,
    Situation,
    Termination,
    TerminationRequest,
)
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.states import State, WaitingFor
from interlock.store.rows import EXECUTION, Row, kept_callback
from interlock.store.rowset import CHANGES, MOVE, STEP, Change, RowSet, rowset_of, rowset_of_new
from interlock.store.sqlite.tx import CHANGE_STATEMENTS
from interlock.store.statements import Dialect, load
from interlock.store.tx import Tx
from tests.store.stores import AUDIT, World, opened, sqlite, world

pytestmark = pytest.mark.anyio

RUN = Execution(1, 2, "a3", 4, State.WAITING, 5, 6, 7, 8, 9, WaitingFor.TIMER, 10, "h11", 12, 13, 14, True, 15, 16, 17)
"""A run with a different value in each column."""


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with opened(None) as store:
        yield await world(store)


async def write(here: World, rows: RowSet) -> None:
    async def job(tx: Tx) -> None:
        await tx.write(rows)

    await sqlite(here.store).writer.submit(job)


async def kept(here: World, row: Execution, *records: Record) -> Ref:
    """Write a new run and these records."""
    run = dataclasses.replace(row, tenant=here.tenant)
    rows = rowset_of_new(run, b'{"n":"[secret]"}', records, 99, SecretRef(b"sealed"))
    await write(here, rows)
    return run.ref


def test_the_columns_of_a_run_are_its_fields_in_their_order() -> None:
    assert tuple(field.name for field in dataclasses.fields(Execution)) == EXECUTION


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change.name))
def test_a_change_gives_each_parameter_of_its_statement_once(change: Change) -> None:
    assert sorted(change.columns) == sorted(set(change.columns))
    assert CHANGE_STATEMENTS[change].parameters == change.columns


def test_a_statement_refuses_an_order_of_other_parameters() -> None:
    statement = load("executions", Dialect.SQLITE)["input_get"]
    for order in (
        (),
        ("tenant",),
        ("tenant", "execution", "input"),
        ("tenant", "id"),
        ("tenant", "execution", "tenant"),
    ):
        with pytest.raises(ValueError, match="input_get has the parameters"):
            statement.ordered(order)


async def test_a_run_comes_back_with_each_value_in_its_own_field(here: World) -> None:
    ref = await kept(here, RUN)
    assert await here.store.executions.get(ref) == dataclasses.replace(RUN, tenant=here.tenant)


@pytest.mark.parametrize("change", [MOVE, STEP], ids=lambda change: str(change.name))
async def test_a_moved_run_comes_back_as_it_was_decided(here: World, change: Change) -> None:
    was = dataclasses.replace(RUN, tenant=here.tenant, state=State.PROCESS_STEP)
    await kept(here, was)
    decided = dataclasses.replace(
        was, epoch=25, step=26, attempt=27, attempt_epoch=28, items=29, holder="h31", updated_at=33
    )
    if change is MOVE:
        decided = dataclasses.replace(decided, state=State.DONE, waiting_for=None, wake_at=30, completed_at=34)
    rows = rowset_of(was, Decision(Verdict.ACCEPTED, decided, moved=True), 33)
    assert [found for found, _ in rows] == [change]
    await write(here, rows)
    assert await here.store.executions.get(was.ref) == decided


async def test_a_step_comes_back_with_each_value_in_its_own_field(here: World) -> None:
    result = Result(Outcome.SUCCEEDED, b'{"o":1}', b'{"e":2}', 503, "sent", Reached.ANSWERED, SecretRef(b"a"))
    opened_ = StepOpened(3, 4, 5, 6, b"{}", None, (Item(1, "y"), Item(4, "x")), SecretRef(b"b"), "k")
    settled = StepSettled(3, 4, 8, result)
    closed = StepClosed(4, 1, 9, 10, Outcome.SUCCEEDED, b"{}", b'{"a":1}', b'{"b":1}', SecretRef(b"c"))
    waits = StepOpened(5, 1, 11, 12, None, WaitingFor.CALLBACK)
    refused = Result(Outcome.FAILED, b"1", b"2", reached=Reached.UNKNOWN, sealed=SecretRef(b"d"))
    item = ItemRecord(3, 4, 1, 7, refused, again=True)
    ref = await kept(here, RUN, opened_, item, settled, closed, waits)
    first, second, third = await here.store.executions.steps(ref)
    assert (first.position, first.attempt, first.epoch, first.started_at, first.settled_at) == (3, 4, 5, 6, 8)
    assert (first.input, first.output, first.error, first.status) == (b"{}", b'{"o":1}', b'{"e":2}', 503)
    assert (first.outcome, first.phase, first.key, first.reached) == (Outcome.SUCCEEDED, "sent", "k", Reached.ANSWERED)
    assert (second.position, second.started_at, second.settled_at, second.output) == (4, 10, 10, b'{"a":1}')
    assert (second.outcome, second.error, second.epoch) == (Outcome.SUCCEEDED, b'{"b":1}', 9)
    assert (third.position, third.waiting_for, third.outcome) == (5, WaitingFor.CALLBACK, None)
    items = await here.store.executions.items(ref)
    assert [(each.item, each.name, each.settled_at, each.output, each.error) for each in items] == [
        (1, "y", 7, b"1", b"2"),
        (4, "x", None, None, None),
    ]
    assert [(each.outcome, each.reached, each.again) for each in items] == [
        (Outcome.FAILED, Reached.UNKNOWN, True),
        (None, None, False),
    ]
    assert [each.sealed for each in items] == [b"d", None]
    assert await here.store.executions.items_of_step(ref, 3) == items
    announced = await here.store.executions.announced(ref, 3)
    assert announced == Announced(input=b"{}", sealed=SecretRef(b"b"), key="k")
    run = await here.store.executions.load(ref)
    assert run is not None
    assert run.sealed_outputs == {3: b"a", 4: b"c"}


async def test_a_termination_comes_back_with_each_value_in_its_own_field(here: World) -> None:
    request = TerminationRequest(Actor("c", "a", "p"), "why", Mode.DRAIN, True, 21, Cause.CASCADE, 22)
    order = Termination(request, 23, 24, Mode.INTERRUPT, State.PAUSED_BY_CIRCUIT_BREAKER)
    ref = await kept(here, RUN, TerminationRecord(order, new=True))
    assert await here.store.executions.termination(ref) == order


async def test_sealed_callback_comes_back_with_each_value_in_its_own_field(here: World) -> None:
    told = Result(Outcome.SUCCEEDED, b'{"o":1}', status=202, sealed=SecretRef(b"a"))
    ref = await kept(here, RUN, CallbackKept(3, 7, told))

    async def job(tx: Tx) -> list[Row]:
        return await tx.all("callback_kept", tenant=ref.tenant, execution=ref.id, position=3)

    rows = await sqlite(here.store).writer.submit(job)
    assert [kept_callback(row) for row in rows] == [KeptCallback(7, told)]


async def test_reference_to_the_secrets_of_an_input_stands_beside_it(here: World) -> None:
    ref = await kept(here, RUN)
    run = await here.store.executions.load(ref)
    assert run is not None
    assert (run.input, run.sealed_input) == (b'{"n":"[secret]"}', b"sealed")


async def test_the_audit_row_of_a_stop_stands_behind_the_row_that_it_tells_of(here: World) -> None:
    started = await here.in_flight()
    decision = decide(Situation(started.execution), Terminated(5, TerminationRequest(AUDIT.actor)))
    names = [change.name for change, _ in rowset_of(started.execution, decision, 5)]
    assert names == ["execution_move", "termination_insert", "audit_insert"]
