"""Annotations: short notes of tools on what they manage.

A write without an update mask replaces them as a whole, or leaves them if it has none, so that a key which is no longer
in a tool's configuration goes away. A write whose mask names them merges, and an empty value deletes the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from interlock.errors import InvalidArgument, Problem

MOST: Final = 16
MOST_BYTES: Final = 4_096
LONGEST_VALUE: Final = 256
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9._/-]{0,127}", re.ASCII)
_VALUE: Final = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*", re.ASCII)
"""The characters of RFC 3986."""
_RESERVED: Final = "c1/"


def replaced(written: Mapping[str, str], field: str) -> dict[str, str]:
    """What stands after a write that gives all annotations there are.

    Raises:
        InvalidArgument: as `merged` does.
    """
    return merged({}, written, field)


def merged(standing: Mapping[str, str], written: Mapping[str, str], field: str) -> dict[str, str]:
    """What stands after the write.

    Raises:
        InvalidArgument: with everything that is wrong; `field` begins the paths.
    """
    problems = [
        Problem(f"{field}[{key[:140]!r}]", text)
        for key, value in written.items()
        if (text := _wrong(key, value)) is not None
    ]
    result = {key: value for key, value in {**standing, **written}.items() if value}
    if len(result) > MOST:
        problems.append(Problem(field, f"would hold {len(result)} pairs; at most {MOST} are allowed"))
    size = sum(len(key) + len(value) for key, value in result.items())
    if size > MOST_BYTES:
        problems.append(Problem(field, f"would hold {size} bytes; at most {MOST_BYTES} are allowed"))
    if problems:
        raise InvalidArgument(problems=tuple(problems))
    return result


def _wrong(key: str, value: str) -> str | None:
    if not _KEY.fullmatch(key):
        return "a key begins with a letter and has at most 128 letters, digits and . _ / -"
    if key.startswith(_RESERVED):
        return f"keys that begin with {_RESERVED} are reserved"
    if len(value) > LONGEST_VALUE or not _VALUE.fullmatch(value):
        return f"a value has at most {LONGEST_VALUE} characters, those of a URL"
    return None
