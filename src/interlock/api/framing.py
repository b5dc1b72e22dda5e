"""Checks the head of a request by RFC 9112 where httptools does not, and normalises its target."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import httptools

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_VERSIONS: Final = ("1.0", "1.1")
_Fields = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer to a request that does not reach the application, head and body; the connection ends after it."""

    status: int
    answer: bytes


def _refusal(status: int, phrase: str, code: int, message: str) -> Refusal:
    body = json.dumps({"code": code, "message": message, "details": []}, separators=(",", ":"))
    head = (
        f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        "cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
    )
    return Refusal(status, f"{head}{body}".encode())


BAD_REQUEST: Final = _refusal(400, "Bad Request", 3, "the request is not valid HTTP/1.1 (RFC 9112)")
BAD_TARGET: Final = _refusal(
    400, "Bad Request", 3, "the request target is not valid: send a path such as /api/v1/automations"
)
OLD_CODING: Final = _refusal(400, "Bad Request", 3, "Transfer-Encoding needs HTTP/1.1; send Content-Length")
TARGET_TOO_LONG: Final = _refusal(414, "URI Too Long", 3, "the request target is too long")
UNKNOWN_EXPECTATION: Final = _refusal(417, "Expectation Failed", 3, "only the expectation 100-continue is known")
HEAD_TOO_LARGE: Final = _refusal(
    431, "Request Header Fields Too Large", 3, "the head of the request is too large, or has too many fields"
)
UNKNOWN_CODING: Final = _refusal(
    501, "Not Implemented", 12, "the only Transfer-Encoding is chunked; send the body as it is"
)
NO_TUNNEL: Final = _refusal(501, "Not Implemented", 12, "CONNECT is not offered")
NO_UPGRADE_OF_CHUNKS: Final = _refusal(
    501, "Not Implemented", 12, "a request with Upgrade must give its body's length; leave Upgrade out"
)
UNKNOWN_VERSION: Final = _refusal(505, "HTTP Version Not Supported", 12, "the versions are HTTP/1.0 and HTTP/1.1")


def check_head(method: bytes, target: bytes, version: str, fields: _Fields) -> Refusal | None:
    """Return the refusal of a head; None if it is valid.

    An unknown transfer coding is refused, because server and proxy could disagree about the end of the body; the target
    of a tunnel, or one with user information, because neither names a resource of this server.
    """
    if version not in _VERSIONS:
        return UNKNOWN_VERSION
    if method == b"CONNECT":
        return NO_TUNNEL
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if codings:
        if [value.strip(b" \t").lower() for value in codings] != [b"chunked"]:
            return UNKNOWN_CODING
        if version == "1.0":
            return OLD_CODING
        if any(name == b"upgrade" for name, _ in fields):
            return NO_UPGRADE_OF_CHUNKS
    if any(name == b"expect" and value.lower() != b"100-continue" for name, value in fields):
        return UNKNOWN_EXPECTATION
    return None if _is_target(method, target) else BAD_TARGET


def _is_target(method: bytes, target: bytes) -> bool:
    if b"#" in target:
        return False
    if target.startswith(b"/"):
        return True
    if target == b"*":
        return method == b"OPTIONS"
    try:
        parsed = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        return False
    return parsed.schema in (b"http", b"https") and bool(parsed.host) and not parsed.userinfo


def with_host(target: bytes, fields: _Fields) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return the target as a path, and the fields with the host of a target in absolute form.

    The host of such a target overrides the Host header (RFC 9112, section 3.2.2). A header that is missing or occurs
    twice is kept, and refused where headers are read.
    """
    if target.startswith(b"/") or target == b"*":
        return target, list(fields)
    parsed: Any = httptools.parse_url(target)
    host = b"[%b]" % parsed.host if b":" in parsed.host else parsed.host
    authority = host if parsed.port is None else b"%b:%d" % (host, parsed.port)
    path = parsed.path or b"/"
    named = [name for name, _ in fields].count(b"host")
    return (
        path if parsed.query is None else b"%b?%b" % (path, parsed.query),
        [(name, authority if name == b"host" and named == 1 else value) for name, value in fields],
    )


def body_length(fields: _Fields) -> int:
    """Return the length of a body from its head; httptools has checked that it is one number."""
    return next((int(value) for name, value in fields if name == b"content-length"), 0)
