"""A terminate: its effect in each state, and the effect of a second one."""

import pytest

from interlock.rules.decision import Decision, Interrupt, StepSettled, Verdict, WakeAt
from interlock.rules.events import Announce, DeadlinePassed, Prepared, Released, Settled, Terminated, Woken
from interlock.rules.model import SECOND, Cause, Mode, Result
from interlock.rules.outcomes import Outcome, shown
from interlock.rules.states import TERMINAL, State, WaitingFor
from tests.rules.runs import ACCEPTED, ANN, BOB, BORN, FAILED, SUCCEEDED, Ledger, a_run, attempt_of, order

LATER = BORN + 5 * SECOND


def interrupts(decision: Decision) -> list[Interrupt]:
    return [effect for effect in decision.effects if isinstance(effect, Interrupt)]


@pytest.mark.parametrize("state", [State.PENDING, State.WAITING, State.PAUSED_BY_CIRCUIT_BREAKER])
def test_with_nothing_in_flight_the_run_is_terminated_in_the_accepting_commit(state: State) -> None:
    run = a_run(state)
    epoch = run.row.epoch
    decision = run.apply(Terminated(LATER, order()))
    assert (decision.verdict, run.row.state) == (Verdict.ACCEPTED, State.TERMINATE)
    assert (run.row.completed_at, run.row.wake_at, run.row.waiting_for) == (LATER, None, None)
    assert run.row.epoch == epoch + 1
    assert decision.effects == ()
    assert run.termination is not None
    assert (run.termination.accepted_at, run.termination.found) == (LATER, state)


def test_with_an_attempt_in_flight_the_run_is_stopping_and_the_attempt_is_told() -> None:
    run = a_run()
    decision = run.apply(Terminated(LATER, order()))
    assert run.row.state is State.STOPPING
    assert (run.row.waiting_for, run.row.wake_at) == (WaitingFor.DEADLINE, LATER + 10 * SECOND)
    assert decision.effects == (Interrupt(run.row.ref, run.row.epoch), WakeAt(run.row.ref, LATER + 10 * SECOND))
    assert run.row.completed_at is None


def test_a_deadline_of_nothing_abandons_the_attempt_at_once_and_still_tells_it() -> None:
    run = a_run()
    decision = run.apply(Terminated(LATER, order(deadline=0)))
    assert (run.row.state, run.outcome(0)) == (State.TERMINATE, Outcome.ABANDONED)
    assert len(interrupts(decision)) == 1


@pytest.mark.parametrize("state", [State.DONE, State.ERROR])
def test_a_run_that_ended_first_stays_as_it_is(state: State) -> None:
    run = a_run(state)
    before = run.row
    decision = run.apply(Terminated(LATER, order()))
    assert decision.verdict is Verdict.ALREADY_FINISHED
    assert run.row == before
    assert run.termination is None
    assert [audit.outcome for audit in run.audits] == ["already-finished"]


@pytest.mark.parametrize("state", [State.STOPPING, State.TERMINATE])
def test_second_terminate_keeps_the_first_actor_reason_and_times(state: State) -> None:
    run = a_run(state)
    first = run.termination
    decision = run.apply(Terminated(LATER, order(BOB, "me too", deadline=300 * SECOND)))
    assert decision.verdict is Verdict.REPEATED
    assert not decision.moved
    assert run.termination == first
    assert [(audit.request.actor, audit.outcome) for audit in run.audits] == [(ANN, "accepted"), (BOB, "repeated")]


def test_a_repeated_order_brings_the_deadline_nearer_and_never_farther() -> None:
    run = a_run(State.STOPPING)
    epoch = run.row.epoch
    decision = run.apply(Terminated(BORN + 2, order(BOB, deadline=SECOND)))
    assert run.row.wake_at == BORN + 2 + SECOND
    assert decision.effects[-1] == WakeAt(run.row.ref, BORN + 2 + SECOND)
    assert run.row.epoch == epoch
    assert run.termination is not None
    assert (run.termination.deadline_at, run.termination.request.actor) == (run.row.wake_at, ANN)


def test_a_repeated_order_with_no_time_left_ends_it() -> None:
    run = a_run(State.STOPPING)
    decision = run.apply(Terminated(LATER, order(BOB, deadline=0)))
    assert (decision.verdict, run.row.state, run.outcome(0)) == (
        Verdict.REPEATED,
        State.TERMINATE,
        Outcome.ABANDONED,
    )
    assert len(interrupts(decision)) == 1
    assert len(run.accepted_orders()) == 1


