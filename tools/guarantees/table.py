"""The guarantees of a termination, each with the tests that would fail if it were broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

EXPLORED: Final = "tests/rules/test_exploration.py::test_every_property_of_a_termination_holds_in_every_state"
BROKEN: Final = "tests/rules/test_exploration.py::test_a_broken_rule_is_detected"
MISORDERED: Final = "tests/rules/test_exploration.py::test_a_wrong_order_of_events_is_detected"
ANYWHERE: Final = "tests/engine/test_stops.py::test_a_stop_at_any_point_starts_nothing_and_its_receipt_is_true"
SIMULATED: Final = (
    "tests/simulation/test_simulation.py::test_a_simulation_keeps_every_guarantee_and_repeats_identically"
)
SABOTAGED: Final = "tests/simulation/test_simulation.py::test_a_deliberately_wrong_server_is_detected"
HISTORIES: Final = "tests/histories/test_histories.py::test_every_history_of_stop_and_end_is_linearizable"
LIES: Final = "tests/histories/test_faulty_proxy.py::test_a_false_answer_is_detected"
KILLED: Final = "tests/faults/test_kill_points.py::test_a_kill_at_any_point_loses_nothing_and_receipts_stay_true"
ANSWERED_EARLY: Final = "tests/faults/test_kill_points.py::test_an_answer_before_its_commit_is_detected"
UNPOWERED: Final = "tests/faults/test_power_loss.py::test_no_disk_image_loses_or_tears_an_acknowledged_change"
UNSYNCED: Final = "tests/faults/test_power_loss.py::test_a_log_without_syncs_is_detected"
LOADED: Final = "tests/crash/test_kill_minus_nine.py::test_twenty_kills_at_random_moments_under_load"
OVERLOADED: Final = "tests/overload/test_overload.py::test_overloaded_server_does_every_stop_and_refuses_some_starts"

KNOWN: Final = {
    "model": (EXPLORED, "every state of a small model: two clients, a worker, crashes, lost answers"),
    "simulator": (SIMULATED, "a whole server in a simulated world with faults; `make simulate` runs 5,000 seeds"),
    "histories": (HISTORIES, "terminate, complete and read from eight threads, checked for linearizability"),
    "kill points": (KILLED, "`kill -9` at every write, sync and answer of a scenario, and again during recovery"),
    "power loss": (UNPOWERED, "disk images after a power loss at every event of a scenario"),
    "kills under load": (LOADED, "`kill -9` at random moments under load"),
    "overload": (OVERLOADED, "twice and five times the capacity of the server"),
    "broken rules": (BROKEN, "wrong rules; the model must detect each of them"),
    "broken order": (MISORDERED, "effects or answers before their commit; the model must detect them"),
    "sabotage": (SABOTAGED, "wrong servers; the simulator must detect each of them"),
    "lies": (LIES, "a proxy between server and clients falsifies answers; the histories must show it"),
    "early answers": (ANSWERED_EARLY, "a server that answers before its commit; the kill points must detect it"),
    "lost syncs": (UNSYNCED, "a log without syncs; the power loss test must detect it"),
}
"""Tests that many guarantees name, by their short name, with what each of them checks."""


@dataclass(frozen=True, slots=True)
class Guarantee:
    """One guarantee."""

    name: str
    promise: str
    tests: tuple[str, ...]
    mutants: tuple[str, ...] = ()
    """Tests that break the guarantee on purpose, and fail unless the defect is detected."""


GUARANTEES: Final = (
    Guarantee(
        "S1",
        "A termination that was answered 200 is never lost, even if the server crashes afterwards.",
        (
            EXPLORED,
            SIMULATED,
            HISTORIES,
            KILLED,
            UNPOWERED,
            LOADED,
            "tests/store/test_writer.py::test_after_an_io_error_nothing_is_acknowledged_any_more",
            "tests/store/test_writer.py::test_a_defect_in_one_job_fails_its_caller_alone",
        ),
        (MISORDERED, SABOTAGED, LIES, ANSWERED_EARLY, UNSYNCED),
    ),
    Guarantee(
        "S2",
        "From the commit of a termination on, no attempt, child, timer or retry of the run starts.",
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
        "No byte is sent before the attempt that sends it is on disk.",
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
        "If a termination and the end of a run coincide, the first commit wins, and no client sees anything else.",
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
        "Repeated terminates of a run are one termination: the first actor and reason are kept.",
        (
            EXPLORED,
            SIMULATED,
            HISTORIES,
            "tests/rules/test_terminate.py::test_second_terminate_keeps_the_first_actor_reason_and_times",
            "tests/operations/test_terminations.py::test_a_thousand_terminates_of_one_run_are_one",
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
        "Nothing revives a terminal or stopping run: no recovery, retry, timer, callback or clock.",
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
        "A request that is recorded as not sent was not sent; a step that was done is never shown as not started.",
        (
            EXPLORED,
            SIMULATED,
            KILLED,
            ANYWHERE,
            "tests/engine/test_stops.py::test_the_outcome_says_how_far_the_request_had_got",
            "tests/rules/test_outcomes.py::test_s9_what_is_done_or_in_doubt_is_never_derived_as_not_started",
            "tests/rules/test_outcomes.py::test_first_open_item_is_in_doubt_as_its_attempt_is",
            "tests/operations/test_receipts.py::test_what_was_cut_stands_where_the_proof_puts_it",
            "tests/operations/test_receipts.py::"
            "test_what_an_attempt_sent_is_not_forgotten_when_the_next_one_is_cut_before_it_sends",
            "tests/operations/test_addenda.py::test_an_addendum_stands_beside_the_outcome_and_does_not_change_it",
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
            "tests/engine/test_items.py::test_each_item_is_recorded_before_the_next_one_begins",
            "tests/engine/test_item_stops.py::test_stop_cuts_the_item_in_flight_and_starts_no_other",
            "tests/engine/test_item_recovery.py::test_restarted_server_performs_only_the_items_that_are_open",
            "tests/faults/test_item_kill_points.py::test_kill_at_any_point_repeats_no_item_on_record",
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
            "tests/store/test_fenced_trees.py::"
            "test_a_tree_too_large_for_one_commit_is_fenced_until_the_rest_has_followed",
            "tests/store/test_fenced_trees.py::test_what_is_fenced_is_not_recovered_released_or_taken_to_its_next_item",
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
        "A terminated run leaves no timer, queue entry, callback or slot.",
        (
            EXPLORED,
            SIMULATED,
            ANYWHERE,
            "tests/engine/test_embedded.py::test_no_more_attempts_than_slots_and_every_run_gets_a_slot",
        ),
        (BROKEN, SABOTAGED),
    ),
    Guarantee(
        "S14",
        "Every read after the 200 shows the termination: C1's views, Interlock's views, lists and the event stream.",
        (
            SIMULATED,
            HISTORIES,
            "tests/operations/test_events.py::test_every_view_shows_a_stop_to_later_readers",
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
        "Another tenant's id cannot be distinguished from an id that does not exist.",
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
        "No input from a caller, a remote, a tenant or a stored document prevents a terminate or ends the process.",
        (
            SIMULATED,
            "tests/hostile/test_headers.py::test_a_parser_at_the_edge_is_linear_and_small",
            "tests/hostile/test_http.py::test_framing",
            "tests/hostile/test_json.py::test_reading_at_the_limits_is_a_small_slice_of_work",
            "tests/hostile/test_stored_json.py::test_an_unreadable_run_stops_nothing_but_itself",
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
        "The server sends the computed value; secrets are masked in all that is shown, and stored encrypted.",
        (
            "tests/hostile/test_json_secrets.py::test_a_secret_is_sent_as_it_is_and_masked_where_it_is_shown",
            "tests/hostile/test_json_secrets.py::test_a_secret_reaches_children_and_grandchildren_and_stays_one",
            "tests/hostile/test_json_secrets.py::test_data_that_look_like_our_masking_are_data",
            "tests/hostile/test_secrets.py::test_what_is_sent_is_the_value_and_what_is_stored_or_shown_is_the_mask",
        ),
        (
            "tests/hostile/test_json_secrets.py::test_a_masked_value_that_is_sent_is_found_out",
            "tests/hostile/test_secrets.py::test_secret_in_the_clear_is_found_out",
        ),
    ),
    Guarantee(
        "L1",
        "The deadline holds even if the attempt ignores its cancellation, and a restart settles what is overdue first.",
        (
            SIMULATED,
            "tests/engine/test_stops.py::test_the_deadline_holds_even_if_the_attempt_ignores_its_cancellation",
            "tests/engine/dispatcher_contract.py::test_a_deadline_that_passes_during_the_commit_holds_immediately",
            "tests/engine/test_embedded.py::test_after_a_crash_a_stopping_run_is_terminated_before_anything_else",
            "tests/faults/test_stopped_process.py::test_it_ends_itself_and_the_next_start_settles_what_is_overdue",
            "tests/faults/test_stopped_process.py::test_overdue_work_is_settled_before_the_first_answer",
        ),
        (
            SABOTAGED,
            "tests/engine/test_stops.py::test_a_deadline_that_waits_for_the_attempt_is_found_out",
            "tests/engine/test_embedded.py::test_a_restart_that_leaves_a_stopping_run_to_its_deadline_is_found_out",
            "tests/faults/test_stopped_process.py::test_a_server_that_does_not_exit_is_detected",
        ),
    ),
    Guarantee(
        "L2",
        "A terminate works with the automation or the webhook deleted, the disk full or slow, every slot taken, "
        "at five times the capacity of the server, the tenant revoked, and until the process ends.",
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
            "tests/e2e/test_stops_at_odds.py::test_with_their_automation_deleted_waiting_and_calling_runs_are_stopped",
            "tests/e2e/test_stops_at_odds.py::test_with_all_slots_taken_by_hanging_receivers_every_run_can_be_stopped",
            "tests/faults/test_disk_errors.py::test_a_full_disk_refuses_and_goes_on_when_it_has_room",
            "tests/faults/test_disk_errors.py::test_on_a_slow_disk_runs_are_stopped_and_the_server_is_alive",
        ),
        ("tests/api/test_lanes.py::test_a_stop_that_queues_with_the_readers_is_found_out",),
    ),
)
