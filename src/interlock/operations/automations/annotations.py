"""Annotations: short notes that tools attach to the automations that they manage.

A write without an update mask replaces all annotations if it has any, so that a key which a tool no longer configures
is removed; otherwise it keeps them. A write whose mask names them merges, and an empty value deletes the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from interlock.errors import InvalidArgument, Problem

MAX_ANNOTATIONS: Final = 16
MAX_ANNOTATION_BYTES: Final = 4_096
MAX_VALUE_CHARACTERS: Final = 256
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9._/-]{0,127}", re.ASCII)
_VALUE: Final = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*", re.ASCII)
"""The characters of a URI (RFC 3986)."""
_RESERVED_PREFIX: Final = "c1/"


def replaced(written: Mapping[str, str], field: str) -> dict[str, str]:
    """Return the annotations after a write that replaces all of them.

    Raises:
        InvalidArgument: As for `merged`.
    """
    return merged({}, written, field)


def merged(stored: Mapping[str, str], written: Mapping[str, str], field: str) -> dict[str, str]:
    """Return the annotations after a write that merges.

    Args:
        stored: The annotations before the write.
        written: The annotations of the request; an empty value deletes its key.
        field: Prefix of the paths in error messages.

    Raises:
        InvalidArgument: Some annotation is not valid; the error lists all problems.
    """
    problems = [
        Problem(f"{field}[{key[:140]!r}]", text)
        for key, value in written.items()
        if (text := _problem_of(key, value)) is not None
    ]
    result = {key: value for key, value in {**stored, **written}.items() if value}
    if len(result) > MAX_ANNOTATIONS:
        problems.append(Problem(field, f"would hold {len(result)} pairs; at most {MAX_ANNOTATIONS} are allowed"))
    size = sum(len(key) + len(value) for key, value in result.items())
    if size > MAX_ANNOTATION_BYTES:
        problems.append(Problem(field, f"would hold {size} bytes; at most {MAX_ANNOTATION_BYTES} are allowed"))
    if problems:
        raise InvalidArgument(problems=tuple(problems))
    return result


def _problem_of(key: str, value: str) -> str | None:
    if not _KEY.fullmatch(key):
        return "a key begins with a letter and has at most 128 letters, digits and . _ / -"
    if key.startswith(_RESERVED_PREFIX):
        return f"keys that begin with {_RESERVED_PREFIX} are reserved"
    if len(value) > MAX_VALUE_CHARACTERS or not _VALUE.fullmatch(value):
        return f"a value has at most {MAX_VALUE_CHARACTERS} characters, those of a URL"
    return None
