"""How it is told that a property does not hold."""

from __future__ import annotations


class Violated(Exception):
    """A property does not hold."""

    def __init__(self, name: str, how: str) -> None:
        super().__init__(f"{name}: {how}")
        self.name = name
        self.how = how


def require(holds: bool, name: str, how: str) -> None:
    """
    Raises:
        Violated: it does not hold.
    """
    if not holds:
        raise Violated(name, how)
