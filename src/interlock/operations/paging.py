"""Pages: their sizes, and the tokens of the next page.

A token holds the position at which the next page begins. An HMAC binds it to the tenant and the query, so that it is
valid for no other query. It is not secret, and it does not expire.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from interlock.contract.scalars import INT64_MAX
from interlock.errors import InvalidArgument
from interlock.operations.operation import Call
from interlock.operations.services import Services
from interlock.rules.values import value
from interlock.system import yield_to_loop

P = TypeVar("P")
R = TypeVar("R")

DEFAULT_PAGE_ROWS: Final = 25
MIN_PAGE_ROWS: Final = 10
MAX_PAGE_ROWS: Final = 100
MAX_FILTER_IDS: Final = 1_000
"""Maximum number of ids in a filter: each is looked up by itself, without yielding to the loop."""
ROWS_PER_TURN: Final = 25
"""Rows that are processed before the loop serves other requests."""
MAX_PAGE_BYTES: Final = 1_000_000
"""Bytes of stored documents on a page beyond its first row: a page of large rows has fewer rows than requested."""
MAX_SLICE_BYTES: Final = 131_072
"""Bytes of stored documents that are read and processed before the loop serves other requests."""
FIRST_ROWS: Final = 5
"""Rows of the first read, when their size is not known yet."""
_MAC_BYTES: Final = 16
MAX_PAGE_TOKEN_CHARACTERS: Final = 1_000


@value(frozen=True, slots=True)
class Page:
    """One requested page: its size, its position, and the key that signs the token of the next one."""

    size: int
    position: str | None
    """The position in the token of the request; None for the first page."""
    _key: bytes
    _scope: bytes

    def token(self, position: str) -> str:
        """Return the token of the page that begins after `position`."""
        return urlsafe_b64encode(_mac(self._key, self._scope, position) + position.encode()).rstrip(b"=").decode()

    def number(self) -> int | None:
        """Return the position as a number; None for the first page."""
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
    """Return the requested page.

    Args:
        size: Requested number of rows; 0 means the default. It is brought into the allowed range.
        token: Page token of the request; empty for the first page.
        query: Everything else that determines the rows of the page.
        field: Name of the token in error messages.

    Raises:
        InvalidArgument: The server issued no such token for this query.
    """
    scope = json.dumps([tenant, operation, query or {}], sort_keys=True, separators=(",", ":")).encode()
    length = DEFAULT_PAGE_ROWS if size == 0 else min(max(size, MIN_PAGE_ROWS), MAX_PAGE_ROWS)
    position = _verified_position(services.page_key, scope, token, field) if token else None
    return Page(length, position, services.page_key, scope)


def page_of_query(services: Services, call: Call, operation: str) -> Page:
    """Return the page that `page_size` and `page_token` in the query of a GET request.

    Raises:
        InvalidArgument: One of them is malformed.
    """
    asked = call.query.get("page_size") or "0"
    digits = asked.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise InvalidArgument.at("page_size", "must be a whole number, such as 25")
    token = call.query.get("page_token") or ""
    size = min(int(asked), INT64_MAX)
    return page_of(services, call.tenant.id, operation, size=size, token=token, field="page_token")


def limited(ids: Sequence[str], field: str) -> Sequence[str]:
    """Return the ids of a filter.

    Raises:
        InvalidArgument: There are more than `MAX_FILTER_IDS`.
    """
    if len(ids) > MAX_FILTER_IDS:
        raise InvalidArgument.at(field, f"names {len(ids):,} ids; at most {MAX_FILTER_IDS:,} are allowed")
    return ids


class Pace:
    """Yields to the loop after `ROWS_PER_TURN` rows, or after `MAX_SLICE_BYTES` bytes of their documents."""

    def __init__(self) -> None:
        self._rows = self._bytes = 0

    async def after(self, size: int) -> None:
        """Count one processed row of `size` bytes, and yield if it is time."""
        self._rows += 1
        self._bytes += size
        if self._rows >= ROWS_PER_TURN or self._bytes >= MAX_SLICE_BYTES:
            self._rows = self._bytes = 0
            await yield_to_loop()


def rows_per_read(rows: int, size: int) -> int:
    """Return how many rows to read next, if the documents of the last `rows` had `size` bytes together."""
    return max(1, min(ROWS_PER_TURN, MAX_SLICE_BYTES * rows // max(1, size)))


async def read_page(
    page: Page,
    after: P,
    fetch: Callable[[P, int], Awaitable[Sequence[R]]],
    place_of: Callable[[R], P],
    size_of: Callable[[R], int],
) -> tuple[list[R], bool]:
    """Read the rows of a page in small batches; large rows end the page early.

    Args:
        page: The requested page.
        after: Position after which the page begins.
        fetch: Reads at most so many rows after a position.
        place_of: Returns the position of a row.
        size_of: Returns the size of a row's documents, in bytes.

    Returns:
        The rows, and whether there are more.
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
        after, limit = place_of(chunk[-1]), rows_per_read(len(chunk), came)
        await yield_to_loop()
    kept, size = 0, 0
    for row in rows[: page.size]:
        size += size_of(row)
        if kept and size > MAX_PAGE_BYTES:
            break
        kept += 1
    return rows[:kept], len(rows) > kept


async def yield_after_rows(rows: int) -> None:
    """Yield to the loop if `rows` is a multiple of `ROWS_PER_TURN`: a page must not delay a termination."""
    if rows % ROWS_PER_TURN == 0:
        await yield_to_loop()


def _mac(key: bytes, scope: bytes, position: str) -> bytes:
    return hmac.digest(key, b"page|%d|%b|%b" % (len(scope), scope, position.encode()), "sha256")[:_MAC_BYTES]


def _verified_position(key: bytes, scope: bytes, token: str, field: str) -> str:
    if len(token) <= MAX_PAGE_TOKEN_CHARACTERS:
        try:
            raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
            position = raw[_MAC_BYTES:].decode()
        except (NotBase64, ValueError):
            pass
        else:
            if hmac.compare_digest(raw[:_MAC_BYTES], _mac(key, scope, position)):
                return position
    raise InvalidArgument.at(
        field, "is not a token for this query; send the nextPageToken of the page before, with the same query"
    )
