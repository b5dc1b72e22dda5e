"""Changes the rules of the stop, one small change at a time, and sees whether the tests notice.

    python -m tools.mutants                        # all of it
    python -m tools.mutants --module rules.stop    # one module
    python -m tools.mutants --sample 100 --seed 7  # some of it, the same for the same seed

Prints a table and the survivors. The exit code is 1 if fewer are killed than `--least` percent.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import pytest

from interlock.store.statements import Dialect, texts
from tools.mutants.equivalent import is_equivalent
from tools.mutants.operators import mutants
from tools.mutants.running import Attack, Fate, Verdict, options, warm_up
from tools.mutants.scope import ROOT, SUBJECTS, Subject
from tools.mutants.statements import AnyMutant, statement_mutants

Row = dict[str, float]


class Report(TypedDict):
    """What a run came to. `equivalent` are not among the mutants."""

    modules: dict[str, Row]
    total: Row
    seconds: int


def main(arguments: list[str]) -> int:
    asked = _asked(arguments)
    subjects = [subject for subject in SUBJECTS if not asked.module or subject.name.startswith(tuple(asked.module))]
    everything = [mutant for subject in subjects for mutant in of(subject)]
    equivalent = [mutant for mutant in everything if is_equivalent(mutant)]
    chosen = [mutant for mutant in everything if not is_equivalent(mutant)]
    if asked.function:
        chosen = [mutant for mutant in chosen if mutant.function == asked.function]
    if asked.sample:
        chosen = random.Random(asked.seed).sample(chosen, min(asked.sample, len(chosen)))
    if not chosen:
        print(
            "nothing fits --module and --function; there are", *(subject.name for subject in SUBJECTS), file=sys.stderr
        )
        return 2
    began = time.monotonic()
    verdicts = run(subjects, chosen, asked.jobs, asked.longest)
    report = _report(subjects, verdicts, Counter(mutant.module for mutant in equivalent), time.monotonic() - began)
    if asked.json:
        Path(asked.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(table(report))
    for verdict in verdicts:
        if verdict.fate is Fate.SURVIVED:
            print(f"survived: {verdict.mutant}")
    return 0 if report["total"]["percent"] >= asked.least else 1


def of(subject: Subject) -> Sequence[AnyMutant]:
    """The mutants of a subject that are in its scope."""
    found: Sequence[AnyMutant]
    if subject.by:
        found = statement_mutants(subject.module, texts(subject.path.stem, Dialect.SQLITE))
    else:
        found = mutants(subject.module, subject.path.read_text(encoding="utf-8"))
    wanted = subject.functions
    return [mutant for mutant in found if not wanted or mutant.function in wanted]


def run(subjects: list[Subject], chosen: Sequence[AnyMutant], at_once: int, longest: float) -> list[Verdict]:
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    warm_up()
    verdicts: list[Verdict] = []

    def tell(verdict: Verdict) -> None:
        verdicts.append(verdict)
        if len(verdicts) % 100 == 0 or verdict.fate is not Fate.KILLED:
            print(f"{len(verdicts)}/{len(chosen)} {verdict.fate}: {verdict.mutant}", file=sys.stderr, flush=True)

    attack = Attack(subjects, chosen, at_once, longest)
    attack.told = tell
    modules = {mutant.module for mutant in chosen}
    rooms = sorted({room for subject in subjects if subject.module in modules for room in subject.rooms})
    pytest.main([*options(), *(str(ROOT / room) for room in rooms)], plugins=[attack])
    assert len(verdicts) == len(chosen), "pytest gave up"
    return verdicts


def _asked(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description="Do the tests notice?")
    parser.add_argument("--module", action="append", default=[], help="rules, rules.stop, engine.held ...")
    parser.add_argument("--function", help="qualified name of one function")
    parser.add_argument("--sample", type=int, default=0, help="how many, chosen at random; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1))
    parser.add_argument("--longest", type=float, default=60.0, help="leave out tests that take longer (seconds)")
    parser.add_argument("--least", type=float, default=95.0, help="percent that have to be killed")
    parser.add_argument("--json", help="where to write the numbers")
    return parser.parse_args(arguments)


def _report(subjects: list[Subject], verdicts: list[Verdict], equivalent: Counter[str], seconds: float) -> Report:
    rows = {}
    for subject in subjects:
        fates = Counter(verdict.fate for verdict in verdicts if verdict.mutant.module == subject.module)
        rows[subject.name] = _row(fates, equivalent[subject.module])
    fates = Counter(verdict.fate for verdict in verdicts)
    return {"modules": rows, "total": _row(fates, equivalent.total()), "seconds": round(seconds)}


def _row(fates: Counter[Fate], equivalent: int) -> Row:
    killed = fates[Fate.KILLED] + fates[Fate.TIMEOUT]
    total = fates.total()
    return {
        "mutants": total,
        "killed": fates[Fate.KILLED],
        "timeout": fates[Fate.TIMEOUT],
        "survived": fates[Fate.SURVIVED],
        "equivalent": equivalent,
        "percent": round(100 * killed / total, 1) if total else 100.0,
    }


def table(report: Report) -> str:
    """The report in Markdown."""
    lines = ["| module | mutants | killed | timeout | survived | equivalent | % |", "|---|--:|--:|--:|--:|--:|--:|"]
    for name, row in [*report["modules"].items(), ("**total**", report["total"])]:
        lines.append(f"| {name} | " + " | ".join(str(number) for number in row.values()) + " |")
    return "\n".join([*lines, "", f"{report['seconds']} s"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
