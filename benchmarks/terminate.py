"""Terminate: the rate, the latency, and the time until the receiver sees it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.client import Caller, Failed, Load, closed, opened
from benchmarks.histogram import Histogram
from benchmarks.processes import Started, module, running
from benchmarks.readers import Reading, reading
from benchmarks.report import Figure, Section, Target, at_least, at_most, latency, milliseconds, per_second, percent
from benchmarks.scale import Setting
from benchmarks.subject import Subject

READERS = 32
BESIDE = f", {READERS} clients reading"
CONNECTIONS = 64
HELD = 100
"""Webhooks in flight at a time: fewer than the server opens to one host."""
SETTLED = ("Prefer", "wait=10")

TEXT = (
    "Each is durable when it is answered, with its record and its audit row. A waiting execution is `TERMINATE` in the "
    "commit that precedes the 200, so the latency of the answer is the time to `TERMINATE`. With a webhook in flight "
    "the answer is held (`Prefer: wait`) until it is `TERMINATE`, and *receiver* is the moment at which the receiver, "
    "another process with the same clock, sees the connection closed. The constant rate is an open loop: requests come "
    "due whether or not the server keeps up."
)


@dataclass(slots=True)
class Cut:
    """Seconds from the request until the answer says `TERMINATE`, and until the receiver has seen the close."""

    settled: Histogram = field(default_factory=Histogram)
    receiver_closed: Histogram = field(default_factory=Histogram)


async def measure(setting: Setting) -> Section:
    section = Section("Terminate", TEXT)
    scale = setting.scale
    directory = setting.directory / "receiver"
    directory.mkdir(parents=True, exist_ok=True)
    with running(Started(module("benchmarks.receiver"), directory)) as receiver:
        subject = Subject(setting.directory / "terminate", egress=(f"127.0.0.1:{receiver.address[1]}",))
        with running(subject.process):
            await subject.log_in()
            waiting = await subject.long_wait()
            await _warm_up(subject, waiting)
            section.figures += await _throughput(setting, subject, waiting)
            alone, steady = await _waiting(setting, subject, waiting)
            section.figures += _waiting_figures(setting, alone, steady)
            far = _FarEnd(subject, receiver, await held_call(subject, receiver))
            section.figures += _cut_figures(await far.cut(scale.in_flight))
            with _readers(subject) as read:
                alone, steady = await _waiting(setting, subject, waiting)
                cut = await far.cut(scale.in_flight)
            section.figures += _waiting_figures(setting, alone, steady, BESIDE)
            section.figures += _cut_figures(cut, BESIDE)
            section.figures.append(
                Figure(
                    "pages of 100 read meanwhile",
                    f"{per_second(read.pages / read.seconds)}, p50 {milliseconds(read.p50)}, {read.refused:,} refused",
                )
            )
    return section


# --- waiting executions -----------------------------------------------------------------------------------------------


async def _warm_up(subject: Subject, waiting: str) -> None:
    ids, _ = await subject.start_many(waiting, 1_000)
    (await closed(subject.address, [subject.terminate(each) for each in ids])).expect()


async def _throughput(setting: Setting, subject: Subject, waiting: str) -> list[Figure]:
    base = setting.baselines
    ids, _ = await subject.start_many(waiting, setting.scale.terminates)
    wires = [subject.terminate(each) for each in ids]
    cpu = subject.process.cpu()
    load = (await closed(subject.address, wires, connections=CONNECTIONS)).expect()
    each = (subject.process.cpu() - cpu) / load.count
    ratio = load.rate / base.rate
    return [
        Figure(
            f"terminates, {CONNECTIONS} connections",
            per_second(load.rate),
            f"bare ASGI {per_second(base.rate)}; single commits {per_second(base.commits)}",
            f"{ratio:.2f}; {load.rate / base.commits:.2f}",
            at_least(load.rate, 8_000, "8,000/s"),
        ),
        Figure("the same as a share of the bare ASGI rate", percent(ratio), target=at_least(ratio, 0.35, "35 %")),
        Figure(
            "the same, CPU for each",
            f"{each * 1e6:.0f} µs",
            f"bare ASGI {base.cpu * 1e6:.0f} µs",
            f"{each / base.cpu:.1f}",
        ),
    ]


async def _waiting(setting: Setting, subject: Subject, waiting: str) -> tuple[Load, Load]:
    """One after the other, and at a constant rate."""
    scale = setting.scale
    ids, _ = await subject.start_many(waiting, scale.one_by_one)
    alone = await closed(subject.address, [subject.terminate(each) for each in ids], connections=1)
    ids, _ = await subject.start_many(waiting, int(scale.open_rate * scale.open_seconds))
    steady = await opened(subject.address, [subject.terminate(each) for each in ids], rate=scale.open_rate)
    return alone.expect(), steady.expect()


def _waiting_figures(setting: Setting, alone: Load, steady: Load, beside: str = "") -> list[Figure]:
    commit = f"one commit {milliseconds(1 / setting.baselines.commits)}"
    return [
        Figure(
            f"waiting → `TERMINATE`, one at a time{beside}",
            latency(alone),
            commit,
            f"p50 {alone.latency.p50 * setting.baselines.commits:.1f}",
            _bounds(alone.latency, 0.010, beside),
        ),
        Figure(
            f"waiting → `TERMINATE`, {setting.scale.open_rate:,.0f}/s{beside}",
            latency(steady),
            commit,
            f"p50 {steady.latency.p50 * setting.baselines.commits:.1f}",
            _bounds(steady.latency, 0.010, beside),
        ),
    ]


def _bounds(found: Histogram, p99: float, beside: str) -> Target:
    """The median is a target without other load, the 99th percentile with it, too."""
    if beside:
        return at_most(found.p99, p99, f"{p99 * 1000:.0f} ms p99")
    return Target(f"p50 ≤ 1 ms, p99 ≤ {p99 * 1000:.0f} ms", found.p50 <= 0.001 and found.p99 <= p99)


# --- a webhook in flight ----------------------------------------------------------------------------------------------


async def held_call(subject: Subject, receiver: Started) -> str:
    """An automation whose one call the receiver never answers."""
    webhook = await subject.webhook(f"http://127.0.0.1:{receiver.address[1]}/hold")
    return await subject.automation("Held call", [{"stepName": "call", "webhook": {"webhookId": webhook}}])


class _FarEnd:
    """Runs whose webhook is in flight, cut off one after the other."""

    def __init__(self, subject: Subject, receiver: Started, automation: str) -> None:
        self._subject = subject
        self._receiver = receiver
        self._automation = automation

    async def cut(self, count: int) -> Cut:
        found = Cut()
        caller, far = self._subject.caller(), Caller(self._receiver.address, [("Host", "receiver")])
        for batch in range(0, count, HELD):
            size = min(HELD, count - batch)
            ids, _ = await self._subject.start_many(self._automation, size, connections=16)
            await until_all(far, "/arrived", ids)
            began: dict[str, float] = {}
            for each in ids:
                wire = self._subject.terminate(each, SETTLED)
                began[each] = time.perf_counter()
                status, body = await caller.send(wire)
                found.settled.add(time.perf_counter() - began[each])
                if status != 200:
                    raise Failed(f"terminate: {status} {body[:200].decode(errors='replace')}")
            closes = await until_all(far, "/closed", ids)
            for each in ids:
                found.receiver_closed.add(closes[each] - began[each])
        for line in (caller, far):
            line.close()
        return found


async def until_all(far: Caller, path: str, ids: Sequence[str]) -> dict[str, float]:
    """Poll until the receiver has seen all of them."""
    async with asyncio.timeout(60):
        while True:
            told: dict[str, float] = await far.call("GET", path)
            if told.keys() >= set(ids):
                return told
            await asyncio.sleep(0.01)


def _cut_figures(cut: Cut, beside: str = "") -> list[Figure]:
    return [
        Figure(
            f"webhook in flight → receiver sees the close{beside}",
            latency(Load(latency=cut.receiver_closed)),
            target=_bounds(cut.receiver_closed, 0.050, beside),
        ),
        Figure(
            f"webhook in flight → `TERMINATE`{beside}",
            latency(Load(latency=cut.settled)),
            target=at_most(cut.settled.p99, 0.250, "250 ms p99"),
        ),
    ]


@contextlib.contextmanager
def _readers(subject: Subject) -> Iterator[Reading]:
    with reading(subject, READERS) as read:
        # Until they are all connected and at it.
        time.sleep(0.3)
        yield read
