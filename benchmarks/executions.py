"""Executions of three steps, from the request that starts them until the last one is DONE."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.client import Failed
from benchmarks.processes import Started, module, running
from benchmarks.report import Figure, Section, at_least, at_most, per_second
from benchmarks.scale import Setting
from benchmarks.subject import Subject

SUBMITTERS = 64
WARM_UP = 500

TEXT = (
    "64 clients start the runs over HTTP; the measurement ends when the last run is `DONE`. *No receiver*: the "
    "outbound "
    "HTTP port answers without I/O, so that each step is rendered, announced, performed and recorded, each with its "
    "commit. CPU is that of the server's process, the start included; its baseline is the CPU of one request to the "
    "bare application."
)


async def measure(setting: Setting) -> Section:
    section = Section("Executions of three steps", TEXT)
    subject = Subject(setting.directory / "no-receiver", without_network=True)
    with running(subject.process):
        await subject.log_in()
        automation = await subject.three_webhooks("http://127.0.0.1:9/answer")
        rate, cpu = await _through(subject, automation, setting.scale.executions)
        section.figures += _figures(setting, "three webhooks, no receiver", rate, cpu, is_target=True)
        automation = await subject.three_expressions()
        rate, cpu = await _through(subject, automation, setting.scale.executions)
        section.figures += _figures(setting, "three `evaluateExpressions`", rate, cpu)
    directory = setting.directory / "receiver"
    directory.mkdir(parents=True, exist_ok=True)
    with running(Started(module("benchmarks.receiver"), directory)) as receiver:
        subject = Subject(setting.directory / "receiver", egress=(f"127.0.0.1:{receiver.address[1]}",))
        with running(subject.process):
            await subject.log_in()
            automation = await subject.three_webhooks(f"http://127.0.0.1:{receiver.address[1]}/answer")
            rate, cpu = await _through(subject, automation, setting.scale.real_executions)
            section.figures += _figures(setting, "three webhooks to a local receiver", rate, cpu)
    return section


async def _through(subject: Subject, automation: str, count: int) -> tuple[float, float]:
    """Executions per second, and seconds of the server's CPU for each."""
    await subject.start_many(automation, WARM_UP, connections=SUBMITTERS)
    await subject.until_over(automation)
    cpu, began = subject.process.cpu(), time.perf_counter()
    await subject.start_many(automation, count, connections=SUBMITTERS)
    await subject.until_over(automation)
    seconds, cpu = time.perf_counter() - began, subject.process.cpu() - cpu
    states = await subject.states(automation)
    if states != {"DONE": count + WARM_UP}:
        raise Failed(f"not every run is DONE: {states}")
    return count / seconds, cpu / count


def _figures(setting: Setting, name: str, rate: float, cpu: float, *, is_target: bool = False) -> Iterator[Figure]:
    base = setting.baselines
    yield Figure(
        name,
        f"{per_second(rate)}",
        f"bare ASGI {per_second(base.rate)}; single commits {per_second(base.commits)}",
        f"{rate / base.rate:.2f}; {rate / base.commits:.2f}",
        at_least(rate, 4_000, "4,000/s") if is_target else None,
    )
    yield Figure(
        "the same, CPU for each",
        f"{cpu * 1e3:.3f} ms",
        f"bare ASGI request {base.cpu * 1e3:.3f} ms",
        f"{cpu / base.cpu:.1f}",
        at_most(cpu, 0.25e-3, "0.25 ms") if is_target else None,
    )
