"""Outbound HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from interlock.errors import InterlockError
from interlock.rules.outcomes import Reached
from interlock.rules.values import value


class Phase(StrEnum):
    """The phase of an outbound request."""

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
    """The progress of an attempt: updated by the code that performs it, and read by the engine at an interrupt."""

    phase: Phase = Phase.IDLE
    bytes_written: int = 0
    """Bytes that may have left this machine; 0 proves that nothing was sent."""
    status: int | None = None
    """The final status, once it was read; the body may still be incomplete or too large."""
    may_have_acted: bool = False
    """Set before the effect may begin, by a kind whose effect is not an HTTP request: a process or a connector."""
    answered: bool = False
    """Set by a kind without a status once the receiver has reported the result."""

    @property
    def reached(self) -> Reached:
        """Whether the attempt reached the receiver; the engine and the receipt judge by this."""
        if not self.bytes_written and not self.may_have_acted:
            return Reached.NOT_SENT
        return Reached.ANSWERED if self.answered or self.status is not None else Reached.UNKNOWN


@value(frozen=True, slots=True)
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


@value(frozen=True, slots=True)
class HttpResponse:
    """A complete answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    coding: str = ""
    """The content coding (`br`, …) that was not decoded, because it is unknown or the body is malformed."""


class HttpFailureKind(StrEnum):
    """The reason for a missing or incomplete answer."""

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
    """Outbound HTTP, limited to the addresses that the operator permits."""

    async def send(self, request: HttpRequest, progress: Progress) -> HttpResponse:
        """Send a request once and return the answer, whatever its status; redirects are not followed.

        Cancelling the call closes the connection immediately.

        Raises:
            HttpFailed: The request got no complete answer.
        """
        ...

    def check_url(self, url: str) -> None:
        """Check that a URL may be called; used when a webhook is saved.

        Raises:
            InvalidArgument: The URL can never be called, with the reason.
        """
        ...
