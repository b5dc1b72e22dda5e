"""The disk fails, is full, or is slow, at any write and any sync of a scenario."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from interlock.store.sqlite.disk import CHECKPOINT_PAGES, DATABASE
from tests.faults.accounts import accounts
from tests.faults.facts import look_at
from tests.faults.fork_server import ForkServer, Injection
from tests.faults.points import Point, Tally, at_each, every_point, to_the_end
from tests.faults.scenario import Baseline, Play, Refused, start_many
from tests.servers import LOOK, PATIENCE, http_client

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

SEED = 20_261_127
EIO, ENOSPC = "error=EIO", "error=ENOSPC"
PARTS = 4
SYNCS = ("fdatasync", "fsync")
ON_DISK = (*SYNCS, "pwrite64", "ftruncate")
TRIES = 3
TORN = "SQLITE_IOERR_WRITE"
FULL_POINTS = 16
FULL_FOR = 0.7
"""Seconds for which the disk stays full."""
SLOW = "delay_enter=200000"
"""Microseconds that each sync takes longer."""


@dataclass
class Ends:
    """How the processes ended, beside the tally."""

    tally: Tally = field(default_factory=Tally)
    refused_to_start: int = 0
    ended: int = 0
    unnoticed: int = 0
    """Errors that SQLite may pass over, such as that of a directory's sync."""
    longest: float = 0.0
    """Seconds from the first refusal to the end of the process."""

    async def fail_at(self, baseline: Baseline, directory: Path, point: Point, tally: Tally, *, lasting: bool) -> None:
        """Play until the disk fails: nothing is acknowledged from then on, the process ends, and a new one recovers."""
        play = await baseline.play(directory)
        server, injection = play.server, point.injection(EIO, lasting=lasting)
        problems: list[str] = []
        alive = await server.start(injection if point.starting else None)
        if not alive:
            self.refused_to_start += 1
            code = await server.wait()
            if code != 1 or "Traceback" in server.log.read_text():
                problems.append(f"the start ended with {code}: {server.log.read_text()[-1000:]}")
        else:
            if not point.starting:
                await server.trace(injection)
            if await goes_through(play):
                self.unnoticed += 1
                await server.stop()
            else:
                problems += await self._ends_by_itself(play)
        tally.cut[point.call] += 1
        problems += look_at(directory / "data", play.facts).problems
        problems += await to_the_end(play)
        problems += look_at(directory / "data", play.facts).problems
        tally.problems += [f"{point}{' and on' if lasting else ''}: {problem}" for problem in problems]
        if not problems:
            shutil.rmtree(directory)

    async def _ends_by_itself(self, play: Play) -> list[str]:
        began, problems = time.monotonic(), []
        path = f"/api/v1/automation_executions/{play.runs['four']}/actions/terminate"
        async with play.client() as http:
            while play.server.is_running:
                if time.monotonic() > began + PATIENCE / 2:
                    await play.server.kill()
                    return ["it did not end by itself"]
                try:
                    answer = await http.post(path, json={"reason": "after the error"}, timeout=1)
                except httpx2.TransportError:
                    await asyncio.sleep(LOOK)
                    continue
                if answer.status_code != 503:
                    problems.append(f"{answer.status_code} after the error: {answer.text}")
        self.longest = max(self.longest, time.monotonic() - began)
        self.ended += 1
        code = await play.server.wait()
        if code != 1:
            problems.append(f"it ended with {code}")
        return problems


async def goes_through(play: Play) -> bool:
    """Play on, whatever is refused at first; False once something is not answered or refused."""
    try:
        return await play.go_on()
    except Refused as refused:
        if refused.answer.status_code != 503:
            raise
        return False


def failing(baseline_points: list[Point], count: int | None) -> list[tuple[Point, bool]]:
    """The points, each with whether the disk goes on failing: all syncs once, and as many others as were asked for."""
    every = [(point, lasting) for point in baseline_points if point.call in ON_DISK for lasting in (False, True)]
    random.Random(SEED).shuffle(every)
    first = [(point, lasting) for point, lasting in every if point.call in SYNCS and not lasting]
    rest = [entry for entry in every if entry not in first]
    return (first + rest)[:count]


@pytest.fixture(scope="module")
async def points(baselines: list[Baseline], tmp_path_factory: pytest.TempPathFactory) -> list[Point]:
    return await every_point(baselines[0], tmp_path_factory.mktemp("counted"))


