"""The endpoints outside the operation table, which require no bearer token: tokens, keys, health, documents."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from ipaddress import ip_address
from typing import Final

from interlock.api.edge import Endpoint, Reply, Request
from interlock.api.errors import JSON_TYPE
from interlock.auth.bearer import Bearer
from interlock.auth.signing import SigningKey
from interlock.auth.tenants import LOOPBACK
from interlock.auth.token_endpoint import TokenEndpoint, TokenRequest
from interlock.errors import NotFound, Unauthenticated
from interlock.ports import Health
from interlock.telemetry.metrics import CONTENT_TYPE, Metrics

TOKEN_BODY_BYTES: Final = 16_384
"""Maximum size of a token request, in bytes."""

PAGES: Final = resources.files("interlock.api").joinpath("pages")
NO_PAGES: Final = (
    "this installation has no documentation pages: its source was run without being built; "
    "install it (make install, or pip install .), or run: python -m tools.pages"
)
_OK: Final = b'{"status":"ok"}'
_PAGE_TYPES: Final = {
    "html": b"text/html; charset=utf-8",
    "md": b"text/markdown; charset=utf-8",
    "txt": b"text/plain; charset=utf-8",
}
_PAGE_ENDPOINTS: Final[dict[str, tuple[Endpoint, ...]]] = {}
"""The endpoints of the pages, by directory: created once in a process, also if it starts several servers."""
_PAGE_POLICY: Final = b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def token(endpoint: TokenEndpoint) -> Endpoint:
    """Serve `POST /auth/v1/token`."""

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
        headers = tuple((name.lower().encode(), value.encode("latin-1", "replace")) for name, value in found.headers)
        return Reply(found.status, headers, found.body)

    return Endpoint("POST", "/auth/v1/token", answer, TOKEN_BODY_BYTES)


def key_set(key: SigningKey) -> Endpoint:
    """Serve `GET /auth/v1/jwks`: the public keys of this installation's signatures."""
    content = json.dumps(key.key_set(), separators=(",", ":")).encode()

    async def answer(request: Request) -> Reply:
        return Reply(200, ((b"content-type", b"application/jwk-set+json"), (b"cache-control", b"max-age=300")), content)

    return Endpoint("GET", "/auth/v1/jwks", answer)


def health() -> Endpoint:
    """Serve `GET /healthz`: the process is alive."""

    async def answer(request: Request) -> Reply:
        return Reply(200, (JSON_TYPE,), _OK)

    return Endpoint("GET", "/healthz", answer)


def readiness(health: Callable[[], Health]) -> Endpoint:
    """Serve `GET /readyz`: whether this server should receive requests; 503 with the reasons otherwise.

    A degraded server that can still terminate runs, such as one with a full disk, stays ready and reports the problem:
    without it, a load balancer would have no server to terminate runs.
    """

    async def answer(request: Request) -> Reply:
        found = health()
        status = "not ready" if not found.ready else "degraded" if found.reasons else "ready"
        body = json.dumps({"status": status, "reasons": found.reasons}, separators=(",", ":")).encode()
        return Reply(200, (JSON_TYPE,), body) if found.ready else Reply(503, (JSON_TYPE, (b"retry-after", b"5")), body)

    return Endpoint("GET", "/readyz", answer)


def document(suffix: str, media_type: str) -> Endpoint:
    """Serve `GET /openapi.json` or `/openapi.yaml`: the document that the build made."""
    content = resources.files("interlock.api").joinpath(f"openapi.{suffix}").read_bytes()

    async def answer(request: Request) -> Reply:
        return Reply(200, ((b"content-type", media_type.encode()),), content)

    return Endpoint("GET", f"/openapi.{suffix}", answer)


def pages(root: Traversable = PAGES) -> tuple[Endpoint, ...]:
    """Serve `GET /docs…`: the pages that the build made, or one page that says that there are none."""
    if not has_pages(root):
        return (Endpoint("GET", "/docs", _no_pages),)
    place = str(root)
    known = _PAGE_ENDPOINTS.get(place)
    if known is None:
        known = _PAGE_ENDPOINTS[place] = _built_pages(root)
    return known


def _built_pages(root: Traversable) -> tuple[Endpoint, ...]:
    """Return one endpoint for each page. A page is read when it is first requested."""
    found = [
        _page(f"/docs/{folder}{file.name}", file, _PAGE_TYPES[suffix])
        for folder in ("", "api/")
        for file in sorted(root.joinpath(folder).iterdir(), key=lambda file: file.name)
        if (suffix := file.name.rpartition(".")[2]) in _PAGE_TYPES
    ]
    return (*found, _page("/docs", root.joinpath("index.html"), _PAGE_TYPES["html"]))


def has_pages(root: Traversable = PAGES) -> bool:
    """Whether the build made the pages."""
    return root.joinpath("index.html").is_file()


async def _no_pages(request: Request) -> Reply:
    raise NotFound(NO_PAGES)


def _page(path: str, file: Traversable, media_type: bytes) -> Endpoint:
    headers = ((b"content-type", media_type), (b"content-security-policy", _PAGE_POLICY))

    @cache
    def content() -> bytes:
        return file.read_bytes()

    async def answer(request: Request) -> Reply:
        return Reply(200, headers, content())

    return Endpoint("GET", path, answer)


def metrics(found: Metrics, bearer: Bearer) -> Endpoint:
    """Serve `GET /metrics` to this machine under its own names, and to clients with a bearer token.

    The name is checked because a web page can make a browser on this machine send requests by another name (DNS
    rebinding).
    """

    async def answer(request: Request) -> Reply:
        if request.host not in LOOPBACK or not _is_loopback(request.address):
            presented = request.headers.get(b"authorization")
            if presented is None:
                raise Unauthenticated
            await bearer.authenticate(request.tenant.id, presented.decode("latin-1"))
        return Reply(200, ((b"content-type", CONTENT_TYPE.encode()),), found.render())

    return Endpoint("GET", "/metrics", answer)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
