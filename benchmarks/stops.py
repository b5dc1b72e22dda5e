"""The stop of many by one order: a tree, and ten thousand that wait; and the stop on a full disk."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from benchmarks import small_disk
from benchmarks.client import Caller, Failed, Load, closed
from benchmarks.processes import running
from benchmarks.report import Figure, Section, Target, at_most, latency, milliseconds, per_second
from benchmarks.scale import Setting
from benchmarks.subject import NOT_OVER, Subject

MIDDLE: Final = 27
LEAVES: Final = 36
"""1 + 27 + 27 · 36 = 1,000 runs."""
LOOK: Final = 0.005
MOVING: Final = [state for state in NOT_OVER if state != "WAITING"]

TEXT = (
    "The tree is a run that started 27, each of which started 36; all of them wait, and the order names the first one "
    "with `cascade`. It is one commit, so the latency of the answer is the time until the last of them is `TERMINATE`. "
    "The bulk order names an automation, and is timed from the request until the order says that it is done. The full "
    "disk is a small file system in memory, filled to its last block, on which starts are refused."
)


async def measure(setting: Setting) -> Section:
    section = Section("Stopping many", TEXT)
    subject = Subject(setting.directory / "stops")
    with running(subject.process):
        await subject.log_in()
        waiting = await subject.long_wait()
        section.figures.append(await _trees(setting, subject, waiting))
        section.figures.append(await _bulk(setting, subject, waiting))
    section.figures.append(await _full_disk(setting))
    return section


async def _trees(setting: Setting, subject: Subject, leaf: str) -> Figure:
    middle = await _parent(subject, "Middle", leaf, LEAVES)
    root = await _parent(subject, "Root", middle, MIDDLE)
    caller, load = subject.caller(), Load()
    path = "/api/v1/automation_executions/{}/actions/terminate"
    for _ in range(setting.scale.trees):
        (execution,), _ = await subject.start_many(root, 1, connections=1)
        for automation in (root, middle, leaf):
            await _until_none(subject, caller, automation, MOVING)
        began = time.perf_counter()
        await caller.call("POST", path.format(execution), {"cascade": True})
        load.latency.add(time.perf_counter() - began)
        for automation in (root, middle, leaf):
            if await subject.unfinished(caller, automation):
                raise Failed("a run of a tree goes on after its stop")
    caller.close()
    return Figure(
        f"a tree of {1 + MIDDLE + MIDDLE * LEAVES:,}, in one commit",
        f"{latency(load)}",
        f"one commit {milliseconds(1 / setting.baselines.commits)}",
        f"p50 {load.latency.p50 * setting.baselines.commits:.0f}",
        at_most(load.latency.p50, 0.020, "20 ms p50"),
    )


async def _parent(subject: Subject, name: str, child: str, count: int) -> str:
    """Starts so many children, and waits."""
    start = {"runAutomation": {"automationTemplateRef": {"id": child}}}
    steps = [{"stepName": f"start_{number}", **start} for number in range(count)]
    return await subject.automation(name, [*steps, {"stepName": "grace", "waitForDuration": {"duration": "86400s"}}])


async def _until_none(subject: Subject, caller: Caller, automation: str, states: list[str]) -> None:
    async with asyncio.timeout(60):
        while await subject.unfinished(caller, automation, states):
            await asyncio.sleep(LOOK)


async def _bulk(setting: Setting, subject: Subject, waiting: str) -> Figure:
    count = setting.scale.bulk
    await subject.start_many(waiting, count)
    caller, began = subject.caller(), time.perf_counter()
    path, body = "/interlock/v1/bulkTerminations", {"filter": {"automationTemplateIds": [waiting]}}
    order = (await caller.call("POST", path, body))["bulkTermination"]
    accepted = time.perf_counter() - began
    async with asyncio.timeout(60):
        while order["state"] == "RUNNING":
            await asyncio.sleep(LOOK)
            order = (await caller.call("GET", f"{path}/{order['id']}"))["bulkTermination"]
    seconds = time.perf_counter() - began
    if int(order["accepted"]) != count or await subject.unfinished(caller, waiting):
        raise Failed(f"not all were stopped: {order}")
    caller.close()
    target = at_most(seconds, 0.5, "0.5 s") if count >= 10_000 else None
    return Figure(
        f"{count:,} waiting, by one bulk termination",
        f"{milliseconds(seconds)} ({per_second(count / seconds)}; the bulk termination itself "
        f"{milliseconds(accepted)})",
        f"256 rows a commit {per_second(setting.baselines.disk[-1].rows)}",
        f"{count / seconds / setting.baselines.disk[-1].rows:.2f}",
        target,
    )


async def _full_disk(setting: Setting) -> Figure:
    directory = setting.directory / "full-disk"
    data = directory.absolute() / "data"
    count, name = setting.scale.full_disk, "terminate on a full disk"
    try:
        subject = Subject(directory, within=tuple(small_disk.within(data)))
    except (Failed, OSError) as error:
        return Figure(name, f"not measured: no file system of our own could be made ({str(error).splitlines()[-1]})")
    with running(subject.process):
        await subject.log_in()
        waiting = await subject.long_wait()
        ids, _ = await subject.start_many(waiting, count)
        small_disk.fill(small_disk.filler(subject.process.process.pid, data))
        caller = subject.caller()
        async with asyncio.timeout(30):
            while (await caller.send(subject.execute(waiting)))[0] == 200:
                pass
        load = await closed(subject.address, [subject.terminate(each) for each in ids], connections=1)
        refused = (await caller.send(subject.execute(waiting)))[0]
        caller.close()
    done = load.statuses[200]
    return Figure(
        f"{name}, one at a time",
        f"{latency(load)}, {done:,} of {count:,} done; starts get {refused}",
        target=Target("all done", done == count),
    )
