"""Every world of the small protocol keeps what the stop promises; and a search that misses nothing misses no mutant."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from interlock.rules.decide import decide
from interlock.rules.decision import CallbackTaken, Decision, Interrupt, LateEvidence, StepSettled, Verdict
from interlock.rules.events import Announce, CalledBack, Event, Polled, Prepared, Recovered, Settled, Terminated
from interlock.rules.follow import follow
from interlock.rules.model import SECOND, Actor, Mode, Result, Situation, TerminationRequest
from interlock.rules.outcomes import INTERRUPTED, Outcome
from interlock.rules.states import TERMINAL, State, WaitingFor
from interlock.rules.stop import end_stopping
from simulation.sabotage import goes_on, leaves_no_audit, never_started, revives, sends_no_interrupt
from tests.rules.exploration import explore
from tests.rules.explored_world import Protocol
from tests.rules.runs import attempt_of

GENTLY = TerminationRequest(Actor("ann"), "first", Mode.DRAIN, deadline=5 * SECOND)
AT_ONCE = TerminationRequest(Actor("bob"), "second", deadline=0)


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol(),
        Protocol(repeatable=False, crashes=2),
        Protocol(orders=(GENTLY, AT_ONCE), losses=0, crashes=2),
        Protocol(callbacks=2, crashes=0),
    ],
    ids=["interrupt and drain", "not repeatable, crashing twice", "drain and at once, crashing twice", "called twice"],
)
def test_every_property_of_a_termination_holds_in_every_state(protocol: Protocol) -> None:
    finding = explore(protocol)
    assert finding.broken is None, finding
    assert finding.worlds > 10_000


# --- broken protocols -------------------------------------------------------------------------------------------------


def no_epoch_check(situation: Situation, event: Event) -> Decision:
    """Take every report for one of the attempt in flight."""
    if isinstance(event, Settled) and situation.execution.in_flight:
        event = replace(event, attempt=attempt_of(situation.execution))
    return decide(situation, event)


def no_epoch_check_when_taken_on(situation: Situation, event: Event) -> Decision:
    """What was prepared is announced whatever the run has become meanwhile, unless it is over."""
    if isinstance(event, Prepared) and situation.execution.state not in TERMINAL:
        waiting = replace(situation.execution, state=State.PENDING)
        return follow(replace(situation, execution=waiting), event.next, event.at, event.holder)
    return decide(situation, event)


def unconditional_write(situation: Situation, event: Event) -> Decision:
    """An order is written without looking at where the run stands."""
    decision = decide(situation, event)
    if isinstance(event, Terminated) and decision.verdict is Verdict.ALREADY_FINISHED:
        return replace(decision, execution=replace(decision.execution, state=State.TERMINATE), moved=True)
    return decision


def late_result_replaces_the_outcome(situation: Situation, event: Event) -> Decision:
    """A result that comes too late ends the run after all."""
    decision = decide(situation, event)
    if any(isinstance(record, LateEvidence) for record in decision.records):
        return replace(decision, execution=replace(decision.execution, state=State.DONE), moved=True)
    return decision


def interrupt_counts_as_outcome(situation: Situation, event: Event) -> Decision:
    """Let every cancelled perform settle its step, whatever cancelled it."""
    decision = decide(situation, event)
    if isinstance(event, Settled) and event.result.outcome in INTERRUPTED and not decision.moved:
        failed = decide(situation, replace(event, result=Result(Outcome.FAILED)))
        records = tuple(
            replace(record, result=event.result) if isinstance(record, StepSettled) else record
            for record in failed.records
        )
        return replace(failed, records=records)
    return decision


def order_keeps_the_epoch(situation: Situation, event: Event) -> Decision:
    """An order moves the state and leaves the epoch, so that the interrupt is not above the attempt."""
    decision = decide(situation, event)
    if not isinstance(event, Terminated) or not decision.moved:
        return decision
    epoch = situation.execution.epoch
    effects = tuple(
        replace(effect, epoch=epoch) if isinstance(effect, Interrupt) else effect for effect in decision.effects
    )
    return replace(decision, execution=replace(decision.execution, epoch=epoch), effects=effects)


def second_order_takes_over(situation: Situation, event: Event) -> Decision:
    """A repeated order is accepted as if it were the first."""
    execution = situation.execution
    if isinstance(event, Terminated) and execution.state is State.STOPPING:
        return decide(replace(situation, execution=replace(execution, state=State.PROCESS_STEP)), event)
    return decide(situation, event)


def deadline_forgets_the_attempt(situation: Situation, event: Event) -> Decision:
    """A stop without a settled outcome for the attempt it cut off."""
    decision = decide(situation, event)
    if situation.execution.state is State.STOPPING and decision.moved and decision == end_stopping(situation, event.at):
        return replace(decision, records=())
    return decision


def deadline_is_lost(situation: Situation, event: Event) -> Decision:
    """A stopping run with nothing that would ever end it."""
    decision = decide(situation, event)
    if decision.execution.state is State.STOPPING:
        return replace(decision, execution=replace(decision.execution, wake_at=None))
    return decision


def order_that_came_too_late_is_accepted(situation: Situation, event: Event) -> Decision:
    """A run that ended first is said to have been stopped."""
    decision = decide(situation, event)
    if isinstance(event, Terminated) and decision.verdict is Verdict.ALREADY_FINISHED:
        return replace(decision, verdict=Verdict.ACCEPTED, records=())
    return decision


def order_is_told_that_the_run_had_ended(situation: Situation, event: Event) -> Decision:
    """A run that is being stopped is said to have ended by itself."""
    decision = decide(situation, event)
    if isinstance(event, Terminated) and decision.verdict is Verdict.REPEATED:
        return replace(decision, verdict=Verdict.ALREADY_FINISHED)
    return decision


def crash_counts_as_order(situation: Situation, event: Event) -> Decision:
    """Terminate a run whose process died, although no client asked for it."""
    if isinstance(event, Recovered) and situation.execution.state is State.PROCESS_STEP:
        return end_stopping(situation, event.at)
    return decide(situation, event)


def resting_run_is_stopping(situation: Situation, event: Event) -> Decision:
    """A run with nothing in flight waits for its deadline like any other."""
    decision, state = decide(situation, event), situation.execution.state
    if isinstance(event, Terminated) and state in {State.PENDING, State.WAITING}:
        row = decision.execution
        until = event.at + event.request.deadline
        row = replace(row, state=State.STOPPING, completed_at=None, waiting_for=WaitingFor.DEADLINE, wake_at=until)
        return replace(decision, execution=row)
    return decision


def settled_run_goes_on_stopping(situation: Situation, event: Event) -> Decision:
    """The attempt has settled, and the run still waits for its deadline."""
    decision, before = decide(situation, event), situation.execution
    if isinstance(event, Settled) and before.state is State.STOPPING and decision.moved:
        return replace(decision, execution=before, moved=False)
    return decision


def callback_is_forgotten(situation: Situation, event: Event) -> Decision:
    """The attempt ends as if its step had not been called back, and what was kept is dropped."""
    kept = situation.callback is not None
    decision = decide(replace(situation, callback=None), event)
    if kept and decision.moved and decision.execution.attempt_epoch != situation.execution.attempt_epoch:
        return replace(decision, records=(*decision.records, CallbackTaken(situation.execution.step)))
    return decision


def callback_is_left_behind(situation: Situation, event: Event) -> Decision:
    """What was kept settles the step, and is still there afterwards."""
    decision = decide(situation, event)
    return replace(decision, records=tuple(r for r in decision.records if not isinstance(r, CallbackTaken)))


def callback_of_a_stopping_run_is_kept(situation: Situation, event: Event) -> Decision:
    """A run that is to stop takes its callback all the same."""
    if isinstance(event, CalledBack) and situation.execution.state is State.STOPPING:
        return decide(replace(situation, execution=replace(situation.execution, state=State.PROCESS_STEP)), event)
    return decide(situation, event)


def second_callback_is_accepted(situation: Situation, event: Event) -> Decision:
    """Each callback that comes early is told that it was the first."""
    decision = decide(situation, event)
    if isinstance(event, CalledBack) and situation.callback is not None:
        return replace(decision, verdict=Verdict.ACCEPTED)
    return decision


BROKEN: list[tuple[Callable[[Situation, Event], Decision], set[str]]] = [
    (no_epoch_check, {"S7"}),
    (no_epoch_check_when_taken_on, {"S2", "S10", "S12"}),
    (unconditional_write, {"S4"}),
    (goes_on, {"S2", "S8"}),
    (late_result_replaces_the_outcome, {"S4", "S7", "S8"}),
    (revives, {"S8"}),
    (interrupt_counts_as_outcome, {"an interrupt is never an outcome"}),
    (order_keeps_the_epoch, {"every move raises the epoch"}),
    (sends_no_interrupt, {"S2"}),
    (second_order_takes_over, {"S6"}),
    (never_started, {"S9"}),
    (deadline_forgets_the_attempt, {"S10"}),
    (leaves_no_audit, {"S16"}),
    (deadline_is_lost, {"S13"}),
    (order_that_came_too_late_is_accepted, {"S5"}),
    (order_is_told_that_the_run_had_ended, {"S5"}),
    (crash_counts_as_order, {"S5"}),
    (resting_run_is_stopping, {"S12"}),
    (settled_run_goes_on_stopping, {"S12"}),
    (callback_is_forgotten, {"a callback that was accepted is never lost", "S10"}),
    (callback_is_left_behind, {"S13"}),
    (callback_of_a_stopping_run_is_kept, {"S7"}),
]


def name(broken: str | None) -> str:
    """`S7` of "S7 what it says", or the whole of one that has no number."""
    assert broken is not None, "the search has to find it out"
    return broken.split()[0] if broken[0] == "S" else broken


@pytest.mark.parametrize(("mutant", "properties"), BROKEN, ids=[mutant.__name__ for mutant, _ in BROKEN])
def test_a_broken_rule_is_detected(mutant: Callable[[Situation, Event], Decision], properties: set[str]) -> None:
    finding = explore(Protocol(decide=mutant))
    assert name(finding.broken) in properties, finding
    assert finding.trace


def test_a_second_callback_that_is_accepted_is_found_out() -> None:
    finding = explore(Protocol(decide=second_callback_is_accepted, callbacks=2))
    assert name(finding.broken) in {"a callback is accepted once", "S7"}, finding


@pytest.mark.parametrize(
    ("protocol", "broken"),
    [(Protocol(ack_before_commit=True), "S1"), (Protocol(perform_before_commit=True), "S3")],
    ids=["answer before the commit", "effect before the commit"],
)
def test_a_wrong_order_of_events_is_detected(protocol: Protocol, broken: str) -> None:
    assert name(explore(protocol).broken) == broken


# --- polls ------------------------------------------------------------------------------------------------------------


POLLED: Final = Protocol(callbacks=0, polls=1)


def poll_result_counts_whenever_it_comes(situation: Situation, event: Event) -> Decision:
    """The result of a poll ends the step, whatever has become of the run."""
    if isinstance(event, Polled):
        execution = situation.execution
        event = replace(event, epoch=execution.epoch)
        waits = replace(execution, state=State.WAITING, waiting_for=WaitingFor.POLL, completed_at=None)
        return decide(replace(situation, execution=waits), event)
    return decide(situation, event)


def poll_that_found_nothing_requests_again(situation: Situation, event: Event) -> Decision:
    """Work that is not done is requested by another attempt."""
    if isinstance(event, Polled) and event.result.outcome is None:
        return decide(situation, replace(event, next=Announce(event.attempt.position)))
    return decide(situation, event)


def polled_run_stops_like_an_attempt(situation: Situation, event: Event) -> Decision:
    """A run that waits for a poll is stopped at its next poll, and not at once."""
    if isinstance(event, Terminated) and situation.execution.waiting_for is WaitingFor.POLL:
        decision = decide(situation, event)
        return replace(decision, execution=situation.execution, moved=False)
    return decide(situation, event)


def test_every_property_holds_for_work_that_is_polled() -> None:
    finding = explore(POLLED)
    assert finding.broken is None, finding
    assert finding.worlds > 10_000


@pytest.mark.parametrize("protocol", [Protocol(polls=1, crashes=0, losses=0), Protocol(polls=0, crashes=0)])
def test_every_property_holds_for_work_that_is_polled_and_calls_back(protocol: Protocol) -> None:
    assert explore(protocol).broken is None


@pytest.mark.parametrize(
    ("mutant", "broken"),
    [
        (poll_result_counts_whenever_it_comes, {"S2", "S4", "S7", "S8"}),
        (poll_that_found_nothing_requests_again, {"work that was accepted is not requested again", "S10"}),
        (polled_run_stops_like_an_attempt, {"S5"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_rule_of_polls_is_detected(mutant: Callable[[Situation, Event], Decision], broken: set[str]) -> None:
    finding = explore(replace(POLLED, decide=mutant))
    assert name(finding.broken) in broken, finding
