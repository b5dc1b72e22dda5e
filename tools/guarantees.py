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
RESULTS: Final = ROOT / "benchmarks" / "RESULTS.md"
STOPS: Final = frozenset({"Terminate", "Stopping many", "Overload"})
"""Parts of the benchmark."""

EXPLORED: Final = "tests/rules/test_exploration.py::test_every_property_of_the_stop_holds_in_every_world"
BROKEN: Final = "tests/rules/test_exploration.py::test_a_broken_rule_is_found_out"
MISORDERED: Final = "tests/rules/test_exploration.py::test_a_wrong_order_of_things_is_found_out"
ANYWHERE: Final = "tests/engine/test_stops.py::test_wherever_a_stop_falls_it_starts_nothing_and_tells_the_truth"
SIMULATED: Final = (
    "tests/simulation/test_simulation.py::test_a_life_breaks_no_promise_and_is_the_same_when_it_is_lived_again"
)
SABOTAGED: Final = "tests/simulation/test_simulation.py::test_a_server_that_is_wrong_on_purpose_is_found_out"
HISTORIES: Final = "tests/histories/test_histories.py::test_every_history_of_stop_and_end_is_linearizable"
LIES: Final = "tests/histories/test_liars.py::test_a_lie_is_found_out"
KILLED: Final = "tests/faults/test_kill_points.py::test_killed_at_any_point_it_loses_nothing_and_tells_the_truth"
ANSWERED_EARLY: Final = "tests/faults/test_kill_points.py::test_an_answer_before_its_commit_is_found_out"
UNPOWERED: Final = (
    "tests/faults/test_power_loss.py::test_whatever_a_disk_keeps_nothing_acknowledged_is_lost_and_nothing_is_torn"
)
UNSYNCED: Final = "tests/faults/test_power_loss.py::test_without_its_syncs_it_is_found_out"
LOADED: Final = "tests/crash/test_kill_minus_nine.py::test_twenty_kills_at_random_moments_under_load"
OVERLOADED: Final = (
    "tests/overload/test_overload.py::"
    "test_at_twice_and_five_times_the_load_every_stop_gets_through_and_some_starts_are_turned_away"
)

