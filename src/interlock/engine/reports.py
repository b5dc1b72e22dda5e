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
from interlock.rules.events import Fail, Next, Polled, Retry, Settled, Wait
from interlock.rules.model import SECOND, AttemptRef, Result, SecretRef
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.retry import next_attempt
from interlock.rules.states import WaitingFor
from interlock.steps.attempt import Accepted, Attempt, Failed, Poll, Report, Succeeded
from interlock.steps.documents import StepFailed, encode_output, error_document
from interlock.steps.kind import Step
from interlock.steps.masking import sealed_answer

DEFECT: Final = error_document(
    "INTERNAL", "a defect of the server prevents this run from continuing; the server log has the details"
)
MIN_POLL_INTERVAL_SECONDS: Final = 1
"""Seconds between two polls of an attempt, at least."""
MAX_POLL_WAIT_SECONDS: Final = 30 * 24 * 3600
"""Seconds from the acceptance of an attempt to its last poll, at most."""
MAX_POLL_HANDLE_BYTES: Final = 4_096
"""Bytes of the handle that a step polls with; a longer one ends the step."""
ACCEPTED_STATUS: Final = 202
"""The status of an answer that announces a callback."""
NOT_KEPT: Final = error_document(
    "OUTPUT_NOT_KEPT",
    "the step ended with the recorded outcome, but a defect of the server prevented the storage of its output; "
    "the server log has the details",
)

HANDLE_NOT_KEPT: Final = error_document(
    "POLL_HANDLE_NOT_KEPT",
    f"the receiver accepted the work, and its result cannot be asked for: the handle of the poll is longer than "
    f"{MAX_POLL_HANDLE_BYTES:,} bytes, or could not be stored; the server log has the details",
)

WAIT_NOT_KEPT: Final = error_document(
    "WAIT_NOT_KEPT",
    "the receiver accepted the work, and a defect of the server prevented the wait for its result; the server log has "
    "the details",
)

ResultEvent = Settled | Polled

_log = logging.getLogger(__name__)


def interpret(
    report: Report, attempt: Attempt, now: int, chance: float, *, latest: int | None = None
) -> tuple[Result, Next | None]:
    """Return the result to record, and what follows; None if the next step follows.

    Args:
        report: The report of the step.
        attempt: The attempt that the report is about.
        now: Engine time in microseconds.
        chance: A random number in [0, 1), which selects the gap before a retry.
        latest: For the report of a poll: when its wait ends, in microseconds.
    """
    ref, phase = attempt.attempt, attempt.progress.phase
    match report:
        case Succeeded(output, status):
            text, sealed, error = kept(attempt, output)
            result = Result(Outcome.SUCCEEDED, text, error, status, phase, sealed=sealed)
            return result, None if error is None else Fail(ref.position)
        case Accepted(until, status, waits_for):
            accepted = Result(None, None, None, status, phase)
            if isinstance(waits_for, Poll):
                end = min(until, now + MAX_POLL_WAIT_SECONDS * SECOND if latest is None else latest)
                return _polled_later(attempt, waits_for, end, now, accepted)
            return accepted, Wait(ref.position, waits_for, until if latest is None else min(until, latest))
        case Failed(error, reached, status, retries, last_start):
            result = Result(Outcome.FAILED, None, error, status, phase, reached)
            again = next_attempt(retries, ref.number, now, chance, last_start)
            return result, Fail(ref.position) if again is None else Retry(ref.position, again)


def _polled_later(attempt: Attempt, poll: Poll, end: int, now: int, result: Result) -> tuple[Result, Next]:
    """Return the result of an attempt that is polled until `end`, and the wait for the next poll.

    The wait is stored as what is left of it at the next poll, so that it moves with engine time as that poll does.
    """
    position = attempt.attempt.position
    handle = _sealed_handle(attempt, poll.handle)
    if handle is None:
        failed = replace(result, outcome=Outcome.FAILED, error=HANDLE_NOT_KEPT, reached=Reached.UNKNOWN)
        return failed, Fail(position)
    at = max(min(poll.at, end), now + MIN_POLL_INTERVAL_SECONDS * SECOND)
    accepted = replace(result, handle=handle, wait_left=max(0, end - at))
    return accepted, Wait(position, WaitingFor.POLL, at)


def _sealed_handle(attempt: Attempt, handle: bytes) -> SecretRef | None:
    """Return the handle as it is stored; None if it cannot be. It may be all that a caller needs to see the work."""
    place = Place.handle(attempt.ref, attempt.attempt.position)
    if len(handle) > MAX_POLL_HANDLE_BYTES:
        _log.error("the handle of step %s of run %s has %s bytes", place.name, attempt.ref.id, len(handle))
        return None
    try:
        return attempt.vault.seal(place, handle, frozenset())
    except Exception:  # noqa: BLE001 - the receiver has accepted the work, and no defect of the server may change that
        _log.exception("storing the handle of step %s of run %s failed", attempt.attempt.position, attempt.ref.id)
        return None


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


def without_output(event: ResultEvent) -> ResultEvent:
    """Return the event with the same outcome but without its output, and with the end of the run.

    Accepted work whose wait cannot be stored has failed, and what the receiver does is not known.
    """
    result = event.result
    if result.outcome is None:
        result = Result(Outcome.FAILED, None, WAIT_NOT_KEPT, result.status, result.phase, Reached.UNKNOWN)
    else:
        result = replace(result, output=None, sealed=None, error=NOT_KEPT)
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
