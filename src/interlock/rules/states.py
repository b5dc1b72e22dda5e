"""The states of an execution, the transitions between them, and what a waiting execution waits for."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """A stored state. The states `CREATING`, `GET_STEP` and `COMPLETE_STEP` of C1's API are never stored."""

    PENDING = "PENDING"
    """Recorded and ready for a slot; also between two steps if no slot was free."""
    PROCESS_STEP = "PROCESS_STEP"
    """An attempt has been announced and is in flight."""
    WAITING = "WAITING"
    """Nothing is in flight; the run waits for a time, a callback, a poll or a person."""
    PAUSED_BY_CIRCUIT_BREAKER = "PAUSED_BY_CIRCUIT_BREAKER"
    """Paused at its creation; no step has run."""
    STOPPING = "STOPPING"
    """A termination is accepted, and the attempt in flight has not settled. C1's API shows `PROCESS_STEP`."""
    DONE = "DONE"
    ERROR = "ERROR"
    TERMINATE = "TERMINATE"


class WaitingFor(StrEnum):
    """What an execution waits for. It waits until `wake_at` at the latest."""

    READY = "ready"
    """A free slot."""
    TIMER = "timer"
    CALLBACK = "callback"
    """A callback, after the receiver answered 202; `wake_at` is when the callback URL expires."""
    RETRY = "retry"
    TASK = "task"
    """A person; `wake_at` may be None."""
    DEADLINE = "deadline"
    """The end of the attempt in flight of a stopping run; at `wake_at` the attempt is abandoned."""
    POLL = "poll"
    """The receiver accepted the work; at `wake_at` the step asks it for the result."""


class IllegalMove(Exception):
    """A move that the table of transitions does not have: a defect of the rules, never an error of a caller."""


TERMINAL = frozenset({State.DONE, State.ERROR, State.TERMINATE})
IN_FLIGHT = frozenset({State.PROCESS_STEP, State.STOPPING})

_RUN_ON = frozenset(
    {State.PENDING, State.PROCESS_STEP, State.WAITING, State.DONE, State.ERROR, State.TERMINATE},
)

TRANSITIONS: dict[State | None, frozenset[State]] = {
    None: _RUN_ON | {State.PAUSED_BY_CIRCUIT_BREAKER},
    State.PENDING: _RUN_ON,
    State.PROCESS_STEP: _RUN_ON | {State.STOPPING},
    State.WAITING: _RUN_ON,
    State.PAUSED_BY_CIRCUIT_BREAKER: frozenset({State.PENDING, State.TERMINATE}),
    State.STOPPING: frozenset({State.TERMINATE}),
    State.DONE: frozenset(),
    State.ERROR: frozenset(),
    State.TERMINATE: frozenset(),
}
"""Every permitted move; `None` stands for the time before creation. A state that lists itself may change its step."""


def move(state: State | None, to: State) -> State:
    """Return `to` if the table of transitions permits the move. Every change of a state passes through here.

    Raises:
        IllegalMove: The table of transitions has no such move.
    """
    if to not in TRANSITIONS[state]:
        raise IllegalMove(f"{state} -> {to}")
    return to
