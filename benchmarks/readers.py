"""Clients that read heavy lists until they are told to stop, in a process of their own.

    python -m benchmarks.readers HOST PORT TOKEN CONNECTIONS --ready-file FILE

Each connection asks again as soon as it has its answer: pages of 100 executions, listed and searched, with what they
refer to expanded. A refusal (429, 503) is waited out for 50 ms. On SIGTERM, one line of JSON says what was read.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.baselines import headers
from benchmarks.client import Address, Load, closed, request
from benchmarks.processes import Started, module, tell_ready
from benchmarks.subject import Subject, in_turn

AFTER_REFUSAL = 0.05


def wires(address: Address, token: str) -> list[bytes]:
    fields = headers(address, token)
    search = {
        "executionStates": ["AUTOMATION_EXECUTION_STATE_WAITING", "AUTOMATION_EXECUTION_STATE_TERMINATE"],
        "pageSize": 100,
        "expandMask": {"paths": ["*"]},
    }
    return [
        request("GET", "/api/v1/automation_executions?page_size=100", headers=fields),
        request("POST", "/api/v1/search/all_automation_executions", json.dumps(search).encode(), headers=fields),
    ]


async def read(address: Address, token: str, connections: int, ready_file: Path) -> Load:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)

    def requests() -> Iterator[bytes]:
        for wire in in_turn(wires(address, token)):
            if stopped.is_set():
                return
            yield wire

    tell_ready(ready_file, {"url": ""})
    return await closed(address, requests(), connections=connections, pause=AFTER_REFUSAL)


@dataclass(slots=True)
class Reading:
    """What the readers had read when they were stopped; filled at the end of `reading`."""

    pages: int = 0
    refused: int = 0
    seconds: float = 0.0
    p50: float = 0.0


@contextlib.contextmanager
def reading(subject: Subject, connections: int) -> Iterator[Reading]:
    """Readers beside whatever is measured within."""
    directory = subject.directory / "readers"
    directory.mkdir(exist_ok=True)
    host, port = subject.address
    process = Started(module("benchmarks.readers", host, str(port), subject.token, str(connections)), directory)
    found = Reading()
    try:
        yield found
        process.stop()
    finally:
        process.kill()
    told = json.loads((directory / "output.log").read_text().splitlines()[-1])
    found.pages, found.refused = told["pages"], told["refused"]
    found.seconds, found.p50 = told["seconds"], told["p50"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("token")
    parser.add_argument("connections", type=int)
    parser.add_argument("--ready-file", type=Path, required=True)
    given = parser.parse_args()
    load = uvloop.run(read((given.host, given.port), given.token, given.connections, given.ready_file))
    told = {
        "pages": load.statuses[200],
        "refused": load.count - load.statuses[200],
        "seconds": load.seconds,
        "p50": load.latency.p50,
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
