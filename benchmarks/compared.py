"""The benchmarks that compare two commits: each yields one try after the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.client import closed
from benchmarks.processes import running
from benchmarks.subject import Subject

RUNS: Final = 400
TERMINATES: Final = 1_000
CONNECTIONS: Final = 64
WARM_UPS: Final = 3

Samples = AsyncGenerator[Mapping[str, float], None]


@dataclass(frozen=True, slots=True)
class Bench:
    """One benchmark.

    Args:
        samples: Starts a server of a tree with a directory of its own, and yields the seconds of each figure of a try.
        unit: Unit in which its figures are shown.
    """

    samples: Callable[[Path, Path], Samples]
    unit: str


async def _runs(tree: Path, directory: Path) -> Samples:
    async for sample in _runs_of(tree, directory, "three webhooks, no receiver: CPU of a run", webhooks=True):
        yield sample


async def _expressions(tree: Path, directory: Path) -> Samples:
    async for sample in _runs_of(tree, directory, "three `evaluateExpressions`: CPU of a run", webhooks=False):
        yield sample


async def _runs_of(tree: Path, directory: Path, name: str, *, webhooks: bool) -> Samples:
    subject = Subject(directory, without_network=True, tree=tree)
    with running(subject.process):
        await subject.log_in()
        if webhooks:
            automation = await subject.three_webhooks("http://127.0.0.1:9/answer")
        else:
            automation = await subject.three_expressions()
        for warm in [True] * WARM_UPS + [False]:
            while True:
                cpu = subject.process.cpu()
                await subject.start_many(automation, RUNS, connections=CONNECTIONS)
                await subject.until_over(automation)
                if warm:
                    break
                yield {name: (subject.process.cpu() - cpu) / RUNS}


async def _terminates(tree: Path, directory: Path) -> Samples:
    subject = Subject(directory, tree=tree)
    with running(subject.process):
        await subject.log_in()
        waiting = await subject.long_wait()
        for warm in [True] * WARM_UPS + [False]:
            while True:
                ids, _ = await subject.start_many(waiting, TERMINATES)
                wires = [subject.terminate(each) for each in ids]
                cpu = subject.process.cpu()
                (await closed(subject.address, wires, connections=CONNECTIONS)).expect()
                if warm:
                    break
                yield {"terminate of a waiting run: CPU": (subject.process.cpu() - cpu) / TERMINATES}


async def _start(tree: Path, directory: Path) -> Samples:
    while True:
        subject = Subject(directory, tree=tree)
        with running(subject.process):
            empty = _until_ready(subject, "empty directory")
            # The evaluators have started as well, so that the end is orderly.
            await subject.log_in()
            subject.process.stop()
            subject.start()
            with running(subject.process):
                yield empty | _until_ready(subject, "existing directory")


def _until_ready(subject: Subject, name: str) -> dict[str, float]:
    process = subject.process
    return {
        f"start, {name}: CPU until ready": process.cpu_to_ready,
        f"start, {name}: until ready": process.seconds_to_ready,
    }


BENCHES: Final[Mapping[str, Bench]] = {
    "runs": Bench(_runs, "µs"),
    "expressions": Bench(_expressions, "µs"),
    "terminates": Bench(_terminates, "µs"),
    "start": Bench(_start, "ms"),
}
