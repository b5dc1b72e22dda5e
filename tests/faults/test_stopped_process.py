"""A process that was stopped for a while (SIGSTOP, a machine that slept) breaks no promise about a termination."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.assembly.background import MAX_LOOP_LAG
from interlock.rules.model import SECOND
from tests.faults.facts import look_at
from tests.faults.fork_server import ForkServer
from tests.faults.scenario import Baseline, Play, detail
from tests.servers import PATIENCE

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

DEADLINE = 1.0
"""Seconds that a drain gives the attempt in flight; they pass while the process is stopped."""


@pytest.fixture
def stopped_for(pytestconfig: pytest.Config) -> float:
    """Seconds, more than the loop may be late."""
    seconds = float(pytestconfig.getoption("--stopped"))
    assert seconds > MAX_LOOP_LAG / SECOND + 1
    return seconds


async def stopping(play: Play) -> None:
    """The held run is in flight, has been told to stop, and is given until its deadline."""
    assert await play.server.start()
    async with play.client() as http:
        await play.start_held(http)
        await play.wait_for_held(http)
        path = f"/api/v1/automation_executions/{play.runs['held']}/actions/terminate"
        answer = await http.post(path, json={"reason": "stop held", "mode": "drain", "deadline": f"{DEADLINE}s"})
        assert answer.headers["interlock-termination"] == "accepted; state=STOPPING"


async def seen_first(play: Play) -> dict[str, str]:
    """What a server that has just started says at the first look."""
    assert await play.server.start()
    async with play.client() as http:
        return {name: (await detail(http, play.runs[name]))["state"] for name in ("held", "leased", "one")}


SETTLED = {"held": "TERMINATE", "leased": "TERMINATE", "one": "WAITING"}


async def test_it_ends_itself_and_the_next_start_settles_what_is_overdue(
    baseline: Baseline, tmp_path: Path, stopped_for: float, figures: Callable[[str], None]
) -> None:
    play = await baseline.play(tmp_path / "play", lease=2)
    await stopping(play)
    os.kill(play.server.pid, signal.SIGSTOP)
    await asyncio.sleep(stopped_for)
    os.kill(play.server.pid, signal.SIGCONT)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await play.server.wait() == 1
    figures(f"stopped process: {stopped_for:.0f} s, ended {loop.time() - began:.2f} s after it went on")
    assert "the event loop was" in play.server.log.read_text()
    assert not look_at(tmp_path / "play" / "data", play.facts).problems
    assert await seen_first(play) == SETTLED
    await play.server.kill()


async def test_a_server_that_does_not_exit_is_detected(baseline: Baseline, tmp_path: Path, stopped_for: float) -> None:
    """The same, of a server that is broken on purpose."""
    async with ForkServer("tests.faults.broken_patient") as broken:
        baseline.fork_server = broken
        play = await baseline.play(tmp_path / "play")
        await stopping(play)
        os.kill(play.server.pid, signal.SIGSTOP)
        await asyncio.sleep(stopped_for)
        os.kill(play.server.pid, signal.SIGCONT)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(play.server.wait(), 3)
        await play.server.kill()


async def test_overdue_work_is_settled_before_the_first_answer(baseline: Baseline, tmp_path: Path) -> None:
    play = await baseline.play(tmp_path / "play", lease=1)
    await stopping(play)
    os.kill(play.server.pid, signal.SIGSTOP)
    await asyncio.sleep(1.5 * DEADLINE)
    await play.server.kill()
    assert await seen_first(play) == SETTLED
    await play.server.kill()


async def test_a_process_that_was_stopped_for_less_continues(baseline: Baseline, tmp_path: Path) -> None:
    play = await baseline.play(tmp_path / "play", lease=1)
    await stopping(play)
    os.kill(play.server.pid, signal.SIGSTOP)
    await asyncio.sleep(1.5 * DEADLINE)
    os.kill(play.server.pid, signal.SIGCONT)
    async with play.client() as http, asyncio.timeout(PATIENCE):
        while {name: (await detail(http, play.runs[name]))["state"] for name in SETTLED} != SETTLED:
            await asyncio.sleep(0.005)
    assert play.server.is_running
    await play.server.kill()
