"""Runs in every state, brought there by the real rules, and what a store would have kept of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from interlock.rules.admit import Newcomer
from interlock.rules.changes import Applied, Mutation, Refused
from interlock.rules.decide import begin, decide
from interlock.rules.decision import (
    AuditRecord,
    CallbackKept,
    CallbackTaken,
    Decision,
    ItemRecord,
    LateEvidence,
    StepClosed,
    StepOpened,
    StepSettled,
    TerminationRecord,
    Verdict,
)
from interlock.rules.events import Announce, CalledBack, Created, Event, Fail, Finish, Polled, Settled, Terminated, Wait
from interlock.rules.model import (
    SECOND,
    Actor,
    AttemptRef,
    CalledStep,
    Execution,
    Item,
    KeptCallback,
    Mode,
    Result,
    Situation,
    Termination,
    TerminationRequest,
)
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor

ANN = Actor("ann", "192.0.2.1")
BOB = Actor("bob", "192.0.2.2")
NEWCOMER = Newcomer(tenant=1, id=7, automation="leaver", definition=3)
BORN = 100 * SECOND
SUCCEEDED = Result(Outcome.SUCCEEDED, b'{"ok":true}', status=200)
FAILED = Result(Outcome.FAILED, error=b'{"code":"HTTP_500"}', status=500)
ACCEPTED = Result(None, status=202)
APPLIED = Applied(b"[5]")


def order(
    actor: Actor = ANN,
    reason: str = "enough",
    *,
    mode: Mode = Mode.INTERRUPT,
    deadline: int = 10 * SECOND,
) -> TerminationRequest:
    return TerminationRequest(actor, reason, mode, deadline=deadline)


def attempt_of(row: Execution) -> AttemptRef:
    """The attempt in flight."""
    return AttemptRef(row.step, row.attempt, row.attempt_epoch)


@dataclass(frozen=True, slots=True)
class Noted:
    """A mutation of which the rules can know nothing."""

    name: ClassVar[str] = "note"

    note: str


@dataclass(slots=True)
class Kept:
    """A step row as a store keeps it."""

    epoch: int
    outcome: Outcome | None = None
    waiting_for: WaitingFor | None = None
    late: list[Outcome] = field(default_factory=list)
    items: list[Outcome | None] = field(default_factory=list)


@dataclass(slots=True)
class Ledger:
    """What is on disk of one run. Writing a second outcome, or over a row, is an error here as it is there."""

    row: Execution
    termination: Termination | None = None
    steps: dict[tuple[int, int], Kept] = field(default_factory=dict)
    audits: list[AuditRecord] = field(default_factory=list)
    changes: list[Mutation] = field(default_factory=list)
    """Those that the rules had made, and that were not refused."""
    callbacks: dict[int, KeptCallback] = field(default_factory=dict)

    @staticmethod
    def of(decision: Decision) -> Ledger:
        """A run that has just begun."""
        ledger = Ledger(decision.execution)
        ledger.write(decision)
        return ledger

    def situation(
        self,
        *,
        fence: TerminationRequest | None = None,
        hold: bool = False,
        answer: Applied | Refused | None = None,
        called: int | None = None,
    ) -> Situation:
        row = self.row
        items = tuple(enumerate(self.steps[row.step, row.attempt].items)) if row.in_flight else ()
        termination = self.termination if row.state is State.STOPPING else None
        callback = self.callbacks.get(row.step) if row.in_flight else None
        return Situation(row, termination, items, fence, hold, answer, callback, self.called(called))

    def called(self, position: int | None) -> CalledStep | None:
        """The newest attempt at the step that a callback is for."""
        numbers = [number for at, number in self.steps if at == position]
        if position is None or not numbers:
            return None
        kept = self.steps[position, max(numbers)]
        return CalledStep(AttemptRef(position, max(numbers), kept.epoch), kept.outcome, bool(kept.late))

    def apply(
        self,
        event: Event,
        *,
        fence: TerminationRequest | None = None,
        hold: bool = False,
        answer: Applied | Refused = APPLIED,
    ) -> Decision:
        """One transaction: read, decide, write. `answer` is that of a change, if the rules ask for one."""
        called = event.position if isinstance(event, CalledBack) else None
        if isinstance(event, Polled):
            called = event.attempt.position
        situation = self.situation(fence=fence, hold=hold, called=called)
        decision = decide(situation, event)
        if decision.mutation is not None:
            assert (decision.execution, decision.records, decision.effects) == (self.row, (), ())
            if isinstance(answer, Applied):
                self.changes.append(decision.mutation)
            decision = decide(replace(situation, answer=answer), event)
        self.write(decision)
        return decision

    def write(self, decision: Decision) -> None:
        assert decision.moved or decision.execution is self.row
        self.row = decision.execution
        for record in decision.records:
            match record:
                case StepOpened(position, attempt, epoch, _, _, waiting_for, items):
                    assert (position, attempt) not in self.steps, "no row is written over"
                    open_items: list[Outcome | None] = [None] * len(items)
                    self.steps[position, attempt] = Kept(epoch, waiting_for=waiting_for, items=open_items)
                case StepClosed(position, attempt, epoch, _, outcome):
                    assert (position, attempt) not in self.steps, "no row is written over"
                    self.steps[position, attempt] = Kept(epoch, outcome)
                case StepSettled(position, attempt, _, result, accepted):
                    kept = self.steps[position, attempt]
                    assert kept.outcome is None, "an outcome is never replaced"
                    kept.waiting_for = accepted
                    kept.outcome = result.outcome if accepted is None else None
                    assert (kept.outcome is None) == (accepted is not None)
                case ItemRecord(position, attempt, item, _, result, _):
                    assert self.steps[position, attempt].items[item] is None
                    self.steps[position, attempt].items[item] = result.outcome
                case LateEvidence(attempt, _, outcome):
                    self.steps[attempt.position, attempt.number].late.append(outcome)
                case CallbackKept(position, at, result):
                    assert position not in self.callbacks, "the first callback stands"
                    self.callbacks[position] = KeptCallback(at, result)
                case CallbackTaken(position):
                    del self.callbacks[position]
                case TerminationRecord(termination, new):
                    assert new == (self.termination is None)
                    self.termination = termination
                case AuditRecord():
                    self.audits.append(record)

    def outcome(self, position: int, attempt: int = 1) -> Outcome | None:
        return self.steps[position, attempt].outcome

    def accepted_orders(self) -> list[AuditRecord]:
        return [audit for audit in self.audits if audit.outcome == Verdict.ACCEPTED]


def a_run(state: State = State.PROCESS_STEP, *, items: int = 1, mode: Mode = Mode.INTERRUPT) -> Ledger:
    """A run in that state, at its first step of two; a WAITING one waits for a callback."""
    names = tuple(Item(number, f"item {number}") for number in range(items)) if items > 1 else ()
    if state is State.PAUSED_BY_CIRCUIT_BREAKER:
        return Ledger.of(begin(NEWCOMER, Created(BORN), paused=True))
    if state is State.PENDING:
        return Ledger.of(begin(NEWCOMER, Created(BORN)))
    run = Ledger.of(begin(NEWCOMER, Created(BORN, Announce(0, b"{}", names), "me")))
    attempt = attempt_of(run.row)
    match state:
        case State.WAITING:
            until = BORN + 3600 * SECOND
            run.apply(Settled(BORN + 1, attempt, ACCEPTED, Wait(0, WaitingFor.CALLBACK, until)))
        case State.STOPPING:
            run.apply(Terminated(BORN + 1, order(mode=mode)))
        case State.TERMINATE:
            run.apply(Terminated(BORN + 1, order(deadline=0)))
        case State.DONE:
            run.apply(Settled(BORN + 1, attempt, SUCCEEDED, Finish(1)))
        case State.ERROR:
            run.apply(Settled(BORN + 1, attempt, FAILED, Fail(0)))
        case _:
            pass
    assert run.row.state is state
    return run
