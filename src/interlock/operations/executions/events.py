"""The changes of one run as they are committed: server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Final

from interlock.contract.base import Message, to_wire
from interlock.errors import InvalidArgument, TooManyRequests
from interlock.operations import shown
from interlock.operations.executions import handlers
from interlock.operations.executions.views import ExecutionChange
from interlock.operations.operation import Answer, Call, NoContent, Stream
from interlock.operations.services import Services
from interlock.rules.model import SECOND, Execution, Ref
from interlock.rules.states import TERMINAL

EVENT_STREAM: Final = "text/event-stream"
LONGEST: Final = 900 * SECOND
"""After so long a stream ends; the client asks again, from where it was."""
HEARTBEAT: Final = 15 * SECOND
"""A comment goes out when nothing has happened for so long, so that nobody in between takes the line for dead."""
MOST_STREAMS: Final = 1_000
_AGAIN: Final = b"retry: 1000\n\n"
_STILL_HERE: Final = b": still here\n\n"


async def follow(services: Services, call: Call, body: None) -> Answer:
    """The run as it is, and then each change of it, until it has ended.

    The id of an event is the run's epoch, which each change raises; with `Last-Event-ID` only later ones are sent. An
    id beyond the newest event is none of this stream, as after a restore: the run is then shown as it is. A client that
    has the last event of a run that has ended gets 204, which tells it not to connect again.

    Raises:
        InvalidArgument: the last event's id is none.
        NotFound: there is no such run.
        TooManyRequests: so many are following already.
    """
    row = await handlers.read(services.store, call)
    since = call.headers.get("last-event-id", "0")
    if not (since.isascii() and since.isdigit() and len(since) <= 18):
        raise InvalidArgument.at("Last-Event-ID", "must be the id of an event of this stream")
    last = int(since)
    if last == row.epoch and row.state in TERMINAL:
        return Answer(NoContent())
    if services.feed.watches >= MOST_STREAMS:
        raise TooManyRequests("too many are following executions; try again shortly")
    return Answer(Stream(EVENT_STREAM, _changes(services, row.ref, last if last <= row.epoch else 0)))


async def _changes(services: Services, ref: Ref, last: int) -> AsyncIterator[bytes]:
    clock, feed = services.clock, services.feed
    until = clock.now() + LONGEST
    yield _AGAIN
    with feed.watch(ref) as watch:
        while True:
            row = await services.store.executions.get(ref)
            if row is None:
                return
            if row.epoch > last:
                last = row.epoch
                yield _event(row)
            if row.state in TERMINAL or feed.closed or clock.now() >= until:
                return
            if not await watch.change(clock, min(until, clock.now() + HEARTBEAT)):
                yield _STILL_HERE


def _event(row: Execution) -> bytes:
    data = json.dumps(to_wire(_shown(row)), separators=(",", ":"))
    return f"id: {row.epoch}\nevent: execution\ndata: {data}\n\n".encode()


def _shown(row: Execution) -> Message:
    return ExecutionChange(
        execution_id=row.id,
        state=row.state,
        waiting_for=row.waiting_for or "",
        wake_at=shown.moment(row.wake_at),
        step=row.step,
        attempt=row.attempt,
        updated_at=shown.moment(row.updated_at),
        completed_at=shown.moment(row.completed_at),
    )
