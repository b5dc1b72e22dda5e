"""The writing side of the HTTP client: one request as bytes, without I/O."""

from __future__ import annotations

import re
from functools import lru_cache

from interlock.ports import HttpFailed, HttpFailureKind, HttpRequest

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})
_FRAMING = frozenset({"host", "connection", "content-length", "transfer-encoding", "te", "upgrade", "expect"})
_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)  # RFC 9110 section 5.6.2
_NOT_IN_FIELD_VALUE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_DEFAULTS = (("user-agent", "User-Agent: Interlock"), ("accept", "Accept: */*"))
_DEFAULT_CODING = ("accept-encoding", "Accept-Encoding: identity")


def encoded(request: HttpRequest, path: str, host_line: str) -> bytes:
    """Return the request as it goes over the wire.

    Args:
        request: The request.
        path: The path of its URL with the query.
        host_line: What follows the path: the version of HTTP and the line of `Host`.

    Raises:
        HttpFailed: The method or a header could change the meaning of the request.
    """
    method, headers, body = request.method, request.headers, request.body
    if method not in _METHODS:
        raise HttpFailed(HttpFailureKind.BLOCKED, f"the method must be one of {', '.join(sorted(_METHODS))}")
    if _NOT_IN_FIELD_VALUE.search("".join(headers.values())):
        raise HttpFailed(HttpFailureKind.BLOCKED, "a header holds a character that no header can hold")
    lines = [f"{method} {path}{host_line}{_defaults(tuple(headers))}"]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    if body or method in _WITH_CONTENT:
        lines.append(f"Content-Length: {len(body)}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1") + body


@lru_cache(maxsize=256)
def _defaults(names: tuple[str, ...]) -> str:
    """The header lines that are sent unless the request has its own. Raises HttpFailed for names that cannot be set."""
    for name in names:
        if _FIELD_NAME.fullmatch(name) is None or name.lower() in _FRAMING:
            raise HttpFailed(HttpFailureKind.BLOCKED, f"the header {name!r} cannot be set")
    given = {name.lower() for name in names}
    return "".join(f"{line}\r\n" for name, line in (*_DEFAULTS, _DEFAULT_CODING) if name not in given)
