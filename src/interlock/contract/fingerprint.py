"""The fingerprint of a message: equal for two messages that ask for the same thing, however each was spelled."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from interlock.contract.base import Message
from interlock.contract.times import Duration, Timestamp


def fingerprint(message: Message) -> bytes:
    """32 bytes, from every field of the message: a field that is added later is covered without a change here.

    An absent scalar equals its zero value; a message that is absent and one that is empty differ. Durations and
    timestamps count by their value, not by their text. Members of a Struct count as they were given.
    """
    canonical = json.dumps(_fields(message), sort_keys=True, separators=(",", ":"))
    return sha256(canonical.encode("utf-8", "surrogatepass")).digest()


def _fields(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in type(message).model_fields.items():
        given = getattr(message, name)
        if given != field.default:
            found[name] = _canonical(given)
    return found


def _canonical(value: Any) -> Any:
    if isinstance(value, Message):
        return _fields(value)
    if isinstance(value, Duration | Timestamp):
        return {"nanos": value.nanos}
    if isinstance(value, tuple):
        return [_canonical(member) for member in value]
    return value
