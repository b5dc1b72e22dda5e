"""The one HTTP client (`interlock.ports.Http`): it dials only what the egress policy permits, and says truthfully how
far a request came.

One attempt is one request: no redirect is followed, nothing is sent twice, no proxy, cookie or netrc is picked up from
the environment. Cancelling `send` resets the connection (TCP RST): unlike an ordinary close, that discards what is
still on its way, and a far end that has stopped reading sees it too. A connection whose answer was read to its end is
kept for the next request to the same host.

What an interrupted attempt's `Progress` says:

    bytes_written == 0   nothing of the request left this machine (a TLS handshake may have)
    bytes_written > 0    the far end may have it; the number errs on the high side
    status is not None   the head of the answer was read
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import hdrs
from aiohttp.http_exceptions import ContentEncodingError
from yarl import URL

from interlock.errors import InvalidArgument
from interlock.net.connections import (
    CURRENT,
    Call,
    CheckedResolver,
    GuardedConnector,
    LargeBody,
    Lost,
    Refused,
    Resolver,
    SystemResolver,
    WatchedRequest,
    WatchedResponse,
    send_once,
    tls_context,
)
from interlock.net.egress import EgressPolicy, Target
from interlock.ports import HttpFailed, HttpFailureKind, HttpRequest, HttpResponse, Phase, Progress

MAX_HEADER_BYTES = 32 * 1024
"""Of an answer's head, in all."""

_MAX_FIELD_BYTES = 8 * 1024
_MAX_FIELDS = 100
_KEEP_ALIVE_SECONDS = 15.0
_DNS_TTL_SECONDS = 10
_MAX_KNOWN_TARGETS = 1024

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_FRAMING = frozenset({"host", "connection", "content-length", "transfer-encoding", "te", "upgrade", "expect"})
_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)  # RFC 9110 section 5.6.2
_NOT_IN_FIELD_VALUE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_DEFAULT_HEADERS = {"User-Agent": "Interlock", "Accept": "*/*", "Accept-Encoding": "identity"}
_NEVER_REPEATED = frozenset({"POST", "PATCH"})  # by the library, that is; for the others see send_once
_ONCE = (send_once,)
_LARGE_BODY = 64 * 1024


class GuardedHttp:
    """A client for one event loop, used as a context manager inside it.

    `ca_file` holds certificate authorities in PEM that are trusted beside the system's. `connections` and
    `connections_per_host` bound what is open at once; a request that waits for its turn does so within its timeout.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        resolver: Resolver | None = None,
        ca_file: Path | None = None,
        connections: int = 512,
        connections_per_host: int = 128,
    ) -> None:
        self._policy = policy
        self._tls = tls_context(ca_file)
        self._trusting: asyncio.Future[None] | None = None
        self._own_resolver: SystemResolver | None = None
        if resolver is None:
            resolver = self._own_resolver = SystemResolver()
        self._targets: dict[str, tuple[Target, URL]] = {}
        connector = GuardedConnector(
            policy,
            resolver=CheckedResolver(policy, resolver),
            ssl=self._tls,
            limit=connections,
            limit_per_host=connections_per_host,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            ttl_dns_cache=_DNS_TTL_SECONDS,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            request_class=WatchedRequest,
            response_class=WatchedResponse,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
            trust_env=False,
            headers=_DEFAULT_HEADERS,
            skip_auto_headers=(hdrs.CONTENT_TYPE,),
            max_line_size=_MAX_FIELD_BYTES,
            max_field_size=_MAX_FIELD_BYTES,
            max_headers=_MAX_FIELDS,
        )

    async def __aenter__(self) -> Self:
        # The system's authorities take a while to load: nobody waits for them but the first over TLS.
        self._trusting = asyncio.ensure_future(asyncio.to_thread(self._tls.load_default_certs, ssl.Purpose.SERVER_AUTH))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection, those in use included."""
        await self._session.close()
        if self._trusting is not None:
            await self._trusting
        if self._own_resolver is not None:
            self._own_resolver.close()

    async def send(self, request: HttpRequest, progress: Progress) -> HttpResponse:
        """Make one attempt. `progress` is written to while it runs and is final when this returns or raises.

        Raises HttpFailed; everything the attempt had open is closed by then.
        """
        target, url = self._target(request.url)
        if request.method not in _METHODS:
            raise HttpFailed(HttpFailureKind.BLOCKED, f"the method must be one of {', '.join(sorted(_METHODS))}")
        _check_headers(request.headers)
        call = Call(target, progress, bool(request.body))
        token = CURRENT.set(call)
        try:
            async with asyncio.timeout(request.timeout):
                if self._trusting is not None and target.scheme == "https":
                    await asyncio.shield(self._trusting)
                    self._trusting = None
                response = await self._session.request(
                    request.method,
                    url,
                    headers=request.headers,
                    data=_payload(request.body),
                    allow_redirects=False,
                    middlewares=() if request.method in _NEVER_REPEATED else _ONCE,
                )
                body = await _read(response, request.max_response, progress)
        except TimeoutError:
            raise HttpFailed(HttpFailureKind.TIMEOUT, "no complete answer in time") from None
        except (aiohttp.ClientError, OSError, Refused, Lost) as error:
            raise _failure(call, error) from error
        finally:
            CURRENT.reset(token)
        progress.phase = Phase.DONE
        return HttpResponse(response.status, _lower_case(response.headers), body)

    def check_url(self, url: str) -> None:
        """Refuse, when it is saved, a URL that could never be called. Raises InvalidArgument."""
        self._policy.check_url(url)

    def _target(self, url: str) -> tuple[Target, URL]:
        known = self._targets.get(url)
        if known is None:
            if len(self._targets) >= _MAX_KNOWN_TARGETS:
                self._targets.clear()
            try:
                target = self._policy.check_url(url)
            except InvalidArgument as wrong:
                raise HttpFailed(HttpFailureKind.BLOCKED, f"the destination is not allowed: {wrong}") from None
            # Put together from the checked parts, so that no second parser can read another host out of the text.
            built = URL.build(
                scheme=target.scheme,
                host=target.host,
                port=target.port,
                path=target.path,
                query_string=target.query,
                encoded=True,
            )
            known = self._targets[url] = target, built
        return known


