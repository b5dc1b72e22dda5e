"""Outbound HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from interlock.errors import InterlockError
from interlock.rules.outcomes import Reached


class Phase(StrEnum):
    """How far an outbound request has got."""

    IDLE = "idle"
    RESOLVING = "resolving"
    CONNECTING = "connecting"
    TLS = "tls"
    WRITING = "writing"
    WAITING = "waiting"
    READING = "reading"
    DONE = "done"


@dataclass(slots=True)
class Progress:
    """How far an attempt has got: kept true by whatever performs it, and read by the engine when it is interrupted."""

    phase: Phase = Phase.IDLE
    bytes_written: int = 0
    """Bytes that may have left this machine; 0 is proof that none did."""
    status: int | None = None
    """The final status, once it was read; the body may be cut or beyond a limit all the same."""
    may_have_acted: bool = False
    """Set before its effect may begin, by a kind whose effect is not bytes on a connection: a process, a connector."""
    answered: bool = False
    """Set by a kind without a status once the receiver has said what it did."""

    @property
    def reached(self) -> Reached:
        """How far the attempt has got; what the engine and the receipt judge by."""
        if not self.bytes_written and not self.may_have_acted:
            return Reached.NOT_SENT
        return Reached.ANSWERED if self.answered or self.status is not None else Reached.UNKNOWN


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """An outbound request.

    `connect_timeout` is seconds for the name, the connection and TLS; a kept connection needs none of them. `timeout`
    is seconds from the moment the request begins to be sent until its answer is complete, so that a receiver has the
    whole of it. `max_response` is bytes of the body, before and after decompression.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    timeout: float = 30.0
    max_response: int = 250_000
    connect_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    coding: str = ""
    """The content coding (`br`, …) that is still on `body`, because it is unknown or the body is not of it."""


class HttpFailureKind(StrEnum):
    """Why no complete answer came."""

    BLOCKED = "blocked"
    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    RESET = "reset"
    TOO_LARGE = "too_large"
    PROTOCOL = "protocol"


class HttpFailed(InterlockError):
    """The request got no complete answer."""

    code = "HTTP_FAILED"

    def __init__(self, kind: HttpFailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Http(Protocol):
    """Outbound HTTP, guarded: it goes only where the operator permits."""

    async def send(self, request: HttpRequest, progress: Progress) -> HttpResponse:
        """Send once and return the answer, whatever its status; redirects are not followed.

        Cancelling the call closes the connection at once.

        Raises:
            HttpFailed: no complete answer came.
        """
        ...

    def check_url(self, url: str) -> None:
        """Refuse, when it is saved, a URL that could never be called.

        Raises:
            InvalidArgument: with the reason.
        """
        ...
