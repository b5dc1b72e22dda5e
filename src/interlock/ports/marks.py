"""Marks on runs whose expressions are evaluated. They survive a crash of the process, and cost no commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from interlock.rules.model import Ref


class Marks(Protocol):
    """The marks, and the crashes that they count for each run."""

    unclean: bool
    """Whether the previous process ended without `close`."""

    @property
    def losses(self) -> Mapping[Ref, int]:
        """For each run, how many processes crashed while it was marked."""
        ...

    def begin(self, ref: Ref) -> int:
        """Mark a run, and return the number for `end`."""
        ...

    def end(self, number: int) -> None:
        """Remove a mark: the evaluation has ended without a crash."""
        ...

    def clear(self, ref: Ref) -> None:
        """Reset the crash count of a run."""
        ...

    def close(self) -> None:
        """Record that the process ends without a crash."""
        ...


class NoMarks:
    """Marks that do nothing."""

    unclean = False
    losses: Mapping[Ref, int] = {}

    def begin(self, ref: Ref) -> int:
        return -1

    def end(self, number: int) -> None: ...

    def clear(self, ref: Ref) -> None: ...

    def close(self) -> None: ...
