"""The ASGI application: it checks a request in a fixed order, calls the operation, and sends the answer.

The order is: host → tenant, route, bearer token, permission, lane, body, parse, handler. Under /api and /interlock a
caller without a token gets 401 for every path, method and body, so that it learns nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Final

from interlock.api.bodies import (
    BodyTooSlow,
    Disconnected,
    Receive,
    Scope,
    Send,
    announced_length,
    check_json,
    read_body,
    read_headers,
    read_query,
)
from interlock.api.edge import Endpoint, Reply, Request
from interlock.api.errors import INTERNAL, TOO_SLOW, wire_error
from interlock.api.lanes import Buffer, Permits, reading, until_disconnect, work
from interlock.api.replies import EMPTY_JSON, SERVER_OPTIONS, head_of, reply_of
from interlock.api.routing import Match, Router
from interlock.api.sending import Outbox
from interlock.auth.bearer import Bearer, Principal
from interlock.auth.tenants import Tenants
from interlock.contract.base import Message
from interlock.contract.parse import parse
from interlock.errors import InterlockError, InvalidArgument, MethodNotAllowed, NotFound, Unimplemented
from interlock.operations.authorise import authorise
from interlock.operations.operation import (
    Answer,
    Call,
    Lane,
    Operation,
    anonymous_principal,
)
from interlock.operations.services import Services
from interlock.ports import TenantRow
from interlock.system import Slices
from interlock.telemetry.metrics import Meter, Metrics

LARGE_BODY_BYTES: Final = 65_536
"""Bytes beyond which a body is read and parsed under a permit of the reading lane, for operations of all lanes."""
_GUARDED: Final = ("/api/", "/interlock/")
_WITHHELD_HEADERS: Final = (b"authorization", b"cookie")
_NO_QUERY: Final[Mapping[str, str]] = {}
_CALLER_DISCONNECTED: Final = 499
"""The status in the metrics of a request whose caller disconnected before its answer."""
_RESOURCES: Final = {
    "automations": "automation",
    "automation_executions": "execution",
    "executions": "execution",
    "webhooks": "webhook",
    "bulkTerminations": "bulk termination",
    "terminations": "bulk termination",
    "clients": "client",
    "tenants": "tenant",
    "callback": "callback URL",
}
"""The collections in the paths of operations, with the word for one member."""
_NO_TENANT: Final = "no tenant answers to this host name; use a name that serve --host or a tenant was given"
_NO_PATH: Final = "no operation has this path; GET /openapi.json lists the operations"

log = logging.getLogger("interlock.api")


@dataclass(frozen=True, slots=True)
class _Route:
    meter: Meter
    operation: Operation | None = None
    permits: Permits | None = None
    """None: the stop lane."""
    endpoint: Endpoint | None = None
    resource: str = ""
    """The word for the resource in the path, for the message of a 404."""


class Api:
    """The ASGI application.

    Args:
        services: The dependencies of the operations.
        tenants: Finds the tenant of a host name.
        bearer: Checks bearer tokens.
        operations: The rows of the operation table.
        endpoints: The other endpoints; none of them requires a bearer token.
        metrics: Counts requests and their durations.
    """

    def __init__(
        self,
        services: Services,
        tenants: Tenants,
        bearer: Bearer,
        operations: Iterable[Operation],
        endpoints: Iterable[Endpoint],
        metrics: Metrics,
    ) -> None:
        self._services = services
        self._tenants = tenants
        self._bearer = bearer
        self._now = services.clock.now
        self._request_ids = count(1)
        self._prefix = services.ids.text()[-10:]
        self._reading = reading(self._now)
        self._work = work(self._now)
        self._buffer = Buffer()
        self._slices = Slices()
        self._outbox = Outbox()
        self._unrouted = metrics.meter("none", Lane.STOP)
        self._router: Router[_Route] = Router()
        lanes = {Lane.STOP: None, Lane.WORK: self._work, Lane.READING: self._reading}
        for operation in operations:
            meter = metrics.meter(operation.id, operation.lane)
            route = _Route(meter, operation, lanes[operation.lane], resource=resource_of(operation.path))
            for path in (operation.path, *operation.aliases):
                self._router.add(operation.method, path, route)
        for endpoint in endpoints:
            meter = metrics.meter(f"{endpoint.method} {endpoint.path}", Lane.STOP)
            self._router.add(endpoint.method, endpoint.path, _Route(meter, endpoint=endpoint))
        for name, lane in (("work", self._work), ("reading", self._reading)):
            metrics.watch(f"interlock_{name}_lane_waiting", f"Requests that wait in the {name} lane.", _waiting(lane))
            metrics.watch(f"interlock_{name}_lane_shed", f"Requests that the {name} lane has refused.", _shed(lane))
        metrics.watch(
            "interlock_unsent_bytes",
            "Bytes of large answers that callers have not read yet.",
            lambda: self._outbox.unsent,
        )
        metrics.watch(
            "interlock_answers_cut", "Large answers that were aborted unread, to free memory.", lambda: self._outbox.cut
        )
        self._streams = 0
        metrics.watch("interlock_streams_open", "Streams that are open.", lambda: self._streams)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began = self._now()
        request_id = f"{self._prefix}-{next(self._request_ids):x}"
        method: str = scope["method"]
        route: _Route | None = None
        missing = _NO_TENANT
        host = ""
        try:
            headers = read_headers(scope["headers"])
            tenant, host = await self._tenants.resolve(_host_of(headers))
            path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
            # A HEAD is answered like a GET; the connection omits the body.
            found = self._router.match("GET" if method == "HEAD" else method, path)
            missing = _NO_PATH
            if isinstance(found, Match):
                route, parameters = found.target, found.parameters
                missing = f"{route.resource} not found, or not visible to this client"
            if path == "*":
                reply = SERVER_OPTIONS
            elif route is not None and route.endpoint is not None:
                reply = await self._endpoint(route.endpoint, tenant, host, scope, headers, receive)
            else:
                principal = await self._principal(route, path, tenant, headers)
                if route is None:
                    raise NotFound if not isinstance(found, tuple) else MethodNotAllowed(found)
                reply = await self._operation(route, tenant, principal, parameters, scope, headers, receive)
                if reply.later is not None:
                    # Outside of the lane: a delayed answer must hold no permit and no buffer.
                    reply = reply_of(await _delayed(reply.later, receive))
                if reply.pieces is not None and scope.get("http_version") == "1.0":
                    raise Unimplemented("an event stream needs HTTP/1.1")
        except InterlockError as error:
            wire = wire_error(NotFound(missing) if isinstance(error, NotFound) and not error.is_named else error, host)
            reply = Reply(wire.status, wire.headers, wire.body)
        except BodyTooSlow:
            reply = Reply(TOO_SLOW.status, TOO_SLOW.headers, TOO_SLOW.body)
        except Disconnected:
            (route.meter if route is not None else self._unrouted).done(_CALLER_DISCONNECTED, self._now() - began)
            return
        except Exception:  # the one boundary where a defect becomes an answer
            log.exception("request failed", extra={"request_id": request_id, "method": method})
            reply = Reply(INTERNAL.status, INTERNAL.headers, INTERNAL.body)
        head = head_of(reply, request_id)
        meter = route.meter if route is not None else self._unrouted
        await send({"type": "http.response.start", "status": reply.status, "headers": head})
        if reply.pieces is None:
            await self._outbox.send(reply.body, scope, receive, send)
            meter.done(reply.status, self._now() - began)
            return
        # A stream is counted when it begins: its duration says nothing about the server.
        meter.done(reply.status, self._now() - began)
        self._streams += 1
        try:
            await _stream(reply.pieces, receive, send, is_head=method == "HEAD")
        finally:
            self._streams -= 1

    # --- the caller -----------------------------------------------------------------------------------------------

    async def _principal(
        self, route: _Route | None, path: str, tenant: TenantRow, headers: Mapping[bytes, bytes]
    ) -> Principal:
        if route is not None and route.operation is not None and route.operation.permission is None:
            return anonymous_principal(tenant.id)
        if route is None and not f"{path}/".startswith(_GUARDED):
            return anonymous_principal(tenant.id)
        authorization = headers.get(b"authorization")
        return await self._bearer.authenticate(
            tenant.id, authorization.decode("latin-1") if authorization is not None else None
        )

    # --- the operation --------------------------------------------------------------------------------------------

    async def _endpoint(
        self,
        endpoint: Endpoint,
        tenant: TenantRow,
        host: str,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
    ) -> Reply:
        body = b""
        if endpoint.body_limit:
            announced_length(headers, endpoint.body_limit)
            body = await read_body(receive, endpoint.body_limit)
        return await endpoint.answer(Request(tenant, host, _address(scope), headers, scope["query_string"], body))

    async def _operation(
        self,
        route: _Route,
        tenant: TenantRow,
        principal: Principal,
        parameters: Mapping[str, str],
        scope: Scope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
    ) -> Reply:
        operation = route.operation
        assert operation is not None
        query = scope["query_string"]
        call = Call(
            tenant,
            principal,
            _address(scope),
            parameters,
            read_query(query, operation.query) if query and operation.query else _NO_QUERY,
            {
                name.decode("latin-1"): value.decode("latin-1")
                for name, value in headers.items()
                if name not in _WITHHELD_HEADERS
            },
            principal.apps_for(operation.permission),
        )
        await authorise(self._services, call, operation)
        permits = route.permits
        if permits is not None:
            permits.check()
        if operation.request is None and not operation.raw_body:
            return await self._in_lane(permits, operation, call, b"", receive)
        size = announced_length(headers, operation.body_limit)
        if size <= LARGE_BODY_BYTES:
            body = await read_body(receive, operation.body_limit)
            if body:
                check_json(headers)
            return await self._in_lane(permits, operation, call, body, receive)
        self._buffer.take(size)
        try:
            body = await read_body(receive, operation.body_limit)
            check_json(headers)
            return await self._in_lane(
                self._reading if len(body) > LARGE_BODY_BYTES else permits, operation, call, body, receive
            )
        finally:
            self._buffer.release(size)

    async def _in_lane(
        self, permits: Permits | None, operation: Operation, call: Call, body: bytes, receive: Receive
    ) -> Reply:
        """Call the handler in its lane. Sending is outside of it: a caller that reads slowly must not hold a permit."""
        if permits is None:
            return await self._handle(operation, call, body)
        await permits.acquire(receive)
        try:
            return await self._handle(operation, call, body)
        finally:
            permits.release()

    async def _handle(self, operation: Operation, call: Call, body: bytes) -> Reply:
        if len(body) > LARGE_BODY_BYTES:
            await self._slices.turn()
            self._slices.spent(len(body))
        message: Message | bytes | None = None
        if operation.raw_body:
            message = body
        elif operation.request is not None:
            message = parse(operation.request, body) if body and body != EMPTY_JSON else _empty(operation.request)
        return reply_of(await operation.handler(self._services, call, message))


def resource_of(path: str) -> str:
    """Return the word for the resource of a path, such as "execution"; "resource" for a path without a parameter."""
    before, brace, _ = path.partition("/{")
    return _RESOURCES[before.rpartition("/")[2]] if brace else "resource"


async def _delayed(later: Callable[[], Awaitable[Answer]], receive: Receive) -> Answer:
    """Wait for a delayed answer while its caller stays connected.

    Raises:
        Disconnected: The caller disconnected.
    """
    pending = asyncio.ensure_future(later())
    disconnected = asyncio.ensure_future(until_disconnect(receive))
    try:
        await asyncio.wait((pending, disconnected), return_when=asyncio.FIRST_COMPLETED)
        if not pending.done():
            raise Disconnected
        return pending.result()
    finally:
        disconnected.cancel()
        pending.cancel()


async def _stream(pieces: AsyncIterator[bytes], receive: Receive, send: Send, *, is_head: bool) -> None:
    """Send the pieces of a stream until it ends or the caller disconnects."""
    disconnected = asyncio.ensure_future(until_disconnect(receive))
    try:
        if is_head:
            await send({"type": "http.response.body", "body": b""})
            return
        while True:
            pending = asyncio.ensure_future(anext(pieces, None))
            await asyncio.wait((pending, disconnected), return_when=asyncio.FIRST_COMPLETED)
            if disconnected.done():
                pending.cancel()
                await asyncio.wait((pending,))
                return
            piece = pending.result()
            if piece is None:
                await send({"type": "http.response.body", "body": b""})
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    finally:
        disconnected.cancel()
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


@cache
def _empty(model: type[Message]) -> Message:
    """Return the message of an empty body; messages are values, so all requests share it."""
    return parse(model, b"")


def _host_of(headers: Mapping[bytes, bytes]) -> str:
    host = headers.get(b"host")
    if host is None:
        raise InvalidArgument.at("Host", "is missing")
    return host.decode("latin-1")


def _address(scope: Scope) -> str:
    client = scope["client"]
    return str(client[0]) if client else ""


def _waiting(permits: Permits) -> Callable[[], float]:
    return lambda: permits.waiting


def _shed(permits: Permits) -> Callable[[], float]:
    return lambda: permits.shed
