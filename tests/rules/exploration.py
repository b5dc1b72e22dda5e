"""An exhaustive search of the small protocol: two clients terminate one run while it works through its steps.

A `World` is a whole state: the disk, the process with its one worker, the messages on their way, the requests that the
receiver saw and the answers that the clients got. `steps_from` lists everything that can happen next: a commit whose
answer arrives, a commit whose answer is lost, a crash before or after it, a result that outlives its process, a
deadline, a callback. Every commit asks the `decide` of the `Protocol`, and every property of a termination is checked
in every world that can be reached. A broken protocol has another `decide`, or a wrong order of events: the search must
detect it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from interlock.rules.admit import Newcomer
from interlock.rules.decide import begin, decide
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
    Announce,
    CalledBack,
    Created,
    DeadlinePassed,
    Event,
    Fail,
    Finish,
    Next,
    Polled,
    Prepared,
    Recovered,
    Retry,
    Settled,
    Terminated,
    Wait,
    Woken,
)
from interlock.rules.model import (
    SECOND,
    Actor,
    AttemptRef,
    CalledStep,
    Execution,
    KeptCallback,
    Mode,
    Result,
    Situation,
    Termination,
    TerminationRequest,
)
from interlock.rules.outcomes import INTERRUPTED, Outcome, shown
from interlock.rules.states import IN_FLIGHT, TERMINAL, State, WaitingFor

NOW, RETRY_AT, CALLBACK_UNTIL = 100, 200, 10**12
LAST = 1
"""Position of the last step; the first may be answered with 202."""
CALLED = 0
"""Position of the step that the remote calls back for."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is explored."""

    decide: Callable[[Situation, Event], Decision] = decide
    repeatable: bool = True
    ack_before_commit: bool = False
    perform_before_commit: bool = False
    orders: tuple[TerminationRequest, TerminationRequest] = (
        TerminationRequest(Actor("ann"), "first", deadline=10 * SECOND),
        TerminationRequest(Actor("bob"), "second", Mode.DRAIN, deadline=5 * SECOND),
    )
    crashes: int = 1
    losses: int = 1
    callbacks: int = 1
    """How often the remote calls back."""
    polls: int | None = None
    """How often a poll says that the work is not done; None: the remote is not polled, and calls back."""


class Row(NamedTuple):
    """A step row."""

    outcome: Outcome | None = None
    accepted: bool = False
    late: bool = False


class Asked(NamedTuple):
    """A poll in progress."""

    attempt: AttemptRef
    epoch: int
    """That of the run when the poll began."""


class Task(NamedTuple):
    """A perform in progress."""

    attempt: AttemptRef
    sent: bool = False
    cut: bool = False


Key = tuple[int, int]
"""(position, attempt)"""


class World(NamedTuple):
    """Everything there is at one moment."""

    row: Execution
    termination: Termination | None = None
    rows: tuple[tuple[Key, Row], ...] = ()
    accepted_orders: int = 0
    up: bool = True
    task: Task | None = None
    prepared: Prepared | None = None
    reported: tuple[Settled | Polled, ...] = ()
    """Results on their way to the disk; one may outlive its process."""
    asked: Asked | None = None
    polls: int = 0
    """How often a poll said that the work is not done."""
    announced: tuple[tuple[Key, int], ...] = ()
    """The epoch of each attempt; kept only if the remote is polled."""
    sent: frozenset[Key] = frozenset()
    """The attempts that the receiver has seen."""
    told: tuple[Verdict | None, ...] = (None, None)
    crashes: int = 0
    losses: int = 0
    callbacks: int = 0
    kept: int | None = None
    """The step with which a callback is kept."""
    taken: bool = False
    """A callback was accepted."""


class Violation(Exception):
    """A property does not hold."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the search came to: how many worlds, and how the first property was broken, if one was."""

    worlds: int
    broken: str | None = None
    trace: tuple[str, ...] = ()


def require(holds: bool, name: str) -> None:
    if not holds:
        raise Violation(name)


def explore(protocol: Protocol, most: int = 500_000) -> Finding:
    """Visit every world that can be reached, nearest first.

    Raises:
        OverflowError: there are more than `most`.
    """
    born = World(begin(Newcomer(1, 7, "leaver", 3), Created(NOW)).execution)
    came_from: dict[World, tuple[World, str] | None] = {born: None}
    queue = deque([born])
    while queue:
        world = queue.popleft()
        label, name = "", None
        try:
            stuck = True
            for label, following in steps_from(world, protocol):
                stuck = stuck and label == "crash"
                if following not in came_from:
                    came_from[following] = (world, label)
                    queue.append(following)
            if stuck and world.up:
                label = "nothing more happens"
                require(world.row.state in TERMINAL, "L1 every run comes to an end")
                require(None not in world.told, "every client is answered")
        except Violation as violation:
            name = str(violation)
        if name is not None:
            return Finding(len(came_from), name, (*_trace(came_from, world), label))
        if len(came_from) > most:
            raise OverflowError(f"more than {most} worlds")
    return Finding(len(came_from))


