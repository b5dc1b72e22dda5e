"""Runs seeds: one, or thousands in several processes."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from simulation.coverage import Situation
from simulation.sabotage import NONE, Sabotage
from simulation.scenario import Scenario, scenario
from simulation.template import template
from simulation.world import Result, World

BATCH: Final = 25
"""Seeds that a process is given at a time."""
COLLECTED_EVERY: Final = 5
"""Worlds, after which the remains are collected."""
COLLECTIONS: Final = 5
"""At most, one after the other, until nothing is left."""
MEMORY: Final = "/dev/shm"
"""Where Linux has a file system in memory."""
MIN_MEMORY_BYTES: Final = 1 << 30
"""Bytes that have to be free there."""


@dataclass(slots=True)
class Summary:
    """What came of many seeds."""

    seeds: int = 0
    runs: int = 0
    terminations: int = 0
    receipts: int = 0
    crashes: int = 0
    situations: Counter[Situation] = field(default_factory=Counter)
    broken: list[tuple[int, str]] = field(default_factory=list)
    """(seed, how)"""
    differing: list[int] = field(default_factory=list)
    """Seeds that went another way when they were run again."""

    def add(self, result: Result) -> None:
        self.seeds += 1
        self.runs += result.runs
        self.terminations += result.terminations
        self.receipts += result.receipts
        self.crashes += result.crashes
        self.situations += result.situations
        if result.broken is not None:
            self.broken.append((result.seed, result.broken))

    def __str__(self) -> str:
        met = len(Situation) - len(self.never)
        return (
            f"seeds={self.seeds} runs={self.runs} terminations={self.terminations} receipts={self.receipts} "
            f"crashes={self.crashes} situations={met}/{len(Situation)} broken={len(self.broken)} "
            f"differing={len(self.differing)}"
        )

    @property
    def never(self) -> list[Situation]:
        """Situations that no seed has met."""
        return [situation for situation in Situation if not self.situations[situation]]


@cache
def _ready() -> None:
    """What every world needs is made once; the collector skips it when the remains of a world are collected."""
    template()
    gc.collect()
    gc.freeze()


@contextmanager
def _quiet() -> Iterator[None]:
    """Objects that die with a simulated process log useless complaints."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        sys.unraisablehook = hook


@cache
def _in_memory() -> str | None:
    """The directory of a file system in memory, if there is room: what a sync keeps is simulated."""
    with suppress(OSError):
        if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MIN_MEMORY_BYTES:
            return MEMORY
    return None


def run_one(what: Scenario, *, sabotage: Sabotage = NONE, keep_trace: bool = False, collect: bool = True) -> Result:
    """Live one scenario, in a directory of its own that is gone afterwards. `collect`: its remains, too."""
    _ready()
    directory = Path(tempfile.mkdtemp(prefix=f"interlock-seed-{what.seed}-", dir=_in_memory()))
    try:
        with _quiet():
            return World(what, directory, sabotage=sabotage, keep_trace=keep_trace).run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        if collect:
            _collect()


def run_batch(seeds: Sequence[int], again: bool) -> list[tuple[Result, bool]]:
    """Several, one after the other; `again`: each twice, and whether both went the same way."""
    found = []
    gc.disable()
    for number, seed in enumerate(seeds):
        if number % COLLECTED_EVERY == 0:
            _collect()
        result = run_one(scenario(seed), collect=False)
        same = not again or run_one(scenario(seed), collect=False).digest == result.digest
        found.append((result, same))
    _collect()
    return found


def _collect() -> None:
    """A world is one large cycle, and what has died in it complains uselessly when it is collected.

    What is closed while it is collected can leave a cycle of its own.
    """
    with _quiet():
        for _ in range(COLLECTIONS):
            if not gc.collect():
                return


def run_many(first: int, count: int, jobs: int, replayed: int) -> Iterator[Summary]:
    """Seeds `first` to `first + count - 1`, the first `replayed` of them twice; the summary so far, now and then."""
    summary = Summary()
    batches = [range(start, min(start + BATCH, first + count)) for start in range(first, first + count, BATCH)]
    with ProcessPoolExecutor(jobs) as pool:
        pending = {pool.submit(run_batch, list(batch), batch.start - first < replayed): batch for batch in batches}
        for done in as_completed(pending):
            for result, same in done.result():
                summary.add(result)
                if not same:
                    summary.differing.append(result.seed)
            yield summary
