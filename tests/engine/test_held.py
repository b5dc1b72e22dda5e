"""A slot and its run: the attempts that an interrupt cancels, and those that it does not."""

from __future__ import annotations

import asyncio

import pytest

from interlock.engine.held import Held
from interlock.rules.model import Ref
from tests.clocks import settle

pytestmark = pytest.mark.anyio


class Performing:
    """A task that performs without an end, as `advance` would."""

    def __init__(self, epoch: int) -> None:
        self.held = Held(Ref(1, 7))
        self.epoch = epoch
        self.began = False
        self.ended: bool | None = None
        self.task = self.held.task = asyncio.ensure_future(self._perform())

    async def _perform(self) -> None:
        self.began = self.held.begin(self.epoch)
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.ended = self.held.end()
            if not self.ended:
                raise


async def test_slot_begins_with_no_attempt_in_progress_or_interrupted() -> None:
    held = Held(Ref(1, 7))
    assert (held.task, held.ready_notifications, held.cut, held.performing, held.closing) == (None, 0, 0, 0, False)
    assert held.begin(1)
    assert held.performing == 1


async def test_an_interrupt_cuts_what_was_announced_before_it_and_is_dealt_with() -> None:
    at_work = Performing(epoch=2)
    await settle()
    at_work.held.interrupt(3)
    await at_work.task
    assert (at_work.began, at_work.ended, at_work.held.performing) == (True, True, 0)
    assert not at_work.held.end(), "it is dealt with once"


@pytest.mark.parametrize("epoch", [1, 2])
async def test_an_interrupt_of_what_came_before_cuts_nothing(epoch: int) -> None:
    at_work = Performing(epoch=2)
    await settle()
    at_work.held.interrupt(epoch)
    await settle()
    assert at_work.ended is None
    at_work.task.cancel()
    await asyncio.wait([at_work.task])


async def test_many_interrupts_cut_once() -> None:
    at_work = Performing(epoch=2)
    await settle()
    for epoch in (3, 4, 4):
        at_work.held.interrupt(epoch)
    assert at_work.task.cancelling() == 1
    await at_work.task
    assert at_work.ended


async def test_cancellation_that_is_no_interrupt_is_raised() -> None:
    at_work = Performing(epoch=2)
    await settle()
    at_work.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await at_work.task
    assert at_work.ended is False


async def test_so_does_one_that_comes_together_with_an_interrupt() -> None:
    at_work = Performing(epoch=2)
    await settle()
    at_work.held.interrupt(3)
    at_work.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await at_work.task
    assert at_work.ended is False


async def test_interrupt_without_an_attempt_is_kept_for_the_next_one() -> None:
    at_rest = Performing(epoch=2)
    await settle()
    assert at_rest.held.end() is False
    at_rest.held.interrupt(5)
    at_rest.held.interrupt(3)
    await settle()
    assert (at_rest.task.done(), at_rest.held.cut) == (False, 5)
    assert not at_rest.held.begin(4)
    assert at_rest.held.performing == 0
    assert at_rest.held.begin(5)
    at_rest.task.cancel()
    await asyncio.wait([at_rest.task])


async def test_a_slot_without_a_task_yet_only_remembers() -> None:
    held = Held(Ref(1, 7))
    assert held.begin(1)
    held.interrupt(2)
    assert (held.cut, held.end()) == (2, False)
