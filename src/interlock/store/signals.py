"""Signals within one process."""

from __future__ import annotations

import asyncio

from interlock.ports.signals import Signal

LEFT_BEHIND = (Signal.CASCADES, Signal.BULK_ACTIONS, Signal.BULK_TERMINATIONS, Signal.AUDIT)
"""The signals of work that an earlier process may have left; they are sent at the start."""


class LocalSignals:
    """`ports.Signals` of a store that only one process uses."""

    def __init__(self) -> None:
        self._sent = {signal: asyncio.Event() for signal in Signal}
        for signal in LEFT_BEHIND:
            self.send(signal)

    def send(self, signal: Signal) -> None:
        self._sent[signal].set()

    async def wait(self, signal: Signal) -> None:
        await self._sent[signal].wait()
        self._sent[signal].clear()
