"""Suspects: runs that the server worked on when it crashed. They are advanced one at a time, to identify the cause."""

from __future__ import annotations

from typing import Final

from interlock.ports import Marks
from interlock.rules.model import Ref
from interlock.steps.documents import error_document

MAX_LOSSES: Final = 3
"""Crashes of the server, or losses of an attempt with its holder, after which a run ends in `ERROR`."""
SET_ASIDE: Final = error_document(
    "SET_ASIDE",
    f"the server crashed {MAX_LOSSES} times while it worked on this run, so the run was ended; "
    "check the data that its expressions read, and start it again",
)


class Suspects:
    """Decides which runs may be advanced now.

    Only one suspect is evaluated at a time, so that the next crash identifies the run that caused it.
    """

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._alone: Ref | None = None
        self._later: dict[Ref, bool] = {}

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._marks.losses

    def __len__(self) -> int:
        """Return the number of suspects that wait for `survived`."""
        return len(self._later)

    def all(self) -> list[Ref]:
        """Return every suspect."""
        return list(self._marks.losses)

    def is_set_aside(self, ref: Ref) -> bool:
        """Return whether the run has had too many losses to be advanced again."""
        return self._marks.losses.get(ref, 0) >= MAX_LOSSES

    def may_start(self, ref: Ref, *, lost: bool) -> bool:
        """Return whether the run can be advanced now; if not, a later call of `survived` returns it."""
        if ref not in self._marks.losses:
            return True
        if self._alone not in (None, ref):
            self._later[ref] = self._later.get(ref, False) or lost
            return False
        self._alone = ref
        return True

    def survived(self, ref: Ref) -> tuple[Ref, bool] | None:
        """Record an evaluation without a crash. Returns the next suspect, and whether it has lost its holder."""
        if self._alone != ref:
            return None
        self._alone = None
        for following, lost in self._later.items():
            del self._later[following]
            return following, lost
        return None

    def forget(self, ref: Ref) -> None:
        """Remove a run that has advanced or has ended."""
        self._later.pop(ref, None)
        self._marks.clear(ref)
