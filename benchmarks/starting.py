"""From nothing to serving: the time and the memory of a start."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.client import Failed, request
from benchmarks.processes import Memory, Started, module, running
from benchmarks.report import Figure, Section, at_most, mebibytes, milliseconds
from benchmarks.scale import Setting
from benchmarks.subject import Subject

TEXT = (
    "From the start of the process until `/readyz` has answered 200, medians of some starts; with an empty data "
    "directory the schema and the first credentials are made as well. The baseline is the bare ASGI application."
)


async def measure(setting: Setting) -> Section:
    fresh: list[float] = []
    again: list[float] = []
    resident: list[Memory] = []
    bare: list[float] = []
    bare_resident: list[int] = []
    directory = setting.directory / "bare-start"
    directory.mkdir(parents=True, exist_ok=True)
    for _ in range(setting.scale.starts):
        with running(Started(module("benchmarks.bare"), directory)) as process:
            bare.append(process.seconds_to_ready)
            bare_resident.append(process.memory().resident)
        began = time.perf_counter()
        subject = Subject(setting.directory / "start")
        try:
            fresh.append(await _answered(subject, began))
            resident.append(subject.process.memory())
            subject.process.stop()
            began = time.perf_counter()
            subject.start()
            again.append(await _answered(subject, began))
            subject.process.stop()
        finally:
            subject.process.kill()
    baseline = f"bare ASGI {milliseconds(median(bare))}"
    size = median(memory.resident for memory in resident)
    return Section(
        "Start",
        TEXT,
        [
            Figure(
                "empty data directory",
                milliseconds(median(fresh)),
                baseline,
                f"{median(fresh) / median(bare):.1f}",
                at_most(median(fresh), 0.5, "0.5 s"),
            ),
            Figure(
                "existing data directory",
                milliseconds(median(again)),
                baseline,
                f"{median(again) / median(bare):.1f}",
                at_most(median(again), 0.5, "0.5 s"),
            ),
            Figure(
                "resident memory when ready",
                mebibytes(size),
                f"bare ASGI {mebibytes(median(bare_resident))}",
                f"{size / median(bare_resident):.1f}",
                at_most(size, 90e6, "90 MB"),
            ),
        ],
    )


async def _answered(subject: Subject, began: float) -> float:
    caller = subject.caller()
    status, _ = await caller.send(request("GET", "/readyz", headers=subject.headers()))
    seconds = time.perf_counter() - began
    caller.close()
    if status != 200:
        raise Failed(f"/readyz: {status}")
    return seconds
