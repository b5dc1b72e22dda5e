"""What keeps a run, or a run that it would start, from beginning something: a standing order, a full disk, a switch."""

from dataclasses import replace

import pytest

from interlock.rules.admit import SWITCHED_OFF
from interlock.rules.changes import Refused
from interlock.rules.children import (
    CHILD_MISSING,
    CHILD_NOT_ON_DEMAND,
    CHILD_TOO_DEEP,
    ChildTarget,
    StartChild,
    admit_child,
)
from interlock.rules.decide import begin
from interlock.rules.decision import Decision, Interrupt, Perform, TerminationRecord, WakeAt
from interlock.rules.events import (
    Announce,
    Change,
    Created,
    Fail,
    Finish,
    ItemSettled,
    Next,
    Passed,
    Prepared,
    Recovered,
    Released,
    Retry,
    Settled,
    Wait,
    Woken,
)
from interlock.rules.model import HOLD_MICROSECONDS, MAX_DEPTH, SECOND, Cause, Result, TerminationRequest
from interlock.rules.outcomes import Outcome, shown
from interlock.rules.states import State, WaitingFor
from tests.rules.runs import ACCEPTED, BORN, NEWCOMER, SUCCEEDED, Ledger, a_run, attempt_of, order

LATER = BORN + 5 * SECOND
CASCADE = replace(order(reason="the tree"), cascade=True, cause=Cause.CASCADE, cause_execution=1)
CHILD = StartChild(8, "mover", b"{}", b'{"execution_id":"8"}')
START = Change(0, CHILD)
FOUND = ChildTarget(definition=5)
STARTING: list[Next] = [Announce(1), START, Wait(1, WaitingFor.TIMER, LATER), Retry(0, LATER)]


# --- a standing order -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fence", [CASCADE, SWITCHED_OFF], ids=["cascade", "switch"])
@pytest.mark.parametrize("following", STARTING, ids=lambda following: type(following).__name__)
def test_a_run_under_an_order_records_its_result_and_ends_where_it_would_start_something(
    fence: TerminationRequest, following: Next
) -> None:
    run = a_run()
    decision = run.apply(Settled(LATER, attempt_of(run.row), SUCCEEDED, following), fence=fence)
    assert (run.row.state, run.outcome(0)) == (State.TERMINATE, Outcome.SUCCEEDED)
    assert decision.effects == ()
    assert (list(run.steps), run.changes) == ([(0, 1)], [])
    assert [audit.request for audit in run.accepted_orders()] == [fence]


@pytest.mark.parametrize("following", [Finish(1), Fail(0)], ids=["finish", "fail"])
def test_the_switch_lets_a_run_end_by_itself_but_an_ancestors_order_came_first(following: Next) -> None:
    switched = a_run()
    switched.apply(Settled(LATER, attempt_of(switched.row), SUCCEEDED, following), fence=SWITCHED_OFF)
    assert switched.row.state in {State.DONE, State.ERROR}
    ordered = a_run()
    ordered.apply(Settled(LATER, attempt_of(ordered.row), SUCCEEDED, following), fence=CASCADE)
    assert (ordered.row.state, ordered.outcome(0)) == (State.TERMINATE, Outcome.SUCCEEDED)


def test_an_accepted_call_is_not_waited_for_under_an_order() -> None:
    run = a_run()
    following = Wait(0, WaitingFor.CALLBACK, LATER)
    run.apply(Settled(LATER, attempt_of(run.row), ACCEPTED, following), fence=CASCADE)
    assert shown(run.outcome(0), run.row.state) is Outcome.INTERRUPTED_WAITING


def test_under_an_order_nothing_is_woken_released_or_recovered_to_go_on() -> None:
    waiting, paused, dead = a_run(State.WAITING), a_run(State.PAUSED_BY_CIRCUIT_BREAKER), a_run()
    waiting.apply(Woken(LATER, waiting.row.epoch, WaitingFor.CALLBACK, SUCCEEDED), fence=CASCADE)
    paused.apply(Released(LATER), fence=CASCADE)
    dead.apply(Recovered(LATER, dead.row.epoch, repeatable=True), fence=CASCADE)
    assert {run.row.state for run in (waiting, paused, dead)} == {State.TERMINATE}


def test_a_run_lost_in_flight_under_an_ancestors_order_ends_as_one_that_was_stopping() -> None:
    run = a_run()
    run.apply(Recovered(LATER, run.row.epoch, repeatable=False), fence=CASCADE)
    assert (run.row.state, run.outcome(0)) == (State.TERMINATE, Outcome.ABANDONED)


def test_an_ancestors_order_is_noticed_between_two_items() -> None:
    run = a_run(items=3)
    attempt = attempt_of(run.row)
    decision = run.apply(ItemSettled(LATER, attempt, 0, SUCCEEDED), fence=CASCADE)
    assert run.row.state is State.STOPPING
    assert run.steps[0, 1].items == [Outcome.SUCCEEDED, None, None]
    assert isinstance(decision.effects[0], Interrupt)
    run.apply(ItemSettled(LATER, attempt, 1, Result(Outcome.INTERRUPTED_NOT_SENT)), fence=CASCADE)
    assert len(run.accepted_orders()) == 1


# --- a full disk ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("following", [Announce(1), replace(START, position=1), Wait(1, WaitingFor.TIMER, LATER)])
def test_a_full_disk_admits_results_and_keeps_the_next_step_ready(following: Next) -> None:
    run = a_run()
    decision = run.apply(Settled(LATER, attempt_of(run.row), SUCCEEDED, following), hold=True)
    assert (run.row.state, run.row.step, run.row.wake_at) == (State.PENDING, 1, LATER + HOLD_MICROSECONDS)
    assert (run.outcome(0), run.changes) == (Outcome.SUCCEEDED, [])
    assert decision.effects == (WakeAt(run.row.ref, LATER + HOLD_MICROSECONDS),)


