"""Reads the headers, the query and the body of a request within their limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cache
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from interlock.errors import InvalidArgument, PayloadTooLarge, Problem, UnsupportedMediaType

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


BODY_TIMEOUT_SECONDS: Final = 30.0
"""Seconds within which a body that arrives in pieces must be complete."""
MAX_QUERY_PARAMETERS: Final = 50
"""Maximum number of query parameters."""

_ONCE: Final = (
    b"host",
    b"authorization",
    b"content-length",
    b"content-type",
    b"content-encoding",
    b"idempotency-key",
)
"""Headers that must not occur twice: a server and its proxy might use different ones of the two."""


class Disconnected(Exception):
    """The caller disconnected before there was an answer."""


class BodyTooSlow(Exception):
    """The body did not arrive in time (408)."""


def read_headers(raw: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by lower case name; repeated headers are joined to a list (RFC 9110, section 5.3).

    Raises:
        InvalidArgument: A header that may occur once occurs twice.
    """
    headers = dict(raw)
    if len(headers) != len(raw):
        values: dict[bytes, list[bytes]] = {}
        for name, value in raw:
            given = values.setdefault(name, [])
            if given and name in _ONCE:
                raise InvalidArgument.at(name.decode("latin-1").title(), "is given twice; give it once")
            given.append(value)
        headers = {name: b", ".join(given) for name, given in values.items()}
    return headers


def read_query(raw: bytes, known: tuple[str, ...]) -> dict[str, str]:
    """Return the query parameters of an operation; unknown parameters are ignored, like unknown fields.

    Each has both spellings, `page_token` and `pageToken`, like the members of bodies.

    Raises:
        InvalidArgument: A known parameter is not valid (with all problems), or there are too many parameters.
    """
    found: dict[str, str] = {}
    problems: list[Problem] = []
    spelled = _spellings(known)
    pieces = raw.split(b"&") if raw else []
    if len(pieces) > MAX_QUERY_PARAMETERS:
        raise InvalidArgument(f"there are more than {MAX_QUERY_PARAMETERS} query parameters")
    for piece in pieces:
        name_bytes, _, value_bytes = piece.replace(b"+", b" ").partition(b"=")
        name = spelled.get(unquote_to_bytes(name_bytes).decode("utf-8", "replace"), "")
        if not name:
            continue
        if name in found:
            problems.append(Problem(name, "is given twice; give it once"))
            continue
        try:
            found[name] = unquote_to_bytes(value_bytes).decode()
        except UnicodeDecodeError:
            problems.append(Problem(name, "is not UTF-8"))
    if problems:
        raise InvalidArgument(problems=tuple(problems))
    return found


@cache
def _spellings(known: tuple[str, ...]) -> dict[str, str]:
    """Return the name of each parameter by each of its spellings."""
    in_camel_case = {name.split("_")[0] + "".join(map(str.title, name.split("_")[1:])): name for name in known}
    return in_camel_case | {name: name for name in known}


def announced_length(headers: Mapping[bytes, bytes], limit: int) -> int:
    """Return the length of the body in bytes, or `limit` for a chunked body.

    Raises:
        PayloadTooLarge: The length exceeds `limit`.
        InvalidArgument: The length is not a number.
    """
    length = headers.get(b"content-length")
    if length is None:
        return limit if b"transfer-encoding" in headers else 0
    if not length.isdigit():
        raise InvalidArgument.at("Content-Length", "is not a number")
    if len(length) > 15 or int(length) > limit:
        raise _too_large(limit)
    return int(length)


async def read_body(receive: Receive, limit: int) -> bytes:
    """Read the whole body, at most `limit` bytes.

    Raises:
        PayloadTooLarge: The body is longer.
        BodyTooSlow: The body did not arrive in time.
        Disconnected: The caller disconnected.
    """
    message = await receive()
    if message["type"] != "http.request":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        try:
            async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
                body = await _read_rest(receive, body, limit)
        except TimeoutError:
            raise BodyTooSlow from None
    if len(body) > limit:
        raise _too_large(limit)
    return body


async def _read_rest(receive: Receive, first: bytes, limit: int) -> bytes:
    parts, size, more = [first], len(first), True
    while more:
        if size > limit:
            raise _too_large(limit)
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
    return b"".join(parts)


def check_json(headers: Mapping[bytes, bytes]) -> None:
    """Check that the body is declared as plain JSON, or has no declared type.

    Raises:
        UnsupportedMediaType: The body has another type, another charset than UTF-8, or a content encoding.
    """
    kind = headers.get(b"content-type")
    if kind is not None and kind != b"application/json":
        media, *parameters = kind.lower().split(b";")
        if media.strip() != b"application/json":
            raise UnsupportedMediaType("the body must be application/json")
        for parameter in parameters:
            name, _, value = parameter.partition(b"=")
            if name.strip() == b"charset" and value.strip(b' \t"') not in {b"utf-8", b"utf8", b"us-ascii"}:
                raise UnsupportedMediaType("the body must be UTF-8")
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in {b"", b"identity"}:
        raise UnsupportedMediaType("the body must not be compressed")


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is larger than {limit} bytes")
