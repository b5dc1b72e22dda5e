"""Converts errors to google.rpc.Status with the HTTP status of their codes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from interlock.api.edge import Headers
from interlock.errors import (
    AlreadyExists,
    CommitUnknown,
    Conflict,
    FailedPrecondition,
    Fatal,
    InterlockError,
    InvalidArgument,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    Problem,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    UnsupportedMediaType,
)

JSON_TYPE = (b"content-type", b"application/json")
OUTCOME_UNKNOWN = (b"interlock-outcome", b"unknown")
"""The header of the only answer after which the change may or may not have been made."""

_WIRE: dict[type[InterlockError], tuple[int, int]] = {
    PayloadTooLarge: (413, 3),
    InvalidArgument: (400, 3),
    FailedPrecondition: (400, 9),
    AlreadyExists: (409, 6),
    Conflict: (409, 10),
    NotFound: (404, 5),
    MethodNotAllowed: (405, 12),
    UnsupportedMediaType: (415, 3),
    Unauthenticated: (401, 16),
    PermissionDenied: (403, 7),
    Unimplemented: (501, 12),
    TooManyRequests: (429, 8),
    CommitUnknown: (503, 2),
    Unavailable: (503, 14),
    Fatal: (503, 14),
}
"""(HTTP status, google.rpc.Code) of each error; a subclass that is not listed has those of its parent."""


@dataclass(frozen=True, slots=True)
class WireError:
    """An error answer."""

    status: int
    body: bytes
    headers: Headers


TOO_SLOW = WireError(
    408,
    b'{"code":4,"message":"the body did not come in time","details":[]}',
    (JSON_TYPE, (b"connection", b"close")),
)
INTERNAL = WireError(500, b'{"code":13,"message":"internal error","details":[]}', (JSON_TYPE,))


def wire_error(error: InterlockError, realm: str) -> WireError:
    """Return the answer for an error. `realm` is the tenant's host, for challenges."""
    for kind in type(error).__mro__:
        found = _WIRE.get(kind)
        if found is not None:
            status, code = found
            break
    else:
        return INTERNAL
    headers = [JSON_TYPE]
    match error:
        case Unauthenticated():
            challenge = f'Bearer realm="{realm}"' + (', error="invalid_token"' if error.token_presented else "")
            headers.append((b"www-authenticate", challenge.encode("latin-1", "replace")))
        case PermissionDenied():
            challenge = f'Bearer realm="{realm}", error="insufficient_scope"'
            headers.append((b"www-authenticate", challenge.encode("latin-1", "replace")))
        case MethodNotAllowed():
            headers.append((b"allow", ", ".join(error.allowed).encode()))
        case TooManyRequests() | Unavailable():
            headers.append((b"retry-after", str(max(1, error.retry_after)).encode()))
            if isinstance(error, CommitUnknown):
                headers.append(OUTCOME_UNKNOWN)
    return WireError(status, _status(code, error.message, _details(error)), tuple(headers))


def _details(error: InterlockError) -> list[dict[str, Any]]:
    if isinstance(error, CommitUnknown):
        info = {"reason": error.code, "domain": "interlock", "metadata": {"outcome": "unknown"}}
        return [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **info}]
    if not isinstance(error, InvalidArgument | FailedPrecondition) or not error.problems:
        return []
    if isinstance(error, FailedPrecondition):
        violations = [
            {"type": error.code, "subject": problem.field, "description": _description(problem)}
            for problem in error.problems
        ]
        return [{"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": violations}]
    fields = [{"field": problem.field, "description": _description(problem)} for problem in error.problems]
    return [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": fields}]


def _description(problem: Problem) -> str:
    if problem.line is None:
        return problem.description
    return f"line {problem.line}, column {problem.column}: {problem.description}"


def _status(code: int, message: str, details: list[dict[str, Any]]) -> bytes:
    return json.dumps({"code": code, "message": message, "details": details}, separators=(",", ":")).encode()
