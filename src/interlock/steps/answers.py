"""The answer of a receiver as steps return it: in the answer to a call itself, or in a callback."""

from __future__ import annotations

from interlock.contract.guard import NotJson, loads
from interlock.errors import InvalidArgument


def answer_output(body: bytes, status: int) -> dict[str, object]:
    """Return what `ctx.<step>` holds after this answer."""
    output: dict[str, object] = {"response": {}, "status_code": status}
    if body.strip():
        try:
            output["response"] = _context_of(loads(body))
        except NotJson:
            output["response"] = body.decode("utf-8", "replace")
        except InvalidArgument as refused:
            output["response"] = body.decode("utf-8", "replace")
            output["response_problem"] = refused.message
    return output


def read_answer(body: bytes) -> object:
    """Return what a response document gives, in the answer itself or in a callback."""
    return answer_output(body, 0)["response"]


def _context_of(document: object) -> object:
    """Return the part of a response document that is the answer."""
    if isinstance(document, dict) and "version" in document and isinstance(document.get("context"), dict):
        return document["context"]
    return document
