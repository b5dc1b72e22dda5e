"""Where a play can be cut off, and what is looked at after each cut."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.accounts import accounts
from tests.faults.facts import look_at, revived
from tests.faults.fork_server import Injection, Log
from tests.faults.scenario import Baseline, Kill, Play, Refused

KILL = "signal=SIGKILL"
CALLS = ("pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", "rename", "write", "sendto", "sendmsg", "writev")
"""What changes a file, and what answers leave by."""
_BEGUN = re.compile(r"(\d+) +(\w+)\(")


@dataclass(frozen=True, slots=True)
class Point:
    """The n-th call of a name, counted in the thread that comes to it first."""

    call: str
    number: int
    starting: bool
    """Counted from the first instruction of the process; otherwise from when the port accepts."""
    then: tuple[str, int] | None = None
    """Where the next process, which recovers, is cut off in turn."""

    def injection(self, action: str = KILL, *, lasting: bool = False) -> Injection:
        return Injection(self.call, action, f"{self.number}{'+' if lasting else ''}")

    def __str__(self) -> str:
        again = "" if self.then is None else f", then {self.then[0]} {self.then[1]}"
        return f"{self.call} {self.number} {'of the start' if self.starting else 'while serving'}{again}"


@dataclass
class Tally:
    """What came of many points."""

    cut: Counter[str] = field(default_factory=Counter)
    """Points by name of the call."""
    missed: int = 0
    """Points that the process did not come to this time."""
    again: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.cut += other.cut
        self.missed += other.missed
        self.again += other.again
        self.problems += other.problems

    def figures(self) -> str:
        calls = " ".join(f"{call}={count}" for call, count in sorted(self.cut.items()))
        return (
            f"points={sum(self.cut.values())} ({calls}) again={self.again} missed={self.missed} "
            f"violations={len(self.problems)}"
        )


async def every_point(baseline: Baseline, directory: Path) -> list[Point]:
    """Count the calls of two undisturbed plays, one from the first instruction and one from when the port accepts."""
    points = []
    for starting in (True, False):
        play = await baseline.play(directory / f"counted-{starting}")
        log = Log(CALLS, play.server.directory / "calls")
        assert await play.server.start(log if starting else None)
        if not starting:
            await play.server.trace(log)
        assert await play.go_on()
        assert await play.server.stop() == 0
        counts = _most_of_a_thread(log.file, play.server.pid if starting else None)
        points += [Point(call, number, starting) for call, most in counts.items() for number in range(1, most + 1)]
    # What the first thread does after the port accepts is in both.
    serving = Counter(point.call for point in points if not point.starting)
    return [point for point in points if not (point.starting and point.call == "write" and serving["write"])]


def _most_of_a_thread(log: Path, only: int | None) -> dict[str, int]:
    """For each name the most calls that a single thread made."""
    counts: Counter[tuple[str, int]] = Counter()
    with log.open(errors="replace") as lines:
        for line in lines:
            begun = _BEGUN.match(line)
            if begun is not None and only in {None, int(begun[1])}:
                counts[begun[2], int(begun[1])] += 1
    most: dict[str, int] = {}
    for (call, _), count in counts.items():
        most[call] = max(count, most.get(call, 0))
    return most


def chosen(points: Sequence[Point], count: int | None, again: int, seed: int) -> list[Point]:
    """`count` of the points (None: all), `again` of which are cut off a second time while they recover."""
    chance = random.Random(seed)
    taken = list(points) if count is None or count >= len(points) else chance.sample(points, count)
    chance.shuffle(taken)
    twice = [
        Point(point.call, point.number, point.starting, (call, chance.randint(1, 30 if call == "pwrite64" else 3)))
        for point, call in zip(taken[:again], chance.choices(("pwrite64", "fdatasync"), k=again), strict=False)
    ]
    return twice + taken[again:]


Account = Callable[[Any], Awaitable[list[str]]]
"""Receives a finished play; returns what is wrong with what the server says of its runs."""


async def kill_at(baseline: Baseline, directory: Path, point: Point, tally: Tally, account: Account = accounts) -> None:
    """Play until the process is killed there; look at what it left; recover, play to the end, and look again."""
    play = await baseline.play(directory)
    server = play.server
    alive = await server.start(point.injection() if point.starting else None)
    if alive and not point.starting:
        await server.trace(point.injection())
    if alive and await play.go_on():
        await server.stop()
    if await server.wait() == -signal.SIGKILL:
        tally.cut[point.call] += 1
    else:
        tally.missed += 1
    silenced_since = await play.receiver_is_quiet()
    silenced = set(play.silenced)
    problems: list[str] = []

    def note(found: Sequence[str]) -> None:
        # At once: what comes next may raise, and must not hide what was found before.
        problems.extend(found)
        tally.problems += [f"{point}: {problem}" for problem in found]

    before = look_at(directory / "data", play.facts)
    play.kills.append(Kill(len(play.requests()), before))
    note(before.problems)
    if point.then is not None:
        tally.again += 1
        call, number = point.then
        if await server.start(Injection(call, KILL, str(number))) and await play.go_on():
            await server.kill()
        await server.wait()
        await play.receiver_is_quiet()
        between = look_at(directory / "data", play.facts)
        play.kills.append(Kill(len(play.requests()), between))
        note([*between.problems, *revived(before, between)])
        before = between
    note(await to_the_end(play, account))
    note(play.spoke_after_its_stop(silenced_since, silenced))
    after = look_at(directory / "data", play.facts)
    note([*after.problems, *revived(before, after)])
    if not problems:
        shutil.rmtree(directory)


async def to_the_end(play: Play, account: Account = accounts) -> list[str]:
    """Start again without any fault, let the clients go on, and look at every account. Leaves the server killed."""
    if not await play.server.start():
        return [f"does not start again: {play.server.log.read_text()[-2000:]}"]
    if not await play.go_on():
        return [f"does not live: {play.server.log.read_text()[-2000:]}"]
    problems = await account(play)
    await play.server.kill()
    await play.receiver_is_quiet()
    return problems


async def at_each(
    points: Sequence[Point],
    baselines: Sequence[Baseline],
    directory: Path,
    tally: Tally,
    work: Callable[[Baseline, Path, Point, Tally], Awaitable[None]],
) -> None:
    """Go over the points with one worker for each baseline."""
    left = list(enumerate(points))[::-1]

    async def worker(baseline: Baseline) -> None:
        while left:
            index, point = left.pop()
            try:
                await work(baseline, directory / f"point-{index}", point, tally)
            except (AssertionError, Refused, TimeoutError) as error:
                tally.problems.append(f"{point}: {error!r}")

    async with asyncio.TaskGroup() as workers:
        for baseline in baselines:
            workers.create_task(worker(baseline))
