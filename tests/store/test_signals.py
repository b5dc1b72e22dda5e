"""Signals: one flag each, sent at the start for work that an earlier process may have left."""

from __future__ import annotations

import asyncio

import pytest
from anyio.lowlevel import checkpoint

from interlock.ports.signals import Signal
from interlock.store.signals import LEFT_BEHIND, LocalSignals

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("signal", Signal)
async def test_a_signal_wakes_once_however_often_it_was_sent_and_no_other(signal: Signal) -> None:
    signals = LocalSignals()
    for left in LEFT_BEHIND:
        await signals.wait(left)
    waits = {each: asyncio.ensure_future(signals.wait(each)) for each in Signal}
    await checkpoint()
    signals.send(signal)
    signals.send(signal)
    await waits.pop(signal)
    again = asyncio.ensure_future(signals.wait(signal))
    await checkpoint()
    assert not again.done()
    assert not any(task.done() for task in waits.values())
    for task in (again, *waits.values()):
        task.cancel()
