"""Callbacks: a receiver delivers its result later. The URL authenticates the receiver, and can be used once.

A receiver may call back before its own 202 is recorded, and before a retry: the server accepts the callback immediately
and stores it with the step (`rules.callbacks`). No request waits, so early callbacks delay nothing.
"""

from __future__ import annotations

from typing import Final

from interlock.contract.guard import loads
from interlock.contract.ids import parse_id
from interlock.errors import FailedPrecondition, InvalidArgument, NotFound
from interlock.operations.operation import Answer, Call
from interlock.operations.services import Services
from interlock.ports import Place
from interlock.rules.decision import Verdict
from interlock.rules.events import CalledBack
from interlock.rules.model import Execution, Ref, Result
from interlock.rules.outcomes import Outcome
from interlock.steps.answers import read_answer
from interlock.steps.callback_token import verify_callback_token
from interlock.steps.documents import StepFailed, encode_output
from interlock.steps.masking import sealed_answer

MAX_CALLBACK_BYTES: Final = 250_000
"""Maximum size of the body of a callback, in bytes."""

_ACCEPTED: Final = 202
_DEAD: Final = "this callback URL was used already, has expired, or its run was stopped; nothing was changed"


async def receive(services: Services, call: Call, body: bytes) -> Answer:
    """Accept the result of a webhook step: settle the step if it waits for it, or store it while an attempt is made.

    The first callback that comes after the step was settled otherwise is stored with it as evidence.

    Raises:
        NotFound: The server never issued this URL.
        InvalidArgument: The body is not a JSON object, or it is empty.
        FailedPrecondition: The URL was used, has expired, or the run was terminated.
        Unavailable: The commit failed; the receiver should retry.
    """
    try:
        ref = Ref(call.tenant.id, parse_id(call.path["execution"]))
    except InvalidArgument:
        raise NotFound from None
    row = await services.store.executions.get(ref)
    position = None if row is None else _position(services, row, call.path["token"])
    if position is None:
        raise NotFound
    result = await _result(services, ref, position, body)
    decision = await services.store.executions.apply(ref, CalledBack(services.clock.now(), position, result))
    if decision is None or decision.verdict is not Verdict.ACCEPTED:
        raise FailedPrecondition(_DEAD)
    return Answer()


def _position(services: Services, row: Execution, token: str) -> int | None:
    """Return the step that this URL belongs to, or None. The current step of the run is tried first."""
    for position in range(row.step, -1, -1):
        if verify_callback_token(services.callback_secret, token, row.ref, position):
            return position
    return None


async def _result(services: Services, ref: Ref, position: int, body: bytes) -> Result:
    """What the step is told. The answer to a call that carried a secret is stored masked and sealed."""
    document = loads(body) if body.strip() else None
    if not isinstance(document, dict) or not document:
        raise InvalidArgument.at("", "the body must be a JSON object that is not empty")
    output = {"response": read_answer(body), "status_code": _ACCEPTED}
    try:
        text, sealed = encode_output(output), None
    except StepFailed as failed:
        raise InvalidArgument.at("", failed.message) from None
    announced = await services.store.executions.announced(ref, position)
    if announced is not None and announced.sealed is not None:
        text, sealed = sealed_answer(services.vault, Place.output(ref, position), output, text)
    return Result(Outcome.SUCCEEDED, text, status=_ACCEPTED, sealed=sealed)