def test_drain_lets_the_attempt_work_and_a_later_interrupt_cuts_it() -> None:
    run = a_run()
    assert not interrupts(run.apply(Terminated(LATER, order(mode=Mode.DRAIN))))
    decision = run.apply(Terminated(LATER, order(BOB)))
    assert len(interrupts(decision)) == 1
    assert run.termination is not None
    assert (run.termination.mode, run.termination.request.mode) == (Mode.INTERRUPT, Mode.DRAIN)


def test_drain_after_interrupt_takes_nothing_back() -> None:
    run = a_run(State.STOPPING)
    run.apply(Terminated(LATER, order(BOB, mode=Mode.DRAIN)))
    assert run.termination is not None
    assert run.termination.mode is Mode.INTERRUPT


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    ("result", "recorded"),
    [
        (SUCCEEDED, Outcome.SUCCEEDED),
        (FAILED, Outcome.FAILED),
        (ACCEPTED, Outcome.INTERRUPTED_WAITING),
        (Result(Outcome.INTERRUPTED_NOT_SENT), Outcome.INTERRUPTED_NOT_SENT),
    ],
)
def test_what_the_attempt_reports_is_recorded_as_what_it_is_and_nothing_follows(
    mode: Mode, result: Result, recorded: Outcome
) -> None:
    run = a_run(State.STOPPING, mode=mode)
    decision = run.apply(Settled(LATER, attempt_of(run.row), result, Announce(1)))
    assert (run.row.state, run.outcome(0)) == (State.TERMINATE, recorded)
    assert decision.effects == ()
    assert list(run.steps) == [(0, 1)]


def test_the_deadline_gives_the_attempt_up_and_not_before_its_time() -> None:
    run = a_run(State.STOPPING)
    assert run.row.wake_at is not None
    run.apply(DeadlinePassed(run.row.wake_at - 1, run.row.epoch))
    assert run.row.state is State.STOPPING
    decision = run.apply(DeadlinePassed(run.row.wake_at, run.row.epoch))
    assert (run.row.state, run.outcome(0)) == (State.TERMINATE, Outcome.ABANDONED)
    assert len(interrupts(decision)) == 1


def test_a_step_that_waited_is_shown_as_interrupted_while_waiting() -> None:
    run = a_run(State.WAITING)
    run.apply(Terminated(LATER, order()))
    assert shown(run.outcome(0), run.row.state) is Outcome.INTERRUPTED_WAITING


def test_cancelling_a_paused_run_is_a_termination_and_a_run_that_is_not_paused_is_left_alone() -> None:
    cancel = order(reason="cancelled")
    run = a_run(State.PAUSED_BY_CIRCUIT_BREAKER)
    run.apply(Released(LATER, cancel))
    assert (run.row.state, len(run.accepted_orders())) == (State.TERMINATE, 1)
    other = a_run()
    assert other.apply(Released(LATER, cancel)).verdict is Verdict.SUPERSEDED
    assert other.termination is None


@pytest.mark.parametrize("state", TERMINAL)
def test_nothing_moves_a_run_that_is_over(state: State) -> None:
    run = a_run(state)
    over = run.row
    for event in (
        Prepared(LATER, over.epoch, Announce(1)),
        Woken(LATER, over.epoch, WaitingFor.CALLBACK, SUCCEEDED, Announce(1)),
        Released(LATER),
        DeadlinePassed(LATER, over.epoch),
        Terminated(LATER, order()),
    ):
        assert run.apply(event).effects == ()
    assert run.row is over


def test_the_audit_row_names_who_and_why_and_what_was_found() -> None:
    run: Ledger = a_run()
    run.apply(Terminated(LATER, order(BOB, "wrong person")))
    [audit] = run.audits
    assert (audit.request.actor, audit.request.reason, audit.request.cause) == (BOB, "wrong person", Cause.PERSON)
    assert audit.found is State.PROCESS_STEP


def test_the_records_of_the_order_come_before_what_became_of_the_attempt() -> None:
    decision = a_run().apply(Terminated(LATER, order(deadline=0)))
    assert isinstance(decision.records[-1], StepSettled)
