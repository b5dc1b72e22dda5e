"""Outbound HTTP and the receivers: `ports.Http` over a network that does to a call whatever its seed says.

Each receiver keeps a ledger of its own. It is the truth that receipts are held against.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Final

from interlock.ports import HttpFailed, HttpFailureKind, HttpRequest, HttpResponse, Phase, Progress
from simulation.loop import SimulatedLoop
from simulation.recipients import CALL

MILLISECOND: Final = 1_000
SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND


class Fate(StrEnum):
    """What becomes of one call."""

    ANSWERED = "answered"
    TEXT = "text"
    """Answered 200 with something that is not JSON."""
    NUMBER = "answers a number that no double holds"
    NULLS = "answers a list of nulls"
    DEEP = "answers lists in lists"
    FLOODS = "interim responses without end"
    """It acts, and its answer never comes to a final status."""
    REFUSED = "refused"
    """No connection; nothing leaves."""
    RESET_BEFORE = "reset before it acted"
    RESET_AFTER = "reset after it acted"
    HANGS = "hangs"
    """It acts, and never answers."""
    BODY_CUT = "status seen, body cut"
    DRIPS = "answers byte by byte"
    FAILS = "500"
    GONE = "410"
    TOO_LARGE = "answers more than is read"
    ACCEPTED = "202 and a callback"
    ACCEPTED_FIRST = "202 after its callback"
    CALLED_ANSWERED = "200 after its callback"
    CALLED_FAILS = "500 after its callback"
    CALLED_RESET = "reset after its callback"
    CALLED_HANGS = "no answer after its callback"
    ACCEPTED_TWICE = "202 and two callbacks"
    ACCEPTED_NEVER = "202 and no callback"


CALM: Final = (Fate.ANSWERED,) * 8 + (Fate.ACCEPTED,) * 2
ROUGH: Final = (*CALM, *Fate, Fate.FAILS, Fate.HANGS, Fate.DRIPS)
_ACCEPTED: Final = frozenset({Fate.ACCEPTED, Fate.ACCEPTED_FIRST, Fate.ACCEPTED_TWICE, Fate.ACCEPTED_NEVER})
CALLS_FIRST: Final = frozenset(
    {Fate.ACCEPTED_FIRST, Fate.CALLED_ANSWERED, Fate.CALLED_FAILS, Fate.CALLED_RESET, Fate.CALLED_HANGS}
)
"""Fates of a call whose callback is sent before the call is answered, if it ever is."""
_CALLS_BACK: Final = _ACCEPTED | CALLS_FIRST
"""Fates that a call of an item cannot have: its answer is final."""
_RESET: Final = frozenset({Fate.RESET_AFTER, Fate.CALLED_RESET})
_HANGS: Final = frozenset({Fate.HANGS, Fate.CALLED_HANGS})
_BODIES: Final = {
    Fate.TEXT: b"done",
    Fate.NUMBER: b'{"n": 1e400}',
    Fate.NULLS: b'{"n": [' + b",".join([b"null"] * 1_000) + b"]}",
    Fate.DEEP: b'{"n": ' + b"[" * 200 + b"]" * 200 + b"}",
}
_STATUS: Final = {Fate.FAILS: 500, Fate.CALLED_FAILS: 500, Fate.GONE: 410, **dict.fromkeys(_ACCEPTED, 202)}


@dataclass(slots=True)
class Call:
    """One attempt to reach a receiver, as it truly went. Times are virtual microseconds."""

    key: str
    """The idempotency key: execution, step and occurrence."""
    execution: int
    step: str
    number: int
    """Among those with this key: 0, 1, …"""
    fate: Fate
    deaf: bool
    """The attempt ignores its cancellation."""
    callback_url: str
    begun_at: int
    first_byte_at: int | None = None
    complete_at: int | None = None
    """The receiver has the whole request."""
    acted_at: int | None = None
    status: int = 0
    """What it answered; 0: nothing."""
    seen: bool = False
    """Its status arrived."""
    delivered: bool = False
    """The whole answer arrived."""
    closed_at: int | None = None
    cut: bool = False
    callbacks: list[int] = field(default_factory=list)
    """HTTP status of each callback that the server took; 0 if its answer was lost."""
    reply: asyncio.Future[int] | None = None
    item: str = ""
    """The item that it is for; empty for a call of a step without items."""

    @property
    def open(self) -> bool:
        return self.closed_at is None


class Network:
    """`ports.Http`, and every receiver.

    Args:
        chance: for a name, the numbers that are its own whatever else happens.
        sent: told of each call whose first byte is about to leave.
        call_back: POSTs a callback and returns the status; 0 if the answer was lost, None if no server was there.
        misreport: sabotage: falsifies what is noted of a call that is cut.
    """

    def __init__(
        self,
        loop: SimulatedLoop,
        chance: Callable[[str], Random],
        fates: tuple[Fate, ...],
        deaf: float,
        sent: Callable[[Call], None],
        call_back: Callable[[str, bytes], Coroutine[Any, Any, int | None]],
        note: Callable[[str], None],
        misreport: Callable[[Progress], None] | None,
    ) -> None:
        self._loop = loop
        self._chance = chance
        self.fates = fates
        self.deaf = deaf
        self._sent = sent
        self._call_back = call_back
        self._note = note
        self._misreport = misreport
        self.calls: dict[str, list[Call]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.outside: Any = None
        """The context of the world around the server."""

    def check_url(self, url: str) -> None: ...

    @property
    def open(self) -> list[Call]:
        return [call for calls in self.calls.values() for call in calls if call.open]

    def process_died(self) -> None:
        """Its connections are closed by the machine."""
        for call in self.open:
            self._close(call)

    async def send(self, request: HttpRequest, progress: Progress) -> HttpResponse:
        call, chance = self._begin(request)
        if not call.deaf:
            try:
                return await self._talk(call, request, progress, chance)
            except asyncio.CancelledError:
                call.cut = True
                if self._misreport is not None:
                    self._misreport(progress)
                raise
            finally:
                self._close(call)
        talk = asyncio.ensure_future(self._talk(call, request, progress, chance))
        try:
            while True:
                try:
                    return await asyncio.shield(talk)
                except asyncio.CancelledError:
                    if talk.cancelled():
                        raise
                    call.cut = True
        finally:
            self._close(call)

    def _begin(self, request: HttpRequest) -> tuple[Call, Random]:
        key, fates, item = request.headers.get("Idempotency-Key", ""), self.fates, ""
        if CALL in request.headers:
            execution, step, item = request.headers[CALL].split(":")
            key = key or request.headers[CALL]
            fates = tuple(fate for fate in fates if fate not in _CALLS_BACK)
        else:
            _, execution, step, _ = key.split(":")
        calls = self.calls.setdefault(key, [])
        chance = self._chance(f"call {step} {len(self.calls)} {len(calls)}")
        fate = chance.choice(fates)
        call = Call(
            key,
            int(execution),
            step,
            len(calls),
            fate,
            chance.random() < self.deaf,
            request.headers.get("Webhook-Callback-Url", ""),
            self._loop.microseconds,
            item=item,
        )
        calls.append(call)
        return call, chance

    async def _talk(self, call: Call, request: HttpRequest, progress: Progress, chance: Random) -> HttpResponse:
        try:
            async with asyncio.timeout(request.timeout):
                return await self._exchange(call, request, progress, chance)
        except TimeoutError:
            raise HttpFailed(HttpFailureKind.TIMEOUT, "no complete answer in time") from None

    async def _exchange(self, call: Call, request: HttpRequest, progress: Progress, chance: Random) -> HttpResponse:
        progress.phase = Phase.CONNECTING
        await self._pause(chance.choice((0, 0, 1, 2, 20)) * MILLISECOND)
        if call.fate is Fate.REFUSED:
            raise HttpFailed(HttpFailureKind.CONNECT, "could not connect")
        progress.phase = Phase.WRITING
        progress.bytes_written = len(request.body)
        call.first_byte_at = self._loop.microseconds
        self._sent(call)
        await self._pause(chance.choice((0, 0, 0, 1)) * MILLISECOND)
        call.complete_at = self._loop.microseconds
        call.reply = self._loop.create_future()
        progress.phase = Phase.WAITING
        self._outside(self._serve(call, chance, call.reply))
        status = await call.reply
        progress.status, progress.phase = status, Phase.READING
        call.seen = True
        await self._pause(chance.choice((3, 8, 40)) * SECOND if call.fate is Fate.DRIPS else chance.choice((0, 0, 1)))
        if call.fate is Fate.BODY_CUT:
            raise HttpFailed(HttpFailureKind.RESET, "the connection ended before the answer was complete")
        if call.fate is Fate.TOO_LARGE:
            raise HttpFailed(HttpFailureKind.TOO_LARGE, "the answer is larger than is read")
        progress.phase = Phase.DONE
        call.delivered = True
        body = _BODIES.get(call.fate) or json.dumps({"version": "v1", "context": {"n": call.number}}).encode()
        return HttpResponse(status, {}, body if 200 <= status < 300 else b"no")

    # --- the receiver ---------------------------------------------------------------------------------------------

    async def _serve(self, call: Call, chance: Random, reply: asyncio.Future[int]) -> None:
        """The action of the receiver once it has the whole request."""
        notices = chance.random() < 0.2
        await self._pause(chance.choice((0, 0, 1, 5, 50, 400)) * MILLISECOND)
        if call.fate is Fate.RESET_BEFORE:
            self._reset(reply)
            return
        if call.closed_at is not None and notices:
            return
        call.acted_at = self._loop.microseconds
        self._note(f"receiver acted on {call.execution} {call.step} #{call.number}: {call.fate}")
        if call.fate in CALLS_FIRST:
            await self._deliver(call, chance)
        if call.fate in _RESET:
            self._reset(reply)
            return
        if call.fate in _HANGS:
            return
        if call.fate is Fate.FLOODS:
            if not reply.done():
                reply.set_exception(HttpFailed(HttpFailureKind.TOO_LARGE, "interim responses without end"))
            return
        if call.fate not in CALLS_FIRST:
            await self._pause(chance.choice((0, 0, 1, 5)) * MILLISECOND)
        call.status = _STATUS.get(call.fate, 200)
        if not reply.done():
            reply.set_result(call.status)
        if call.fate in {Fate.ACCEPTED, Fate.ACCEPTED_TWICE}:
            await self._pause(chance.choice((0, 1, 30, 300, 5_000, 40_000)) * MILLISECOND)
            await self._deliver(call, chance)
            if call.fate is Fate.ACCEPTED_TWICE:
                await self._pause(chance.choice((0, 0, 20, 2_000)) * MILLISECOND)
                await self._deliver(call, chance)

    async def _deliver(self, call: Call, chance: Random) -> None:
        """POST the callback, and retry while no server takes it."""
        body = json.dumps({"version": "v1", "context": {"called": call.number}}).encode()
        for _ in range(6):
            status = await self._call_back(call.callback_url, body)
            if status not in {None, 503}:
                call.callbacks.append(status)
                self._note(f"callback for {call.execution} {call.step}: {status or 'no answer'}")
                if status:
                    return
            await self._pause(chance.choice((500, 2_000, 10_000)) * MILLISECOND)

    def _reset(self, reply: asyncio.Future[int]) -> None:
        if not reply.done():
            reply.set_exception(HttpFailed(HttpFailureKind.RESET, "the connection was closed before an answer came"))

    def _close(self, call: Call) -> None:
        if call.closed_at is None:
            call.closed_at = self._loop.microseconds

    def _outside(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work, context=self.outside.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pause(self, microseconds: int) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        timer = self._loop.call_at((self._loop.microseconds + microseconds) / 1_000_000, future.set_result, None)
        try:
            await future
        finally:
            timer.cancel()