@pytest.mark.parametrize("part", range(PARTS))
async def test_after_an_io_error_nothing_is_acknowledged_and_the_process_ends(
    baselines: list[Baseline],
    points: list[Point],
    part: int,
    tmp_path: Path,
    disk_errors: int | None,
    figures: Callable[[str], None],
) -> None:
    taken = failing(points, disk_errors)[part::PARTS]
    ends, tally = Ends(), Tally()
    for lasting in (False, True):
        mine = [point for point, lasts in taken if lasts is lasting]

        async def fail_at(baseline: Baseline, directory: Path, point: Point, tally: Tally, on: bool = lasting) -> None:
            await ends.fail_at(baseline, directory, point, tally, lasting=on)

        await at_each(mine, baselines, tmp_path / f"lasting-{lasting}", tally, fail_at)
    figures(
        f"disk errors, part {part + 1} of {PARTS}: {tally.figures()} refused_to_start={ends.refused_to_start} "
        f"ended={ends.ended} unnoticed={ends.unnoticed} longest_end={ends.longest:.2f}s"
    )
    assert not tally.problems
    assert ends.ended


@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
async def test_when_a_checkpoint_fails_the_process_ends_as_well(baseline: Baseline, tmp_path: Path, call: str) -> None:
    """No caller waits for a checkpoint, and its failure must be noticed all the same."""
    play = await baseline.play(tmp_path / "play")
    assert await play.server.start()
    await play.server.trace(Injection(call, EIO, file=tmp_path / "play" / "data" / DATABASE))
    assert await play.go_on()
    with pytest.raises((Refused, httpx2.TransportError)):
        await start_many(play, CHECKPOINT_PAGES)
    assert await play.server.wait() == 1
    assert not look_at(tmp_path / "play" / "data", play.facts).problems
    assert not await to_the_end(play)


async def test_a_server_that_carries_on_after_an_io_error_is_found_out(baseline: Baseline, tmp_path: Path) -> None:
    """The same, of a server that is broken on purpose."""
    async with ForkServer("tests.faults.broken_forgiving") as broken:
        baseline.fork_server = broken
        tally, ends = Tally(), Ends()

        async def fail_at(baseline: Baseline, directory: Path, point: Point, tally: Tally) -> None:
            await ends.fail_at(baseline, directory, point, tally, lasting=False)

        await at_each([Point("fdatasync", 1, starting=False)], [baseline], tmp_path, tally, fail_at)
    assert tally.problems


async def test_a_full_disk_refuses_and_goes_on_when_it_has_room(
    baselines: list[Baseline], points: list[Point], tmp_path: Path, figures: Callable[[str], None]
) -> None:
    writes = [point for point in points if point.call == "pwrite64" and not point.starting]
    tally = Tally()
    await at_each(random.Random(SEED).sample(writes, FULL_POINTS), baselines, tmp_path, tally, fill_at)
    figures(f"full disk: {tally.figures()}")
    assert not tally.problems


async def fill_at(baseline: Baseline, directory: Path, point: Point, tally: Tally) -> None:
    """No room from there on, for a while: refused is what cannot be kept, and the same process goes on afterwards."""
    tally.cut[point.call] += 1
    for attempt in range(TRIES):
        problems = await filled(baseline, directory / str(attempt), point)
        # strace that lets go between a call's entry and its exit leaves ENOSYS behind where it meant ENOSPC.
        if not any(TORN in problem for problem in problems):
            break
    tally.problems += [f"{point}: {problem}" for problem in problems]
    if not problems:
        shutil.rmtree(directory)


async def filled(baseline: Baseline, directory: Path, point: Point) -> list[str]:
    """What went wrong when the disk had no room for a while."""
    play = await baseline.play(directory)
    server = play.server
    assert await server.start()
    await server.trace(point.injection(ENOSPC, lasting=True))
    problems: list[str] = []
    emptied = asyncio.create_task(server.untrace(FULL_FOR))
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                if await play.go_on():
                    break
            except Refused as refused:
                answer = refused.answer
                if answer.status_code != 503 or "retry-after" not in answer.headers:
                    problems.append(f"{answer.status_code} {answer.headers} {answer.text}")
                await asyncio.sleep(LOOK)
            else:
                problems.append(f"it ended: {server.log.read_text()[-2000:]}")
                break
    await emptied
    if not problems:
        problems += await accounts(play)
    await server.kill()
    await play.receiver_is_quiet()
    return [*problems, *look_at(directory / "data", play.facts).problems]


async def test_on_a_slow_disk_runs_are_stopped_and_the_server_is_alive(
    baseline: Baseline, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    play = await baseline.play(tmp_path / "slow")
    assert await play.server.start()
    await play.server.trace(Injection("fdatasync", SLOW))
    took: list[float] = []
    async with http_client(play.server.url) as http, asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(_ask_again_and_again(http, took))
        assert await play.go_on()
        asked.cancel()
    assert not await accounts(play)
    await play.server.kill()
    figures(f"slow disk: liveness asked {len(took)} times, slowest {1000 * max(took):.0f} ms")
    assert took


async def _ask_again_and_again(http: httpx2.AsyncClient, took: list[float]) -> None:
    while True:
        began = time.monotonic()
        assert (await http.get("/healthz")).status_code == 200
        took.append(time.monotonic() - began)
        await asyncio.sleep(LOOK)
