"""What an operation is. Routing, the OpenAPI document, its pages and the permission matrix are read from these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from interlock.auth.bearer import Principal
from interlock.auth.roles import Permission
from interlock.contract.base import Message
from interlock.operations.services import Services
from interlock.ports import TenantRow
from interlock.rules.model import Actor


class Lane(StrEnum):
    """How the server treats a request under load."""

    STOP = "stop"
    """Never shed, never queued behind others."""
    WORK = "work"
    """Admitted by queue delay; beyond it 429 or 503 with `Retry-After`."""
    READING = "reading"
    """Shares one or two permits."""


class Visibility(StrEnum):
    """Whose operation it is."""

    C1 = "c1"
    """Part of C1's API."""
    OWN = "own"
    """An addition of Interlock's, under /interlock/v1."""


def nobody_in(tenant: int) -> Principal:
    """The caller of an operation that asks for no bearer token."""
    return Principal(tenant, "", (), frozenset())


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, and with what besides the body. Header names are lower case."""

    tenant: TenantRow
    principal: Principal
    address: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    apps: frozenset[str] | None = None
    """The apps whose automations and runs the call can be about; None: all."""

    @property
    def actor(self) -> Actor:
        return Actor(client=self.principal.client, address=self.address, principal=self.principal.client)


@dataclass(frozen=True, slots=True)
class Document:
    """An answer that is no JSON."""

    media_type: str
    text: str


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that comes piece by piece, for as long as the caller stays."""

    media_type: str
    pieces: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class NoContent:
    """An answer without a body: 204, which tells a client of a stream not to ask again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: 200, or 204 for `NoContent`. `headers` are additions."""

    message: Message | Mapping[str, Any] | Document | Stream | NoContent = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()
    later: Callable[[], Awaitable[Answer]] | None = None
    """The answer is held back: this gives it. It is awaited without a permit, and cancelled when the caller leaves."""


Handler = Callable[[Services, Call, Any], Awaitable[Answer]]
"""An async function of the services, the call and the parsed body (None where the operation takes none)."""


@dataclass(frozen=True, slots=True)
class PathParameter:
    """A part of the path in braces."""

    name: str
    description: str
    int64: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """A header that an operation reads or answers with, beyond those of every request."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Link:
    """What an answer is good for: a value in it that other operations take as a part of their path."""

    pointer: str
    """Where the value stands in the answer (RFC 6901)."""
    operations: tuple[str, ...]
    """Their operationIds."""
    parameter: str = "id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of the table."""

    method: str
    path: str
    id: str
    """The operationId."""
    summary: str
    description: str
    handler: Handler
    permission: Permission | None
    """None: no bearer token is asked for, because the path itself carries proof; the principal is `nobody_in`'s."""
    response: type[Message]
    request: type[Message] | None = None
    """The body; absent, empty and `{}` are the same."""
    documents: tuple[str, ...] = ()
    """Media types of the `Document`s that it answers with instead, if the caller asks for one."""
    raw_body: bool = False
    """The handler gets the bytes of the body as they came."""
    lane: Lane = Lane.READING
    visibility: Visibility = Visibility.C1
    aliases: tuple[str, ...] = ()
    """Other paths that lead here: the spellings of older clients."""
    parameters: tuple[PathParameter, ...] = ()
    query: tuple[str, ...] = ()
    reads: tuple[Header, ...] = ()
    answers_with: tuple[Header, ...] = ()
    link: Link | None = None
    more: str = ""
    """What our pages say beyond the description, which is C1's own where C1 published one. Markdown."""
    tag: str = "Automations"
    body_limit: int = 1_000_000
    """Bytes."""
    within_apps: bool = False
    """Open to those who have the permission within some apps only: the handler keeps to `Call.apps`."""
