"""More starts than the server can take: it turns some away and says so, every stop gets through, nothing stays behind.

The load is relative to what this machine can do at the moment, and no time is asserted: a wait that gives up is a
server that hangs.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from benchmarks.client import Caller, closed, request
from benchmarks.overload import Loaded, back_to_normal, capacity, connections_for, overloaded, stalled_callers
from benchmarks.processes import Started, module, running
from benchmarks.subject import Subject
from benchmarks.terminate import HELD, held_call, until_all

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

DOOMED = 400
"""Runs that are stopped beside each load: as many in flight as one host is sent, the others waiting."""
SEED = 20_261_125
LEAST_SHARE = 0.1
"""Of C: less than that is a server that has stopped working. What it should be is measured by the benchmark."""
MOST_TIMES = 20
"""How much longer a stop may take over a new connection than over one that stays."""
PER_CALLER = 32_768
"""Bytes of memory for a connection and the request that waits on it; about half of it is what they take."""
_STATE = "AUTOMATION_EXECUTION_STATE_"


@pytest.fixture
def receiver(tmp_path: Path) -> Iterable[Started]:
    directory = tmp_path / "receiver"
    directory.mkdir()
    with running(Started(module("benchmarks.receiver"), directory)) as process:
        yield process


@pytest.fixture
async def subject(tmp_path: Path, receiver: Started) -> AsyncIterator[Subject]:
    made = Subject(tmp_path / "server", egress=(f"127.0.0.1:{receiver.address[1]}",))
    with running(made.process):
        await made.log_in()
        yield made


async def doomed(subject: Subject, receiver: Started, held: str, waiting: str) -> list[str]:
    """Runs in flight and runs that wait, in a mixed order."""
    in_flight, _ = await subject.start_many(held, HELD, connections=16)
    far = Caller(receiver.address, [("Host", "receiver")])
    await until_all(far, "/arrived", in_flight)
    far.close()
    found, _ = await subject.start_many(waiting, DOOMED - HELD)
    found += in_flight
    random.Random(SEED).shuffle(found)
    return found


async def states(subject: Subject, executions: list[str]) -> Counter[str]:
    """In which states they are; who is not there at all is counted as what was answered."""
    found: Counter[str] = Counter()

    def answered(status: int, body: bytes) -> None:
        state = json.loads(body)["automationExecution"]["state"] if status == 200 else body.decode()
        found[state.removeprefix(_STATE)] += 1

    wires = (request("GET", f"/api/v1/automation_executions/{each}", headers=subject.headers()) for each in executions)
    await closed(subject.address, wires, connections=16, answered=answered)
    return found


def check(loaded: Loaded, most: float) -> None:
    assert loaded.terminates.statuses + loaded.anew.statuses == {200: DOOMED}
    # Who comes anew is let in about as soon as others are answered; with one connection taken a turn of the loop it was
    # eighty times as long.
    assert loaded.anew.latency.p50 <= MOST_TIMES * loaded.terminates.latency.p50
    starts = loaded.starts
    assert set(starts.statuses) <= {200, 429, 503}
    assert starts.bare_refusals == 0
    assert starts.statuses[200] == len(starts.started) == len(set(starts.started))
    assert starts.rate > LEAST_SHARE * most


async def test_overloaded_server_does_every_stop_and_refuses_some_starts(subject: Subject, receiver: Started) -> None:
    brief, waiting = await subject.one_expression(), await subject.long_wait()
    held = await held_call(subject, receiver)
    served = await capacity(subject, brief, seconds=3)
    assert set(served.statuses) == {200}
    connections = connections_for(served.rate)
    before = subject.process.memory().resident
    stopped, started = list[str](), list(served.started)
    loads: list[Loaded] = []
    async with stalled_callers(subject):
        for times in (2, 5):
            ids = await doomed(subject, receiver, held, waiting)
            loaded = await overloaded(subject, brief, ids, rate=times * served.rate, connections=connections)
            check(loaded, served.rate)
            loads.append(loaded)
            stopped += ids
            started += loaded.starts.started
    # Unless the machine has become much faster meanwhile, and this was no overload.
    assert loads[-1].starts.refused > 0 or loads[-1].starts.rate > 2 * served.rate
    _, accepted = await back_to_normal(subject, brief)
    for automation in (brief, waiting, held):
        await subject.until_over(automation)
    assert await states(subject, stopped) == {"TERMINATE": len(stopped)}
    assert await states(subject, started + accepted) == {"DONE": len(started) + len(accepted)}
    # Memory goes with the number of callers, not with how much they ask for, nor with how long they go on.
    twice, five_times = (loaded.memory.resident for loaded in loads)
    assert twice <= 1.2 * before + connections * PER_CALLER
    assert five_times <= 1.2 * twice
