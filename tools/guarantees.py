"""Writes the page of the guarantees: what is promised, and which tests would fail if it were not kept.

    python -m tools.guarantees

A test looks at whether each test named here exists, and whether the page is up to date.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "guarantees.md"

EXPLORED: Final = "tests/rules/test_exploration.py::test_every_property_of_the_stop_holds_in_every_world"
BROKEN: Final = "tests/rules/test_exploration.py::test_a_broken_rule_is_found_out"
MISORDERED: Final = "tests/rules/test_exploration.py::test_a_wrong_order_of_things_is_found_out"
ANYWHERE: Final = "tests/engine/test_stops.py::test_wherever_a_stop_falls_it_starts_nothing_and_tells_the_truth"
KILLED: Final = "tests/crash/test_kill_minus_nine.py::test_twenty_kills_at_random_moments_under_load"


@dataclass(frozen=True, slots=True)
class Guarantee:
    """One promise."""

    name: str
    promise: str
    tests: tuple[str, ...]
    mutants: tuple[str, ...] = ()
    """Tests that break it on purpose, and fail unless that is noticed."""


GUARANTEES: Final = (
    Guarantee(
        "S1",
        "A termination that was answered 200 is never lost, whatever crashes afterwards.",
        (EXPLORED, KILLED, "tests/store/test_writer.py::test_after_an_io_error_nothing_is_acknowledged_any_more"),
        (MISORDERED,),
    ),
    Guarantee(
        "S2",
        "From the commit of the order on, no attempt, child, timer or retry of the run starts.",
        (
            EXPLORED,
            ANYWHERE,
            "tests/engine/test_stops.py::test_waiting_runs_end_at_once_and_are_never_woken",
            "tests/engine/test_stops.py::test_between_two_attempts_there_is_no_further_one",
            "tests/e2e/test_webhook_runs.py::test_a_terminate_cuts_the_call_in_flight_and_nothing_follows",
        ),
        (BROKEN,),
    ),
    Guarantee(
        "S3",
        "No byte leaves before the attempt that sends it is on disk.",
        (
            EXPLORED,
            "tests/store/test_writer.py::test_after_a_commit_hooks_come_first_then_announcing_callers_then_the_rest",
        ),
        (MISORDERED,),
    ),
    Guarantee(
        "S4",
        "A run has one final state, and never leaves it.",
        (EXPLORED, "tests/rules/test_terminate.py::test_nothing_moves_a_run_that_is_over"),
        (BROKEN,),
    ),
    Guarantee(
        "S5",
        "Of a stop and an end that meet, the first commit wins, and nobody is told otherwise.",
        (
            EXPLORED,
            "tests/rules/test_terminate.py::test_a_run_that_ended_first_stays_as_it_is",
            "tests/engine/test_stops.py::test_an_answer_that_beats_the_cut_is_recorded_as_what_it_is",
        ),
    ),
    Guarantee(
        "S6",
        "Many orders are one: the first actor and reason stand.",
        (
            EXPLORED,
            "tests/rules/test_terminate.py::test_of_two_orders_the_first_ones_actor_reason_and_times_stand",
            "tests/operations/test_terminations.py::test_a_thousand_orders_of_one_run_are_one",
        ),
        (BROKEN,),
    ),
    Guarantee(
        "S7",
        "The result of an attempt that is not the current one is kept as evidence, and changes nothing.",
        (
            EXPLORED,
            "tests/rules/test_results.py::test_the_result_of_an_attempt_that_is_not_current_is_evidence_and_nothing_else",
            "tests/store/test_executions.py::test_a_result_of_an_attempt_that_is_not_current_leaves_evidence_only",
        ),
        (BROKEN,),
    ),
    Guarantee(
        "S8",
        "Nothing revives a run that is over or being stopped: no recovery, retry, timer, callback or clock.",
        (
            EXPLORED,
            KILLED,
            "tests/rules/test_recovery.py::test_a_stopping_run_is_terminated_and_its_attempt_given_up",
            "tests/engine/test_embedded.py::test_after_a_crash_a_stopping_run_is_terminated_before_anything_else",
        ),
        (BROKEN,),
    ),
    Guarantee(
        "S9",
        "What is recorded as not sent was not sent; what was done is never shown as not started.",
        (
            EXPLORED,
            ANYWHERE,
            "tests/engine/test_stops.py::test_the_outcome_says_how_far_the_request_had_got",
            "tests/rules/test_outcomes.py::test_s9_what_is_done_or_in_doubt_is_never_derived_as_not_started",
            "tests/operations/test_receipts.py::test_what_was_cut_stands_where_the_proof_puts_it",
        ),
        (BROKEN,),
    ),
    Guarantee(
        "S10",
        "Every step has exactly one outcome once it is settled.",
        (EXPLORED, ANYWHERE, "tests/rules/test_results.py::test_each_item_settles_once_and_the_run_stays_where_it_is"),
        (BROKEN,),
    ),
    Guarantee(
        "S11",
        "With `cascade`, no descendant stays active, and nothing outside the tree is touched.",
        (
            "tests/store/test_set_based_stops.py::"
            "test_a_tree_is_stopped_through_its_finished_members_and_nothing_outside_is_touched",
            "tests/store/test_set_based_stops.py::"
            "test_a_tree_too_large_for_one_commit_is_fenced_until_the_rest_has_followed",
            "tests/engine/test_stops.py::test_a_cascade_cuts_the_attempts_of_every_run_below",
        ),
    ),
    Guarantee(
        "S12",
        "A run with nothing in flight is never seen as still stopping.",
        (
            EXPLORED,
            "tests/rules/test_terminate.py::test_with_nothing_in_flight_the_run_is_terminated_in_the_accepting_commit",
        ),
    ),
    Guarantee(
        "S13",
        "Nothing is left behind: no timer, no place in a line, no callback, no slot.",
        (
            EXPLORED,
            ANYWHERE,
            "tests/engine/test_embedded.py::test_no_more_attempts_than_slots_and_everyone_gets_a_turn",
        ),
        (BROKEN,),
    ),
    Guarantee(
        "S14",
        "Whoever reads after the 200 sees it: in C1's views, in ours, in lists, in the stream of events.",
        (
            "tests/operations/test_terminations.py::"
            "test_a_run_with_a_call_in_flight_is_stopping_and_shown_as_process_step",
            "tests/operations/test_events.py::test_the_run_as_it_is_comes_first_and_then_each_change_until_its_end",
            "tests/e2e/test_python_sdk.py::test_a_waiting_run_is_terminated_at_once_and_a_second_time_without_effect",
        ),
    ),
    Guarantee(
        "S15",
        "Another tenant's id cannot be told from one that nobody has.",
        (
            "tests/api/test_bad_input.py::test_an_unknown_id_and_another_tenants_id_get_the_same_bytes",
            "tests/operations/test_rights.py::test_another_tenants_things_are_not_found",
        ),
    ),
    Guarantee(
        "S16",
        "Each transition into `TERMINATE` has exactly one audit row, which names its cause.",
        (
            EXPLORED,
            "tests/store/test_set_based_stops.py::test_each_transition_into_terminate_has_exactly_one_audit_row",
            "tests/store/test_executions.py::test_the_audit_row_is_in_the_commit_of_the_stop",
        ),
        (BROKEN,),
    ),
    Guarantee(
        "L1",
        "The deadline holds even if the attempt ignores its cancellation, and a restart settles what is overdue first.",
        (
            "tests/engine/test_stops.py::test_the_deadline_holds_even_if_the_attempt_ignores_its_cancellation",
            "tests/engine/test_embedded.py::test_after_a_crash_a_stopping_run_is_terminated_before_anything_else",
        ),
    ),
    Guarantee(
        "L2",
        "A terminate works with the automation deleted, the disk full, all readers busy, the server about to stop.",
        (
            "tests/store/test_executions.py::test_on_a_full_disk_runs_are_stopped_and_settled_and_none_is_started",
            "tests/api/test_lanes.py::test_a_stop_goes_through_while_the_readers_have_all_there_is",
            "tests/engine/test_embedded.py::test_a_stop_works_while_draining",
            "tests/operations/test_automations.py::test_a_deleted_automation_is_gone_and_its_runs_finish",
            "tests/e2e/test_operating.py::test_a_restored_server_is_frozen_and_can_still_stop_runs",
        ),
    ),
)

HEAD: Final = """\
# Guarantees

