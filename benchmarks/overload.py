"""More starts than the server can take: what still gets done, and whether a stop gets through."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.client import Caller, Failed, Load, opened
from benchmarks.processes import Memory, running
from benchmarks.report import Figure, Section, at_least, at_most, latency, mebibytes, milliseconds, per_second, percent
from benchmarks.scale import Setting
from benchmarks.starters import Starters, Starts
from benchmarks.subject import Subject, collect

CALLERS: Final = 64
"""Callers that find out what the server can take: more than keep it busy, and fewer than it makes wait."""
TERMINATES: Final = 100.0
"""Stops per second beside the load."""
MOST_CONNECTIONS: Final = 8_000
SPARE_FILES: Final = 200
IN_A_ROW: Final = 50
"""Starts accepted one after the other that say that the server is back to normal."""
STALLED_CALLERS: Final = 300

TEXT = (
    "C is the rate at which 64 callers who wait for each answer are served; each run evaluates one expression. Then "
    "starts come due at a multiple of C whatever the server does, over as many connections as C has starts in two "
    "seconds; one that finds all of them busy is a caller who gets no line. Beside them 100 stops of waiting runs come "
    "due per second, half of them over connections that stay and half each over a new one, while 300 requests stand "
    "half-sent. Refused is 503 with `Retry-After`."
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a load: of its starts, of the stops beside it, and of the server."""

    starts: Starts
    terminates: Load
    """Over connections that stay."""
    anew: Load
    """Terminates each over a new connection."""
    memory: Memory


async def capacity(subject: Subject, automation: str, seconds: float) -> Starts:
    """What the server can take, after a warm-up of a third of the time."""
    await Starters(subject, automation, seconds=seconds / 3, connections=CALLERS).ended()
    return await Starters(subject, automation, seconds=seconds, connections=CALLERS).ended()


def connections_for(rate: float) -> int:
    """So many that some would have to wait for two seconds: longer than anybody is made to wait for work."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_CONNECTIONS if hard == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, hard - SPARE_FILES)
    return max(CALLERS, min(int(2 * rate), most))


async def overloaded(
    subject: Subject, automation: str, doomed: Sequence[str], *, rate: float, connections: int
) -> Loaded:
    """Starts at this rate, for as long as it takes to stop the doomed at theirs.

    Raises:
        Failed: a connection was closed, or the starters did not end orderly.
    """
    starters = Starters(subject, automation, seconds=len(doomed) / TERMINATES, connections=connections, rate=rate)
    wires = [subject.terminate(each) for each in doomed]
    terminates, anew = await asyncio.gather(
        opened(subject.address, wires[::2], rate=TERMINATES / 2), _each_anew(subject, wires[1::2], TERMINATES / 2)
    )
    starts = await starters.ended()
    return Loaded(starts, terminates, anew, subject.process.memory())


async def _each_anew(subject: Subject, wires: Sequence[bytes], rate: float) -> Load:
    """Each at its time, over a connection of its own, which is opened within the time that is measured."""
    load, began = Load(), time.perf_counter()

    async def send(wire: bytes, due: float) -> None:
        await asyncio.sleep(due - time.perf_counter())
        caller = Caller(subject.address)
        status, _ = await caller.send(wire)
        load.latency.add(time.perf_counter() - due)
        load.statuses[status] += 1
        caller.close()

    async with asyncio.TaskGroup() as tasks:
        for number, wire in enumerate(wires):
            tasks.create_task(send(wire, began + number / rate))
    return load


@contextlib.asynccontextmanager
async def stalled_callers(subject: Subject, count: int = STALLED_CALLERS) -> AsyncIterator[None]:
    """Requests of which only a half has come: of the head, or of the body."""
    whole = subject.terminate("3714572034048000")
    halves = [whole[: whole.index(b"\r\n") + 2], whole[:-1]]
    lines = [await asyncio.open_connection(*subject.address) for _ in range(count)]
    for number, (_, writer) in enumerate(lines):
        writer.write(halves[number % 2])
        await writer.drain()
    try:
        yield
    finally:
        for _, writer in lines:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in lines), return_exceptions=True)


async def back_to_normal(subject: Subject, automation: str) -> tuple[float, list[str]]:
    """Seconds until so many starts in a row are accepted, and their ids. Raises TimeoutError if that never comes."""
    caller, wire, began = subject.caller(), subject.execute(automation), time.perf_counter()
    started: list[str] = []
    answered = collect(started)
    async with asyncio.timeout(10):
        while len(started) < IN_A_ROW:
            status, body = await caller.send(wire)
            if status != 200:
                started.clear()
            answered(status, body)
    caller.close()
    return time.perf_counter() - began, started


async def measure(setting: Setting) -> Section:
    section = Section("Overload", TEXT)
    subject = Subject(setting.directory / "overload")
    with running(subject.process):
        await subject.log_in()
        automation, waiting = await subject.one_expression(), await subject.long_wait()
        found = await capacity(subject, automation, setting.scale.capacity_seconds)
        base = setting.baselines
        section.figures += [
            Figure(
                "starts that the server can take (C)",
                per_second(found.rate),
                f"bare ASGI {per_second(base.rate)}; single commits {per_second(base.commits)}",
                f"{found.rate / base.rate:.2f}; {found.rate / base.commits:.2f}",
            ),
            Figure("memory after that", mebibytes(subject.process.memory().resident)),
        ]
        connections = connections_for(found.rate)
        async with stalled_callers(subject):
            for times, least in ((2, 0.9), (5, 0.8)):
                doomed, _ = await subject.start_many(waiting, int(TERMINATES * setting.scale.overload_seconds))
                loaded = await overloaded(subject, automation, doomed, rate=times * found.rate, connections=connections)
                section.figures += _figures(loaded, times, found.rate, least)
        seconds, _ = await back_to_normal(subject, automation)
        section.figures.append(
            Figure(
                f"after it, until {IN_A_ROW} starts in a row were accepted",
                milliseconds(seconds),
                target=at_most(seconds, 10, "10 s"),
            )
        )
    return section


def _figures(loaded: Loaded, times: int, most: float, least: float) -> Iterator[Figure]:
    starts, name = loaded.starts, f"at {times} C"
    if starts.bare_refusals or set(starts.statuses) - {200, 429, 503}:
        raise Failed(f"{name}: {starts.statuses}, {starts.bare_refusals} of them without Retry-After")
    share = starts.rate / most
    yield Figure(
        f"starts done {name}, as a share of C",
        f"{percent(share)} ({per_second(starts.rate)}; {starts.refused:,} refused, {starts.unsent:,} without a "
        f"connection)",
        target=at_least(share, least, percent(least)),
    )
    for how, terminates in (("connections that stay", loaded.terminates), ("new connections", loaded.anew)):
        all_done = set(terminates.statuses) == {200}
        yield Figure(
            f"terminates {name}, {how}",
            f"{latency(terminates)}, {percent(terminates.statuses[200] / terminates.count)} done",
            target=at_most(terminates.latency.p99 if all_done else float("inf"), 2.0, "2 s p99, 100 % done"),
        )
    yield Figure(f"memory after the load {name}", mebibytes(loaded.memory.resident))
