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
from collections.abc import Iterator
from dataclasses import dataclass

from interlock.rules.admit import Newcomer
from interlock.rules.decide import begin
from interlock.rules.decision import (
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
    AttemptRef,
    Mode,
    Result,
)
from interlock.rules.outcomes import Outcome
from interlock.rules.states import IN_FLIGHT, TERMINAL, State, WaitingFor
from tests.rules.explored_commits import check, commit
from tests.rules.explored_world import (
    CALLBACK_UNTIL,
    CALLED,
    LAST,
    NOW,
    RETRY_AT,
    Asked,
    Protocol,
    Task,
    Violation,
    World,
    require,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What the search came to: how many worlds, and how the first property was broken, if one was."""

    worlds: int
    broken: str | None = None
    trace: tuple[str, ...] = ()


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
