"""Endpoints outside the operation table, with their requests and replies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from interlock.operations.operation import Answer
from interlock.ports import TenantRow

Headers = tuple[tuple[bytes, bytes], ...]
"""A tuple, so that no answer can change the headers of another one."""


@dataclass(frozen=True, slots=True)
class Request:
    """The request to an endpoint. `host` is normalised, `query` is raw."""

    tenant: TenantRow
    host: str
    address: str
    headers: Mapping[bytes, bytes]
    query: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. The application adds the headers that every answer has, such as its length."""

    status: int
    headers: Headers
    body: bytes
    pieces: AsyncIterator[bytes] | None = None
    """The pieces of a stream; then `body` is empty and the length unknown."""
    later: Callable[[], Awaitable[Answer]] | None = None
    """Returns the answer, if it is delayed."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint outside the operation table: tokens, health, documents."""

    method: str
    path: str
    answer: Callable[[Request], Awaitable[Reply]]
    body_limit: int = 0
    """Maximum size of the body, in bytes; 0: the body is not read."""
