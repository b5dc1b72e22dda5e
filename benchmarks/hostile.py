"""Terminations beside hostile callers and remotes, and quick remotes beside slow ones."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final

from benchmarks.attacks import ATTACKS, CONNECTIONS, Attack, under_attack
from benchmarks.client import Caller, Failed, opened
from benchmarks.processes import Started, module, running
from benchmarks.report import Figure, Section, at_most, latency, mebibytes, milliseconds
from benchmarks.scale import Setting
from benchmarks.subject import Subject

TERMINATES: Final = 100.0
"""Terminations per second beside an attack."""
MAX_MEMORY: Final = 400 * 2**20
SLOW_RUNS: Final = 600
QUICK_RUNS: Final = 50

TEXT = (
    f"Each hostile input is sent in a loop over {CONNECTIONS} connections, as fast as it is answered, while waiting "
    "runs are terminated at a constant rate by another client. Memory is the highest that was seen, of the server and "
    "its evaluator processes. Quick runs call a remote that answers at once, beside runs that call one which takes ten "
    "seconds."
)


async def measure(setting: Setting) -> Section:
    section = Section("Hostile", TEXT)
    directory = setting.directory / "hostile-receiver"
    directory.mkdir(parents=True, exist_ok=True)
    with running(Started(module("benchmarks.hostile_receiver"), directory)) as receiver:
        host, port = receiver.address
        for number, attack in enumerate(ATTACKS):
            subject = Subject(setting.directory / f"hostile-{number}", egress=(f"{host}:{port}",))
            with running(subject.process):
                print(f"attacking: {attack.name}", file=sys.stderr, flush=True)
                await subject.log_in()
                section.figures.append(await _terminated(setting, subject, attack, f"http://{host}:{port}"))
        subject = Subject(setting.directory / "hostile-slow", egress=(f"{host}:{port}", "localhost"))
        with running(subject.process):
            await subject.log_in()
            section.figures += await _beside_slow(subject, receiver)
    return section


async def _terminated(setting: Setting, subject: Subject, attack: Attack, receiver: str) -> Figure:
    waiting = await subject.long_wait()
    ids, _ = await subject.start_many(waiting, int(TERMINATES * setting.scale.hostile_seconds))
    highest = 0
    async with under_attack(subject, attack, receiver):
        measured = asyncio.create_task(
            opened(subject.address, [subject.terminate(each) for each in ids], rate=TERMINATES, connections=32)
        )
        while not measured.done():
            highest = max(highest, subject.process.memory().anonymous)
            await asyncio.wait((measured,), timeout=0.1)
        load = (await measured).expect()
    bare = 1 / setting.baselines.commits
    return Figure(
        attack.name,
        f"{latency(load)}; {mebibytes(highest)}",
        f"single commit {milliseconds(bare)}",
        f"p50 {load.latency.p50 / bare:.1f}",
        at_most(load.latency.p99 if highest <= MAX_MEMORY else float("inf"), 0.050, "50 ms p99, 400 MiB"),
    )


async def _beside_slow(subject: Subject, receiver: Started) -> list[Figure]:
    slow_host, port = receiver.address
    automations = {}
    # Two names of one machine: for the server these are two hosts.
    for path, host in (("/slow", slow_host), ("/quick", "localhost")):
        webhook = await subject.webhook(f"http://{host}:{port}{path}")
        call = {"stepName": "call", "webhook": {"webhookId": webhook, "payload": {}}}
        automations[path] = await subject.automation(path, [call])
    await subject.start_many(automations["/slow"], SLOW_RUNS)
    began = time.perf_counter()
    await subject.start_many(automations["/quick"], QUICK_RUNS)
    await subject.until_over(automations["/quick"])
    seconds = time.perf_counter() - began
    await subject.until_over(automations["/slow"])
    caller = Caller(receiver.address)
    calls = (await caller.call("GET", "/calls"))["/slow"]
    caller.close()
    if (await subject.states(automations["/slow"])) != {"DONE": SLOW_RUNS}:
        raise Failed("not every run of the slow remote was done")
    return [
        Figure(
            f"{QUICK_RUNS} runs to a quick remote beside {SLOW_RUNS} to a slow one",
            milliseconds(seconds),
            target=at_most(seconds, 0.2, "0.2 s"),
        ),
        Figure(
            f"calls of the slow remote for {SLOW_RUNS} runs",
            f"{calls:,}",
            target=at_most(calls, SLOW_RUNS, f"{SLOW_RUNS:,}"),
        ),
    ]
