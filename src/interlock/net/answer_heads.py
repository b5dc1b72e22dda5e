"""The head of an answer as bytes: where it ends, its fields, and what can be read of a malformed one."""

from __future__ import annotations

import re
from typing import Final

STATUS_LINE: Final = re.compile(rb"HTTP/([0-9])\.([0-9])[ \t]+([1-9][0-9]{2})(?![0-9])", re.IGNORECASE)
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*(.*)", re.DOTALL)
_FOLD = re.compile(rb"(?:\r?\n[ \t]+)+")  # a field that goes on in the next line (RFC 9112 section 5.2)


def end_of_head(text: bytes | bytearray, start: int) -> int:
    """The index after the empty line that ends a head, or 0."""
    strict = text.find(b"\n\r\n", start)
    bare = text.find(b"\n\n", start, len(text) if strict < 0 else strict + 1)
    if bare >= 0:
        return bare + 2
    return strict + 3 if strict >= 0 else 0


def joined_fields(fields: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the fields by lower-case name; repeated ones are joined (RFC 9110 section 5.3)."""
    found: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for raw_name, raw_value in fields:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in found:
            repeated.setdefault(name, [found[name]]).append(value)
        else:
            found[name] = value
    for name, values in repeated.items():
        found[name] = ", ".join(values)
    return found


def list_members(value: str) -> list[str]:
    """The members of a comma-separated field, lower case, without those that say nothing."""
    return [token for part in value.split(",") if (token := part.strip().lower()) and token != "identity"]


def tolerant_head(head: bytes, fields: list[tuple[bytes, bytes]]) -> int:
    """Read a head that the strict parser refuses; lines that are no field are left out.

    Args:
        head: The head with the empty line that ends it.
        fields: A list that gets the fields, in place of what it holds.

    Returns:
        The status; 0 if the head has none.
    """
    fields.clear()
    line = STATUS_LINE.match(head)
    if line is None:
        return 0
    lines = _FOLD.sub(b" ", head[line.end() :]).split(b"\n")[1:]
    found = (_FIELD.fullmatch(text.rstrip(b"\r")) for text in lines)
    fields.extend((field[1], field[2].rstrip()) for field in found if field)
    return int(line[3])
