"""How much is measured: in full, or quickly to see that it works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Baselines


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts of a run."""

    executions: int = 10_000
    real_executions: int = 5_000
    http: int = 30_000
    disk_seconds: float = 1.0
    terminates: int = 20_000
    open_seconds: float = 5.0
    open_rate: float = 1_000.0
    one_by_one: int = 2_000
    in_flight: int = 400
    warm_up: int = 30_000
    """Executions that fill SQLite's page cache before memory is looked at."""
    few: int = 5_000
    many: int = 100_000
    starts: int = 5
    operations: int = 1_000
    trees: int = 20
    bulk: int = 10_000
    full_disk: int = 2_000
    capacity_seconds: float = 6.0
    overload_seconds: float = 8.0
    hostile_seconds: float = 5.0


FULL = Scale()
QUICK = Scale(
    executions=1_500,
    real_executions=1_000,
    http=10_000,
    disk_seconds=0.3,
    terminates=3_000,
    open_seconds=1.5,
    one_by_one=300,
    in_flight=80,
    warm_up=2_000,
    few=1_000,
    many=5_000,
    starts=3,
    operations=400,
    trees=3,
    bulk=1_000,
    full_disk=200,
    capacity_seconds=2.0,
    overload_seconds=2.0,
    hostile_seconds=2.0,
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What every part gets: a directory for its data, how much to measure, and the machine's own limits."""

    directory: Path
    scale: Scale
    baselines: Baselines
