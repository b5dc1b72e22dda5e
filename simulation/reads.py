"""Reads of the embedded store in code that cannot wait."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def finished(read: Coroutine[Any, Any, T]) -> T:
    """Drive a coroutine that never suspends to its end.

    Raises:
        AssertionError: it suspended.
    """
    try:
        read.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    read.close()
    raise AssertionError(f"{read!r} suspended")
