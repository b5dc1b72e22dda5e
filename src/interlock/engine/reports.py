"""Reports of steps, and the results that are recorded for them. A settled outcome is recorded as it is.

The outcome of an attempt says what the attempt did. If its output cannot be stored, or a defect occurred while it was
read, an error is recorded beside the outcome and the run ends. The outcome never becomes a failure or unknown for that.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from interlock.contract.base import Message
from interlock.ports import Phase, Place
from interlock.rules.events import Fail, Next, Retry, Settled, Wait
from interlock.rules.model import AttemptRef, Result, SecretRef
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.retry import next_attempt
from interlock.rules.states import WaitingFor
from interlock.steps.documents import StepFailed, encode_output, error_document
from interlock.steps.kind import Accepted, Attempt, Failed, Report, Step, Succeeded
from interlock.steps.masking import sealed_answer

DEFECT: Final = error_document(
    "INTERNAL", "a defect of the server prevents this run from continuing; the server log has the details"
)
ACCEPTED_STATUS: Final = 202
"""The status of an answer that announces a callback."""
NOT_KEPT: Final = error_document(
    "OUTPUT_NOT_KEPT",
    "the step ended with the recorded outcome, but a defect of the server prevented the storage of its output; "
    "the server log has the details",
)

_log = logging.getLogger(__name__)


def interpret(report: Report, attempt: Attempt, now: int, chance: float) -> tuple[Result, Next | None]:
    """Return the result to record, and what follows; None if the next step follows.

    Args:
        report: The report of the step.
        attempt: The attempt that the report is about.
        now: Engine time in microseconds.
        chance: A random number in [0, 1), which selects the gap before a retry.
    """
    ref, phase = attempt.attempt, attempt.progress.phase
    match report:
        case Succeeded(output, status):
            text, sealed, error = kept(attempt, output)
            result = Result(Outcome.SUCCEEDED, text, error, status, phase, sealed=sealed)
            return result, None if error is None else Fail(ref.position)
        case Accepted(until, status):
            return Result(None, None, None, status, phase), Wait(ref.position, WaitingFor.CALLBACK, until)
        case Failed(error, reached, status, retries, last_start):
            result = Result(Outcome.FAILED, None, error, status, phase, reached)
            again = next_attempt(retries, ref.number, now, chance, last_start)
            return result, Fail(ref.position) if again is None else Retry(ref.position, again)


def interpret_defect(step: Step[Message], attempt: Attempt) -> tuple[Result, Next] | None:
    """Return the result of an attempt that a defect ended, and what follows; None if its outcome is not proven.

    If nothing was sent, the attempt failed. If the whole answer had arrived, its status is the proof.
    """
    progress = attempt.progress
    following = Fail(attempt.attempt.position)
    if step.interruption(progress) is Outcome.INTERRUPTED_NOT_SENT:
        return Result(Outcome.FAILED, error=DEFECT, phase=progress.phase, reached=Reached.NOT_SENT), following
    if progress.phase is not Phase.DONE or progress.status is None or progress.status == ACCEPTED_STATUS:
        return None
    outcome = Outcome.SUCCEEDED if 200 <= progress.status < 300 else Outcome.FAILED
    reached = Reached.ANSWERED if outcome is Outcome.FAILED else None
    return Result(outcome, None, NOT_KEPT, progress.status, progress.phase, reached), following


def without_output(event: Settled) -> Settled:
    """Return the event with the same outcome but without its output, and with the end of the run."""
    result = replace(event.result, output=None, sealed=None, error=NOT_KEPT)
    return replace(event, result=result, next=Fail(event.attempt.position))


def lost(ref: AttemptRef, result: Result, at: int, step: Step[Message], error: bytes, holder: str) -> Settled:
    """Return the event for an attempt that was interrupted although no termination was accepted."""
    if step.repeatable or result.outcome is Outcome.INTERRUPTED_NOT_SENT:
        following: Next = Retry(ref.position, at)
    else:
        following = Fail(ref.position)
    abandoned = Result(Outcome.ABANDONED, error=error, status=result.status, phase=result.phase)
    return Settled(at, ref, abandoned, following, holder)


def kept(
    attempt: Attempt, output: Mapping[str, object], item: int | None = None
) -> tuple[bytes | None, SecretRef | None, bytes | None]:
    """Return the output as it is stored and the reference to its secrets, or the error why it cannot be stored."""
    try:
        text, sealed = encode_output(output), None
        if attempt.sealed is not None:
            place = Place.output(attempt.ref, attempt.attempt.position, item)
            text, sealed = sealed_answer(attempt.vault, place, output, text)
        return text, sealed, None
    except StepFailed as failure:
        return None, None, failure.document()
    except Exception:  # noqa: BLE001 - the attempt has settled, and no defect of the server may change that
        _log.exception("encoding the output of step %s of run %s failed", attempt.attempt.position, attempt.ref.id)
        return None, None, NOT_KEPT
