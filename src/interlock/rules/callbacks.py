"""The early callback: a remote that calls back before its own answer is recorded.

The callback is accepted immediately and stored with its step. It settles the step if the attempt in flight does not
succeed: if it is answered with 202, fails, is interrupted, is lost with its server, or is abandoned at a deadline. The
work is then known to be done, so the attempt is neither retried nor in doubt. If the attempt succeeds, its own answer
counts, and the callback is stored as evidence.
"""

from __future__ import annotations

from dataclasses import replace

from interlock.rules.decision import CallbackTaken, LateEvidence, Record, StepSettled
from interlock.rules.model import AttemptRef, Result, Situation
from interlock.rules.outcomes import Outcome, late
from interlock.rules.states import WaitingFor


def settle_attempt(
    situation: Situation, attempt: AttemptRef, at: int, result: Result, accepted: WaitingFor | None = None
) -> tuple[Record, ...]:
    """Return the records that settle the attempt in flight with `result`, or with the stored callback of its step.

    Args:
        situation: The run, and the stored callback if there is one.
        attempt: The attempt in flight.
        at: Engine time in microseconds.
        result: The result that the attempt reported.
        accepted: What the step waits for if the receiver answered 202 and the attempt stays open. A stored callback
            closes the attempt all the same.
    """
    kept = situation.callback
    if kept is None:
        return (StepSettled(attempt.position, attempt.number, at, result, accepted),)
    taken = CallbackTaken(attempt.position)
    if result.outcome is Outcome.SUCCEEDED:
        evidence = LateEvidence(attempt, kept.at, Outcome.LATE_SUCCEEDED, without_status(kept.result))
        return (StepSettled(attempt.position, attempt.number, at, result), evidence, taken)
    done = replace(kept.result, status=result.status, phase=result.phase)
    settled = StepSettled(attempt.position, attempt.number, at, done)
    outcome = late(result.outcome)
    if outcome is None:
        return (settled, taken)
    return (settled, LateEvidence(attempt, at, outcome, result), taken)


def without_status(result: Result) -> Result:
    """Return the result of a callback without an HTTP status, which only an answer has: a callback is a request."""
    return replace(result, status=None)


def settled_by_callback(situation: Situation, result: Result) -> bool:
    """Return whether the stored callback settles the attempt in flight, instead of `result`."""
    return situation.callback is not None and result.outcome is not Outcome.SUCCEEDED
