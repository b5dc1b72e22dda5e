"""Compare the working tree with another commit, in one run.

    python -m benchmarks compare REV [--bench NAME...] [--tries N]

Each commit has a server of its own, both on this machine and at the same time, and the tries alternate between them, so
that both have the same neighbours. The table has the least and the median of the tries, their ratios, and the spread of
the ratios of neighbouring tries. Other processes only add to a figure, so the least is the best estimate, if there were
enough tries. CPU is that of the server's process and its children, in nanoseconds of the kernel.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

import uvloop

from benchmarks.client import Failed
from benchmarks.compared import BENCHES, Bench
from benchmarks.processes import environment
from benchmarks.report import ROOT, machine

TRIES = 12
DIRECTORY = ROOT / ".interlock" / "compare"
"""On the file system of the checkout, as the data of the other benchmarks."""
SHOWN = {"ms": 1e3, "µs": 1e6}


@dataclass(slots=True)
class Tries:
    """Seconds of one figure, in the order of the tries: of the other commit, and of this tree."""

    other: list[float] = field(default_factory=list)
    this: list[float] = field(default_factory=list)

    def row(self, name: str, unit: str) -> str:
        pairs = [mine / theirs for theirs, mine in zip(self.other, self.this, strict=True)]
        low, _, high = quantiles(pairs, n=4, method="inclusive") if len(pairs) > 1 else (pairs[0],) * 3
        cells = [
            name,
            *(f"{_shown(least(t), unit)} ({_shown(median(t), unit)}) {unit}" for t in (self.other, self.this)),
            f"{least(self.this) / least(self.other):.3f}",
            f"{median(self.this) / median(self.other):.3f}",
            f"{low:.2f} to {high:.2f}",
        ]
        return "| " + " | ".join(cells) + " |"


def least(tries: Sequence[float]) -> float:
    """Return the least of the tries: what else the machine does only adds to them."""
    return min(tries)


def _shown(seconds: float, unit: str) -> str:
    value = seconds * SHOWN[unit]
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rev", metavar="REV", help="commit to compare the working tree with")
    parser.add_argument("--bench", nargs="+", choices=[*BENCHES], default=[*BENCHES], help=", ".join(BENCHES))
    parser.add_argument("--tries", type=int, default=TRIES, help=f"tries of each commit; {TRIES} by default")
    given = parser.parse_args(arguments)
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir(parents=True)
    try:
        with worktree(given.rev, DIRECTORY / "tree") as other:
            for tree in (other, ROOT):
                prepare(tree)
            rows = []
            for name in given.bench:
                print(f"comparing: {name}", file=sys.stderr, flush=True)
                bench = BENCHES[name]
                found = uvloop.run(alternated(bench, (other, ROOT), DIRECTORY / "data", given.tries))
                rows += [tries.row(figure, bench.unit) for figure, tries in found.items()]
    finally:
        shutil.rmtree(DIRECTORY, ignore_errors=True)
    print(table(given.rev, given.tries, rows))
    return 0


@contextlib.contextmanager
def worktree(rev: str, directory: Path) -> Iterator[Path]:
    """Check the commit out into a directory, and remove it afterwards."""
    _git("worktree", "add", "--quiet", "--detach", "--force", str(directory), rev)
    try:
        yield directory
    finally:
        _git("worktree", "remove", "--force", str(directory))


def prepare(tree: Path) -> None:
    """Bring a tree into the state of an installed one: its documentation pages are built, its byte code is compiled.

    Raises:
        Failed: The tree wants other dependencies than the ones that are installed, or it would not be what runs.
    """
    missing = _pins(tree / "requirements" / "runtime.txt") - _pins(ROOT / "requirements" / "dev.txt")
    if missing:
        wanted = ", ".join(sorted(missing))
        raise Failed(f"requirements/runtime.txt differs ({wanted}): both commits run with what this checkout installs")
    for arguments in (("-m", "tools.pages"), ("-m", "compileall", "-q", "src/interlock", "benchmarks")):
        _python(tree, *arguments)
    used = _python(tree, "-c", "import interlock; print(interlock.__file__)").strip()
    if not Path(used).is_relative_to(tree / "src"):
        raise Failed(f"{used} would run instead of {tree / 'src'}")


def _pins(lock: Path) -> set[str]:
    return set(re.findall(r"^[^\s#]+==[^\s;]+", lock.read_text(), re.MULTILINE))


async def alternated(bench: Bench, trees: tuple[Path, Path], directory: Path, tries: int) -> dict[str, Tries]:
    """Take the tries of a benchmark in the order A B, B A, A B, …"""
    found: dict[str, Tries] = {}
    samples: list[AsyncGenerator[Mapping[str, float], None]] = [
        bench.samples(tree, directory / side) for tree, side in zip(trees, ("other", "this"), strict=True)
    ]
    try:
        for number in range(tries):
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                for name, seconds in (await anext(samples[side])).items():
                    measured = found.setdefault(name, Tries())
                    (measured.other, measured.this)[side].append(seconds)
    finally:
        for each in samples:
            await each.aclose()
    return found


def table(rev: str, tries: int, rows: Sequence[str]) -> str:
    """Return the report."""
    named, here = (
        _git("describe", "--always", "--abbrev=12", rev),
        _git("describe", "--always", "--dirty", "--abbrev=12"),
    )
    return "\n".join(
        [
            f"- {datetime.datetime.now(datetime.UTC):%Y-%m-%d}; {here} beside {named}, {tries} tries each, alternating",
            *machine(),
            "",
            f"| figure | {named}: least (median) | {here}: least (median) | ratio of the least | of the medians "
            "| pairs, quartiles |",
            "|---|---|---|---|---|---|",
            *rows,
        ]
    )


def _git(*arguments: str) -> str:
    git = shutil.which("git") or "git"
    done = subprocess.run([git, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _python(tree: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=environment(Path(os.environ.get("HOME", "/")), tree),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"{' '.join(arguments)} failed in {tree}:\n{done.stderr[-2000:]}")
    return done.stdout
