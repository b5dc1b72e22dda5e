"""What is answered outside the operation table, and without a bearer token: tokens, health, documents, metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

from interlock.api.app import Endpoint, Reply, Request
from interlock.api.errors import JSON_TYPE
from interlock.auth.bearer import Bearer
from interlock.auth.token_endpoint import TokenEndpoint, TokenRequest
from interlock.errors import Unauthenticated
from interlock.telemetry.metrics import CONTENT_TYPE, Metrics

TOKEN_BODY: Final = 16_384
"""Bytes."""

_OK: Final = b'{"status":"ok"}'


def token(endpoint: TokenEndpoint) -> Endpoint:
    """`POST /auth/v1/token`."""

    async def answer(request: Request) -> Reply:
        asked = TokenRequest(
            tenant=request.tenant.id,
            host=request.host,
            address=request.address,
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.items()},
            body=request.body,
            query=request.query.decode("latin-1"),
        )
        found = await endpoint.answer(asked)
        headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in found.headers]
        return Reply(found.status, headers, found.body)

    return Endpoint("POST", "/auth/v1/token", answer, TOKEN_BODY)


def health() -> Endpoint:
    """`GET /healthz`: the process is alive."""

    async def answer(request: Request) -> Reply:
        return Reply(200, [JSON_TYPE], _OK)

    return Endpoint("GET", "/healthz", answer)


def readiness(reasons: Callable[[], dict[str, str]]) -> Endpoint:
    """`GET /readyz`: whether work should be sent here; 503 with the reasons if not."""

    async def answer(request: Request) -> Reply:
        found = reasons()
        if not found:
            return Reply(200, [JSON_TYPE], b'{"ready":true,"reasons":{}}')
        body = json.dumps({"ready": False, "reasons": found}, separators=(",", ":")).encode()
        return Reply(503, [JSON_TYPE, (b"retry-after", b"5")], body)

    return Endpoint("GET", "/readyz", answer)


def document(path: str, make: Callable[[], dict[str, Any]]) -> Endpoint:
    """A JSON document that never changes; made when it is first asked for."""
    made: list[bytes] = []

    async def answer(request: Request) -> Reply:
        if not made:
            made.append(json.dumps(make(), ensure_ascii=False, indent=1).encode())
        return Reply(200, [JSON_TYPE], made[0])

    return Endpoint("GET", path, answer)


def metrics(found: Metrics, bearer: Bearer) -> Endpoint:
    """`GET /metrics`: open to this machine itself, and to whoever has a bearer token."""

    async def answer(request: Request) -> Reply:
        if not _is_loopback(request.address):
            presented = request.headers.get(b"authorization")
            if presented is None:
                raise Unauthenticated
            bearer.authenticate(request.tenant.id, presented.decode("latin-1"))
        return Reply(200, [(b"content-type", CONTENT_TYPE.encode())], found.render())

    return Endpoint("GET", "/metrics", answer)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
