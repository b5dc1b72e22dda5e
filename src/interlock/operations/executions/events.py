"""Streams the committed changes of one run as server-sent events (WHATWG HTML, section 9.2)."""

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
MAX_STREAM_LIFETIME: Final = 900 * SECOND
"""Time after which the server ends a stream, in microseconds; the client reconnects and continues from there."""
HEARTBEAT: Final = 15 * SECOND
"""Idle time after which the server sends a comment, in microseconds, so that proxies keep the connection open."""
MAX_STREAMS: Final = 1_000
_RETRY_HINT: Final = b"retry: 1000\n\n"
_HEARTBEAT_COMMENT: Final = b": still here\n\n"


async def follow(services: Services, call: Call, body: None) -> Answer:
    """Stream the current state of a run, and then each change, until the run is terminal.

    The id of an event is the run's epoch, which each change raises; with `Last-Event-ID` the server sends only later
    events. An id beyond the newest event, as after a restore, is not of this stream: the stream then begins with the
    current state. A client that has the last event of a terminal run gets 204, which tells it not to reconnect.

    Raises:
        InvalidArgument: The id of the last event is malformed.
        NotFound: There is no such run.
        TooManyRequests: `MAX_STREAMS` streams are open.
    """
    row = await handlers.read(services.store, call)
    since = call.headers.get("last-event-id", "0")
    if not (since.isascii() and since.isdigit() and len(since) <= 18):
        raise InvalidArgument.at("Last-Event-ID", "must be the id of an event of this stream")
    last = int(since)
    if last == row.epoch and row.state in TERMINAL:
        return Answer(NoContent())
    if services.feed.watches >= MAX_STREAMS:
        raise TooManyRequests("too many streams of events are open; try again shortly")
    return Answer(Stream(EVENT_STREAM, _changes(services, row.ref, last if last <= row.epoch else 0)))


async def _changes(services: Services, ref: Ref, last: int) -> AsyncIterator[bytes]:
    clock, feed = services.clock, services.feed
    until = clock.now() + MAX_STREAM_LIFETIME
    yield _RETRY_HINT
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
                yield _HEARTBEAT_COMMENT


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
