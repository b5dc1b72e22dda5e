"""Lives of runs: any events in any order, from any reading, at any time, against a small model of the promise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from interlock.rules.admit import SWITCHED_OFF
from interlock.rules.changes import Applied
from interlock.rules.decide import begin
from interlock.rules.decision import (
    Decision,
    Interrupt,
    LateEvidence,
    Perform,
    StepClosed,
    StepOpened,
    StepSettled,
    TerminationRecord,
    Verdict,
    WakeAt,
)
from interlock.rules.events import (
    Announce,
    CalledBack,
    Change,
    Created,
    DeadlinePassed,
    Event,
    ItemSettled,
    Polled,
    Prepared,
    Recovered,
    Released,
    Settled,
    Terminated,
    Woken,
)
from interlock.rules.model import (
    AttemptRef,
    Execution,
    Mode,
    Result,
    TerminationRequest,
)
from interlock.rules.outcomes import INTERRUPTED, Outcome, shown
from interlock.rules.states import IN_FLIGHT, TERMINAL, TRANSITIONS, State, WaitingFor
from tests.rules.draws import (
    ENDED,
    STEPS,
    after_a_result,
    answers,
    fences,
    going_on,
    orders,
    results,
    times,
)
from tests.rules.runs import NEWCOMER, Ledger


@dataclass
class Promise:
    """The model: what has been promised to whom, knowing nothing of rows, epochs and moves."""

    first: TerminationRequest | None = None
    deadline_at: int = 0
    interrupting: bool = False
    ended: State | None = None
    busy: AttemptRef | None = None

    def verdict(self, request: TerminationRequest, at: int) -> Verdict:
        """What a client that orders a stop has to be told."""
        interrupts = request.mode is Mode.INTERRUPT
        if self.ended in ENDED:
            return Verdict.ALREADY_FINISHED
        if self.first is not None:
            if self.ended is None:
                sharper = (min(self.deadline_at, at + request.deadline), self.interrupting or interrupts)
                if sharper != (self.deadline_at, self.interrupting):
                    self.deadline_at, self.interrupting = sharper
                    self._give_up(at)
            return Verdict.REPEATED
        self.order(request, at, at + request.deadline)
        return Verdict.ACCEPTED

    def order(self, request: TerminationRequest, at: int, deadline_at: int) -> None:
        self.first, self.deadline_at, self.interrupting = request, deadline_at, request.mode is Mode.INTERRUPT
        if self.busy is None:
            self.ended, self.deadline_at = State.TERMINATE, at
        else:
            self._give_up(at)

    def _give_up(self, at: int) -> None:
        if self.deadline_at <= at:
            self.ended, self.busy = State.TERMINATE, None

    @property
    def state(self) -> State | None:
        """The state a stopped or ended run has to be in; None: it goes on, and its state is its own affair."""
        if self.ended is not None:
            return self.ended
        return State.STOPPING if self.first is not None else None


class Lifetime(RuleBasedStateMachine):
    """One run, and everything that may happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.promise = Promise()
        self.readings: list[Execution] = []
        self.history: list[Event] = []
        self.called: set[int] = set()
        """Steps whose callback was accepted."""

    @initialize(data=st.data(), at=times, disabled=st.booleans(), paused=st.booleans())
    def create(self, data: st.DataObject, at: int, disabled: bool, paused: bool) -> None:
        disabled = disabled and data.draw(st.booleans())
        following = data.draw(st.none() | going_on(0))
        decision = begin(NEWCOMER, Created(at, following, "me"), disabled=disabled, paused=paused)
        self.run = Ledger.of(decision)
        self.readings.append(self.run.row)
        if disabled:
            self.promise.order(SWITCHED_OFF, at, at)
        self._learn(decision)

    # --- events ---------------------------------------------------------------------------------------------------

    @rule(data=st.data(), at=times)
    def taken_on(self, data: st.DataObject, at: int) -> None:
        reading = self._reading(data)
        self._happens(data, Prepared(at, reading.epoch, data.draw(going_on(reading.step)), "me"))

    @precondition(lambda self: self.run.steps)
    @rule(data=st.data(), at=times, result=results)
    def settled(self, data: st.DataObject, at: int, result: Result) -> None:
        attempt = self._attempt(data)
        following = data.draw(after_a_result(attempt.position, result))
        self._happens(data, Settled(at, attempt, result, following, "me"))

    @precondition(lambda self: self.run.steps)
    @rule(data=st.data(), at=times, item=st.integers(0, 3), result=results)
    def item_settled(self, data: st.DataObject, at: int, item: int, result: Result) -> None:
        self._happens(data, ItemSettled(at, self._attempt(data), item, result))

    @rule(data=st.data(), at=times, result=results)
    def woken(self, data: st.DataObject, at: int, result: Result) -> None:
        reading = self._reading(data)
        by = reading.waiting_for or WaitingFor.TIMER
        if by is WaitingFor.RETRY:
            self._happens(data, Woken(at, reading.epoch, by, None, Announce(reading.step), "me"))
        elif result.outcome not in INTERRUPTED and result.outcome is not None:
            following = data.draw(st.none() | after_a_result(reading.step, result))
            self._happens(data, Woken(at, reading.epoch, by, result, following, "me"))

    @rule(data=st.data(), at=times, result=results)
    def polled(self, data: st.DataObject, at: int, result: Result) -> None:
        reading = self._reading(data)
        kept = self.run.steps.get((reading.step, reading.attempt))
        if kept is not None:
            attempt = AttemptRef(reading.step, reading.attempt, kept.epoch)
            following = data.draw(st.none() | after_a_result(reading.step, result))
            self._happens(data, Polled(at, attempt, reading.epoch, result, following, "me"))

    @rule(data=st.data(), at=times)
    def called_back(self, data: st.DataObject, at: int) -> None:
        position = self._reading(data).step if data.draw(st.booleans()) else data.draw(st.integers(0, STEPS))
        self._happens(data, CalledBack(at, position, Result(Outcome.SUCCEEDED, b"{}", status=202)))

    @rule(data=st.data(), at=times, repeatable=st.booleans())
    def found_in_flight(self, data: st.DataObject, at: int, repeatable: bool) -> None:
        self._happens(data, Recovered(at, self._reading(data).epoch, repeatable))

    @rule(data=st.data(), at=times)
    def deadline(self, data: st.DataObject, at: int) -> None:
        self._happens(data, DeadlinePassed(at, self._reading(data).epoch))

    @rule(data=st.data(), at=times, request=orders)
    def terminated(self, data: st.DataObject, at: int, request: TerminationRequest) -> None:
        self._happens(data, Terminated(at, request))

    @rule(data=st.data(), at=times, cancel=st.none() | orders)
    def released(self, data: st.DataObject, at: int, cancel: TerminationRequest | None) -> None:
        self._happens(data, Released(at, cancel))

    @precondition(lambda self: self.history)
    @rule(data=st.data())
    def delivered_again(self, data: st.DataObject) -> None:
        self._happens(data, data.draw(st.sampled_from(self.history)))

    def _reading(self, data: st.DataObject) -> Execution:
        """Draw an earlier reading of the run: most often the newest."""
        return self.run.row if data.draw(st.integers(0, 3)) else data.draw(st.sampled_from(self.readings))

    def _attempt(self, data: st.DataObject) -> AttemptRef:
        """Most often the one in flight, otherwise any there ever was."""
        row = self.run.row
        if row.in_flight and data.draw(st.integers(0, 3)):
            return AttemptRef(row.step, row.attempt, row.attempt_epoch)
        known = [AttemptRef(*key, kept.epoch) for key, kept in self.run.steps.items()]
        return data.draw(st.sampled_from(known))

    # --- what has to hold for each decision -----------------------------------------------------------------------

    def _happens(self, data: st.DataObject, event: Event) -> None:
        before, promise = self.run.row, self.promise
        stopped = promise.first is not None
        expected: Verdict | None = None
        if isinstance(event, Terminated):
            expected = promise.verdict(event.request, event.at)
        elif isinstance(event, Released) and event.cancel and before.state is State.PAUSED_BY_CIRCUIT_BREAKER:
            expected = promise.verdict(event.cancel, event.at)
        termination, made = self.run.termination, len(self.run.changes)
        decision = self.run.apply(
            event,
            fence=data.draw(fences, label="fence"),
            hold=data.draw(st.integers(0, 7)) == 0,
            answer=data.draw(answers) if getattr(event, "next", None).__class__ is Change else Applied(),
        )
        if isinstance(event, CalledBack) and decision.verdict is Verdict.ACCEPTED:
            assert event.position not in self.called, "a callback is accepted once"
            assert not stopped, "a stopped run accepts no callback"
            self.called.add(event.position)
        self.history.append(event)
        self.readings.append(self.run.row)
        if expected is not None:
            self.s5_no_caller_gets_a_false_answer(decision, expected)
        self.s2_nothing_starts_after_the_order(decision, stopped)
        assert not stopped or len(self.run.changes) == made, "no change is made after the order"
        self.s4_a_terminal_state_is_absorbing(before, decision)
        self.s6_the_first_order_stands(termination, decision)
        self.s7_a_result_that_is_not_current_is_evidence_alone(before, event, decision)
        self.s8_nothing_revives_a_stopped_run(before, stopped, decision)
        self.the_epoch_rises_exactly_when_the_run_moves(before, decision)
        self.every_move_is_in_the_table(before, decision)
        self.an_interrupt_is_above_the_attempt(before, decision)
        self._learn(decision)

    def _learn(self, decision: Decision) -> None:
        """The model follows what it cannot foresee: whether the run is busy, ended by itself, or met a fence."""
        row, promise = decision.execution, self.promise
        for record in decision.records:
            if isinstance(record, TerminationRecord) and record.new and promise.first is None:
                promise.busy = AttemptRef(row.step, row.attempt, row.attempt_epoch) if row.in_flight else None
                found = record.termination
                promise.order(found.request, found.accepted_at, found.deadline_at)
        promise.busy = AttemptRef(row.step, row.attempt, row.attempt_epoch) if row.in_flight else None
        if row.state in ENDED and promise.first is None:
            promise.ended = row.state
        if promise.first is not None and not row.in_flight:
            promise.ended = State.TERMINATE

    def s2_nothing_starts_after_the_order(self, decision: Decision, stopped: bool) -> None:
        ordered = any(isinstance(record, TerminationRecord) for record in decision.records)
        if not (stopped or ordered):
            return
        assert not [r for r in decision.records if isinstance(r, StepOpened | StepClosed)]
        assert not [effect for effect in decision.effects if isinstance(effect, Perform)]
        wakes = [effect.at for effect in decision.effects if isinstance(effect, WakeAt)]
        assert wakes in ([], [decision.execution.wake_at])
        assert not wakes or decision.execution.state is State.STOPPING

    def s4_a_terminal_state_is_absorbing(self, before: Execution, decision: Decision) -> None:
        if before.state in TERMINAL:
            assert decision.execution is before
            assert not decision.moved
            assert decision.effects == ()

    def s5_no_caller_gets_a_false_answer(self, decision: Decision, expected: Verdict) -> None:
        assert decision.verdict is expected

    def s6_the_first_order_stands(self, before: Any, decision: Decision) -> None:
        for record in decision.records:
            if isinstance(record, TerminationRecord) and before is not None:
                now = record.termination
                assert not record.new
                assert (now.request, now.accepted_at, now.found) == (before.request, before.accepted_at, before.found)
                assert now.deadline_at <= before.deadline_at
                assert now.mode is before.mode or now.mode is Mode.INTERRUPT

    def s7_a_result_that_is_not_current_is_evidence_alone(
        self, before: Execution, event: Event, decision: Decision
    ) -> None:
        if isinstance(event, Polled):
            if before.waiting_for is not WaitingFor.POLL or before.epoch != event.epoch:
                assert all(isinstance(record, LateEvidence) for record in decision.records)
                assert decision.execution is before
                assert decision.effects == ()
            return
        if not isinstance(event, Settled | ItemSettled):
            return
        current = AttemptRef(before.step, before.attempt, before.attempt_epoch)
        if event.attempt != current or not before.in_flight:
            assert all(isinstance(record, LateEvidence) for record in decision.records)
            assert decision.execution is before
            assert decision.effects == ()
        elif isinstance(event, Settled) and decision.moved and before.state is State.STOPPING:
            [settled] = [record for record in decision.records if isinstance(record, StepSettled)]
            reported = event.result.outcome or Outcome.INTERRUPTED_WAITING
            assert settled.result.outcome is (Outcome.SUCCEEDED if before.step in self.called else reported)

    def s8_nothing_revives_a_stopped_run(self, before: Execution, stopped: bool, decision: Decision) -> None:
        if stopped:
            assert decision.execution.state in {State.STOPPING, State.TERMINATE}
            assert before.wake_at is None or (decision.execution.wake_at or 0) <= before.wake_at
        if before.state is State.STOPPING and decision.execution.state is State.STOPPING:
            assert decision.execution.attempt_epoch == before.attempt_epoch

    def the_epoch_rises_exactly_when_the_run_moves(self, before: Execution, decision: Decision) -> None:
        after = decision.execution
        sharpened = before.state is after.state is State.STOPPING
        assert decision.moved == (after is not before)
        assert after.epoch == before.epoch + (decision.moved and not sharpened)

    def every_move_is_in_the_table(self, before: Execution, decision: Decision) -> None:
        if decision.execution.epoch != before.epoch:
            assert decision.execution.state in TRANSITIONS[before.state]

    def an_interrupt_is_above_the_attempt(self, before: Execution, decision: Decision) -> None:
        for effect in decision.effects:
            if isinstance(effect, Interrupt):
                assert before.attempt_epoch > 0
                assert effect.epoch > before.attempt_epoch
                assert effect.epoch == decision.execution.epoch

    # --- what has to hold at every moment -------------------------------------------------------------------------

    @invariant()
    def s5_first_commit_wins(self) -> None:
        row, promised = self.run.row, self.promise.state
        if promised is None:
            assert row.state not in TERMINAL | {State.STOPPING}
        else:
            assert row.state is promised

    @invariant()
    def s6_n_orders_equal_one(self) -> None:
        termination = self.run.termination
        assert (termination and termination.request) == self.promise.first
        if termination is not None:
            assert termination.deadline_at == self.promise.deadline_at
            assert (termination.mode is Mode.INTERRUPT) == self.promise.interrupting

    @invariant()
    def s10_every_step_has_exactly_one_outcome_when_settled(self) -> None:
        """That none is replaced, the ledger sees to."""
        row = self.run.row
        for key, kept in self.run.steps.items():
            in_hand = key == (row.step, row.attempt) and row.state in IN_FLIGHT | {State.WAITING}
            assert kept.outcome is not None or kept.waiting_for is not None or in_hand
            assert shown(kept.outcome, row.state) is not None or in_hand
            assert kept.outcome not in INTERRUPTED or row.state in {State.TERMINATE, State.ERROR}

    @invariant()
    def an_accepted_callback_is_kept_until_it_stands_with_its_step(self) -> None:
        row, run = self.run.row, self.run
        assert set(run.callbacks) <= ({row.step} if row.in_flight else set())
        for position in self.called - set(run.callbacks):
            assert any(kept.outcome is Outcome.SUCCEEDED for (at, _), kept in run.steps.items() if at == position)

    @invariant()
    def s12_stopping_means_that_an_attempt_is_in_flight(self) -> None:
        row = self.run.row
        assert row.in_flight == (row.attempt_epoch > 0) == (row.items > 0)
        if row.in_flight:
            kept = self.run.steps[row.step, row.attempt]
            assert (kept.outcome, kept.waiting_for, kept.epoch) == (None, None, row.attempt_epoch)

    @invariant()
    def s16_each_termination_has_exactly_one_audit_row_naming_its_cause(self) -> None:
        accepted = [audit.request for audit in self.run.accepted_orders()]
        assert accepted == ([] if self.run.termination is None else [self.run.termination.request])
        assert (self.run.termination is not None) == (self.run.row.state in {State.STOPPING, State.TERMINATE})

    @invariant()
    def it_is_woken_unless_it_is_over_at_work_or_paused(self) -> None:
        row = self.run.row
        asleep = TERMINAL | {State.PROCESS_STEP, State.PAUSED_BY_CIRCUIT_BREAKER}
        if row.waiting_for is not WaitingFor.TASK:  # a task need not have a last day
            assert (row.wake_at is None) == (row.state in asleep)
        assert (row.waiting_for is None) == (row.state in asleep)

    @invariant()
    def what_is_over_holds_nothing(self) -> None:
        row = self.run.row
        assert (row.completed_at is not None) == (row.state in TERMINAL)
        if row.state in TERMINAL:
            assert (row.attempt_epoch, row.items, row.waiting_for, row.wake_at) == (0, 0, None, None)


TestLifetime = Lifetime.TestCase
