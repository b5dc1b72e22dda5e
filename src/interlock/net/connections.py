"""Where the HTTP library is held to the policy, and watched while it works.

The library offers places to hook in: resolver, socket factory, connector, request and response class. What they need to
know of the attempt they work for, and what they find out, is in a `Call`, which travels in a context variable.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
from aiohttp import abc

from interlock.net.egress import EgressPolicy, Target
from interlock.ports import Phase, Progress

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter, ResolveResult
    from aiohttp.connector import AddrInfoType, Connection
    from aiohttp.tracing import Trace

_PIECE = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Resolver(Protocol):
    """Finds the addresses of a host name. Raises OSError if it has none."""

    async def resolve(self, host: str, port: int) -> Sequence[str]: ...


class SystemResolver:
    """The machine's own resolver, in threads of its own: a slow name server must not hold up other work in threads."""

    def __init__(self, threads: int = 16) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="interlock-dns")

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        found = await asyncio.get_running_loop().run_in_executor(self._threads, _getaddrinfo, host, port)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _getaddrinfo(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


class Call:
    """What the hooks below know of the attempt they work for."""

    __slots__ = ("fresh", "has_body", "progress", "refused", "target", "writer")

    def __init__(self, target: Target, progress: Progress, has_body: bool) -> None:
        self.target = target
        self.progress = progress
        self.has_body = has_body
        self.writer: AbstractStreamWriter | None = None
        self.fresh = False
        """Whether a connection was opened for it."""
        self.refused = False

    def count_what_left(self, transport: asyncio.WriteTransport) -> None:
        """What is still in the transport's buffer goes nowhere any more; what the kernel took may have left."""
        if self.writer is not None:
            handed = self.writer.output_size
            self.progress.bytes_written = min(handed, max(1, handed - transport.get_write_buffer_size()))


CURRENT: ContextVar[Call] = ContextVar("interlock_http_call")


class Lost(Exception):
    """A connection that ended before its answer; not an error that the HTTP library would repeat the request for."""


class Refused(Exception):
    """A destination that the policy does not permit; raised through the HTTP library."""


class CheckedResolver(abc.AbstractResolver):
    """Every address of a name must pass: one that does not makes the whole name suspect."""

    def __init__(self, policy: EgressPolicy, resolver: Resolver) -> None:
        self._policy = policy
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AddressFamily.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await self._resolver.resolve(host, port)
        if not addresses:
            raise OSError("no address")
        scheme = CURRENT.get().target.scheme
        if not all(self._policy.permits(address, port, host, scheme=scheme) for address in addresses):
            raise Refused
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": socket.IPPROTO_TCP,
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for address in addresses
        ]

    async def close(self) -> None:
        return None


class GuardedConnector(aiohttp.TCPConnector):
    """Checks the far end of a new connection once more when it stands, before a byte of the request is written."""

    def __init__(self, policy: EgressPolicy, **options: Any) -> None:
        super().__init__(socket_factory=self._dial, **options)
        self._policy = policy

    def _dial(self, info: AddrInfoType) -> socket.socket:
        # An address in a URL never meets the resolver, so here is the one place that every connection passes.
        family, kind, protocol, _, address = info
        call = CURRENT.get()
        call.progress.phase = Phase.CONNECTING
        call.fresh = True
        if not self._permitted(call, address):
            call.refused = True
            raise PermissionError("not permitted")  # an OSError: it has to pass through the race between addresses
        return socket.socket(family, kind, protocol)

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        call = CURRENT.get()
        call.progress.phase = Phase.RESOLVING
        connection = await super().connect(req, traces, timeout)
        if call.fresh and (transport := connection.transport) is not None:
            peer = transport.get_extra_info("peername")
            if call.refused or peer is None or not self._permitted(call, peer):
                connection.close()
                raise Refused
        return connection

    def _permitted(self, call: Call, address: tuple[Any, ...]) -> bool:
        scoped = len(address) == 4 and address[3] != 0
        return not scoped and self._policy.permits(address[0], address[1], call.target.host, scheme=call.target.scheme)


class WatchedRequest(aiohttp.ClientRequest):
    """Notes when bytes begin to leave. The count goes up before they do, so that 0 stays a proof."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        call = CURRENT.get()
        progress = call.progress
        progress.phase = Phase.WRITING
        if not call.has_body:
            progress.bytes_written = 1
        response = await super().send(conn)
        if isinstance(response, WatchedResponse):
            response.call = call
        if not call.has_body:
            progress.bytes_written = len(f"{self.method} {self.url.raw_path_qs} HTTP/1.1\r\n\r\n") + sum(
                len(name) + len(value) + 4 for name, value in self.headers.items()
            )
            progress.phase = Phase.WAITING
        return response

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        call = CURRENT.get()
        progress = call.progress
        call.writer = writer
        progress.bytes_written = 1
        await super().write_bytes(writer, conn, content_length)
        progress.bytes_written = writer.output_size
        if progress.phase is Phase.WRITING:
            progress.phase = Phase.WAITING


class WatchedResponse(aiohttp.ClientResponse):
    """Resets its connection when it is closed before its end. (One that is read to the end is released, not closed.)

    An ordinary close would go on writing what is buffered, and a far end that does not read would not see it.
    """

    call: Call | None = None

    def close(self) -> None:
        connection = self.connection
        transport = None if connection is None else connection.transport
        if transport is not None:
            if self.call is not None:
                self.call.count_what_left(transport)
            _reset(transport)
        super().close()


def _reset(transport: asyncio.Transport) -> None:
    try:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    except OSError:
        pass  # the far end was first
    transport.abort()


class LargeBody(aiohttp.Payload):
    """A body that is written piece by piece, so that no more than a piece of it waits in a buffer of ours."""

    def __init__(self, value: bytes) -> None:
        super().__init__(value)
        self._size = len(value)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return str(self._value, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        view = memoryview(self._value)
        for start in range(0, len(view), _PIECE):
            await writer.write(view[start : start + _PIECE])


async def send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keeps the library from repeating a GET, PUT or DELETE of its own accord when a kept connection turns out dead."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as lost:
        raise Lost from lost


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """A context that trusts the authorities in the file; the system's are still to be loaded."""
    context = _TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context


class _TlsContext(ssl.SSLContext):
    """Notes when a handshake begins: the loop calls `wrap_bio` then, and nothing else tells."""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        if (call := CURRENT.get(None)) is not None:
            call.progress.phase = Phase.TLS
        return super().wrap_bio(*args, **kwargs)
