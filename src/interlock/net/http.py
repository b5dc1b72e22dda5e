"""The one HTTP client (`interlock.ports.Http`): it dials only what the egress policy permits, and says truthfully how
far a request came.

One attempt is one request: no redirect is followed, nothing is sent twice, no proxy, cookie or netrc is picked up from
the environment. Cancelling `send` resets the connection (TCP RST): unlike an ordinary close, that discards what is
still on its way, and a receiver that has stopped reading sees it too. A connection whose answer was read to its end is
kept for the next request to the same origin and address.

Nothing waits here: a request takes an idle connection or opens one. Who may call whom, and how often at once, is
decided before an attempt is announced.

The `Progress` of an interrupted attempt says:

    bytes_written == 0   nothing of the request left this machine (a TLS handshake may have)
    bytes_written > 0    the receiver may have it; the number errs on the high side
    status is not None   the final status was read
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from interlock.errors import InvalidArgument
from interlock.net.answers import AnswerReader
from interlock.net.connections import Connection
from interlock.net.egress import EgressPolicy, Target, authority
from interlock.net.names import MAX_ADDRESSES, Resolver, SystemResolver, in_turn
from interlock.net.request_bytes import encoded
from interlock.net.trust import tls_context
from interlock.ports import HttpFailed, HttpFailureKind, HttpRequest, HttpResponse, Phase, Progress

MAX_CONNECTIONS: Final = 4096
"""Connections open at once, idle ones included: a last resort, far above what the engine has in flight."""
MAX_IDLE_CONNECTIONS: Final = 512
"""Idle connections that are kept, to all receivers together."""
MAX_IDLE_PER_ORIGIN: Final = 128
"""Idle connections that are kept to one scheme, host and port."""
ADDRESS_TTL_SECONDS: Final = 10.0
"""Seconds for which the addresses of a name are used without another lookup."""
STALE_ADDRESS_SECONDS: Final = 300.0
"""Seconds for which they are used if another lookup fails or is slow. A name that no longer passes is not called."""
LOOKUP_PATIENCE_SECONDS: Final = 1.0
"""Seconds that a request waits for another lookup of a name whose addresses are known, and between two such waits."""
MAX_KNOWN_TARGETS: Final = 1024
"""URLs that are remembered as checked and taken apart."""
MAX_ADDRESS_SECONDS: Final = 3.0
"""Seconds for one address of a name, while others are left to try."""

_NOT_ALLOWED: Final = "the destination is not allowed"


class _Origin:
    """A scheme, host and port: what its name was found to be, and the idle connections to it."""

    __slots__ = ("addresses", "expires_at", "host", "idle", "lookup", "port", "scheme", "stale_at")

    def __init__(self, target: Target) -> None:
        self.scheme, self.host, self.port = target.scheme, target.host, target.port
        self.addresses: list[str] = [] if target.address is None else [str(target.address)]
        self.expires_at = self.stale_at = 0.0 if target.address is None else float("inf")
        self.lookup: asyncio.Task[list[str]] | None = None
        self.idle: list[Connection] = []


class _Destination:
    """A URL, ready to be called."""

    __slots__ = ("host_line", "origin", "path")

    def __init__(self, target: Target, origin: _Origin) -> None:
        self.origin = origin
        self.path = target.path + (f"?{target.query}" if target.query else "")
        self.host_line = f" HTTP/1.1\r\nHost: {authority(target.scheme, target.host, target.port)}\r\n"


class GuardedHttp:
    """A client for one event loop, used as a context manager inside it.

    `ca_file` holds certificate authorities in PEM that are trusted beside the system's.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        resolver: Resolver | None = None,
        ca_file: Path | None = None,
        connections: int = MAX_CONNECTIONS,
        address_seconds: float = ADDRESS_TTL_SECONDS,
        lookup_patience: float = LOOKUP_PATIENCE_SECONDS,
    ) -> None:
        self._policy = policy
        self._tls = tls_context(ca_file)
        self._trusting: asyncio.Future[None] | None = None
        self._own_resolver: SystemResolver | None = None
        if resolver is None:
            resolver = self._own_resolver = SystemResolver()
        self._resolver = resolver
        self._max_connections = connections
        self._address_seconds = address_seconds
        self._lookup_patience = lookup_patience
        self._destinations: dict[str, _Destination] = {}
        self._origins: dict[tuple[str, str, int], _Origin] = {}
        self._open: set[Connection] = set()
        self._dialling = 0
        self._idle: dict[Connection, tuple[float, _Origin]] = {}
        """Idle connections and when they end, the longest idle first."""
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        # The system's authorities take a while to load: only the first request over TLS waits for them.
        self._trusting = asyncio.ensure_future(asyncio.to_thread(self._tls.load_default_certs, ssl.Purpose.SERVER_AUTH))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection, those in use included."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        lookups = [origin.lookup for origin in self._origins.values() if origin.lookup is not None]
        for lookup in lookups:
            lookup.cancel()
        if lookups:
            await asyncio.wait(lookups)
        for connection in list(self._open):
            if connection in self._idle:
                connection.close()
            else:
                connection.cut()
        if self._open:
            self._closed = self._loop.create_future()
            await self._closed
        if self._trusting is not None:
            await self._trusting
        if self._own_resolver is not None:
            self._own_resolver.close()

    async def send(self, request: HttpRequest, progress: Progress) -> HttpResponse:
        """Make one attempt. `progress` is written to while it runs and is final when this returns or raises.

        Raises HttpFailed; everything the attempt had open is closed by then.
        """
        destination = self._destinations.get(request.url) or self._destination(request.url)
        wire = encoded(request, destination.path, destination.host_line)
        origin = destination.origin
        connection = self._take_idle(origin)
        if connection is None:
            connection = await self._connect(origin, request.connect_timeout, progress)
        reader = AnswerReader(request.method, request.max_response)
        try:
            await connection.exchange(wire, reader, progress, request.timeout)
        finally:
            if connection.keep_seconds:
                self._keep(connection, origin)
        progress.phase = Phase.DONE
        return HttpResponse(reader.status or 0, reader.headers, reader.body, reader.coding)

    def check_url(self, url: str) -> None:
        """Refuse, when it is saved, a URL that could never be called. Raises InvalidArgument."""
        self._policy.check_url(url)

    def _destination(self, url: str) -> _Destination:
        try:
            target = self._policy.check_url(url)
        except InvalidArgument as wrong:
            raise HttpFailed(HttpFailureKind.BLOCKED, f"{_NOT_ALLOWED}: {wrong}") from None
        if len(self._destinations) >= MAX_KNOWN_TARGETS:
            self._destinations.clear()
            self._origins = {key: origin for key, origin in self._origins.items() if origin.idle or origin.lookup}
        key = target.scheme, target.host, target.port
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = _Origin(target)
        # Put together from the checked parts, so that no second parser can read another host out of the text.
        found = self._destinations[url] = _Destination(target, origin)
        return found

    # --- connections that are kept --------------------------------------------------------------------------------

    def _take_idle(self, origin: _Origin) -> Connection | None:
        """An idle connection to an address that the name still has."""
        if not origin.idle or origin.expires_at <= self._loop.time():
            return None
        addresses, now = origin.addresses, self._loop.time()
        for number in range(len(origin.idle) - 1, -1, -1):
            connection = origin.idle[number]
            # An expired connection may not be swept yet; its receiver may close it just when a request is in flight.
            if connection.address in addresses and not connection.is_closed and self._idle[connection][0] > now:
                del origin.idle[number]
                del self._idle[connection]
                return connection
        return None

    def _keep(self, connection: Connection, origin: _Origin) -> None:
        if connection.is_closed:
            return
        if len(origin.idle) >= MAX_IDLE_PER_ORIGIN or len(self._idle) >= MAX_IDLE_CONNECTIONS:
            connection.close()
            return
        origin.idle.append(connection)
        self._idle[connection] = self._loop.time() + connection.keep_seconds, origin
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(connection.keep_seconds, self._sweep)

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in [each for each, (until, _) in self._idle.items() if until <= now]:
            self._drop(connection)
            connection.close()
        earliest = min((until for until, _ in self._idle.values()), default=None)
        self._sweeper = None if earliest is None else self._loop.call_at(earliest, self._sweep)

    def _drop(self, connection: Connection) -> None:
        kept = self._idle.pop(connection, None)
        if kept is not None:
            kept[1].idle.remove(connection)

    def opened(self, connection: Connection) -> None:
        self._open.add(connection)

    def lost(self, connection: Connection) -> None:
        self._drop(connection)
        self._open.discard(connection)
        if self._closed is not None and not self._open and not self._closed.done():
            self._closed.set_result(None)

    # --- new connections ------------------------------------------------------------------------------------------

    async def _connect(self, origin: _Origin, timeout: float, progress: Progress) -> Connection:
        """Look the name up, dial, and shake hands: a connection that nothing was sent over."""
        try:
            async with asyncio.timeout(timeout) as limit:
                if origin.expires_at <= self._loop.time():
                    progress.phase = Phase.RESOLVING
                    await self._look_up(origin)
                    connection = self._take_idle(origin)
                    if connection is not None:
                        return connection
                progress.phase = Phase.CONNECTING
                connection = await self._dial(origin, limit)
                if origin.scheme == "https":
                    progress.phase = Phase.TLS
                    await connection.shake_hands()
                return connection
        except TimeoutError:
            raise _out_of_time(progress.phase, origin, timeout) from None

    async def _look_up(self, origin: _Origin) -> None:
        """Find the addresses. Requests at the same time share one lookup, which none of them can cancel.

        A name server that fails or hangs, for this name or for as many others as there are threads, does not stop calls
        to a name whose addresses are known and passed.
        """
        lookup = origin.lookup
        if lookup is None:
            lookup = origin.lookup = asyncio.ensure_future(self._addresses(origin))
            lookup.add_done_callback(lambda done: self._looked_up(origin, done))
        now = self._loop.time()
        await asyncio.wait((lookup,), timeout=self._lookup_patience if now < origin.stale_at else None)
        if lookup.cancelled():
            raise HttpFailed(HttpFailureKind.RESOLVE, "the name was not looked up: this server is ending")
        failure = lookup.exception() if lookup.done() else None
        if failure is None and lookup.done():
            return
        if self._loop.time() < origin.stale_at:  # which `_looked_up` has set to 0 if the name is to be called no more
            origin.expires_at = max(origin.expires_at, self._loop.time() + self._lookup_patience)
            return
        if isinstance(failure, HttpFailed):
            raise HttpFailed(failure.kind, failure.message)
        if failure is not None:
            raise failure

    def _looked_up(self, origin: _Origin, lookup: asyncio.Task[list[str]]) -> None:
        origin.lookup = None
        if lookup.cancelled():
            return
        failure = lookup.exception()
        if failure is None:
            origin.addresses = lookup.result()
            origin.expires_at = self._loop.time() + self._address_seconds
            origin.stale_at = self._loop.time() + STALE_ADDRESS_SECONDS
        elif not isinstance(failure, HttpFailed) or failure.kind is not HttpFailureKind.RESOLVE:
            origin.addresses = []
            origin.expires_at = origin.stale_at = 0.0

    async def _addresses(self, origin: _Origin) -> list[str]:
        host, port = origin.host, origin.port
        try:
            addresses = await self._resolver.resolve(host, port)
        except OSError as error:
            raise HttpFailed(HttpFailureKind.RESOLVE, _unresolved(host, error)) from None
        if not addresses:
            raise HttpFailed(HttpFailureKind.RESOLVE, _unresolved(host, None))
        if len(addresses) > MAX_ADDRESSES:
            raise HttpFailed(HttpFailureKind.RESOLVE, f"{host} has more than {MAX_ADDRESSES} addresses; check its DNS")
        # Every address of a name must pass: one that does not makes the whole name suspect.
        if not all(self._policy.permits(address, port, host, scheme=origin.scheme) for address in addresses):
            raise HttpFailed(HttpFailureKind.BLOCKED, _NOT_ALLOWED)
        return in_turn(addresses)

    async def _dial(self, origin: _Origin, limit: asyncio.Timeout) -> Connection:
        addresses = origin.addresses
        for number, address in enumerate(addresses, 1):
            try:
                if number == len(addresses):
                    return await self._dial_one(origin, address)
                deadline = limit.when() or self._loop.time()
                share = (deadline - self._loop.time()) / (len(addresses) - number + 1)
                async with asyncio.timeout(min(MAX_ADDRESS_SECONDS, share)):
                    return await self._dial_one(origin, address)
            except OSError:  # which a share of the time that has run out is too
                pass
        raise HttpFailed(HttpFailureKind.CONNECT, f"could not connect to {origin.host}; is it up, and the port right?")

    async def _dial_one(self, origin: _Origin, address: str) -> Connection:
        """Open a connection to exactly this address. Raises OSError if it does not answer."""

        def permitted(peer: tuple[Any, ...]) -> bool:
            scoped = len(peer) == 4 and peer[3] != 0
            return not scoped and self._policy.permits(peer[0], peer[1], origin.host, scheme=origin.scheme)

        # An address in a URL never meets the resolver, so here is the one place that every connection passes.
        if not permitted((address, origin.port)):
            raise HttpFailed(HttpFailureKind.BLOCKED, _NOT_ALLOWED)
        self._make_room()
        tls = self._tls if origin.scheme == "https" else None
        if tls is not None and self._trusting is not None:
            await asyncio.shield(self._trusting)
            self._trusting = None

        made: list[Connection] = []

        def make() -> Connection:
            made.append(Connection(self._loop, address, permitted, self, tls, origin.host))
            return made[-1]

        self._dialling += 1
        try:
            _, connection = await self._loop.create_connection(
                make,
                address,
                origin.port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
        except BaseException:
            for unwanted in made:  # the loop closes it, and may not say so
                unwanted.cut()
                self._open.discard(unwanted)
            raise
        finally:
            self._dialling -= 1
        # Once more now that it stands, before a byte of the request is written.
        if not connection.is_permitted:
            raise HttpFailed(HttpFailureKind.BLOCKED, _NOT_ALLOWED)
        return connection

    def _make_room(self) -> None:
        if len(self._open) + self._dialling < self._max_connections:
            return
        longest = next(iter(self._idle), None)
        if longest is None:
            raise HttpFailed(
                HttpFailureKind.CONNECT,
                f"{self._max_connections:,} outbound connections are open and none is idle; it will be tried again",
            )
        self._drop(longest)
        longest.close()


def _unresolved(host: str, error: OSError | None) -> str:
    why = "it has no address" if error is None else (error.strerror or str(error) or "no answer").lower()
    return f"the host name {host} could not be resolved ({why}); check the URL and the DNS of this machine"


def _out_of_time(phase: Phase, origin: _Origin, seconds: float) -> HttpFailed:
    kind, what = {
        Phase.RESOLVING: (HttpFailureKind.RESOLVE, "the host name {} was not resolved"),
        Phase.TLS: (HttpFailureKind.TLS, "the TLS handshake with {} did not end"),
    }.get(phase, (HttpFailureKind.CONNECT, "could not connect to {}"))
    return HttpFailed(kind, f"{what.format(origin.host)} within {seconds:g} s; is it up, and the port right?")
