"""What was being worked on: known after the process has died, without a commit while it lives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from interlock.rules.model import Ref


class Marks(Protocol):
    """Marks on the runs whose expressions are being evaluated, and the losses that were counted by them."""

    unclean: bool
    """Whether the process before this one ended without closing them."""

    @property
    def losses(self) -> Mapping[Ref, int]:
        """Runs that were being worked on when a process died, and how often that happened to each."""
        ...

    def begin(self, ref: Ref) -> int:
        """Work on the run begins; returns what `end` is to be told."""
        ...

    def end(self, number: int) -> None:
        """That work was survived."""
        ...

    def clear(self, ref: Ref) -> None:
        """Forget the losses of the run."""
        ...

    def close(self) -> None:
        """The process ends in order."""
        ...


class NoMarks:
    """Nothing is marked, and nothing was lost."""

    unclean = False
    losses: Mapping[Ref, int] = {}

    def begin(self, ref: Ref) -> int:
        return -1

    def end(self, number: int) -> None: ...

    def clear(self, ref: Ref) -> None: ...

    def close(self) -> None: ...
