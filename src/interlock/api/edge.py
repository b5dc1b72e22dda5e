"""What is answered outside the operation table: an endpoint, its request and its reply. A console uses them too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from interlock.operations.operation import Answer
from interlock.ports import TenantRow

Headers = tuple[tuple[bytes, bytes], ...]
"""A tuple, so that no answer can change the head of the next one."""


@dataclass(frozen=True, slots=True)
class Request:
    """What an endpoint outside the operation table is given. `host` is in its normal form, `query` is raw."""

    tenant: TenantRow
    host: str
    address: str
    headers: Mapping[bytes, bytes]
    query: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it goes out; what every answer has, its length included, is added to the headers."""

    status: int
    headers: Headers
    body: bytes
    pieces: AsyncIterator[bytes] | None = None
    """What follows piece by piece; then `body` is empty, and the length not known."""
    later: Callable[[], Awaitable[Answer]] | None = None
    """The answer is held back, and this gives it."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Something answered outside the operation table: tokens, health, documents."""

    method: str
    path: str
    answer: Callable[[Request], Awaitable[Reply]]
    body_limit: int = 0
    """Bytes; 0: the body is not read."""
