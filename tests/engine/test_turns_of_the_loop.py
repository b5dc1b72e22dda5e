"""One turn of the loop for everybody else: safe to cancel at every moment."""

import asyncio

import pytest
from anyio.lowlevel import checkpoint

from interlock.system import everybody_else

pytestmark = pytest.mark.anyio


async def test_a_turn_that_is_cancelled_leaves_nothing_to_be_called() -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    turn = asyncio.ensure_future(everybody_else())
    await checkpoint()
    turn.cancel()
    await asyncio.wait((turn,))
    assert turn.cancelled()
    assert not failures
