"""Callbacks: the answer of a webhook that said 202. Whoever holds the URL may call it, once, while the step waits."""

from __future__ import annotations

from typing import Final

from interlock.contract.guard import loads
from interlock.contract.ids import parse_id
from interlock.errors import FailedPrecondition, InvalidArgument, NotFound
from interlock.operations.operation import Answer, Call
from interlock.operations.services import Services
from interlock.ports import StepRow
from interlock.rules.decision import Verdict
from interlock.rules.events import Woken
from interlock.rules.model import SECOND, AttemptRef, Execution, Ref, Result
from interlock.rules.outcomes import Outcome
from interlock.rules.states import WaitingFor
from interlock.steps.callback_token import verify_callback_token
from interlock.steps.documents import StepFailed, encode_output
from interlock.steps.webhook import read_answer

MAX_BODY: Final = 250_000
"""Bytes."""
PATIENCE: Final = 5 * SECOND
"""How long a callback is held that came early: a far end may call back before its 202 is on our disk."""

_ACCEPTED: Final = 202
_DEAD: Final = "this callback URL was used already, has expired, or its run was stopped; nothing was changed"


async def receive(services: Services, call: Call, body: bytes) -> Answer:
    """Take the answer that a waiting webhook step waits for.

    One that comes when the step does not wait any more is kept with it as evidence, the first time.

    Raises:
        NotFound: no such URL was ever given out.
        InvalidArgument: the body is not a JSON object with something in it.
        FailedPrecondition: the URL was used, has expired, or the run was stopped.
        Unavailable: the commit could not be made; send it again.
    """
    try:
        ref = Ref(call.tenant.id, parse_id(call.path["execution"]))
    except InvalidArgument:
        raise NotFound from None
    with services.feed.watch(ref) as watch:
        row = services.store.executions.get(ref)
        position = None if row is None else _position(services, row, call.path["token"])
        if row is None or position is None:
            raise NotFound
        output = _output(body)
        until = services.clock.now() + PATIENCE
        while _is_early(row, position) and await watch.change(services.clock, until):
            row = services.store.executions.get(ref) or row
    step = _newest(services, ref, position)
    at = services.clock.now()
    waits = row.step == position and row.waiting_for is WaitingFor.CALLBACK
    expired = waits and row.wake_at is not None and at >= row.wake_at
    if step is None or expired or (not waits and (step.outcome is Outcome.SUCCEEDED or step.late is not None)):
        raise FailedPrecondition(_DEAD)
    attempt = AttemptRef(position, step.attempt, step.epoch)
    result = Result(Outcome.SUCCEEDED, output, status=_ACCEPTED)
    event = Woken(at, row.epoch if waits else 0, WaitingFor.CALLBACK, result, attempt=attempt)
    decision = await services.store.executions.apply(ref, event)
    if decision is None or decision.verdict is not Verdict.ACCEPTED:
        raise FailedPrecondition(_DEAD)
    return Answer()


def _is_early(row: Execution, position: int) -> bool:
    """Whether the step is being tried, or will be again: an attempt that a crash cut off is made anew, and the far end
    may know it from the first time."""
    return row.step == position and (row.in_flight or row.waiting_for in {WaitingFor.READY, WaitingFor.RETRY})


def _position(services: Services, row: Execution, token: str) -> int | None:
    """The step whose URL this is; None if there is none. The step where the run stands is tried first."""
    for position in range(row.step, -1, -1):
        if verify_callback_token(services.callback_secret, token, row.ref, position):
            return position
    return None


def _newest(services: Services, ref: Ref, position: int) -> StepRow | None:
    rows = [step for step in services.store.executions.steps(ref) if step.position == position]
    return rows[-1] if rows else None


def _output(body: bytes) -> bytes:
    document = loads(body) if body.strip() else None
    if not isinstance(document, dict) or not document:
        raise InvalidArgument.at("", "the body must be a JSON object that is not empty")
    try:
        return encode_output({"response": read_answer(body), "status_code": _ACCEPTED})
    except StepFailed as failed:
        raise InvalidArgument.at("", failed.message) from None
