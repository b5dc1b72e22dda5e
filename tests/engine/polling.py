"""A kind for tests whose receiver takes the work with a 202, and is then asked for the result."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from interlock.contract.steps import SendEmail
from interlock.ports import Clock, Http, HttpFailed, HttpRequest, Progress
from interlock.rules.events import Announce
from interlock.rules.model import Ref
from interlock.rules.outcomes import Reached
from interlock.rules.retry import NO_RETRIES, RetryPolicy
from interlock.rules.states import State, WaitingFor
from interlock.steps.attempt import Accepted, Attempt, Failed, Items, Poll, Report, Succeeded
from interlock.steps.documents import decode, error_document
from interlock.steps.kind import CompileContext, Form, PrepareContext, Ready, Step, StepKind, idempotency_key, step_kind
from tests.clocks import SECOND, ManualClock, settle
from tests.engine.worlds import Call, Engine, FarEnd, engine

JOB: Final[dict[str, Any]] = {"stepName": "job", "sendEmail": {"subject": "hello"}}
URL: Final = "https://far.example/in"
PAUSE_SECONDS: Final = 5
"""Seconds from one poll to the next."""
WAIT_SECONDS: Final = 60
"""Seconds for which the receiver may work."""
RUNNING: Final = b'{"state":"running"}'
DONE: Final = b'{"state":"done"}'


class PollingStep(Step[SendEmail]):
    """Gives the receiver a job, and asks for it by the name that the receiver gave it."""

    kind = "sendEmail"
    form = Form.EFFECTFUL
    pause_seconds = PAUSE_SECONDS
    wait_seconds = WAIT_SECONDS
    retries: RetryPolicy = NO_RETRIES

    def __init__(self, http: Http, clock: Clock) -> None:
        self._http = http
        self._clock = clock

    async def prepare(self, context: PrepareContext) -> Ready:
        key = idempotency_key("inst", context.ref.id, "job")
        return Announce(context.position, b'{"to":"hr"}', passed=context.passed, key=key)

    async def destination(self, tenant: int, input: bytes) -> str | None:
        return "far.example"

    async def fixed_destination(self, tenant: int) -> str | None:
        return "far.example"

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        assert attempt.key is not None
        request = HttpRequest("POST", URL, {"Idempotency-Key": attempt.key}, attempt.reveal(), 30.0, 1_000)
        response = await self._http.send(request, attempt.progress)
        if response.status != 202:
            return self._refused(response.status)
        return self.accepted(response.body or b"job-1", response.status)

    def accepted(self, handle: bytes, status: int | None = None) -> Report:
        now = self._clock.now()
        poll = Poll(handle, now + self.pause_seconds * SECOND)
        return Accepted(now + self.wait_seconds * SECOND, status, poll)

    async def poll(self, attempt: Attempt, handle: bytes, until: int) -> Report:
        request = HttpRequest("GET", f"{URL}/{handle.decode()}", {}, b"{}", 30.0, 1_000)
        try:
            response = await self._http.send(request, Progress())
        except HttpFailed:
            return self.accepted(handle)
        if response.status != 200:
            return self._refused(response.status)
        answer = decode(response.body)
        if answer == {"state": "done"}:
            return Succeeded({"job": handle.decode(), "input": attempt.input.decode()}, response.status)
        return self.accepted(handle + b"+")

    def _refused(self, status: int) -> Failed:
        return Failed(error_document("REFUSED", f"answered {status}"), Reached.ANSWERED, status, self.retries)

    def expired(self) -> bytes:
        return error_document("JOB_TIMEOUT", "the receiver did not report the job done in time")


class TaskStep(PollingStep):
    """Waits for a person after the receiver has taken the work."""

    def accepted(self, handle: bytes, status: int | None = None) -> Report:
        return Accepted(self._clock.now() + self.wait_seconds * SECOND, status, WaitingFor.TASK)


def polling(http: Http, clock: Clock, step: Callable[[Http, Clock], PollingStep] = PollingStep) -> StepKind:
    """The kind, for a registry of the test."""

    def compiled(message: SendEmail, context: CompileContext) -> PollingStep:
        return step(http, clock)

    return step_kind(PollingStep, SendEmail, compiled)


# --- runs of the kind -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def job(
    step: Callable[[Http, Clock], PollingStep] = PollingStep, *, steps: Any = (JOB,), **options: Any
) -> AsyncIterator[tuple[Engine, Ref]]:
    """A run whose first step has given its job to the receiver, which has not answered yet."""
    far, clock = options.pop("far", None) or FarEnd(), ManualClock()
    async with engine(far=far, clock=clock, more_kinds=[polling(far, clock, step)], **options) as world:
        yield world, await world.start(await world.publish(steps))


@asynccontextmanager
async def accepted_job(
    step: Callable[[Http, Clock], PollingStep] = PollingStep, *, steps: Any = (JOB,), **options: Any
) -> AsyncIterator[tuple[Engine, Ref]]:
    """The same, and the receiver has accepted it."""
    async with job(step, steps=steps, **options) as (world, ref):
        await answer(world, 202, b"job-1")
        yield world, ref


async def answer(world: Engine, status: int = 200, body: bytes = DONE) -> None:
    [call] = world.far.open
    call.answer(status, body)
    await settle()


async def due(world: Engine, seconds: float = PAUSE_SECONDS) -> Call:
    """Let the time of the next poll come, and return the poll."""
    await world.clock.pass_time(seconds)
    [call] = world.far.open
    return call


def requested(world: Engine) -> list[str]:
    return [f"{call.request.method} {call.request.url.removeprefix(URL)}".strip() for call in world.far.calls]


def waits(world: Engine, ref: Ref) -> tuple[State, WaitingFor | None, float | None]:
    """The state of the run, what it waits for, and the seconds until then."""
    row = world.row(ref)
    left = None if row.wake_at is None else (row.wake_at - world.clock.now()) / SECOND
    return row.state, row.waiting_for, left


def late(world: Engine, ref: Ref) -> list[str]:
    [row] = world.steps(ref)
    return [each["outcome"] for each in json.loads(row.late or b"[]")]
