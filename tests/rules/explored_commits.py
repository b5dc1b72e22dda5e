"""One commit of the small protocol that is explored, and the properties of a transition and of a state."""

from __future__ import annotations

from dataclasses import replace

from interlock.rules.decision import (
    AuditRecord,
    CallbackKept,
    CallbackTaken,
    Decision,
    Interrupt,
    LateEvidence,
    Perform,
    StepOpened,
    StepSettled,
    TerminationRecord,
    Verdict,
)
from interlock.rules.events import (
    CalledBack,
    Event,
    Polled,
    Recovered,
    Settled,
)
from interlock.rules.model import (
    AttemptRef,
    CalledStep,
    Execution,
    KeptCallback,
    Result,
    Situation,
)
from interlock.rules.outcomes import INTERRUPTED, Outcome, shown
from interlock.rules.states import IN_FLIGHT, TERMINAL, State, WaitingFor
from tests.rules.explored_world import (
    CALLED,
    NOW,
    Key,
    Protocol,
    Row,
    Task,
    World,
    require,
)


def commit(world: World, protocol: Protocol, event: Event) -> tuple[World, Decision]:
    """One transaction and the effects that follow it, with every property of a transition checked.

    Raises:
        Violation: one does not hold.
    """
    before = world.row
    termination = world.termination if before.state is State.STOPPING else None
    kept = KeptCallback(NOW, Result(Outcome.SUCCEEDED)) if before.in_flight and world.kept == before.step else None
    called = _called(world, event.position) if isinstance(event, CalledBack) else None
    if isinstance(event, Polled):
        called = _called(world, event.attempt.position)
    decision = protocol.decide(Situation(before, termination, callback=kept, called=called), event)
    if isinstance(event, CalledBack) and decision.verdict is Verdict.ACCEPTED:
        require(world.termination is None, "S7 a stopped run accepts no callback")
        require(not world.taken, "a callback is accepted once")
        world = world._replace(taken=True)
    row, rows = decision.execution, dict(world.rows)
    world = world._replace(row=row)
    for record in decision.records:
        match record:
            case StepOpened(position, attempt):
                require(world.termination is None, "S2 nothing starts after the order")
                require((position, attempt) not in rows, "S10 one row for each attempt")
                accepted_before = any(
                    at == position and kept.accepted and kept.outcome is None for (at, _), kept in world.rows
                )
                require(not accepted_before, "work that was accepted is not requested again")
                if protocol.polls is not None:
                    world = world._replace(announced=(*world.announced, ((position, attempt), row.epoch)))
                asked_again = position == CALLED and world.taken and not isinstance(event, CalledBack)
                require(not asked_again, "a remote that has called back is not asked again")
                rows[position, attempt] = Row()
            case StepSettled(position, attempt, _, result, accepted):
                key = (position, attempt)
                require(rows[key].outcome is None, "S10 exactly one outcome")
                _check_outcome(world, event, key, result.outcome)
                rows[key] = Row(result.outcome, accepted is not None, rows[key].late)
            case LateEvidence(attempt_):
                key = (attempt_.position, attempt_.number)
                rows[key] = rows[key]._replace(late=True)
            case CallbackKept(position):
                world = world._replace(kept=position)
            case CallbackTaken():
                world = world._replace(kept=None)
            case TerminationRecord(order, new):
                require(new == (world.termination is None), "S6 n orders equal one")
                first = world.termination
                require(first is None or first.request == order.request, "S6 the first actor and reason stand")
                require(first is None or first.deadline_at >= order.deadline_at, "S8 no deadline moves away")
                world = world._replace(termination=order)
            case AuditRecord():
                accepted_now = record.outcome == Verdict.ACCEPTED
                world = world._replace(accepted_orders=world.accepted_orders + accepted_now)
            case _:
                pass
    _check_move(world, before, decision, event)
    task = world.task
    for effect in decision.effects:
        if not world.up:
            continue
        if isinstance(effect, Perform):
            require(world.termination is None, "S2 nothing starts after the order")
            task = Task(effect.attempt) if not protocol.perform_before_commit or task is None else task
        elif isinstance(effect, Interrupt) and task is not None and task.attempt.epoch < effect.epoch:
            task = task._replace(cut=True)
    # When the row was last written tells worlds apart that are the same from here on.
    world = world._replace(row=replace(row, updated_at=NOW), rows=tuple(sorted(rows.items())), task=task)
    return check(world), decision


