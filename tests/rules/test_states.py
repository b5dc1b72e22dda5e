"""The table of moves: what the rules do is what it says, no more and no less."""

import pytest

from interlock.rules.decide import begin
from interlock.rules.events import (
    Announce,
    Created,
    Event,
    Fail,
    Finish,
    Next,
    Prepared,
    Released,
    Settled,
    Terminated,
    Wait,
    Woken,
)
from interlock.rules.model import SECOND, Execution
from interlock.rules.states import IN_FLIGHT, TERMINAL, TRANSITIONS, IllegalMove, State, WaitingFor, move
from tests.rules.runs import BORN, NEWCOMER, SUCCEEDED, a_run, attempt_of, order
from tools.states import PAGE, page

LATER = BORN + 5 * SECOND
FOLLOWING: list[Next] = [Announce(1), Wait(1, WaitingFor.TIMER, LATER), Finish(1), Fail(1)]


def going_on(row: Execution, following: Next) -> Event | None:
    """How a run in that state goes on to what follows, if it can."""
    match row.state:
        case State.PENDING:
            return Prepared(LATER, row.epoch, following)
        case State.PROCESS_STEP | State.STOPPING:
            return Settled(LATER, attempt_of(row), SUCCEEDED, following)
        case State.WAITING:
            return Woken(LATER, row.epoch, WaitingFor.CALLBACK, SUCCEEDED, following)
        case State.PAUSED_BY_CIRCUIT_BREAKER:
            return Released(LATER)
        case _:
            return None


def test_every_move_of_the_table_is_made_and_no_other() -> None:
    made: dict[State | None, set[State]] = {state: set() for state in (None, *State)}
    made[None] = {
        begin(NEWCOMER, Created(BORN, following), disabled=disabled, paused=paused).execution.state
        for following in (None, *FOLLOWING)
        for disabled in (False, True)
        for paused in (False, True)
    }
    for state in State:
        for following in FOLLOWING:
            for hold in (False, True):
                run = a_run(state)
                event = going_on(run.row, following)
                if event is not None and run.apply(event, hold=hold).moved:
                    made[state].add(run.row.state)
        for deadline in (0, SECOND):
            run = a_run(state)
            if run.apply(Terminated(LATER, order(deadline=deadline))).moved and run.row.state is not state:
                made[state].add(run.row.state)
    assert made == {state: set(targets) for state, targets in TRANSITIONS.items()}


def test_an_end_is_an_end() -> None:
    assert {state for state, targets in TRANSITIONS.items() if not targets} == TERMINAL
    assert not TERMINAL & IN_FLIGHT


def test_a_move_that_the_table_does_not_have_is_a_defect() -> None:
    with pytest.raises(IllegalMove, match="TERMINATE -> PENDING"):
        move(State.TERMINATE, State.PENDING)


def test_the_page_about_the_states_is_made_from_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tools.states"
