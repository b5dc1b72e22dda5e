"""A strict reader for the tests of odd JSON."""

from __future__ import annotations

import json
from typing import Any

from interlock.contract.guard import MAX_STORED_DEPTH, MAX_STORED_MEMBERS, loads


def strict(value: Any) -> Any:
    """The value as a client reads it that is as strict as we are."""
    return loads(json.dumps(value).encode(), max_depth=MAX_STORED_DEPTH + 10, max_members=2 * MAX_STORED_MEMBERS)
