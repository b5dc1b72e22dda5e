"""The decorator of the classes of this room: values that do not change after they are made."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:

    def value(*, frozen: bool, slots: bool):
        """Make a dataclass that is frozen for the type checker only.

        A dataclass that is frozen at run time sets each field through `object.__setattr__`, which makes it eight times
        as expensive to build. A decision builds about ten of them, and every event of every run is a decision.
        """
        assert frozen, "values do not change"
        return dataclasses.dataclass(slots=slots, unsafe_hash=True)


__all__ = ["value"]
