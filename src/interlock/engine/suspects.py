"""Runs that were being worked on when a process died: taken on one at a time, and set aside after too many losses."""

from __future__ import annotations

from typing import Final

from interlock.ports import Marks
from interlock.rules.model import Ref
from interlock.steps.documents import error_document

MAX_LOSSES: Final = 3
"""How often the server may die while it works on a run, or an attempt be lost with its performer; a run that brings
the server down is not tried for ever."""
SET_ASIDE: Final = error_document(
    "SET_ASIDE",
    f"the server ended {MAX_LOSSES} times while it worked on this run, so that it is not carried on; "
    "look at what its expressions read, and start it again",
)


class Suspects:
    """Which runs may be taken on now.

    One suspect alone is being evaluated at any time, so that the next death of the process tells which one it was.
    """

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._alone: Ref | None = None
        self._later: dict[Ref, bool] = {}

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._marks.losses

    def __len__(self) -> int:
        return len(self._later)

    def all(self) -> list[Ref]:
        """Those that are known."""
        return list(self._marks.losses)

    def is_set_aside(self, ref: Ref) -> bool:
        """Whether the run is not carried on any more."""
        return self._marks.losses.get(ref, 0) >= MAX_LOSSES

    def may_start(self, ref: Ref, *, lost: bool) -> bool:
        """Whether the run can be taken on now. False: `survived` gives it out when another one has been survived."""
        if ref not in self._marks.losses:
            return True
        if self._alone not in (None, ref):
            self._later[ref] = self._later.get(ref, False) or lost
            return False
        self._alone = ref
        return True

    def survived(self, ref: Ref) -> tuple[Ref, bool] | None:
        """The run was evaluated, and the process lives. The next one, and whether its holder is known to be dead."""
        if self._alone != ref:
            return None
        self._alone = None
        for following, lost in self._later.items():
            del self._later[following]
            return following, lost
        return None

    def forget(self, ref: Ref) -> None:
        """It has gone on, or nothing of it is to go on."""
        self._later.pop(ref, None)
        self._marks.clear(ref)
