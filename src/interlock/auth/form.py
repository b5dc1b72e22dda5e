"""The body of a token request, a form (RFC 6749 section 3.2): read without mercy, so that it says one thing only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

MAX_BODY: Final = 16_384
"""Bytes."""
MAX_PARAMETERS: Final = 20
MAX_ASSERTION: Final = 8_192
"""Characters."""

_MEDIA_TYPE: Final = "application/x-www-form-urlencoded"
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_OURS: Final = frozenset(
    {"grant_type", "scope", "client_id", "client_secret", "client_assertion", "client_assertion_type"}
)


class BadForm(Exception):
    """The request is not a form that can be read; the HTTP status and a description for the caller."""

    def __init__(self, status: int, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.description = description


def read_form(headers: Mapping[str, str], query: str, body: bytes) -> dict[str, str]:
    """The parameters of a token request that have a value; a parameter without one counts as absent.

    Args:
        headers: by lower case names.

    Raises:
        BadForm: The form is wrong; the error has the status and what to fix.
    """
    if len(body) > MAX_BODY:
        raise BadForm(413, f"the body must not be longer than {MAX_BODY} bytes")
    _check_type(headers)
    if not _OURS.isdisjoint(_names(query)):
        raise BadForm(400, "credentials and grants belong into the body, never into the URL")
    found: dict[str, str] = {}
    for count, (name, value) in enumerate(_pairs(body), 1):
        if count > MAX_PARAMETERS:
            raise BadForm(400, f"there must not be more than {MAX_PARAMETERS} parameters")
        if name in found:
            raise BadForm(400, "a parameter is given twice")
        found[name] = value
    if len(found.get("client_assertion", "")) > MAX_ASSERTION:
        raise BadForm(400, f"client_assertion must not be longer than {MAX_ASSERTION} characters")
    return {name: value for name, value in found.items() if value and name in _OURS}


def _check_type(headers: Mapping[str, str]) -> None:
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise BadForm(415, "the body must not be compressed")
    kind, _, parameters = headers.get("content-type", "").partition(";")
    if kind.strip().lower() != _MEDIA_TYPE:
        raise BadForm(400, f"the Content-Type must be {_MEDIA_TYPE}")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise BadForm(400, "the charset must be utf-8")


def _names(query: str) -> Iterator[str]:
    for piece in query.split("&"):
        yield unquote_to_bytes(piece.partition("=")[0]).decode("utf-8", "replace")


def _pairs(body: bytes) -> Iterator[tuple[str, str]]:
    if _BAD_ESCAPE.search(body):
        raise BadForm(400, "a % must be followed by two hexadecimal digits")
    for piece in body.split(b"&"):
        if not piece:
            continue
        name, _, value = piece.replace(b"+", b" ").partition(b"=")
        try:
            yield unquote_to_bytes(name).decode(), unquote_to_bytes(value).decode()
        except UnicodeDecodeError:
            raise BadForm(400, "the parameters must be UTF-8") from None
