"""The table: each figure beside the raw baseline of the same run, their ratio, and the target."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from benchmarks.baselines import Disk
from benchmarks.client import Load

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "RESULTS.md"


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure has to reach. `text` is shown, `met` says whether it was."""

    text: str
    met: bool


def at_most(measured: float, limit: float, text: str) -> Target:
    return Target(f"≤ {text}", measured <= limit)


def at_least(measured: float, limit: float, text: str) -> Target:
    return Target(f"≥ {text}", measured >= limit)


@dataclass(frozen=True, slots=True)
class Figure:
    """One row."""

    name: str
    measured: str
    baseline: str = ""
    ratio: str = ""
    target: Target | None = None

    def row(self) -> str:
        target = "" if self.target is None else f"{self.target.text} {'✓' if self.target.met else '✗'}"
        return f"| {self.name} | {self.measured} | {self.baseline} | {self.ratio} | {target} |"


@dataclass(slots=True)
class Section:
    """What one part of the benchmark found."""

    title: str
    text: str
    figures: list[Figure] = field(default_factory=list)

    def markdown(self) -> str:
        head = ["| figure | measured | baseline | ratio | target |", "|---|---|---|---|---|"]
        return "\n".join([f"## {self.title}", "", self.text, "", *head, *(figure.row() for figure in self.figures)])


@dataclass(slots=True)
class Baselines:
    """The raw limits of this machine, sampled before each part so that its load at that time is in them."""

    http: list[float] = field(default_factory=list)
    """Requests per second of the bare ASGI application."""
    http_cpu: list[float] = field(default_factory=list)
    """CPU seconds of its process per request."""
    disk: list[Disk] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.http[-1]

    @property
    def cpu(self) -> float:
        return self.http_cpu[-1]

    @property
    def commits(self) -> float:
        return self.disk[-1].commits

    def section(self) -> Section:
        figures = [
            Figure("bare uvicorn ASGI application, POST, 64 connections", spread(self.http, "requests/s")),
            Figure("the same, CPU of the server", spread([each * 1e6 for each in self.http_cpu], "µs/request")),
            Figure(
                "SQLite, WAL, `synchronous=FULL`, one row a commit", spread([d.commits for d in self.disk], "commits/s")
            ),
            Figure("the same, 256 rows a commit", spread([d.rows for d in self.disk], "rows/s")),
        ]
        text = "The least that any server on this stack can do; lowest to highest sample where there were several."
        return Section("Baselines", text, figures)


def milliseconds(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def latency(load: Load) -> str:
    found = load.latency
    return f"p50 {milliseconds(found.p50)}, p99 {milliseconds(found.p99)} (n = {found.count:,})"


def per_second(rate: float) -> str:
    return f"{rate:,.0f}/s"


def mebibytes(size: float) -> str:
    return f"{size / 2**20:,.1f} MiB"


def percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def spread(values: Sequence[float], unit: str) -> str:
    low, high = min(values), max(values)
    return f"{low:,.0f} {unit}" if len(values) == 1 else f"{low:,.0f} to {high:,.0f} {unit}"


def document(sections: Sequence[Section], date: str, command: str) -> str:
    """The whole report."""
    head = [
        "# Benchmark results",
        "",
        "Written by `make bench`; nothing here is typed by hand. How it is measured, and how to read it: "
        "[README.md](README.md).",
        "",
        f"- date: {date}; commit: {_commit()}",
        *machine(),
        f"- repeat it with: `{command}`",
        "- client, server and receiver share these cores: the CPU figures and the ratios are steadier than the rates.",
    ]
    return "\n".join([*head, "", *(f"{section.markdown()}\n" for section in sections)])


def machine() -> list[str]:
    """Return the lines that name the processor, the system and the load of this machine."""
    return [
        f"- machine: {os.cpu_count()} cores ({processor()}), {_memory()}, {platform.system()} {platform.release()}",
        f"- Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}; load average at the end: "
        + ", ".join(f"{value:.1f}" for value in os.getloadavg()),
    ]


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    found = subprocess.run(
        [git, "describe", "--always", "--dirty", "--abbrev=12"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def processor(description: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name, family, model, clock and cache.

    A virtual machine often hides the name of the product; family and model still tell the generation.
    """
    try:
        lines = description.read_text().partition("\n\n")[0].splitlines()
    except OSError:
        lines = []
    known = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    parts = [known.get("model name", platform.machine())]
    if "cpu family" in known and "model" in known:
        parts.append(f"family {known['cpu family']} model {known['model']}")
    if "cpu MHz" in known:
        parts.append(f"{float(known['cpu MHz']) / 1000:.2f} GHz")
    if "cache size" in known:
        parts.append(f"cache {known['cache size']}")
    return ", ".join(parts)


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
