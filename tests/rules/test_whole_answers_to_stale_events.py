"""The whole answer to an event from another reading of the run, and to an admission."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interlock.rules.admit import SWITCHED_OFF
from interlock.rules.decide import decide
from interlock.rules.decision import (
    Decision,
    LateEvidence,
    StepSettled,
    Verdict,
)
from interlock.rules.events import (
    Announce,
    DeadlinePassed,
    Event,
    Fail,
    Prepared,
    Recovered,
    Settled,
    Woken,
)
from interlock.rules.model import (
    Result,
)
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from tests.rules.answers import LATER, UNTIL, moved, whole
from tests.rules.runs import (
    ACCEPTED,
    FAILED,
    SUCCEEDED,
    Ledger,
    a_run,
    attempt_of,
)

# --- what comes from another reading ----------------------------------------------------------------------------------


def stale(run: Ledger) -> list[Event]:
    """Events that were prepared when the row was another one."""
    old, attempt = run.row.epoch - 1, replace(attempt_of(run.row), epoch=run.row.attempt_epoch - 1)
    waiting_for = run.row.waiting_for or WaitingFor.TIMER
    return [
        Prepared(UNTIL, old, Announce(0)),
        Woken(UNTIL, old, waiting_for, None, Announce(1)),
        DeadlinePassed(UNTIL, old),
        Recovered(UNTIL, old, repeatable=True),
        Settled(UNTIL, attempt, Result(Outcome.INTERRUPTED_NOT_SENT), Announce(1)),
    ]


@pytest.mark.parametrize("state", State)
def test_what_was_prepared_from_another_reading_does_nothing(state: State) -> None:
    run = a_run(state)
    for event in stale(run):
        assert run.apply(event) == Decision(Verdict.SUPERSEDED, run.row)


@pytest.mark.parametrize("state", sorted(set(State) - {State.WAITING}))
def test_only_a_wait_is_woken(state: State) -> None:
    run = a_run(state)
    for by in WaitingFor:
        woken = Woken(UNTIL, run.row.epoch, by, None, Announce(0))
        assert run.apply(woken) == Decision(Verdict.SUPERSEDED, run.row)


@pytest.mark.parametrize("by", sorted(set(WaitingFor) - {WaitingFor.CALLBACK}))
def test_a_wait_is_woken_by_nothing_else_than_what_it_waits_for(by: WaitingFor) -> None:
    run = a_run(State.WAITING)
    woken = Woken(UNTIL, run.row.epoch, by, SUCCEEDED, Announce(0))
    assert run.apply(woken) == Decision(Verdict.SUPERSEDED, run.row)


@pytest.mark.parametrize("wrong", [{"position": 1}, {"number": 2}, {"epoch": 1}], ids=str)
def test_an_attempt_is_the_current_one_in_every_respect_or_not_at_all(wrong: dict[str, int]) -> None:
    run = a_run()
    attempt = replace(attempt_of(run.row), **wrong)
    late = LateEvidence(attempt, LATER, Outcome.LATE_SUCCEEDED, SUCCEEDED)
    expected = Decision(Verdict.SUPERSEDED, run.row, (late,))
    assert decide(run.situation(), Settled(LATER, attempt, SUCCEEDED, Announce(1))) == expected


def test_a_run_with_nothing_in_flight_has_no_current_attempt() -> None:
    run = a_run(State.WAITING)
    nothing = Settled(LATER, attempt_of(run.row), Result(Outcome.ABANDONED), Announce(1))
    assert run.apply(nothing) == Decision(Verdict.SUPERSEDED, run.row)


def test_what_failed_moves_nothing_unless_it_is_said_what_follows() -> None:
    run = a_run()
    for result in (FAILED, ACCEPTED):
        assert run.apply(Settled(LATER, attempt_of(run.row), result, None)) == Decision(Verdict.SUPERSEDED, run.row)


def test_a_call_that_was_accepted_stays_open_whatever_follows() -> None:
    run = a_run()
    expected = whole(moved(run.row, State.ERROR), (StepSettled(0, 1, LATER, ACCEPTED, WaitingFor.CALLBACK),))
    assert run.apply(Settled(LATER, attempt_of(run.row), ACCEPTED, Fail(0))) == expected


def test_the_switch_does_not_make_a_lost_run_a_stopped_one() -> None:
    run = a_run()
    run.apply(Recovered(LATER, run.row.epoch, repeatable=False), fence=SWITCHED_OFF)
    assert (run.row.state, run.termination) == (State.ERROR, None)
