"""Dispatchers, which give slots to runs and call `advance`. They know neither the rules nor the steps."""

from __future__ import annotations

from typing import Protocol

from interlock.engine.start import Slots
from interlock.ports import CommitListener


class Dispatcher(Slots, CommitListener, Protocol):
    """Gives slots to runs. Notifications from commits may repeat or get lost; the rows are the truth."""

    @property
    def busy(self) -> int:
        """The number of runs in slots."""
        ...

    @property
    def in_line(self) -> int:
        """The number of ready runs that wait for a slot."""
        ...

    @property
    def holding(self) -> bool:
        """Whether runs are held back because the previous process crashed."""
        ...

    def opens_later(self) -> None:
        """Hold runs back until the port has been open for a while; call it before the port opens."""
        ...

    def opened(self) -> None:
        """Record that the port is open."""
        ...

    async def recover(self) -> int:
        """Settle the runs that a lost process left in flight or stopping; returns their number."""
        ...

    async def run(self) -> None:
        """Advance runs until this is cancelled."""
        ...

    def clock_moved(self) -> None:
        """Read the times of all runs again, because they were moved with the clock."""
        ...

    def take_no_more(self) -> None:
        """Start no more runs, and announce no attempt after those in flight."""
        ...

    async def drain(self, grace: float) -> None:
        """Call `take_no_more`, and wait up to `grace` seconds for the attempts in flight, without an interrupt."""
        ...
