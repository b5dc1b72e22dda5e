"""Make the reply of HTTP from what a handler answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from interlock.api.edge import Headers, Reply
from interlock.api.errors import JSON_TYPE
from interlock.contract.base import Message, to_json
from interlock.operations.operation import Answer, Document, NoContent, Stream

EMPTY_JSON: Final = b"{}"
_NO_STORE: Final = (b"cache-control", b"no-store")
_NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")
_COMPACT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
SERVER_OPTIONS: Final = Reply(HTTPStatus.NO_CONTENT, ((b"allow", b"DELETE, GET, HEAD, POST"),), b"")
"""The answer to `OPTIONS *`, which is about the server as a whole."""


def reply_of(answer: Answer) -> Reply:
    """Return the reply for the answer of a handler."""
    if answer.later is not None:
        return Reply(200, (), b"", later=answer.later)
    message = answer.message
    if isinstance(message, Document):
        media_type = (b"content-type", f"{message.media_type}; charset=utf-8".encode())
        return Reply(200, (media_type, *_encoded(answer.headers)), message.text.encode())
    if isinstance(message, Stream):
        media_type = (b"content-type", message.media_type.encode())
        return Reply(200, (media_type, *_encoded(answer.headers)), b"", message.pieces)
    if isinstance(message, NoContent):
        return Reply(204, _encoded(answer.headers), b"")
    headers: Headers = (JSON_TYPE, *_encoded(answer.headers))
    if isinstance(message, Message):
        return Reply(200, headers, to_json(message))
    return Reply(200, headers, _json(message) if message else EMPTY_JSON)


def head_of(reply: Reply, request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of one answer as a new list, with each name once."""
    given = {name for name, _ in reply.headers}
    head = [*reply.headers, _NO_SNIFF, (b"x-request-id", request_id.encode())]
    if b"cache-control" not in given:
        head.append(_NO_STORE)
    if reply.pieces is None and reply.status != HTTPStatus.NO_CONTENT:
        head.append((b"content-length", b"%d" % len(reply.body)))
    return head


def _encoded(headers: Iterable[tuple[str, str]]) -> Headers:
    return tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers)


def _json(tree: Mapping[str, Any]) -> bytes:
    return _COMPACT.encode(tree).encode()
