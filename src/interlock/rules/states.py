"""The states of an execution, the moves between them, and what a resting execution waits for."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """A stored state. `CREATING`, `GET_STEP` and `COMPLETE_STEP` of C1's API are passed through, never stored."""

    PENDING = "PENDING"
    """Recorded, and ready for somebody to take it on; also between two steps when no one could."""
    PROCESS_STEP = "PROCESS_STEP"
    """An attempt has been announced and is in flight."""
    WAITING = "WAITING"
    """Nothing in flight; a time, a callback or a person must come first."""
    PAUSED_BY_CIRCUIT_BREAKER = "PAUSED_BY_CIRCUIT_BREAKER"
    """Held back at its creation; no step has run."""
    STOPPING = "STOPPING"
    """A termination is accepted and the attempt in flight has not settled. Shown to C1's clients as PROCESS_STEP."""
    DONE = "DONE"
    ERROR = "ERROR"
    TERMINATE = "TERMINATE"


class WaitingFor(StrEnum):
    """What a resting execution waits for; `wake_at` says until when at the latest."""

    READY = "ready"
    """Nobody in particular: any free slot may take it on."""
    TIMER = "timer"
    CALLBACK = "callback"
    """The far end answered 202; `wake_at` is the moment the callback URL expires."""
    RETRY = "retry"
    TASK = "task"
    """A person; `wake_at` may be absent."""
    DEADLINE = "deadline"
    """The attempt in flight of a stopping run; at `wake_at` it is given up."""


class IllegalMove(Exception):
    """The rules were about to make a move that the table does not have: a defect, never a caller's mistake."""


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
"""Every move there is; `None` is the moment before creation. A state that lists itself may go to another step."""


def move(state: State | None, to: State) -> State:
    """The one way from a state to another.

    Raises:
        IllegalMove: the table has no such move.
    """
    if to not in TRANSITIONS[state]:
        raise IllegalMove(f"{state} -> {to}")
    return to
