"""Measure, beside raw baselines of the same run.

    python -m benchmarks [--quick] [PART...]
    python -m benchmarks compare REV [--bench NAME...] [--tries N]

Parts: executions, calls, evaluation, terminate, stops, overload, hostile, waiting, starting, contract; all of them if
none is named. The table goes to standard output; a full run of all parts also writes benchmarks/RESULTS.md. Everything
is sent to this machine only, and it ends by itself. `compare` measures the working tree and another commit alternately.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from benchmarks import (
    baselines,
    calls,
    compare,
    contract,
    evaluation,
    executions,
    hostile,
    overload,
    starting,
    stops,
    terminate,
    waiting,
)
from benchmarks.processes import Started, module, running
from benchmarks.report import RESULTS, ROOT, Baselines, Section, document
from benchmarks.scale import FULL, QUICK, Setting

PARTS: dict[str, Callable[[Setting], Awaitable[Section]]] = {
    "executions": executions.measure,
    "calls": calls.measure,
    "evaluation": evaluation.measure,
    "terminate": terminate.measure,
    "stops": stops.measure,
    "overload": overload.measure,
    "hostile": hostile.measure,
    "waiting": waiting.measure,
    "starting": starting.measure,
    "contract": contract.measure,
}
DIRECTORY = ROOT / ".interlock" / "benchmarks"
"""On the file system of the checkout: a temporary one may be in memory, where a sync costs nothing."""


def main() -> int:
    if sys.argv[1:2] == ["compare"]:
        return compare.main(sys.argv[2:])
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*PARTS, []], help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="a tenth of the counts, to see that it works")
    parser.add_argument("--data-dir", type=Path, default=DIRECTORY, help="where the servers keep their data")
    given = parser.parse_args()
    parts = given.parts or list(PARTS)
    setting = Setting(given.data_dir.absolute(), QUICK if given.quick else FULL, Baselines())
    sections = []
    try:
        for name in parts:
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            _sample(setting)
            sections.append(uvloop.run(_measured(PARTS[name], setting)))
        _sample(setting)
    finally:
        shutil.rmtree(given.data_dir, ignore_errors=True)
    now = datetime.datetime.now(datetime.UTC)
    command = " ".join(["python -m benchmarks", *(["--quick"] if given.quick else []), *given.parts])
    text = document([setting.baselines.section(), *sections], f"{now:%Y-%m-%d}", command)
    print(text)
    if not given.quick and not given.parts:
        RESULTS.write_text(text)
    return 0


async def _measured(part: Callable[[Setting], Awaitable[Section]], setting: Setting) -> Section:
    return await part(setting)


def _sample(setting: Setting) -> None:
    """The machine's own limits, as they are now."""
    directory = setting.directory / "bare"
    directory.mkdir(parents=True, exist_ok=True)
    found = setting.baselines
    found.disk.append(baselines.disk(directory, seconds=setting.scale.disk_seconds))
    with running(Started(module("benchmarks.bare"), directory)) as process:
        uvloop.run(baselines.http(process.address, setting.scale.http // 4))
        cpu = process.cpu()
        load = uvloop.run(baselines.http(process.address, setting.scale.http))
        found.http.append(load.rate)
        found.http_cpu.append((process.cpu() - cpu) / load.count)


if __name__ == "__main__":
    sys.exit(main())
