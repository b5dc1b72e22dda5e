"""The text of docs/guarantees.md, and the tests that the table names and that do not exist."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

from tools.guarantees.table import GUARANTEES, KNOWN, Guarantee

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PAGE: Final = ROOT / "docs" / "guarantees.md"
RESULTS: Final = ROOT / "benchmarks" / "RESULTS.md"
STOPS: Final = frozenset({"Terminate", "Stopping many", "Overload"})
"""Parts of the benchmark that measure terminations."""

HEAD: Final = """\
# Guarantees

This page lists the guarantees of a termination, the tests that would fail if one were broken, and the measured times.

`python -m tools.guarantees` generates this page, and a test checks that each test named here exists. The tests in
*broken on purpose* use a server, a rule or an order of events that is deliberately wrong, and fail unless the defect
is detected.

"""
SHORT: Final = """
## Tests with short names

Run a test with `.venv/bin/pytest` and its file. The [reliability report](reliability-report.md) says how often each
test was repeated for this release, and what it found.

| | subject | test |
|---|---|---|
"""
FURTHER: Final = """
## Other tests

The name of each test in words, and its file.
"""
TAIL: Final = """
## Not guaranteed

- That a receiver does not act on a request that it has received. The server closes the connection; the receiver
  decides what to do then.
- That a completed step is undone.
- That a call which may not be repeated is completed after a crash. Its outcome is then unknown, and the receipt says
  so.
- That the server detects a disk that loses acknowledged writes. It verifies SQLite's `synchronous=FULL` at every
  start and trusts the layers below.
- That a process which was stopped or starved for longer than five seconds keeps its deadlines during that time. It
  exits when it notices, and the next start settles what is overdue before it serves.
- That a server restored from a backup knows what happened after that backup. The receipts of runs that were active in
  the backup say so permanently.
"""


def page() -> str:
    """Return the text of the page."""
    rows = ["| | guarantee | tests | broken on purpose |\n|---|---|---|---|\n"]
    rows += [f"| {g.name} | {g.promise} | {_short(g.tests)} | {_short(g.mutants)} |\n" for g in GUARANTEES]
    short = [f"| {name} | {what} | {_words(test)} |\n" for name, (test, what) in KNOWN.items()]
    further = [line for guarantee in GUARANTEES for line in _further(guarantee)]
    return "".join((HEAD, *rows, SHORT, *short, FURTHER, *further, _how_soon(), TAIL))


def _how_soon() -> str:
    """Return the section with the benchmark figures about terminations that have a target."""
    found: list[str] = []
    part, ran = "", ""
    for line in RESULTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("- date: "):
            ran = line.removeprefix("- date: ").partition(";")[0]
        elif line.startswith("## "):
            part = line.removeprefix("## ")
        elif part in STOPS and line.endswith(("✓ |", "✗ |")):
            found.append(line)
    head = f"""
## Measured times

The benchmarks measured these figures on {ran}, on two cores that server, clients and receivers share. A ✗ marks a
missed target. `benchmarks/RESULTS.md` in the source has all figures, the machine, and how to repeat them.

| figure | measured | maximum of the machine | ratio | target |
|---|---|---|---|---|
"""
    return head + "".join(f"{line}\n" for line in found)


def missing() -> list[str]:
    """Return the tests that are named here and do not exist."""
    known: dict[str, set[str]] = {}
    named = {test for each in GUARANTEES for test in (*each.tests, *each.mutants)}
    gone = []
    for test in sorted(named):
        path, _, function = test.partition("::")
        if path not in known:
            file = ROOT / path
            tree = ast.parse(file.read_text(encoding="utf-8")) if file.exists() else ast.Module([], [])
            known[path] = {
                node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }
        if function not in known[path]:
            gone.append(test)
    return gone


def _short(tests: tuple[str, ...]) -> str:
    """Return the short names of known tests, and the number of the others."""
    names = {test: name for name, (test, _) in KNOWN.items()}
    known = [names[test] for test in tests if test in names]
    others = len(tests) - len(known)
    return ", ".join([*known, *([f"{others} more" if known else f"{others} below"] if others else [])])


def _further(guarantee: Guarantee) -> list[str]:
    """Return the list of the tests without a short name, in words."""
    known = {test for test, _ in KNOWN.values()}
    lines = [f"- {_words(test)}\n" for test in guarantee.tests if test not in known]
    lines += [f"- broken on purpose: {_words(test)}\n" for test in guarantee.mutants if test not in known]
    return [f"\n**{guarantee.name}**\n\n", *lines] if lines else []


def _words(test: str) -> str:
    """Return the name of a test in words, and its file."""
    path, _, name = test.partition("::")
    return f"{name.removeprefix('test_').replace('_', ' ')} (`{path}`)"
