"""What a series of histories came to, and whether it has looked where it had to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final

from tests.histories.model import DONE, ERROR, OVER, TERMINATE, Detail, Kind, Operation, Shown

CONCURRENT: Final = 0.15
"""The share of histories in which the stop and the end have to have met; a series with less of them shows nothing."""
WINNERS: Final = 0.2
"""The share that each of the two has to win."""


@dataclass(slots=True)
class Figures:
    """Counts over histories."""

    seed: int
    histories: int = 0
    concurrent: int = 0
    open: int = 0
    """Histories with a terminate or a callback whose answer was lost."""
    kills: int = 0
    survived: int = 0
    """Histories with a crash in them."""
    seconds: float = 0.0
    winners: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    """Each as a page for a person."""

    def add(self, history: Sequence[Operation], winner: str, crashes: int) -> None:
        self.histories += 1
        self.concurrent += met(history)
        self.winners[winner] += 1
        self.survived += bool(crashes)
        self.open += any(o.is_open for o in history if o.kind in {Kind.TERMINATE, Kind.CALLBACK})

    def merge(self, other: Figures) -> None:
        self.histories += other.histories
        self.concurrent += other.concurrent
        self.open += other.open
        self.kills += other.kills
        self.survived += other.survived
        self.seconds += other.seconds
        self.winners += other.winners
        self.violations += other.violations

    @property
    def stopped(self) -> float:
        return self._share(self.winners[TERMINATE])

    @property
    def ended(self) -> float:
        return self._share(self.winners[DONE] + self.winners[ERROR])

    def assert_covered(self) -> None:
        """Fails if the series did not look where things can go wrong."""
        assert self._share(self.concurrent) >= CONCURRENT, self.line()
        assert min(self.stopped, self.ended) >= WINNERS, self.line()

    def line(self) -> str:
        return (
            f"histories={self.histories} concurrent={self._share(self.concurrent):.1%} stopped={self.stopped:.1%} "
            f"ended={self.ended:.1%} (error {self._share(self.winners[ERROR]):.1%}) "
            f"lost_replies={self._share(self.open):.1%} kills={self.kills} survived={self.survived} "
            f"rate={self.histories / max(self.seconds, 1e-9):.0f}/s violations={len(self.violations)} seed={self.seed}"
        )

    def _share(self, count: int) -> float:
        return count / max(self.histories, 1)


def met(history: Sequence[Operation]) -> bool:
    """Whether a stop and an end of the run were concurrent.

    The end lasts from its sending until its answer. If the receiver sent it, the end lasts until a client was told that
    the run is terminal.
    """
    told = min(
        (o.returned for o in history if isinstance(o.result, Shown | Detail) and o.result.state in OVER), default=inf
    )
    ends = [
        (o.called, told if o.is_open else o.returned)
        for o in history
        if o.kind is Kind.CALLBACK or (o.kind is Kind.ANSWER and o.argument != 202)
    ]
    orders = [(o.called, o.returned) for o in history if o.kind is Kind.TERMINATE and not o.is_open]
    return any(begun < returned and called < over for called, returned in orders for begun, over in ends)
