"""Executions that wait: what they cost in memory, how long it takes to stop them all, and how soon a server with a
hundred thousand of them is back after kill -9."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.client import Failed, closed
from benchmarks.processes import Memory
from benchmarks.report import Figure, Section, at_most, mebibytes, milliseconds, per_second
from benchmarks.scale import Setting
from benchmarks.subject import Subject

CONNECTIONS = 64

TEXT = (
    "Each waits fourteen days in its first step. Memory is what the server's process has allocated beyond what it had "
    "after a warm-up in which so many were started and stopped that SQLite's page cache, which is bounded, was full. "
    "Stopping them is one request for each."
)


async def measure(setting: Setting) -> Section:
    section = Section("Waiting executions", TEXT)
    scale = setting.scale
    subject = Subject(setting.directory / "waiting")
    try:
        await subject.log_in()
        automation = await subject.long_wait()
        ids, _ = await subject.start_many(automation, scale.warm_up)
        await _stop(subject, ids)
        before = subject.process.memory()
        ids = await _start(setting, section, subject, automation, scale.few, before)
        section.figures.append(await _stopped(setting, subject, ids))
        before = subject.process.memory()
        ids = await _start(setting, section, subject, automation, scale.many, before)
        subject.process.kill()
        subject.start()
        section.figures += _recovered(subject, scale.many)
        await subject.log_in()
        section.figures.append(await _stopped(setting, subject, ids))
        subject.process.stop()
    finally:
        subject.process.kill()
    return section


async def _start(
    setting: Setting, section: Section, subject: Subject, automation: str, count: int, before: Memory
) -> list[str]:
    cpu = subject.process.cpu()
    ids, load = await subject.start_many(automation, count, connections=CONNECTIONS)
    cpu = (subject.process.cpu() - cpu) / count
    after = subject.process.memory()
    each = (after.anonymous - before.anonymous) / count
    base = setting.baselines
    section.figures += [
        Figure(
            f"{count:,} started",
            f"{load.seconds:.2f} s ({per_second(load.rate)}, {cpu * 1e6:.0f} µs CPU each)",
            f"bare ASGI {per_second(base.rate)}, {base.cpu * 1e6:.0f} µs",
            f"{load.rate / base.rate:.2f}; CPU {cpu / base.cpu:.1f}",
        ),
        Figure(
            f"memory of each of {count:,} waiting",
            f"{each:,.0f} bytes ({mebibytes(before.anonymous)} → {mebibytes(after.anonymous)})",
            target=at_most(each, 200, "200 bytes"),
        ),
    ]
    return ids


async def _stop(subject: Subject, ids: list[str]) -> float:
    """Terminate them, one request each; returns the seconds it took."""
    wires = (subject.terminate(each) for each in ids)
    return (await closed(subject.address, wires, connections=CONNECTIONS)).expect().seconds


async def _stopped(setting: Setting, subject: Subject, ids: list[str]) -> Figure:
    caller = subject.caller()
    cpu = subject.process.cpu()
    seconds = await _stop(subject, ids)
    cpu = (subject.process.cpu() - cpu) / len(ids)
    shown = await caller.call("GET", f"/api/v1/automation_executions/{ids[-1]}")
    if shown["automationExecution"]["state"] != "AUTOMATION_EXECUTION_STATE_TERMINATE":
        raise Failed(f"a terminated execution is {shown['automationExecution']['state']}")
    caller.close()
    rate = len(ids) / seconds
    return Figure(
        f"{len(ids):,} terminated one by one",
        f"{seconds:.2f} s ({per_second(rate)}, {cpu * 1e6:.0f} µs CPU each)",
        f"bare ASGI {per_second(setting.baselines.rate)}",
        f"{rate / setting.baselines.rate:.2f}",
    )


def _recovered(subject: Subject, count: int) -> Iterator[Figure]:
    seconds = subject.process.seconds_to_ready
    yield Figure(
        f"kill -9 with {count:,} waiting, until ready again",
        milliseconds(seconds),
        target=at_most(seconds, 1.0, "1 s"),
    )
    yield Figure("memory when ready again", mebibytes(subject.process.memory().resident))
