"""Ids in paths."""

from __future__ import annotations

import re

from interlock.contract.scalars import INT64_MAX
from interlock.errors import InvalidArgument

_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


def parse_id(text: str, field: str = "id") -> int:
    """The int64 that an execution's id stands for.

    Only plain decimal digits from 1 to 2^63-1 will do: Python's `int` would take ` 12`, `1_000` and Arabic digits too,
    and then one execution would have many names. Raises InvalidArgument naming `field`.
    """
    if _ID.fullmatch(text) and (number := int(text)) <= INT64_MAX:
        return number
    raise InvalidArgument.at(field, f"must be a whole number from 1 to {INT64_MAX} in plain decimal digits")