KNOWN: Final = {
    "model": (EXPLORED, "every world of the small protocol: two clients, a worker, crashes, lost answers"),
    "simulator": (SIMULATED, "whole lives of a server; `make simulate` lives 5,000 of them"),
    "histories": (HISTORIES, "terminate, complete and read from eight threads, checked for linearizability"),
    "kill points": (KILLED, "`kill -9` at every write, sync and answer of a scenario, and again during recovery"),
    "power loss": (UNPOWERED, "images of a disk that lost its power at every event of a scenario"),
    "kills under load": (LOADED, "`kill -9` at random moments under load"),
    "overload": (OVERLOADED, "twice and five times the load that the server can take"),
    "broken rules": (BROKEN, "wrong rules, each of which the model has to find"),
    "broken order": (MISORDERED, "effects or answers before their commit, which the model has to find"),
    "sabotage": (SABOTAGED, "wrong servers, each of which the simulator has to find"),
    "lies": (LIES, "somebody between server and clients lies, and the histories have to show it"),
    "early answers": (ANSWERED_EARLY, "a server that answers before its commit, which the kill points have to find"),
    "lost syncs": (UNSYNCED, "a log without its syncs, of which the power loss has to find out"),
}
"""What is named again and again, by a short name."""


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
        (
            EXPLORED,
            SIMULATED,
            HISTORIES,
            KILLED,
            UNPOWERED,
            LOADED,
            "tests/store/test_writer.py::test_after_an_io_error_nothing_is_acknowledged_any_more",
            "tests/store/test_writer.py::test_a_defect_met_by_one_job_is_its_callers_and_stops_nobody",
        ),
        (MISORDERED, SABOTAGED, LIES, ANSWERED_EARLY, UNSYNCED),
    ),
    Guarantee(
        "S2",
        "From the commit of the order on, no attempt, child, timer or retry of the run starts.",
        (
            EXPLORED,
            SIMULATED,
            KILLED,
            ANYWHERE,
            "tests/engine/test_stops.py::test_waiting_runs_end_at_once_and_are_never_woken",
            "tests/engine/test_stops.py::test_between_two_attempts_there_is_no_further_one",
            "tests/e2e/test_webhook_runs.py::test_a_terminate_cuts_the_call_in_flight_and_nothing_follows",
        ),
        (BROKEN, SABOTAGED),
    ),
    Guarantee(
        "S3",
        "No byte leaves before the attempt that sends it is on disk.",
        (
            EXPLORED,
            SIMULATED,
            UNPOWERED,
            "tests/store/test_writer.py::test_after_a_commit_hooks_come_first_then_announcing_callers_then_the_rest",
        ),
        (MISORDERED, SABOTAGED, UNSYNCED),
    ),
    Guarantee(
        "S4",
        "A run has one final state, and never leaves it.",
        (
            EXPLORED,
            SIMULATED,
            HISTORIES,
            KILLED,
            "tests/rules/test_terminate.py::test_nothing_moves_a_run_that_is_over",
        ),
        (BROKEN, SABOTAGED, LIES),
    ),
    Guarantee(
        "S5",
        "Of a stop and an end that meet, the first commit wins, and nobody is told otherwise.",
        (
            EXPLORED,
            SIMULATED,
            HISTORIES,
            "tests/rules/test_terminate.py::test_a_run_that_ended_first_stays_as_it_is",
            "tests/engine/test_stops.py::test_an_answer_that_beats_the_cut_is_recorded_as_what_it_is",
        ),
        (BROKEN, SABOTAGED, LIES),
    ),
    Guarantee(
        "S6",
        "Many orders are one: the first actor and reason stand.",
        (
            EXPLORED,
            SIMULATED,
            HISTORIES,
            "tests/rules/test_terminate.py::test_of_two_orders_the_first_ones_actor_reason_and_times_stand",
            "tests/operations/test_terminations.py::test_a_thousand_orders_of_one_run_are_one",
        ),
        (BROKEN, SABOTAGED, LIES),
    ),
    Guarantee(
        "S7",
        "The result of an attempt that is not the current one is kept as evidence, and changes nothing.",
        (
            EXPLORED,
            SIMULATED,
            "tests/rules/test_results.py::test_the_result_of_an_attempt_that_is_not_current_is_evidence_and_nothing_else",
            "tests/store/test_executions.py::test_a_result_of_an_attempt_that_is_not_current_leaves_evidence_only",
        ),
        (BROKEN, SABOTAGED),
    ),
    Guarantee(
        "S8",
        "Nothing revives a run that is over or being stopped: no recovery, retry, timer, callback or clock.",
        (
            EXPLORED,
            SIMULATED,
            KILLED,
            LOADED,
            "tests/rules/test_recovery.py::test_a_stopping_run_is_terminated_and_its_attempt_given_up",
            "tests/engine/test_embedded.py::test_after_a_crash_a_stopping_run_is_terminated_before_anything_else",
        ),
        (BROKEN, SABOTAGED),
    ),
    Guarantee(
        "S9",
        "What is recorded as not sent was not sent; what was done is never shown as not started.",
        (
            EXPLORED,
            SIMULATED,
            KILLED,
            ANYWHERE,
            "tests/engine/test_stops.py::test_the_outcome_says_how_far_the_request_had_got",
            "tests/rules/test_outcomes.py::test_s9_what_is_done_or_in_doubt_is_never_derived_as_not_started",
            "tests/rules/test_outcomes.py::"
            "test_an_item_that_was_open_when_its_attempt_was_given_up_is_in_doubt_unless_nothing_left",
            "tests/operations/test_receipts.py::test_what_was_cut_stands_where_the_proof_puts_it",
            "tests/operations/test_receipts.py::"
            "test_what_an_attempt_sent_is_not_forgotten_when_the_next_one_is_cut_before_it_sends",
            "tests/operations/test_addenda.py::test_what_was_learned_stands_beside_the_outcome_and_changes_none_of_it",
        ),
        (BROKEN, SABOTAGED),
    ),
    Guarantee(
        "S10",
        "Every step has exactly one outcome once it is settled.",
        (
            EXPLORED,
            SIMULATED,
            KILLED,
            ANYWHERE,
            "tests/rules/test_results.py::test_each_item_settles_once_and_the_run_stays_where_it_is",
        ),
        (BROKEN, SABOTAGED),
    ),
    Guarantee(
        "S11",
        "With `cascade`, no descendant stays active, and nothing outside the tree is touched.",
        (
            SIMULATED,
            "tests/store/test_set_based_stops.py::"
            "test_a_tree_is_stopped_through_its_finished_members_and_nothing_outside_is_touched",
            "tests/store/test_set_based_stops.py::"
            "test_a_tree_too_large_for_one_commit_is_fenced_until_the_rest_has_followed",
            "tests/store/test_set_based_stops.py::"
            "test_what_is_fenced_is_not_recovered_released_or_taken_to_its_next_item",
            "tests/engine/test_stops.py::test_a_cascade_cuts_the_attempts_of_every_run_below",
            "tests/operations/test_narrowing.py::test_a_run_that_an_expression_fails_for_is_not_stopped_and_is_counted",
        ),
        (
            SABOTAGED,
            "tests/store/test_set_based_stops.py::test_a_stop_of_another_tree_than_the_one_below_is_found_out",
        ),
    ),
    Guarantee(
        "S12",
        "A run with nothing in flight is never seen as still stopping.",
        (
            EXPLORED,
            SIMULATED,
            HISTORIES,
            "tests/rules/test_terminate.py::test_with_nothing_in_flight_the_run_is_terminated_in_the_accepting_commit",
        ),
        (BROKEN, SABOTAGED),
    ),
    Guarantee(
        "S13",
        "Nothing is left behind: no timer, no place in a line, no callback, no slot.",
        (
            EXPLORED,
            SIMULATED,
            ANYWHERE,
            "tests/engine/test_embedded.py::test_no_more_attempts_than_slots_and_everyone_gets_a_turn",
        ),
        (BROKEN, SABOTAGED),
    ),
    Guarantee(
        "S14",
        "Whoever reads after the 200 sees it: in C1's views, in ours, in lists, in the stream of events.",
        (
            SIMULATED,
            HISTORIES,
            "tests/operations/test_events.py::test_a_stop_is_seen_in_every_view_by_whoever_reads_after_it",
            "tests/operations/test_events.py::test_the_run_as_it_is_comes_first_and_then_each_change_until_its_end",
            "tests/e2e/test_python_sdk.py::test_a_waiting_run_is_terminated_at_once_and_a_second_time_without_effect",
        ),
        (
            SABOTAGED,
            LIES,
            "tests/operations/test_events.py::test_a_view_that_shows_the_run_as_it_was_is_found_out",
            "tests/operations/test_events.py::test_a_stream_that_hears_of_no_commit_is_found_out",
        ),
    ),
    Guarantee(
        "S15",
        "Another tenant's id cannot be told from one that nobody has.",
        (
            SIMULATED,
            "tests/api/test_bad_input.py::test_an_unknown_id_and_another_tenants_id_get_the_same_bytes",
            "tests/operations/test_rights.py::test_another_tenants_things_are_not_found",
        ),
        (
            SABOTAGED,
            "tests/api/test_bad_input.py::"
            "test_an_answer_that_tells_another_tenants_id_from_an_unknown_one_is_found_out",
        ),
    ),
    Guarantee(
        "S16",
        "Each transition into `TERMINATE` has exactly one audit row, which names its cause.",
        (
            EXPLORED,
            SIMULATED,
            KILLED,
            "tests/store/test_set_based_stops.py::test_each_transition_into_terminate_has_exactly_one_audit_row",
            "tests/store/test_executions.py::test_the_audit_row_is_in_the_commit_of_the_stop",
        ),
        (BROKEN, SABOTAGED),
    ),
    Guarantee(
        "S17",
        "Nothing that a caller, a remote, a tenant or a stored document contains keeps the server from a terminate, or "
        "ends the process.",
        (
            SIMULATED,
            "tests/hostile/test_headers.py::test_a_parser_at_the_edge_is_linear_and_small",
            "tests/hostile/test_http.py::test_framing",
            "tests/hostile/test_json.py::test_reading_at_the_limits_is_a_small_slice_of_work",
            "tests/hostile/test_json.py::test_an_unreadable_run_stops_nothing_but_itself",
            "tests/hostile/test_remotes.py::test_runs_are_terminated_while_receivers_flood",
            "tests/hostile/test_slow_readers.py::"
            "test_all_that_readers_can_make_the_server_hold_is_a_few_hundred_megabytes",
            "tests/hostile/test_callbacks.py::test_early_callbacks_are_answered_at_once_and_delay_no_start",
        ),
        (
            "tests/test_loops.py::test_a_step_of_a_task_that_is_too_long_is_found",
            "tests/test_loops.py::test_received_data_that_takes_too_long_is_found",
        ),
    ),
    Guarantee(
        "S18",
        "What is sent is the value that was computed; masking is for views.",
        (
            "tests/hostile/test_json.py::test_a_secret_is_sent_as_it_is_and_masked_where_it_is_shown",
            "tests/hostile/test_json.py::test_a_secret_reaches_children_and_grandchildren_and_stays_one",
            "tests/hostile/test_json.py::test_data_that_look_like_our_masking_are_data",
        ),
        ("tests/hostile/test_json.py::test_a_masked_value_that_is_sent_is_found_out",),
    ),
    Guarantee(
        "L1",
        "The deadline holds even if the attempt ignores its cancellation, and a restart settles what is overdue first.",
        (
            SIMULATED,
            "tests/engine/test_stops.py::test_the_deadline_holds_even_if_the_attempt_ignores_its_cancellation",
            "tests/engine/dispatcher_contract.py::"
            "test_a_deadline_that_passes_while_its_order_is_committed_holds_at_once",
            "tests/engine/test_embedded.py::test_after_a_crash_a_stopping_run_is_terminated_before_anything_else",
            "tests/faults/test_stopped_process.py::test_it_ends_itself_and_the_next_start_settles_what_is_overdue",
            "tests/faults/test_stopped_process.py::"
            "test_what_came_due_while_nobody_was_there_is_settled_before_the_first_answer",
        ),
        (
            SABOTAGED,
            "tests/engine/test_stops.py::test_a_deadline_that_waits_for_the_attempt_is_found_out",
            "tests/engine/test_embedded.py::test_a_restart_that_leaves_a_stopping_run_to_its_deadline_is_found_out",
            "tests/faults/test_stopped_process.py::test_one_that_does_not_mind_is_found_out",
        ),
    ),
    Guarantee(
        "L2",
        "A terminate works with the automation or the webhook deleted, the disk full or slow, every slot taken, "
        "at five times the load that the server can take, the tenant revoked, and until the process ends.",
        (
            SIMULATED,
            OVERLOADED,
            "tests/store/test_executions.py::test_on_a_full_disk_runs_are_stopped_and_settled_and_none_is_started",
            "tests/e2e/test_operating.py::test_on_a_full_disk_there_is_room_for_many_stops",
            "tests/api/test_lanes.py::test_a_stop_goes_through_while_the_readers_have_all_there_is",
            "tests/engine/test_embedded.py::test_a_stop_works_while_draining",
            "tests/e2e/test_operating.py::test_a_draining_server_still_stops_runs",
            "tests/operations/test_access.py::test_a_revoked_tenant_is_let_in_no_more_and_its_runs_are_terminated",
            "tests/operations/test_automations.py::test_a_deleted_automation_is_gone_and_its_runs_finish",
            "tests/e2e/test_operating.py::test_a_restored_server_is_frozen_and_can_still_stop_runs",
            "tests/e2e/test_stops_at_odds.py::test_with_its_webhook_deleted_a_call_in_flight_is_cut",
            "tests/e2e/test_stops_at_odds.py::test_with_its_webhook_deleted_a_retry_is_never_made",
            "tests/e2e/test_stops_at_odds.py::test_with_their_automation_deleted_runs_at_rest_and_in_flight_are_stopped",
            "tests/e2e/test_stops_at_odds.py::test_with_all_slots_taken_by_far_ends_that_hang_everybody_can_be_stopped",
            "tests/faults/test_disk_errors.py::test_a_full_disk_refuses_and_goes_on_when_it_has_room",
            "tests/faults/test_disk_errors.py::test_on_a_slow_disk_runs_are_stopped_and_the_server_is_alive",
        ),
        ("tests/api/test_lanes.py::test_a_stop_that_queues_with_the_readers_is_found_out",),
    ),
)

