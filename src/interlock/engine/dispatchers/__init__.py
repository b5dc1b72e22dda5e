"""Who carries runs on. A dispatcher finds somebody for `advance`; it decides nothing and knows no plan."""

from __future__ import annotations

from typing import Protocol

from interlock.engine.start import Slots
from interlock.ports import CommitListener


class Dispatcher(Slots, CommitListener, Protocol):
    """Gives slots to runs. What commits tell it are hints, which may be repeated or lost; the rows are the truth."""

    @property
    def busy(self) -> int:
        """How many runs are being carried on."""
        ...

    @property
    def in_line(self) -> int:
        """How many runs are ready and wait for a slot."""
        ...

    @property
    def holding(self) -> bool:
        """Whether runs are not taken on yet, because the process before this one ended without order."""
        ...

    def opens_later(self) -> None:
        """The port is about to open: what is held back is held back until it was open for a while."""
        ...

    def opened(self) -> None:
        """The port is open."""
        ...

    async def recover(self) -> int:
        """Settle what a process that is dead left in flight, or what is stopping of it; returns how many runs."""
        ...

    async def run(self) -> None:
        """Carry runs on until cancelled."""
        ...

    def clock_moved(self) -> None:
        """The times of all runs were moved with the clock: look for them anew."""
        ...

    def take_no_more(self) -> None:
        """From now on take on nothing new, and announce nothing after the attempts that are in flight."""
        ...

    async def drain(self, grace: float) -> None:
        """The same, and let attempts in flight end for up to `grace` seconds. Not an interrupt."""
        ...