async def _read(response: aiohttp.ClientResponse, limit: int, progress: Progress) -> bytes:
    try:
        if response.status < 200:
            raise HttpFailed(HttpFailureKind.PROTOCOL, "the answer is not valid HTTP")
        progress.status = response.status
        progress.phase = Phase.READING
        if sum(len(name) + len(value) + 4 for name, value in response.raw_headers) > MAX_HEADER_BYTES:
            raise HttpFailed(HttpFailureKind.TOO_LARGE, f"the answer's head is larger than {MAX_HEADER_BYTES} bytes")
        chunks: list[bytes] = []
        size = 0
        while chunk := await response.content.readany():
            size += len(chunk)
            if size > limit:
                raise HttpFailed(HttpFailureKind.TOO_LARGE, f"the answer is larger than {limit} bytes")
            chunks.append(chunk)
    except BaseException:
        response.close()
        raise
    if response.connection is not None:  # answered before the request was written to its end
        response.close()
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _payload(body: bytes) -> bytes | LargeBody | None:
    return LargeBody(body) if len(body) > _LARGE_BODY else body or None


def _check_headers(headers: Mapping[str, str]) -> None:
    for name in headers:
        if not _can_be_set(name):
            raise HttpFailed(HttpFailureKind.BLOCKED, f"the header {name!r} cannot be set")
    if _NOT_IN_FIELD_VALUE.search("".join(headers.values())):
        raise HttpFailed(HttpFailureKind.BLOCKED, "a header holds a character that no header can hold")


@lru_cache(maxsize=256)
def _can_be_set(name: str) -> bool:
    return _FIELD_NAME.fullmatch(name) is not None and name.lower() not in _FRAMING


def _lower_case(headers: Mapping[str, str]) -> dict[str, str]:
    """Header fields by lower-case name; repeated ones joined (RFC 9110 section 5.3)."""
    found: dict[str, str] = {}
    for given, value in headers.items():
        name = given.lower()
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _failure(call: Call, error: Exception) -> HttpFailed:
    phase = call.progress.phase
    if call.refused or isinstance(error, Refused):
        return HttpFailed(HttpFailureKind.BLOCKED, "the destination is not allowed")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return HttpFailed(HttpFailureKind.RESOLVE, "the host name could not be resolved")
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError, ssl.CertificateError)) or phase is Phase.TLS:
        return HttpFailed(HttpFailureKind.TLS, "no trusted TLS connection could be made")
    if isinstance(error, aiohttp.ClientConnectorError):
        return HttpFailed(HttpFailureKind.CONNECT, "could not connect")
    if isinstance(error, aiohttp.ClientResponseError) or isinstance(error.__cause__, ContentEncodingError):
        return HttpFailed(HttpFailureKind.PROTOCOL, "the answer is not valid HTTP")
    if isinstance(error, aiohttp.ClientPayloadError):
        return HttpFailed(HttpFailureKind.RESET, "the connection ended before the answer was complete")
    return HttpFailed(HttpFailureKind.RESET, "the connection was closed before an answer came")
