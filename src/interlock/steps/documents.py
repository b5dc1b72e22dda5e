"""JSON as steps read and write it. The guard reads it all, so what is stored can be read again by the same rules."""

from __future__ import annotations

from typing import Any, Final

from pydantic_core import PydanticSerializationError, to_json

from interlock.contract.guard import MAX_STORED_DEPTH, MAX_STORED_MEMBERS, check_structure, loads
from interlock.errors import InvalidArgument, Permanent

MAX_OUTPUT: Final = 256 * 1024
"""Most bytes of JSON that a step may return; beyond it the step fails, as cutting would break the steps after it."""

MAX_MADE_DEPTH: Final = 120
"""Levels of nesting of what a run makes; less than can be stored, since views and announcements put it into more."""
MAX_MADE_MEMBERS: Final = 60_000
"""Items, members, lists and objects of what a run makes; less than can be stored, for the same reason."""


class StepFailed(Permanent):
    """A step cannot go on, and trying again would not help. `details` are further members of the recorded error."""

    code = "STEP_FAILED"

    def __init__(self, code: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.error_code = code
        self.details = details

    def document(self) -> bytes:
        return error_document(self.error_code, self.message, **self.details)


class Unreadable(Permanent):
    """A stored document is beyond the limits that every document has; only an older release can have written it."""

    code = "DOCUMENT_UNREADABLE"


def encode(value: object) -> bytes:
    """Compact JSON of a value that is within the limits."""
    return to_json(value)


def encode_made(value: object) -> bytes:
    """Compact JSON of a value that a run has made out of others. Raises StepFailed beyond a limit."""
    try:
        made = to_json(value)
        check_structure(made, MAX_MADE_DEPTH, MAX_MADE_MEMBERS)
    except InvalidArgument as error:
        raise StepFailed("DATA_BEYOND_LIMITS", f"the step's data with its values: {error.message}") from None
    except (PydanticSerializationError, RecursionError):
        message = f"the step's data with its values: the JSON must not be nested deeper than {MAX_MADE_DEPTH} levels"
        raise StepFailed("DATA_BEYOND_LIMITS", message) from None
    return made


def decode(text: bytes) -> Any:
    """The value of a stored document. Raises Unreadable."""
    try:
        return loads(text, max_depth=MAX_STORED_DEPTH, max_members=MAX_STORED_MEMBERS)
    except InvalidArgument as error:
        raise Unreadable(f"a stored document cannot be read: {error.message}") from None


def shown(text: bytes) -> Any:
    """The value of a stored document for a view; of one that cannot be read, a text that says so."""
    try:
        return decode(text)
    except Unreadable as error:
        return error.message


def encode_output(value: object) -> bytes:
    """What a step returns, as it is stored. Raises StepFailed beyond a limit."""
    output = encode_made(value)
    if len(output) > MAX_OUTPUT:
        raise StepFailed(
            "OUTPUT_TOO_LARGE", f"the step returned {len(output):,} bytes of JSON; at most {MAX_OUTPUT:,} can be kept"
        )
    return output


def error_document(code: str, message: str, **details: object) -> bytes:
    """An error as it is recorded with a step: a stable `code`, a `message` for people, and what details are known."""
    return to_json({"code": code, "message": message, **{k: v for k, v in details.items() if v is not None}})
