"""The decorator of records: values that do not change after they are made, such as all classes of this room."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:

    def value(*, frozen: bool, slots: bool, kw_only: bool = False):
        """Make a dataclass that is frozen for the type checker only.

        A dataclass that is frozen at run time sets each field through `object.__setattr__`, which makes it eight times
        as expensive to build. A decision builds about ten of them, and every event of every run is a decision. Its
        class takes twice as long to make, too, and a start makes more than a hundred.
        """
        assert frozen, "values do not change"
        return dataclasses.dataclass(slots=slots, unsafe_hash=True, kw_only=kw_only)


__all__ = ["value"]