HEAD: Final = """\
# Guarantees

What Interlock promises of the stop, the tests that would fail if it did not keep it, and how soon it keeps it.

Made by `python -m tools.guarantees`; a test sees to it that each test named here exists. *Broken on purpose* names
tests that take a server, a rule or an order of things that is deliberately wrong, and fail unless it is found out.

"""
SHORT: Final = """
## The tests by their short names

Each is started by `.venv/bin/pytest` and its file; how often it is repeated, and what it found for this release, stands
in [the reliability report](reliability-report.md).

| | what it looks at | test |
|---|---|---|
"""
FURTHER: Final = """
## The other tests

What each of them is called, in words, and where it stands.
"""
TAIL: Final = """
## What is not promised

- That a far end which has received a request does not act on it. Its connection is closed; the rest is its affair.
- That anything which was done is undone.
- That a call which may not be repeated is made after a crash: its outcome is then unknown, and the receipt says so.
- That a disk which loses what it has acknowledged is noticed. SQLite's `synchronous=FULL` is read back at every start;
  what lies below it is trusted.
- That a process which was stopped or starved for longer than five seconds keeps its deadlines meanwhile. It ends itself
  when it notices, and the next start settles what is overdue before it serves.
- That a server which was restored from a backup knows what was done after that backup. The receipts of what was not at
  rest in the backup say so, for good.
"""


