"""Names and figures that others know: what is stored under them, and what the contract promises."""

import json
from enum import StrEnum

import pytest

from interlock.rules.breaker import Period
from interlock.rules.children import CHILD_MISSING, CHILD_NOT_ON_DEMAND, CHILD_TOO_DEEP, ChildTarget
from interlock.rules.decide import OUTCOME_UNKNOWN, RESULT_LOST
from interlock.rules.decision import Verdict
from interlock.rules.events import Announce, Created
from interlock.rules.model import (
    HOLD_MICROSECONDS,
    MAX_DEADLINE,
    MAX_DEPTH,
    SECOND,
    Actor,
    Cause,
    Mode,
    Ref,
    TerminationRequest,
)
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.states import State, WaitingFor
from tests.rules.runs import a_run


@pytest.mark.parametrize(
    ("members", "names"),
    [
        (State, "PENDING PROCESS_STEP WAITING PAUSED_BY_CIRCUIT_BREAKER STOPPING DONE ERROR TERMINATE"),
        (WaitingFor, "ready timer callback retry task deadline poll"),
        (
            Outcome,
            "SUCCEEDED FAILED SKIPPED NOT_STARTED INTERRUPTED_NOT_SENT INTERRUPTED_OUTCOME_UNKNOWN INTERRUPTED_RESPONSE"
            " INTERRUPTED_WAITING INTERRUPTED_PARTLY ABANDONED LATE_SUCCEEDED LATE_FAILED",
        ),
        (Verdict, "accepted repeated already-finished superseded"),
        (Mode, "interrupt drain"),
        (Cause, "person cascade tenant_switch breaker_cancel delete lease_expired tenant_revoked"),
        (Period, "HOUR DAY WEEK MONTH"),
        (Reached, "not_sent answered unknown"),
    ],
    ids=["states", "waiting for", "outcomes", "verdicts", "modes", "causes", "periods", "reached"],
)
def test_a_stored_name_never_changes(members: type[StrEnum], names: str) -> None:
    assert [member.value for member in members] == names.split()


def test_the_figures_of_the_contract() -> None:
    assert (SECOND, HOLD_MICROSECONDS, MAX_DEADLINE, MAX_DEPTH) == (1_000_000, 1_000_000, 300_000_000, 10)


def test_an_order_that_says_nothing_else_is_a_persons_and_interrupts_within_ten_seconds() -> None:
    ann = Actor("ann")
    assert ann == Actor("ann", "", "")
    assert TerminationRequest(ann) == TerminationRequest(
        ann, "", Mode.INTERRUPT, cascade=False, deadline=10_000_000, cause=Cause.PERSON, cause_execution=None
    )


def test_what_need_not_be_said() -> None:
    assert Announce(0) == Announce(0, None, (), ())
    assert Created(1) == Created(1, None, "")
    assert ChildTarget(5) == ChildTarget(5, on_demand=True, disabled=False, paused=False)


@pytest.mark.parametrize("state", State)
def test_a_run_is_named_by_its_tenant_and_id(state: State) -> None:
    assert a_run(state).row.ref == Ref(1, 7)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OUTCOME_UNKNOWN, "OUTCOME_UNKNOWN"),
        (RESULT_LOST, "RESULT_LOST"),
        (CHILD_MISSING.error, "CHILD_NOT_FOUND"),
        (CHILD_NOT_ON_DEMAND.error, "CHILD_NOT_ON_DEMAND"),
        (CHILD_TOO_DEEP.error, "CHILD_TOO_DEEP"),
    ],
)
def test_an_error_has_a_code_and_says_what_it_means(error: bytes, code: str) -> None:
    document = json.loads(error)
    assert document["code"] == code
    assert document["message"]