def _called(world: World, position: int) -> CalledStep | None:
    rows = {attempt: row for (at, attempt), row in world.rows if at == position}
    if not rows:
        return None
    newest = rows[max(rows)]
    return CalledStep(AttemptRef(position, max(rows), 0), newest.outcome, newest.late)


def _check_outcome(world: World, event: Event, key: Key, outcome: Outcome | None) -> None:
    if outcome in {Outcome.INTERRUPTED_NOT_SENT, Outcome.NOT_STARTED}:
        require(key not in world.sent, "S9 not sent means that nothing was sent")
    if outcome in INTERRUPTED and not isinstance(event, Recovered):
        require(world.termination is not None, "an interrupt is never an outcome")


def _check_move(world: World, before: Execution, decision: Decision, event: Event) -> None:
    after = decision.execution
    if before.state in TERMINAL:
        require(after is before, "S4 one terminal state, absorbing")
    if before.state is State.STOPPING or (before.state in TERMINAL and world.termination is not None):
        require(after.state in {State.STOPPING, State.TERMINATE}, "S8 nothing revives a stopped run")
    if isinstance(event, Settled):
        attempt = event.attempt
        current = before.state in IN_FLIGHT and (before.step, before.attempt, before.attempt_epoch) == (
            attempt.position,
            attempt.number,
            attempt.epoch,
        )
        only_evidence = after is before and all(isinstance(record, LateEvidence) for record in decision.records)
        require(current or only_evidence, "S7 the result of an attempt that is not current is evidence alone")
    if isinstance(event, Polled):
        waits = before.waiting_for is WaitingFor.POLL and before.epoch == event.epoch
        only_evidence = after is before and all(isinstance(record, LateEvidence) for record in decision.records)
        require(waits or only_evidence, "S7 the result of a poll whose wait is over is evidence alone")
    moved = (before.state, before.step, before.attempt) != (after.state, after.step, after.attempt)
    require(after.epoch == before.epoch + 1 if moved else after.epoch >= before.epoch, "every move raises the epoch")


def check(world: World) -> World:
    """The world, if every property of a state holds in it.

    Raises:
        Violation: one does not.
    """
    row, rows = world.row, dict(world.rows)
    over = row.state in TERMINAL
    require(world.kept is None or (row.in_flight and world.kept == row.step), "S13 no callback is left")
    done = any(position == CALLED and kept.outcome is Outcome.SUCCEEDED for (position, _), kept in world.rows)
    require(not world.taken or world.kept is not None or done, "a callback that was accepted is never lost")
    ended = row.state in {State.DONE, State.ERROR}
    for verdict in world.told:
        require(not ended or verdict is not Verdict.ACCEPTED, "S5 no caller gets a false answer")
        if verdict in {Verdict.ACCEPTED, Verdict.REPEATED}:
            require(world.termination is not None, "S1 an answer is never lost")
        if verdict is Verdict.ALREADY_FINISHED:
            require(ended, "S5 no caller gets a false answer")
    if world.termination is not None:
        require(row.state in {State.STOPPING, State.TERMINATE}, "S5 first commit wins")
    else:
        require(row.state not in {State.STOPPING, State.TERMINATE}, "S5 only an order stops a run")
    require(world.told.count(Verdict.ACCEPTED) <= 1, "S6 one order is accepted")
    require(world.accepted_orders == (world.termination is not None), "S16 one audit row for each termination")
    in_flight = row.state in IN_FLIGHT
    require(in_flight == (row.attempt_epoch > 0), "S12 stopping means that an attempt is in flight")
    if in_flight:
        current = rows.get((row.step, row.attempt))
        require(current is not None and current.outcome is None, "S12 stopping means that an attempt is in flight")
    at_rest = not over and row.state is not State.PROCESS_STEP
    require((row.wake_at is not None) == at_rest, "S13 no timer is left, and none is missing")
    if over:
        for kept in rows.values():
            require(kept.outcome is not None or kept.accepted, "S10 exactly one outcome")
            require(shown(kept.outcome, row.state) is not None, "S10 exactly one outcome")
        require(row.waiting_for is None and row.items == 0, "S13 nothing is left behind")
    return world
