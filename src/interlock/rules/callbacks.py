"""The early callback: a remote that calls back before its own answer is recorded.

Such a callback is accepted at once and kept with its step. It settles the step as soon as the attempt in flight ends
without an answer of its own: accepted with 202, failed, cut, lost with its server, or given up at a deadline. The work
is known to be done then, so there is no retry and no doubt. An attempt that succeeds has answered for itself; the
callback is evidence beside that answer.
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
    """The records that settle the attempt in flight with `result`, or with the callback that its step has kept.

    `accepted` marks an attempt that was answered with 202 and stays open; with a callback it does not stay open.
    """
    kept = situation.callback
    if kept is None:
        return (StepSettled(attempt.position, attempt.number, at, result, accepted),)
    taken = CallbackTaken(attempt.position)
    if result.outcome is Outcome.SUCCEEDED:
        evidence = LateEvidence(attempt, kept.at, Outcome.LATE_SUCCEEDED, told(kept.result))
        return (StepSettled(attempt.position, attempt.number, at, result), evidence, taken)
    done = replace(kept.result, status=result.status, phase=result.phase)
    settled = StepSettled(attempt.position, attempt.number, at, done)
    outcome = late(result.outcome)
    if outcome is None:
        return (settled, taken)
    return (settled, LateEvidence(attempt, at, outcome, result), taken)


def told(result: Result) -> Result:
    """The result of a callback as evidence: no status of an answer belongs to it, for the remote sent a request."""
    return replace(result, status=None)


def settled_by_callback(situation: Situation, result: Result) -> bool:
    """Whether the kept callback, and not `result`, is what settles the attempt in flight."""
    return situation.callback is not None and result.outcome is not Outcome.SUCCEEDED