What Interlock promises of the stop, and the tests that would fail if it did not keep it.

Made by `python -m tools.guarantees`; a test sees to it that each test named here exists. *Broken on purpose* names
tests that take a deliberately wrong variant of the rules, or of the order of things, and fail unless the search through
every small world finds it out.

"""
TAIL: Final = """
How soon all this happens is measured, beside what the machine can do at most: `benchmarks/RESULTS.md` in the source.

## What is not promised

- That a far end which has received a request does not act on it. Its connection is closed; the rest is its affair.
- That anything which was done is undone.
- That a call which may not be repeated is made after a crash: its outcome is then unknown, and the receipt says so.
- That a disk which loses what it has acknowledged is noticed. SQLite's `synchronous=FULL` is read back at every start;
  what lies below it is trusted.
"""


def page() -> str:
    """The page as it has to be."""
    rows = ["| | what is promised | tests | broken on purpose |\n|---|---|---|---|\n"]
    rows += [f"| {g.name} | {g.promise} | {_list(g.tests)} | {_list(g.mutants)} |\n" for g in GUARANTEES]
    return HEAD + "".join(rows) + TAIL


def missing() -> list[str]:
    """Tests that are named and are not there."""
    known: dict[str, set[str]] = {}
    named = {test for each in GUARANTEES for test in (*each.tests, *each.mutants)}
    gone = []
    for test in sorted(named):
        path, _, function = test.partition("::")
        if path not in known:
            file = ROOT / path
            tree = ast.parse(file.read_text(encoding="utf-8")) if file.exists() else ast.Module([], [])
            known[path] = {
                node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }
        if function not in known[path]:
            gone.append(test)
    return gone


def _list(tests: tuple[str, ...]) -> str:
    return ", ".join(f"`{test}`" for test in tests) or "–"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
