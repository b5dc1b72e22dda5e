"""The whole answer to a terminate and to the end of a stopping run, to the last field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from interlock.rules.admit import SWITCHED_OFF, Newcomer
from interlock.rules.decide import begin
from interlock.rules.decision import (
    AuditRecord,
    Decision,
    Interrupt,
    ItemRecord,
    StepSettled,
    TerminationRecord,
    Verdict,
    WakeAt,
)
from interlock.rules.events import (
    Announce,
    Created,
    DeadlinePassed,
    ItemSettled,
    Recovered,
    Settled,
    Terminated,
)
from interlock.rules.model import (
    SECOND,
    Cause,
    Mode,
)
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from tests.rules.answers import ABANDONED, CHILD, LATER, ORDER, ROW, accepted, moved, whole
from tests.rules.runs import (
    ACCEPTED,
    SUCCEEDED,
    a_run,
    attempt_of,
)

CASCADE = replace(ORDER, cascade=True, cause=Cause.CASCADE, cause_execution=1)
AT_REST = [State.PENDING, State.WAITING, State.PAUSED_BY_CIRCUIT_BREAKER]


# --- an order ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", AT_REST)
def test_an_order_ends_a_run_at_rest(state: State) -> None:
    run = a_run(state)
    row = moved(run.row, State.TERMINATE)
    assert run.apply(Terminated(LATER, ORDER)) == whole(row, accepted(ORDER, state))


@pytest.mark.parametrize("mode", Mode)
def test_an_order_makes_a_run_in_flight_stopping(mode: Mode) -> None:
    run = a_run()
    request = replace(ORDER, mode=mode)
    before, deadline_at = run.row, LATER + request.deadline
    row = moved(before, State.STOPPING, attempt_epoch=before.epoch, items=1)
    row = replace(row, waiting_for=WaitingFor.DEADLINE, wake_at=deadline_at)
    told = [Interrupt(row.ref, row.epoch)] if mode is Mode.INTERRUPT else []
    expected = whole(row, accepted(request, State.PROCESS_STEP, deadline_at), *told, WakeAt(row.ref, deadline_at))
    assert run.apply(Terminated(LATER, request)) == expected


def test_an_order_without_time_gives_the_attempt_up_in_its_commit() -> None:
    run = a_run()
    request = replace(ORDER, deadline=0)
    row = moved(run.row, State.TERMINATE)
    expected = whole(row, (*accepted(request, State.PROCESS_STEP), ABANDONED), Interrupt(row.ref, row.epoch))
    assert run.apply(Terminated(LATER, request)) == expected


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (State.DONE, Verdict.ALREADY_FINISHED),
        (State.ERROR, Verdict.ALREADY_FINISHED),
        (State.TERMINATE, Verdict.REPEATED),
        (State.STOPPING, Verdict.REPEATED),
    ],
)
def test_an_order_that_comes_too_late_leaves_an_audit_row(state: State, verdict: Verdict) -> None:
    run = a_run(state)
    request = replace(ORDER, deadline=60 * SECOND)
    audit = AuditRecord("execution.terminate", request, verdict, state)
    assert run.apply(Terminated(LATER, request)) == Decision(verdict, run.row, (audit,))


@pytest.mark.parametrize("first", Mode)
@pytest.mark.parametrize("second", Mode)
def test_a_repeated_order_sharpens_the_first(first: Mode, second: Mode) -> None:
    run = a_run(State.STOPPING, mode=first)
    known, request = run.termination, replace(ORDER, mode=second, deadline=SECOND)
    assert known is not None
    mode = Mode.DRAIN if first is second is Mode.DRAIN else Mode.INTERRUPT
    row = replace(run.row, wake_at=LATER + SECOND, updated_at=LATER)
    sharpened = TerminationRecord(replace(known, deadline_at=LATER + SECOND, mode=mode), new=False)
    audit = AuditRecord("execution.terminate", request, "repeated", State.STOPPING)
    told = [Interrupt(row.ref, row.epoch)] if mode is Mode.INTERRUPT else []
    expected = whole(row, (sharpened, audit), *told, WakeAt(row.ref, LATER + SECOND), verdict=Verdict.REPEATED)
    assert run.apply(Terminated(LATER, request)) == expected


def test_a_repeated_order_without_time_gives_the_attempt_up_in_its_commit() -> None:
    run = a_run(State.STOPPING, mode=Mode.DRAIN)
    known, request = run.termination, replace(ORDER, mode=Mode.DRAIN, deadline=0)
    assert known is not None
    row = moved(run.row, State.TERMINATE)
    sharpened = TerminationRecord(replace(known, deadline_at=LATER), new=False)
    audit = AuditRecord("execution.terminate", request, "repeated", State.STOPPING)
    cut = Interrupt(row.ref, row.epoch)
    expected = whole(row, (sharpened, audit, ABANDONED), cut, verdict=Verdict.REPEATED)
    assert run.apply(Terminated(LATER, request)) == expected


# --- the end of a stopping run ----------------------------------------------------------------------------------------


def test_the_report_of_a_stopping_runs_attempt_ends_it() -> None:
    run = a_run(State.STOPPING)
    event = Settled(LATER, attempt_of(run.row), SUCCEEDED, Announce(1))
    expected = whole(moved(run.row, State.TERMINATE), (StepSettled(0, 1, LATER, SUCCEEDED),))
    assert run.apply(event) == expected


@pytest.mark.parametrize("event", [DeadlinePassed, Recovered], ids=lambda event: event.__name__)
def test_a_deadline_or_a_dead_holder_ends_it_without_a_report(event: Any) -> None:
    run = a_run(State.STOPPING)
    run.row = replace(run.row, wake_at=LATER)
    more = {"repeatable": True} if event is Recovered else {}
    row = moved(run.row, State.TERMINATE)
    expected = whole(row, (ABANDONED,), Interrupt(row.ref, row.epoch))
    assert run.apply(event(LATER, run.row.epoch, **more)) == expected


def test_an_item_of_a_stopping_run_is_recorded_and_the_run_stays() -> None:
    run = a_run(State.STOPPING, items=2)
    event = ItemSettled(LATER, attempt_of(run.row), 1, ACCEPTED)
    kept = ItemRecord(0, 1, 1, LATER, replace(ACCEPTED, outcome=Outcome.INTERRUPTED_WAITING))
    assert run.apply(event, fence=CASCADE) == Decision(Verdict.ACCEPTED, run.row, (kept,))


# --- a standing order -------------------------------------------------------------------------------------------------


def test_a_run_ends_where_a_standing_order_meets_it() -> None:
    run = a_run()
    settled = StepSettled(0, 1, LATER, SUCCEEDED)
    expected = whole(moved(run.row, State.TERMINATE), (settled, *accepted(CASCADE, State.PROCESS_STEP)))
    assert run.apply(Settled(LATER, attempt_of(run.row), SUCCEEDED, Announce(1)), fence=CASCADE) == expected


def test_an_item_in_a_tree_under_an_order_is_recorded_before_the_order() -> None:
    run = a_run(items=2)
    stopping = a_run(items=2).apply(Terminated(LATER, CASCADE))
    event = ItemSettled(LATER, attempt_of(run.row), 0, SUCCEEDED)
    expected = replace(stopping, records=(ItemRecord(0, 1, 0, LATER, SUCCEEDED), *stopping.records))
    assert run.apply(event, fence=CASCADE) == expected


def test_an_item_is_no_place_for_the_switch_to_stop_a_run() -> None:
    run = a_run(items=2)
    event = ItemSettled(LATER, attempt_of(run.row), 0, SUCCEEDED)
    expected = Decision(Verdict.ACCEPTED, run.row, (ItemRecord(0, 1, 0, LATER, SUCCEEDED),))
    assert run.apply(event, fence=SWITCHED_OFF) == expected


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_run_lost_under_an_ancestors_order_ends_by_it(repeatable: bool) -> None:
    run = a_run()
    expected = whole(moved(run.row, State.TERMINATE), (ABANDONED, *accepted(CASCADE, State.PROCESS_STEP)))
    assert run.apply(Recovered(LATER, run.row.epoch, repeatable), fence=CASCADE) == expected


def test_a_run_is_let_in() -> None:
    assert begin(CHILD, Created(LATER)) == whole(ROW, (), WakeAt(ROW.ref, LATER))
    assert begin(replace(CHILD, root=None), Created(LATER)).execution == replace(ROW, root=8)
    bare = begin(Newcomer(1, 8, "mover", 5), Created(LATER)).execution
    assert bare == replace(ROW, is_draft=False, parent=None, root=8, depth=0)


def test_a_run_is_held_back() -> None:
    row = replace(ROW, state=State.PAUSED_BY_CIRCUIT_BREAKER, waiting_for=None, wake_at=None)
    assert begin(CHILD, Created(LATER), paused=True) == whole(row, ())


def test_a_run_is_let_in_and_terminated() -> None:
    assert (SWITCHED_OFF.actor.client, SWITCHED_OFF.cause) == ("system", Cause.TENANT_SWITCH)
    assert (SWITCHED_OFF.reason, SWITCHED_OFF.deadline) == ("automations are disabled", 0)
    row = replace(ROW, state=State.TERMINATE, waiting_for=None, wake_at=None, completed_at=LATER)
    assert begin(CHILD, Created(LATER), disabled=True) == whole(row, accepted(SWITCHED_OFF, State.PENDING))
