"""The definition of an operation. Routing, the OpenAPI document, its pages and the permission matrix derive from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

from interlock.auth.bearer import Principal
from interlock.auth.roles import Permission
from interlock.contract.base import Message
from interlock.operations.services import Services
from interlock.ports import TenantRow
from interlock.rules.model import Actor
from interlock.rules.values import value


class Lane(StrEnum):
    """How the server treats a request under load."""

    STOP = "stop"
    """Never shed, never queued behind others."""
    WORK = "work"
    """Admitted by queue delay; beyond it 429 or 503 with `Retry-After`."""
    READING = "reading"
    """Shares one or two permits."""


class Visibility(StrEnum):
    """The API that an operation belongs to."""

    C1 = "c1"
    """Part of C1's API."""
    OWN = "own"
    """An addition of Interlock's, under /interlock/v1."""


def anonymous_principal(tenant: int) -> Principal:
    """Return the principal of a call without a bearer token: it has no client and no permissions."""
    return Principal(tenant, "", (), frozenset())


@value(frozen=True, slots=True)
class Call:
    """One request without its body: the caller, the path, the query and the headers. Header names are lower case."""

    tenant: TenantRow
    principal: Principal
    address: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    apps: frozenset[str] | None = None
    """The apps whose automations and runs the call may read or change; None: all."""

    @property
    def actor(self) -> Actor:
        return Actor(client=self.principal.client, address=self.address, principal=self.principal.client)


@value(frozen=True, slots=True)
class Document:
    """An answer that is not JSON."""

    media_type: str
    text: str


@value(frozen=True, slots=True)
class Stream:
    """An answer that is sent piece by piece until it ends or the caller disconnects."""

    media_type: str
    pieces: AsyncIterator[bytes]


@value(frozen=True, slots=True)
class NoContent:
    """An answer without a body: 204, which tells a client of a stream not to ask again."""


@value(frozen=True, slots=True)
class Answer:
    """The answer of a handler: status 200, or 204 for `NoContent`. `headers` are added to those of every answer."""

    message: Message | Mapping[str, Any] | Document | Stream | NoContent = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()
    later: Callable[[], Awaitable[Answer]] | None = None
    """Returns a delayed answer. It is awaited without a permit, and cancelled when the caller disconnects."""


Handler = Callable[[Services, Call, Any], Awaitable[Answer]]
"""An async function of the services, the call and the parsed body (None where the operation takes none)."""


@value(frozen=True, slots=True)
class PathParameter:
    """A part of the path in braces."""

    name: str
    description: str
    int64: bool = False


@value(frozen=True, slots=True)
class Header:
    """A header that an operation reads or answers with, beyond those of every request."""

    name: str
    description: str


@value(frozen=True, slots=True)
class Link:
    """A value in an answer that other operations take as a part of their path."""

    pointer: str
    """The JSON Pointer of the value in the answer (RFC 6901)."""
    operations: tuple[str, ...]
    """Their operationIds."""
    parameter: str = "id"


@value(frozen=True, slots=True, kw_only=True)
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
    """None: no bearer token is required, because the path itself is the proof; see `anonymous_principal`."""
    response: type[Message]
    request: type[Message] | None = None
    """The message of the body; an absent body, an empty one and `{}` mean the same."""
    documents: tuple[str, ...] = ()
    """Media types of the `Document`s that the operation answers with at the caller's request."""
    raw_body: bool = False
    """The handler receives the bytes of the body unparsed."""
    lane: Lane = Lane.READING
    visibility: Visibility = Visibility.C1
    aliases: tuple[str, ...] = ()
    """Other paths of the same operation, for older clients."""
    parameters: tuple[PathParameter, ...] = ()
    query: tuple[str, ...] = ()
    reads: tuple[Header, ...] = ()
    answers_with: tuple[Header, ...] = ()
    link: Link | None = None
    more: str = ""
    """Markdown that our pages add to the description. The description is C1's own where C1 published one."""
    tag: str = "Automations"
    body_limit: int = 1_000_000
    """Maximum size of the body, in bytes."""
    within_apps: bool = False
    """Clients that have the permission for some apps only may call it; the handler restricts itself to `Call.apps`."""