def page() -> str:
    """The page as it has to be."""
    rows = ["| | what is promised | tests | broken on purpose |\n|---|---|---|---|\n"]
    rows += [f"| {g.name} | {g.promise} | {_short(g.tests)} | {_short(g.mutants)} |\n" for g in GUARANTEES]
    short = [f"| {name} | {what} | {_words(test)} |\n" for name, (test, what) in KNOWN.items()]
    further = [line for guarantee in GUARANTEES for line in _further(guarantee)]
    return "".join((HEAD, *rows, SHORT, *short, FURTHER, *further, _how_soon(), TAIL))


def _how_soon() -> str:
    """The figures that have a target, of the parts of the benchmark that are about the stop."""
    found: list[str] = []
    part, ran = "", ""
    for line in RESULTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("- date: "):
            ran = line.removeprefix("- date: ").partition(";")[0]
        elif line.startswith("## "):
            part = line.removeprefix("## ")
        elif part in STOPS and line.endswith(("✓ |", "✗ |")):
            found.append(line)
    head = f"""
## How soon

What the benchmarks measured on {ran}, on two cores that server, clients and far ends share. A ✗ stands where the target
was missed. All figures, the machine, and how to repeat them: `benchmarks/RESULTS.md` in the source.

| figure | measured | what the machine can do at most | ratio | target |
|---|---|---|---|---|
"""
    return head + "".join(f"{line}\n" for line in found)


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


def _short(tests: tuple[str, ...]) -> str:
    """Those that have a short name, and how many others there are."""
    names = {test: name for name, (test, _) in KNOWN.items()}
    known = [names[test] for test in tests if test in names]
    others = len(tests) - len(known)
    return ", ".join([*known, *([f"{others} more" if known else f"{others} below"] if others else [])])


def _further(guarantee: Guarantee) -> list[str]:
    """The tests that have no short name, in words."""
    known = {test for test, _ in KNOWN.values()}
    lines = [f"- {_words(test)}\n" for test in guarantee.tests if test not in known]
    lines += [f"- broken on purpose: {_words(test)}\n" for test in guarantee.mutants if test not in known]
    return [f"\n**{guarantee.name}**\n\n", *lines] if lines else []


def _words(test: str) -> str:
    """A test as it is meant to be read: what its name says, and where it stands."""
    path, _, name = test.partition("::")
    return f"{name.removeprefix('test_').replace('_', ' ')} (`{path}`)"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
