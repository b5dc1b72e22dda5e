"""Pages: how long they are, and the tokens that lead to the next one.

A token says where the next page begins. It is bound by HMAC to the tenant and to the query, so that it opens nothing
else; it is not secret, and it does not expire.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from interlock.contract.scalars import INT64_MAX
from interlock.errors import InvalidArgument
from interlock.operations.operation import Call
from interlock.operations.services import Services
from interlock.system import everybody_else

P = TypeVar("P")
R = TypeVar("R")

DEFAULT_SIZE: Final = 25
SMALLEST: Final = 10
LARGEST: Final = 100
MOST_NAMED: Final = 1_000
"""Ids that a filter names: each is looked up by itself, while nobody else gets a turn."""
ROWS_AT_ONCE: Final = 25
"""Rows that are worked on before everybody else gets a turn of the loop."""
MAX_PAGE_BYTES: Final = 1_000_000
"""Bytes of stored documents on a page beyond its first row: a page of large rows has fewer than were asked for."""
MAX_SLICE_BYTES: Final = 131_072
"""Bytes of stored documents that are read and worked on before the loop serves other requests."""
FIRST_ROWS: Final = 5
"""Rows that are read at first, before it is known how large they are."""
_MAC: Final = 16
_LONGEST_TOKEN: Final = 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it is asked for: its size, and what seals the token of the next one."""

    size: int
    position: str | None
    """What `token` was given for this page; None for the first."""
    _key: bytes
    _scope: bytes

    def token(self, position: str) -> str:
        """The token of the page that begins after `position`."""
        return urlsafe_b64encode(_mac(self._key, self._scope, position) + position.encode()).rstrip(b"=").decode()

    def number(self) -> int | None:
        """The position as the number it was made from."""
        return None if self.position is None else int(self.position)


def page_of(
    services: Services,
    tenant: int,
    operation: str,
    *,
    size: int,
    token: str,
    query: Mapping[str, Any] | None = None,
    field: str = "pageToken",
) -> Page:
    """The page that was asked for. `query` is everything else that decides what is on it.

    Raises:
        InvalidArgument: the token is not one that was given out for this query.
    """
    scope = json.dumps([tenant, operation, query or {}], sort_keys=True, separators=(",", ":")).encode()
    length = DEFAULT_SIZE if size == 0 else min(max(size, SMALLEST), LARGEST)
    position = _opened(services.page_key, scope, token, field) if token else None
    return Page(length, position, services.page_key, scope)


def page_of_query(services: Services, call: Call, operation: str) -> Page:
    """The same for a GET, which says it in `page_size` and `page_token`.

    Raises:
        InvalidArgument: one of them cannot be read.
    """
    asked = call.query.get("page_size") or "0"
    digits = asked.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise InvalidArgument.at("page_size", "must be a whole number, such as 25")
    token = call.query.get("page_token") or ""
    size = min(int(asked), INT64_MAX)
    return page_of(services, call.tenant.id, operation, size=size, token=token, field="page_token")


def few(ids: Sequence[str], field: str) -> Sequence[str]:
    """The ids that a filter names.

    Raises:
        InvalidArgument: more than `MOST_NAMED`.
    """
    if len(ids) > MOST_NAMED:
        raise InvalidArgument.at(field, f"names {len(ids):,} ids; at most {MOST_NAMED:,} are allowed")
    return ids


class Pace:
    """Lets the loop serve other requests after so many rows, or so many bytes of their documents."""

    def __init__(self) -> None:
        self._rows = self._bytes = 0

    async def after(self, size: int) -> None:
        """A row of so many bytes has been worked on."""
        self._rows += 1
        self._bytes += size
        if self._rows >= ROWS_AT_ONCE or self._bytes >= MAX_SLICE_BYTES:
            self._rows = self._bytes = 0
            await everybody_else()


def rows_at_once(rows: int, size: int) -> int:
    """How many rows to read next, after so many with documents of so many bytes together."""
    return max(1, min(ROWS_AT_ONCE, MAX_SLICE_BYTES * rows // max(1, size)))


async def read_page(
    page: Page,
    after: P,
    fetch: Callable[[P, int], Awaitable[Sequence[R]]],
    place_of: Callable[[R], P],
    size_of: Callable[[R], int],
) -> tuple[list[R], bool]:
    """The rows of a page, and whether there are more. Large rows are read a few at a time, and end the page early.

    Args:
        after: the place behind which the page begins.
        fetch: reads up to so many rows behind a place.
    """
    rows: list[R] = []
    size, limit = 0, FIRST_ROWS
    while len(rows) <= page.size and size <= MAX_PAGE_BYTES:
        limit = min(limit, page.size + 1 - len(rows))
        chunk = await fetch(after, limit)
        rows += chunk
        came = sum(map(size_of, chunk))
        size += came
        if len(chunk) < limit:
            break
        after, limit = place_of(chunk[-1]), rows_at_once(len(chunk), came)
        await everybody_else()
    kept, size = 0, 0
    for row in rows[: page.size]:
        size += size_of(row)
        if kept and size > MAX_PAGE_BYTES:
            break
        kept += 1
    return rows[:kept], len(rows) > kept


async def give_way(rows: int) -> None:
    """After each `ROWS_AT_ONCE` rows, let the loop serve everybody else: a page must not hold up a stop."""
    if rows % ROWS_AT_ONCE == 0:
        await everybody_else()


def _mac(key: bytes, scope: bytes, position: str) -> bytes:
    return hmac.digest(key, b"page|%d|%b|%b" % (len(scope), scope, position.encode()), "sha256")[:_MAC]


def _opened(key: bytes, scope: bytes, token: str, field: str) -> str:
    if len(token) <= _LONGEST_TOKEN:
        try:
            raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
            position = raw[_MAC:].decode()
        except (NotBase64, ValueError):
            pass
        else:
            if hmac.compare_digest(raw[:_MAC], _mac(key, scope, position)):
                return position
    raise InvalidArgument.at(
        field, "is not a token for this query; send the nextPageToken of the page before, with the same query"
    )