def _trace(came_from: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    labels: list[str] = []
    at = came_from[world]
    while at is not None:
        labels.append(at[1])
        at = came_from[at[0]]
    return labels[::-1]


# --- what can happen next ---------------------------------------------------------------------------------------------


def steps_from(world: World, protocol: Protocol) -> Iterator[tuple[str, World]]:
    """Everything that can happen next, by name.

    Raises:
        Violation: it breaks a property.
    """
    if not world.up:
        yield "boot", _boot(world, protocol)
    else:
        yield from _engine(world, protocol)
        yield from _worker(world, protocol)
        yield from _remote(world, protocol)
        yield from _poller(world, protocol)
        for client, verdict in enumerate(world.told):
            if verdict is None:
                yield from _client(world, protocol, client)
        if world.crashes < protocol.crashes:
            yield "crash", _crash(world)
            if world.task is not None and not world.task.cut:
                yield "orderly stop", _orderly_stop(world, protocol, world.task)
    for event in world.reported:
        # A result may reach the disk although its process is gone: from another machine, or one wrongly thought dead.
        yield from _report(world, protocol, event)


def _engine(world: World, protocol: Protocol) -> Iterator[tuple[str, World]]:
    row = world.row
    if world.prepared is not None:
        after, _ = commit(world, protocol, world.prepared)
        yield "take on", after._replace(prepared=None)
        if world.losses < protocol.losses:
            yield "take on, answer lost", after._replace(losses=world.losses + 1)
        if world.crashes < protocol.crashes:
            yield "take on, crash after its commit", _crash(after)
    elif row.state is State.PENDING:
        prepared = Prepared(NOW, row.epoch, Announce(row.step), "me")
        if protocol.perform_before_commit:
            attempt = AttemptRef(row.step, row.attempt + 1, row.epoch + 1)
            yield "prepare", world._replace(prepared=prepared, task=Task(attempt))
        else:
            yield "prepare", world._replace(prepared=prepared)
    if row.state is State.STOPPING and row.wake_at is not None:
        yield from _outcomes(world, protocol, DeadlinePassed(row.wake_at, row.epoch), "deadline")
    if row.waiting_for is WaitingFor.RETRY:
        following = Announce(row.step)
        yield from _outcomes(world, protocol, Woken(RETRY_AT, row.epoch, WaitingFor.RETRY, None, following), "retry")


def _worker(world: World, protocol: Protocol) -> Iterator[tuple[str, World]]:
    task = world.task
    if task is None:
        return
    attempt = task.attempt
    if not task.sent and not task.cut:
        key = (attempt.position, attempt.number)
        require(key in dict(world.rows), "S3 no byte leaves before the attempt is committed")
        stopped = world.termination is not None and (
            world.termination.mode is Mode.INTERRUPT or world.row.state is State.TERMINATE
        )
        require(not stopped, "S2 nothing starts after the order")
        yield "send", world._replace(task=task._replace(sent=True), sent=world.sent | {key})
    if task.cut:
        cut = Outcome.INTERRUPTED_OUTCOME_UNKNOWN if task.sent else Outcome.INTERRUPTED_NOT_SENT
        yield "cut", _with_report(world, attempt, Result(cut))
    if task.sent:
        yield "succeeded", _with_report(world, attempt, Result(Outcome.SUCCEEDED))
        if attempt.position != LAST:
            yield "failed", _with_report(world, attempt, Result(Outcome.FAILED))
            accepted = WaitingFor.CALLBACK if protocol.polls is None else WaitingFor.POLL
            yield "answered 202", _with_report(world, attempt, Result(None), accepted)


def _poller(world: World, protocol: Protocol) -> Iterator[tuple[str, World]]:
    """The remote is asked for the result of work that it accepted. The poll may be cut at any time."""
    row, asked = world.row, world.asked
    if asked is None:
        if row.waiting_for is WaitingFor.POLL and not any(isinstance(each, Polled) for each in world.reported):
            require(world.termination is None, "S2 nothing starts after the order")
            epoch = dict(world.announced)[row.step, row.attempt]
            yield "poll", world._replace(asked=Asked(AttemptRef(row.step, row.attempt, epoch), row.epoch))
        return
    if world.termination is not None:
        yield "poll cut", world._replace(asked=None)
    yield "polled: done", _with_poll(world, asked, Result(Outcome.SUCCEEDED))
    yield "polled: failed", _with_poll(world, asked, Result(Outcome.FAILED))
    if world.polls < (protocol.polls or 0):
        yield "polled: not done", _with_poll(world._replace(polls=world.polls + 1), asked, Result(None))


def _with_poll(world: World, asked: Asked, result: Result) -> World:
    attempt = asked.attempt
    following = _plan(attempt.position, attempt.number, result, WaitingFor.POLL)
    event = Polled(NOW, attempt, asked.epoch, result, following, "me")
    return world._replace(asked=None, reported=(*world.reported, event))


def _remote(world: World, protocol: Protocol) -> Iterator[tuple[str, World]]:
    """The remote has the request, and calls back whenever it likes: before its own answer, after it, or twice."""
    called = any(position == CALLED for position, _ in world.sent)
    if called and world.callbacks < protocol.callbacks:
        event = CalledBack(NOW, CALLED, Result(Outcome.SUCCEEDED))
        yield from _outcomes(world._replace(callbacks=world.callbacks + 1), protocol, event, "callback")


def _with_report(
    world: World, attempt: AttemptRef, result: Result, accepted: WaitingFor = WaitingFor.CALLBACK
) -> World:
    event = Settled(NOW, attempt, result, _plan(attempt.position, attempt.number, result, accepted), "me")
    return world._replace(task=None, reported=(*world.reported, event))


def _plan(position: int, number: int, result: Result, accepted: WaitingFor) -> Next:
    if result.outcome is None:
        return Wait(position, accepted, CALLBACK_UNTIL)
    if result.outcome is Outcome.SUCCEEDED:
        return Announce(position + 1) if position < LAST else Finish(LAST + 1)
    return Retry(position, RETRY_AT) if number == 1 else Fail(position)


def _report(world: World, protocol: Protocol, event: Settled | Polled) -> Iterator[tuple[str, World]]:
    left = tuple(other for other in world.reported if other is not event)
    yield from _outcomes(world._replace(reported=left), protocol, event, "report", again=world)


def _client(world: World, protocol: Protocol, client: int) -> Iterator[tuple[str, World]]:
    event = Terminated(NOW, protocol.orders[client])
    name = f"client {client} terminates"
    if protocol.ack_before_commit and world.crashes < protocol.crashes:
        yield f"{name}, crash before its commit", _crash(_told(world, client, Verdict.ACCEPTED))
    after, decision = commit(world, protocol, event)
    yield name, _told(after, client, decision.verdict)
    if world.losses < protocol.losses:
        yield f"{name}, answer lost", after._replace(losses=world.losses + 1)
    if world.crashes < protocol.crashes:
        yield f"{name}, crash after its commit", _crash(after)


def _told(world: World, client: int, verdict: Verdict) -> World:
    told = (verdict, world.told[1]) if client == 0 else (world.told[0], verdict)
    return check(world._replace(told=told))


def _outcomes(
    world: World, protocol: Protocol, event: Event, name: str, again: World | None = None
) -> Iterator[tuple[str, World]]:
    """A commit, and the ways in which its answer may not arrive."""
    after, _ = commit(world, protocol, event)
    yield name, after
    if again is not None and world.losses < protocol.losses:
        yield f"{name}, answer lost", after._replace(reported=again.reported, losses=world.losses + 1)
    if world.up and world.crashes < protocol.crashes:
        yield f"{name}, crash after its commit", _crash(after)


def _crash(world: World) -> World:
    reported = world.reported[:1]
    return world._replace(up=False, task=None, prepared=None, asked=None, reported=reported, crashes=world.crashes + 1)


def _orderly_stop(world: World, protocol: Protocol, task: Task) -> World:
    """The process cancels what it performs because it ends, not because anybody ordered the run to stop."""
    cut = Outcome.INTERRUPTED_OUTCOME_UNKNOWN if task.sent else Outcome.INTERRUPTED_NOT_SENT
    event = Settled(NOW, task.attempt, Result(cut), Fail(task.attempt.position), "me")
    return _crash(commit(world, protocol, event)[0])


def _boot(world: World, protocol: Protocol) -> World:
    world = world._replace(up=True)
    if world.row.state not in IN_FLIGHT:
        return world
    return commit(world, protocol, Recovered(NOW, world.row.epoch, protocol.repeatable))[0]


# --- one commit, and the properties -----------------------------------------------------------------------------------


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