def test_steps_passed_on_the_way_to_a_held_one_are_evaluated_again_later() -> None:
    run = a_run()
    following = Announce(2, passed=(Passed(1, Outcome.SKIPPED),))
    run.apply(Settled(LATER, attempt_of(run.row), SUCCEEDED, following), hold=True)
    assert (run.row.step, list(run.steps)) == (1, [(0, 1)])


def test_a_full_disk_lets_a_call_that_was_made_wait_and_a_run_end() -> None:
    waiting, ending = a_run(), a_run()
    waiting.apply(Settled(LATER, attempt_of(waiting.row), ACCEPTED, Wait(0, WaitingFor.CALLBACK, None)), hold=True)
    ending.apply(Settled(LATER, attempt_of(ending.row), SUCCEEDED, Finish(1)), hold=True)
    assert (waiting.row.state, ending.row.state) == (State.WAITING, State.DONE)


def test_a_held_retry_keeps_count_of_its_attempts() -> None:
    run = a_run()
    run.apply(Recovered(LATER, run.row.epoch, repeatable=True))
    run.apply(Prepared(LATER, run.row.epoch, Announce(0)), hold=True)
    run.apply(Prepared(LATER, run.row.epoch, Announce(0)))
    assert (run.row.state, run.row.attempt) == (State.PROCESS_STEP, 2)


# --- being let in -----------------------------------------------------------------------------------------------------


def test_a_run_is_let_in_ready_or_at_its_first_step_if_a_slot_was_free() -> None:
    ready = begin(NEWCOMER, Created(BORN))
    assert (ready.execution.state, ready.execution.wake_at) == (State.PENDING, BORN)
    assert ready.effects == (WakeAt(ready.execution.ref, BORN),)
    begun = begin(NEWCOMER, Created(BORN, Announce(0), "me"))
    assert begun.execution.state is State.PROCESS_STEP
    assert isinstance(begun.effects[0], Perform)
    assert begun.execution.root == begun.execution.id


def test_while_automations_are_disabled_a_run_is_created_and_terminated_at_once() -> None:
    run = Ledger.of(begin(NEWCOMER, Created(BORN, Announce(0), "me"), disabled=True, paused=True))
    assert (run.row.state, run.row.completed_at, run.steps) == (State.TERMINATE, BORN, {})
    assert [audit.request.cause for audit in run.accepted_orders()] == [Cause.TENANT_SWITCH]


def test_an_open_breaker_holds_a_run_back_until_it_is_released() -> None:
    run = Ledger.of(begin(NEWCOMER, Created(BORN, Announce(0), "me"), paused=True))
    assert (run.row.state, run.row.wake_at) == (State.PAUSED_BY_CIRCUIT_BREAKER, None)
    run.apply(Released(LATER))
    assert (run.row.state, run.row.wake_at, run.row.step) == (State.PENDING, LATER, 0)


# --- children ---------------------------------------------------------------------------------------------------------


def start_child(target: ChildTarget, *, depth: int = 0) -> Decision | Refused:
    parent = begin(replace(NEWCOMER, depth=depth), Created(BORN)).execution
    return admit_child(parent, CHILD, target, LATER)


def test_a_child_is_let_in_below_its_parent_and_rests_ready() -> None:
    child = start_child(FOUND, depth=MAX_DEPTH - 1)
    assert isinstance(child, Decision)
    row = child.execution
    assert (row.state, row.parent, row.root, row.depth) == (State.PENDING, 7, 7, MAX_DEPTH)
    assert (row.id, row.automation, row.definition, row.is_draft) == (8, "mover", 5, False)
    assert child.effects == (WakeAt(row.ref, LATER),)


def test_a_child_is_of_its_parents_tree_and_kind() -> None:
    parent = begin(replace(NEWCOMER, parent=2, root=3, depth=1, is_draft=True), Created(BORN)).execution
    child = admit_child(parent, CHILD, FOUND, LATER)
    assert isinstance(child, Decision)
    row = child.execution
    assert (row.tenant, row.parent, row.root, row.depth, row.is_draft) == (1, 7, 3, 2, True)


def test_a_run_whose_first_step_makes_a_change_is_let_in_ready() -> None:
    run = Ledger.of(begin(NEWCOMER, Created(BORN, START, "me")))
    assert (run.row.state, run.row.step, run.steps) == (State.PENDING, 0, {})


@pytest.mark.parametrize(
    ("target", "depth", "refusal"),
    [
        (ChildTarget(None), 0, CHILD_MISSING),
        (ChildTarget(None), MAX_DEPTH, CHILD_MISSING),
        (ChildTarget(5, on_demand=False), 0, CHILD_NOT_ON_DEMAND),
        (FOUND, MAX_DEPTH, CHILD_TOO_DEEP),
    ],
)
def test_a_child_that_may_not_be_started_is_refused(target: ChildTarget, depth: int, refusal: Refused) -> None:
    assert start_child(target, depth=depth) == refusal


def test_a_child_is_let_in_by_the_same_rules_and_its_records_are_its_own() -> None:
    disabled, paused = start_child(replace(FOUND, disabled=True)), start_child(replace(FOUND, paused=True))
    assert isinstance(disabled, Decision)
    assert isinstance(paused, Decision)
    assert disabled.execution.state is State.TERMINATE
    assert isinstance(disabled.records[0], TerminationRecord)
    assert (paused.execution.state, paused.records) == (State.PAUSED_BY_CIRCUIT_BREAKER, ())
