"""The command line of the simulator."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Final

from simulation.runner import Summary, run_many, run_one
from simulation.scenario import Scenario, scenario
from simulation.shrink import shrink

MEET_ALL: Final = 2_000
"""Seeds that must have met every situation; of fewer that cannot be expected."""


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m simulation", description="Lives of a server on a machine made of a seed."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="Run many seeds; fail if a property is broken or a situation never occurs.")
    run.add_argument("--seeds", type=int, default=5_000)
    run.add_argument("--first", type=int, default=1, help="the first seed")
    run.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; as many as there are cores")
    run.add_argument("--replayed", type=int, default=200, help="seeds that are lived twice, to see the same trace")
    replay = commands.add_parser("replay", help="Run one seed again, and print its events.")
    replay.add_argument("--seed", type=int, required=True)
    least = commands.add_parser("shrink", help="find the least of a seed that still goes wrong, and tell it")
    least.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    match given.command:
        case "replay":
            return _told(scenario(given.seed))
        case "shrink":
            return _shrunk(scenario(given.seed))
        case _:
            return _run(given.first, given.seeds, given.jobs, given.replayed)


def _run(first: int, seeds: int, jobs: int, replayed: int) -> int:
    began, summary = time.monotonic(), Summary()
    for summary in run_many(first, seeds, jobs, replayed):
        if sys.stderr.isatty():
            print(f"\r{summary.seeds:,} of {seeds:,} seeds, {len(summary.broken)} broken", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(f"{summary} seconds={time.monotonic() - began:.0f}")
    for seed, how in summary.broken:
        print(f"seed {seed}: {how}\n    python -m simulation shrink --seed {seed}")
    for seed in summary.differing:
        print(f"seed {seed}: its second life was another one")
    for situation in summary.never:
        print(f"never met: {situation}")
    missed = summary.never if seeds >= MEET_ALL else []
    return 1 if summary.broken or summary.differing or missed else 0


def _told(what: Scenario) -> int:
    result = run_one(what, keep_trace=True)
    print(*result.trace, sep="\n")
    print(result.broken or "nothing is broken")
    return 1 if result.broken else 0


def _shrunk(whole: Scenario) -> int:
    broken = run_one(whole).broken
    if broken is None:
        print("nothing is broken")
        return 0
    name = broken.partition(":")[0]

    def fails(candidate: Scenario) -> bool:
        return (run_one(candidate).broken or "").partition(":")[0] == name

    least = shrink(whole, fails)
    print(f"{len(least.actions)} of {len(whole.actions)} actions:")
    for number, steps in enumerate(least.automations):
        print(f"automation {number}: {list(steps)}")
    for action in least.actions:
        print(f"{action.at:>12} {action}")
    return _told(least)


if __name__ == "__main__":
    sys.exit(main())
