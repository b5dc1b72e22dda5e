"""The kind of class that this room is made of: values, which nobody changes once they are made."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:

    def value(*, frozen: bool, slots: bool):
        """`dataclasses.dataclass`, frozen in the eyes of the type checker alone.

        A dataclass that is frozen while the program runs sets each field through `object.__setattr__`, which makes it
        eight times as dear to build; a decision builds about ten of them, and every event of every run is a decision.
        """
        assert frozen, "values do not change"
        return dataclasses.dataclass(slots=slots, unsafe_hash=True)


__all__ = ["value"]
