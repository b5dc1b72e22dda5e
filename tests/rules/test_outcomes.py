"""Outcomes: derived from items, shown for rows left open, and late ones as evidence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.rules.outcomes import INTERRUPTED, Outcome, Reached, derive, late, shown, shown_items
from interlock.rules.outcomes import Outcome as Was
from interlock.rules.states import TERMINAL, State

OF_ITEMS = sorted(set(Outcome) - {Was.INTERRUPTED_PARTLY, Was.LATE_SUCCEEDED, Was.LATE_FAILED})


@pytest.mark.parametrize(
    ("items", "whole"),
    [
        ([Was.SUCCEEDED, Was.SKIPPED], Was.SUCCEEDED),
        ([Was.SUCCEEDED, Was.FAILED], Was.FAILED),
        ([Was.FAILED, Was.NOT_STARTED], Was.FAILED),
        ([Was.SUCCEEDED, Was.NOT_STARTED], Was.INTERRUPTED_PARTLY),
        ([Was.SUCCEEDED, Was.INTERRUPTED_OUTCOME_UNKNOWN, Was.NOT_STARTED], Was.INTERRUPTED_PARTLY),
        ([Was.FAILED, Was.INTERRUPTED_NOT_SENT], Was.INTERRUPTED_PARTLY),
        ([Was.INTERRUPTED_OUTCOME_UNKNOWN, Was.NOT_STARTED], Was.INTERRUPTED_OUTCOME_UNKNOWN),
        ([Was.INTERRUPTED_RESPONSE, Was.NOT_STARTED], Was.INTERRUPTED_RESPONSE),
        ([Was.INTERRUPTED_NOT_SENT, Was.NOT_STARTED], Was.INTERRUPTED_NOT_SENT),
        ([Was.SKIPPED, Was.INTERRUPTED_NOT_SENT], Was.INTERRUPTED_NOT_SENT),
        ([Was.SUCCEEDED, Was.ABANDONED, Was.NOT_STARTED], Was.ABANDONED),
        ([Was.SKIPPED], Was.SKIPPED),
        ([Was.FAILED, Was.FAILED], Was.FAILED),
    ],
)
def test_the_outcome_of_an_attempt_is_derived_from_its_items(items: list[Outcome], whole: Outcome) -> None:
    assert derive(items) is whole


DOUBTFUL_FIRST = [
    Was.INTERRUPTED_OUTCOME_UNKNOWN,
    Was.INTERRUPTED_RESPONSE,
    Was.INTERRUPTED_WAITING,
    Was.INTERRUPTED_NOT_SENT,
    Was.NOT_STARTED,
]


def test_where_nothing_is_done_the_most_doubtful_item_speaks_for_all() -> None:
    for number, outcome in enumerate(DOUBTFUL_FIRST):
        for other in (Was.SKIPPED, *DOUBTFUL_FIRST[number:]):
            assert derive([other, outcome]) is outcome


def test_an_outcome_that_nothing_else_explains_is_unknown() -> None:
    assert derive([Was.SKIPPED, Was.INTERRUPTED_PARTLY]) is Was.INTERRUPTED_OUTCOME_UNKNOWN


def test_only_a_stop_interrupts() -> None:
    assert {outcome for outcome in Outcome if outcome.startswith("INTERRUPTED")} == INTERRUPTED


@given(st.lists(st.sampled_from(OF_ITEMS), min_size=1, max_size=6))
def test_s9_what_is_done_or_in_doubt_is_never_derived_as_not_started(items: list[Outcome]) -> None:
    whole = derive(items)
    assert whole is derive(reversed(items))
    if whole in {Was.NOT_STARTED, Was.INTERRUPTED_NOT_SENT, Was.SKIPPED}:
        assert set(items) <= {Was.NOT_STARTED, Was.INTERRUPTED_NOT_SENT, Was.SKIPPED}
    if whole is Was.SUCCEEDED:
        assert set(items) <= {Was.SUCCEEDED, Was.SKIPPED}
    if whole is Was.INTERRUPTED_PARTLY:
        assert set(items) & {Was.SUCCEEDED, Was.FAILED}
        assert set(items) & (INTERRUPTED | {Was.NOT_STARTED})


def test_only_a_complete_answer_is_worth_keeping_when_it_is_late() -> None:
    assert {outcome: late(outcome) for outcome in Outcome if late(outcome)} == {
        Was.SUCCEEDED: Was.LATE_SUCCEEDED,
        Was.FAILED: Was.LATE_FAILED,
    }
    assert late(None) is None


ABANDONED, UNKNOWN, NOT_STARTED = Was.ABANDONED, Was.INTERRUPTED_OUTCOME_UNKNOWN, Was.NOT_STARTED


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    ("attempt", "reached", "first"),
    [
        (Was.ABANDONED, None, ABANDONED),
        (Was.INTERRUPTED_PARTLY, None, UNKNOWN),
        (Was.INTERRUPTED_OUTCOME_UNKNOWN, None, UNKNOWN),
        (Was.INTERRUPTED_NOT_SENT, None, NOT_STARTED),
        (Was.NOT_STARTED, None, NOT_STARTED),
        (Was.FAILED, Reached.UNKNOWN, UNKNOWN),
        (Was.FAILED, Reached.ANSWERED, NOT_STARTED),
        (Was.FAILED, None, NOT_STARTED),
    ],
)
def test_first_open_item_is_in_doubt_as_its_attempt_is(
    state: State, attempt: Outcome, reached: Reached | None, first: Outcome
) -> None:
    recorded = (Was.SUCCEEDED, None, None)
    assert shown_items(recorded, attempt, reached, state) == (Was.SUCCEEDED, first, NOT_STARTED)


def test_no_item_had_begun_after_the_one_that_was_cut() -> None:
    recorded = (Was.SUCCEEDED, UNKNOWN, None, None)
    shown_as = (Was.SUCCEEDED, UNKNOWN, NOT_STARTED, NOT_STARTED)
    assert shown_items(recorded, Was.INTERRUPTED_PARTLY, None, State.TERMINATE) == shown_as


@pytest.mark.parametrize("state", State)
def test_items_of_an_open_attempt_are_shown_as_rows_are(state: State) -> None:
    assert shown_items((Was.SUCCEEDED, None), None, None, state) == (Was.SUCCEEDED, shown(None, state))


@pytest.mark.parametrize("state", State)
def test_an_open_row_of_a_run_that_is_over_had_been_waiting(state: State) -> None:
    assert shown(None, state) is (Was.INTERRUPTED_WAITING if state in TERMINAL else None)
    assert shown(Was.FAILED, state) is Was.FAILED
