"""What an evaluation costs in an evaluator process, beside CEL in this process with its references owned."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.report import Figure, Section, at_most, milliseconds
from benchmarks.scale import Setting
from interlock.expressions.context import Context
from interlock.expressions.environment import Environment
from interlock.expressions.limits import EVALUATORS
from interlock.expressions.pool import EvaluatorPool
from interlock.expressions.program import Program
from interlock.expressions.worker import own_none

TEXT = (
    "CPU of the server and of its evaluator processes together, for one batch of one expression, less the CPU of the "
    "same evaluation in this process (which owns the references that CEL gives away: possible, and not safe against "
    "memory, time or a crash). In between stands a plain selection, which no process is needed for."
)
SOURCE: Final = "ctx.trigger.amount * 2 > 100 && ctx.trigger.name.startsWith('a')"
CTX: Final[dict[str, object]] = {"trigger": {"amount": 80, "name": "alice", "items": list(range(20))}}
TARGET_SECONDS: Final = 60e-6
REPLACED_SECONDS: Final = 0.2


async def measure(setting: Setting) -> Section:
    count = setting.scale.http
    own_none()
    program = Environment().compile(SOURCE)
    selection = Environment().compile("ctx.trigger.name")
    began = time.process_time()
    for _ in range(count):
        program.evaluate(_context())
    inside = (time.process_time() - began) / count
    began = time.process_time()
    for _ in range(count):
        selection.select(_context())
    selected = (time.process_time() - began) / count
    pool = EvaluatorPool()
    await _ready(pool)
    try:
        alone = await _cost(pool, program, count, 1)
        together = await _cost(pool, program, count, 32)
        replaced = median([await _death(pool, program) for _ in range(setting.scale.starts)])
    finally:
        await pool.aclose()
    baseline = f"in this process {_micro(inside)}"
    return Section(
        "Evaluation",
        TEXT,
        [
            Figure("plain selection", _micro(selected), baseline, f"{selected / inside:.2f}"),
            _figure("a batch of one", alone, inside, baseline),
            _figure("a job in a batch of 32", together, inside, baseline),
            Figure(
                "the answer to a job whose evaluator is killed",
                milliseconds(replaced),
                target=at_most(replaced, REPLACED_SECONDS, "200 ms"),
            ),
        ],
    )


def _figure(name: str, cost: float, inside: float, baseline: str) -> Figure:
    beyond = cost - inside
    target = at_most(beyond, TARGET_SECONDS, "60 µs")
    return Figure(f"{name}: CPU beyond the evaluation", _micro(beyond), baseline, f"{cost / inside:.2f}", target)


def _context() -> Context:
    return Context(CTX, datetime(2026, 1, 1, tzinfo=UTC))


async def _ready(pool: EvaluatorPool) -> None:
    pool.start()
    while len(pool.children) < EVALUATORS + 1:
        await asyncio.sleep(0.01)


async def _cost(pool: EvaluatorPool, program: Program, count: int, at_once: int) -> float:
    """CPU seconds of a job, in all processes."""
    for _ in range(100):
        await asyncio.gather(*[pool.evaluate(program, _context()) for _ in range(at_once)])
    rounds = count // at_once
    began = time.process_time() + _children_cpu(pool)
    if at_once == 1:
        for _ in range(rounds):
            await pool.evaluate(program, _context())
    else:
        for _ in range(rounds):
            await asyncio.gather(*[pool.evaluate(program, _context()) for _ in range(at_once)])
    return (time.process_time() + _children_cpu(pool) - began) / (rounds * at_once)


def _children_cpu(pool: EvaluatorPool) -> float:
    return sum(int(Path(f"/proc/{child.pid}/schedstat").read_text().split()[0]) for child in pool.children) / 1e9


async def _death(pool: EvaluatorPool, program: Program) -> float:
    """Seconds until a job is answered by another process, after the one that had it was killed."""
    await _ready(pool)
    job = asyncio.ensure_future(pool.evaluate(program, _context()))
    while not any(child.at_work for child in pool.children):
        await asyncio.sleep(0)
    for child in pool.children:
        if child.at_work:
            os.kill(child.pid, signal.SIGKILL)
    began = time.perf_counter()
    await job
    return time.perf_counter() - began


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs"
