"""Callers that start runs, in a process of their own: as fast as they are served, or at a rate that does not care.

    python -m benchmarks.starters HOST PORT TOKEN AUTOMATION RATE SECONDS CONNECTIONS --ready-file FILE

With a rate, starts come due at it whatever the server does; one that finds every connection busy is not sent, as of a
caller who gets no line. With a rate of 0 each connection sends its next start when it has its answer. It ends by itself
after the time given; the ready file is written when the connections are open. One line of JSON says what was answered.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.client import Address, Load, closed, opened
from benchmarks.processes import PATIENCE, Started, module, tell_ready
from benchmarks.subject import Subject, collect, execute


@dataclass(frozen=True, slots=True)
class Starts:
    """What callers were told."""

    started: list[str]
    """Ids of the runs whose start was acknowledged."""
    statuses: dict[int, int]
    unsent: int
    bare_refusals: int
    seconds: float
    p99: float

    @property
    def rate(self) -> float:
        """Starts acknowledged per second."""
        return len(self.started) / self.seconds

    @property
    def refused(self) -> int:
        """Starts that were turned away."""
        return sum(count for status, count in self.statuses.items() if status != 200)


async def send(
    address: Address, token: str, automation: str, rate: float, seconds: float, connections: int, ready_file: Path
) -> tuple[Load, list[str]]:
    found: list[str] = []
    wire = execute(address, token, automation)

    def begun() -> None:
        tell_ready(ready_file, {"url": ""})

    if rate:
        wires: Iterator[bytes] = itertools.repeat(wire, int(rate * seconds))
        return await opened(
            address,
            wires,
            rate=rate,
            connections=connections,
            answered=collect(found),
            begun=begun,
            is_kept=False,
        ), found
    begun()
    until = time.perf_counter() + seconds
    wires = itertools.takewhile(lambda _: time.perf_counter() < until, itertools.repeat(wire))
    return await closed(address, wires, connections=connections, answered=collect(found)), found


class Starters:
    """Such a process, on its way from here on.

    Args:
        rate: starts that come due per second; 0: as many as are answered.
    """

    def __init__(
        self, subject: Subject, automation: str, *, seconds: float, connections: int, rate: float = 0.0
    ) -> None:
        directory = subject.directory / "starters"
        directory.mkdir(exist_ok=True)
        self._log = directory / "output.log"
        host, port = subject.address
        given = (host, str(port), subject.token, automation, str(rate), str(seconds), str(connections))
        self._process = Started(module("benchmarks.starters", *given), directory)

    async def ended(self) -> Starts:
        """What came of it, once it is over. Raises Failed if it did not end orderly."""
        try:
            await asyncio.to_thread(self._process.process.wait, PATIENCE)
            self._process.stop()
        finally:
            self._process.kill()
        told = json.loads(self._log.read_text().splitlines()[-1])
        told["statuses"] = {int(status): count for status, count in told["statuses"].items()}
        return Starts(**told)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("token")
    parser.add_argument("automation")
    parser.add_argument("rate", type=float)
    parser.add_argument("seconds", type=float)
    parser.add_argument("connections", type=int)
    parser.add_argument("--ready-file", type=Path, required=True)
    given = parser.parse_args()
    # Each connection is an open file, and the soft limit may be a fraction of the hard one.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    address = (given.host, given.port)
    load, started = uvloop.run(
        send(address, given.token, given.automation, given.rate, given.seconds, given.connections, given.ready_file)
    )
    told = {
        "started": started,
        "statuses": load.statuses,
        "unsent": load.unsent,
        "bare_refusals": load.bare_refusals,
        "seconds": load.seconds,
        "p99": load.latency.p99,
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
