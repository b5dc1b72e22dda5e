"""JSON as steps read and write it: compact UTF-8, no NaN, no lone surrogates."""

from __future__ import annotations

from typing import Final

from pydantic_core import from_json, to_json

from interlock.errors import Permanent

MAX_OUTPUT: Final = 256 * 1024
"""Most bytes of JSON that a step may return; beyond it the step fails, as cutting would break the steps after it."""


class StepFailed(Permanent):
    """A step cannot go on, and trying again would not help. `details` are further members of the recorded error."""

    code = "STEP_FAILED"

    def __init__(self, code: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.error_code = code
        self.details = details

    def document(self) -> bytes:
        return error_document(self.error_code, self.message, **self.details)


def encode(value: object) -> bytes:
    """Compact JSON."""
    return to_json(value)


def decode(text: bytes) -> object:
    """The value of JSON text; of members with the same name the last one counts.

    Raises ValueError for anything else, NaN, lone surrogates and nesting beyond about 200 levels included.
    """
    value: object = from_json(text, allow_inf_nan=False)
    return value


def encode_output(value: object) -> bytes:
    """What a step returns, as it is stored. Raises StepFailed if it is too large."""
    output = to_json(value)
    if len(output) > MAX_OUTPUT:
        raise StepFailed(
            "OUTPUT_TOO_LARGE", f"the step returned {len(output):,} bytes of JSON; at most {MAX_OUTPUT:,} can be kept"
        )
    return output


def error_document(code: str, message: str, **details: object) -> bytes:
    """An error as it is recorded with a step: a stable `code`, a `message` for people, and what details are known."""
    return to_json({"code": code, "message": message, **{k: v for k, v in details.items() if v is not None}})
