"""CEL runs in evaluator processes: one that dies costs a retry, and none outlives its pool."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

from interlock.errors import Unavailable
from interlock.expressions.context import Context
from interlock.expressions.environment import NOWHERE, Environment
from interlock.expressions.evaluate import EvaluationStopped
from interlock.expressions.failures import ExpressionFailed, OverBudget
from interlock.expressions.limits import EVALUATOR_MEMORY_BYTES, EVALUATORS, MAX_FRESH_GROWTH_BYTES, MAX_KILLS
from interlock.expressions.pool import EvaluatorPool
from tests.expressions.compiled import compile_template
from tests.expressions.given import ENVIRONMENT, NOW, context

pytestmark = pytest.mark.anyio

LIST = {"list": [{"i": i} for i in range(50)], "text": "a" * 5000, "text2": "{{ 1 }}"}
LOOPS = "ctx.a.list.map(x, x.i).filter(x, x > 47)"
BOMB = '["aaaaaaaa"]' + ".map(x, x + x + x + x + x + x + x + x + x + x)" * 8
LEAKING = ENVIRONMENT.compile("ctx.a.text.ifEmpty('x').size()")
SLOW = "ctx.a.list.map(x, ctx.a.list.map(y, x.i * y.i)).size()"
SPIN = "ctx.a.text" + ".replace('a', ctx.a.text)" * 2 + ".size()"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def evaluator() -> AsyncIterator[EvaluatorPool]:
    made = EvaluatorPool()
    yield made
    await made.aclose()


def children(evaluator: EvaluatorPool) -> set[int]:
    return {child.pid for child in evaluator.children}


def memory(pid: int) -> int:
    """Address space of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


async def leak(evaluator: EvaluatorPool) -> object:
    """Evaluate what leaves its argument and its result behind in the process: the size of a text of 400,000."""
    return await evaluator.evaluate(LEAKING, context(a={"text": "x" * 400_000}))


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await checkpoint()


async def ready(evaluator: EvaluatorPool) -> None:
    """Until as many processes are there as there are to be."""
    evaluator.start()
    await until(lambda: len(evaluator.children) == EVALUATORS + 1)


async def test_a_program_gives_the_same_there_as_here(evaluator: EvaluatorPool) -> None:
    program = ENVIRONMENT.compile(LOOPS + " + [trigger.n] + [int(now() - now() == duration('0s') ? 1 : 0)]")
    values = context(a=LIST, trigger={"n": 1.0})
    assert await evaluator.evaluate(program, values) == program.evaluate(values) == [48, 49, 1, 1]


async def test_plain_selection_starts_no_process(evaluator: EvaluatorPool) -> None:
    assert await evaluator.evaluate(ENVIRONMENT.compile("ctx.a.text2"), context(a=LIST)) == "{{ 1 }}"
    assert children(evaluator) == set()


async def test_processes_are_used_again(evaluator: EvaluatorPool) -> None:
    program = ENVIRONMENT.compile(LOOPS)
    await evaluator.evaluate(program, context(a=LIST))
    await ready(evaluator)
    first = children(evaluator)
    for _ in range(5):
        await evaluator.evaluate(program, context(a=LIST))
    assert children(evaluator) == first
    assert len(first) == EVALUATORS + 1


@pytest.mark.parametrize("source", [BOMB, SPIN, "cidr(dyn([{'a': ctx.?a}])).contains(ip('1.1.1.1'))"])
async def test_an_overrun_ends_the_child_and_not_the_next_evaluation(evaluator: EvaluatorPool, source: str) -> None:
    with pytest.raises(OverBudget):
        await evaluator.evaluate(ENVIRONMENT.compile(source), context(a=LIST))
    assert await evaluator.evaluate(ENVIRONMENT.compile(LOOPS), context(a=LIST)) == [48, 49]


async def test_a_failure_there_names_what_is_missing_and_where(evaluator: EvaluatorPool) -> None:
    with pytest.raises(ExpressionFailed, match="field 'nope' is missing") as failed:
        await evaluator.evaluate(ENVIRONMENT.compile("ctx.a.list.map(x, x.nope).map(x, x)"), context(a=LIST))
    assert failed.value.column == 21


async def test_a_template_is_filled_with_values_from_there(evaluator: EvaluatorPool) -> None:
    template = compile_template(ENVIRONMENT, {"x": "{{ " + LOOPS + " }}", "y": "<{{ ctx.a.text2 }}>"}, NOWHERE)
    assert await evaluator.render(template, context(a=LIST)) == {"x": [48, 49], "y": "<{{ 1 }}>"}


async def test_one_program_over_several_contexts_gives_each_its_result_or_its_failure(evaluator: EvaluatorPool) -> None:
    program = ENVIRONMENT.compile("ctx.a.list.map(x, x.i).map(x, x + 1)")
    lists: list[list[object]] = [[{"i": 0}] * 50, [{"j": 1}], [{"i": 1}], []]
    results = await evaluator.evaluate_each(program, [context(a={"list": given}) for given in lists])
    assert [type(result) for result in results] == [list, ExpressionFailed, list, list]
    assert "field 'i' is missing" in str(results[1])
    assert results[2:] == [[2], []]


async def test_one_of_several_that_overruns_spoils_no_other(evaluator: EvaluatorPool) -> None:
    program = ENVIRONMENT.compile("ctx.a.text" + ".replace('a', ctx.a.text)" * 2 + ".size()")
    results = await evaluator.evaluate_each(program, [context(a={"text": text}) for text in ("aa", "a" * 5000, "aaa")])
    assert (results[0], type(results[1]), results[2]) == (8, OverBudget, 27)


async def test_plain_selections_of_several_start_no_process(evaluator: EvaluatorPool) -> None:
    results = await evaluator.evaluate_each(ENVIRONMENT.compile("ctx.a.x"), [context(a={"x": 1}), context(a={})])
    assert (results[0], type(results[1])) == (1, ExpressionFailed)
    assert children(evaluator) == set()


async def test_more_jobs_than_children_take_turns(evaluator: EvaluatorPool) -> None:
    program = ENVIRONMENT.compile(LOOPS)
    results = await asyncio.gather(*[evaluator.evaluate(program, context(a=LIST)) for _ in range(10)])
    assert results == [[48, 49]] * 10
    assert evaluator.busy == 0


async def test_cancelled_caller_does_not_wait_and_harms_no_other(evaluator: EvaluatorPool) -> None:
    program = ENVIRONMENT.compile(LOOPS)
    await evaluator.evaluate(program, context(a=LIST))
    spinning = asyncio.ensure_future(evaluator.evaluate(ENVIRONMENT.compile(SPIN), context(a=LIST)))
    await until(lambda: evaluator.busy > 0)
    spinning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await spinning
    assert await evaluator.evaluate(program, context(a=LIST)) == [48, 49]


async def test_stopped_run_is_not_evaluated(evaluator: EvaluatorPool) -> None:
    program = ENVIRONMENT.compile(LOOPS)
    with pytest.raises(EvaluationStopped):
        await evaluator.values((program,), context(a=LIST), lambda: True)


async def test_run_stopped_in_the_queue_is_told_before_its_turn(evaluator: EvaluatorPool) -> None:
    spin = ENVIRONMENT.compile(SPIN)
    stopped = False
    spinning = [asyncio.ensure_future(evaluator.evaluate(spin, context(a=LIST))) for _ in range(20)]
    waiting = asyncio.ensure_future(evaluator.values((spin,), context(a=LIST), lambda: stopped))
    await until(lambda: evaluator.busy > 0)
    stopped = True
    with pytest.raises(EvaluationStopped):
        await waiting
    assert sum(task.done() for task in spinning) < 10
    for task in spinning:
        task.cancel()
    await asyncio.gather(*spinning, return_exceptions=True)


async def test_too_much_input_is_refused_before_it_is_sent(evaluator: EvaluatorPool) -> None:
    with pytest.raises(OverBudget, match="reads more than 512 KiB"):
        await evaluator.evaluate(ENVIRONMENT.compile("ctx.a.map(x, x).map(x, x)"), context(a=["x" * 600_000]))


async def test_closing_leaves_no_process(evaluator: EvaluatorPool) -> None:
    program = ENVIRONMENT.compile(LOOPS)
    await asyncio.gather(*[evaluator.evaluate(program, context(a=LIST)) for _ in range(4)])
    started = children(evaluator)
    assert started
    await evaluator.aclose()
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(Unavailable):
        await evaluator.evaluate(program, context(a=LIST))


async def test_a_child_asks_the_directory_here(evaluator: EvaluatorPool) -> None:
    class Directory:
        def get_user(self, user_id: str) -> Mapping[str, object] | None:
            if user_id == "down":
                raise Unavailable("the disk is away")
            return {"email": f"{user_id}@example.com"}

    directory: Any = Directory()
    values = Context({"a": {"ids": ["x", "y"]}, "b": {"ids": ["down"]}}, NOW, directory=directory)
    environment = Environment(directory=True)
    source = "ctx.a.ids.map(i, i).map(i, c1.directory.users.v1.GetByID(i).email)"
    assert await evaluator.evaluate(environment.compile(source), values) == ["x@example.com", "y@example.com"]
    with pytest.raises(Unavailable, match="the disk is away"):
        await evaluator.evaluate(environment.compile(source.replace("ctx.a", "ctx.b")), values)


async def test_a_child_has_nothing_of_the_servers_environment(
    evaluator: EvaluatorPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_TEST_SECRET", "hunter2")
    await evaluator.evaluate(ENVIRONMENT.compile(LOOPS), context(a=LIST))
    pid = min(children(evaluator))
    environment = Path(f"/proc/{pid}/environ")
    if not environment.exists():  # noqa: ASYNC240
        pytest.skip("no /proc here")
    assert b"hunter2" not in environment.read_bytes()  # noqa: ASYNC240


async def killed(evaluator: EvaluatorPool, count: int, runs: Sequence[asyncio.Future[Any]]) -> None:
    """Kill the processes at work, so many of them one after the other, while there is work."""
    known: set[int] = set()
    while len(known) < count and not all(run.done() for run in runs):
        for child in evaluator.children:
            if child.at_work and child.pid not in known:
                known.add(child.pid)
                os.kill(child.pid, signal.SIGKILL)
        await checkpoint()


async def test_evaluators_that_are_killed_cost_a_retry_and_no_run(evaluator: EvaluatorPool) -> None:
    program = ENVIRONMENT.compile(SLOW)
    await evaluator.ready()
    runs = [asyncio.ensure_future(evaluator.evaluate(program, context(a=LIST))) for _ in range(50)]
    await killed(evaluator, MAX_KILLS - 1, runs)
    assert await asyncio.gather(*runs) == [50] * 50


async def test_evaluators_that_are_killed_from_outside_are_not_held_against_what_they_evaluated(
    evaluator: EvaluatorPool,
) -> None:
    await evaluator.ready()
    # It takes long enough to be at work still when it is looked at.
    run = asyncio.ensure_future(evaluator.evaluate(ENVIRONMENT.compile(SLOW), context(a=LIST)))
    await killed(evaluator, MAX_KILLS + 2, [run])
    assert await run == 50


async def test_expression_that_ends_its_evaluators_fails_alone(evaluator: EvaluatorPool) -> None:
    innocent = ENVIRONMENT.compile(LOOPS)
    killer = ENVIRONMENT.compile("cidr(dyn([{'a': ctx.?a}])).contains(ip('1.1.1.1'))")
    runs = [asyncio.ensure_future(evaluator.evaluate(innocent, context(a=LIST))) for _ in range(20)]
    guilty = asyncio.ensure_future(evaluator.evaluate(killer, context(a=LIST)))
    runs += [asyncio.ensure_future(evaluator.evaluate(innocent, context(a=LIST))) for _ in range(20)]
    assert await asyncio.gather(*runs) == [[48, 49]] * 40
    with pytest.raises(OverBudget, match="ended the process that evaluated it 3 times"):
        await guilty


async def test_dead_evaluator_is_replaced(evaluator: EvaluatorPool) -> None:
    await ready(evaluator)
    before = children(evaluator)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert await evaluator.evaluate(ENVIRONMENT.compile(LOOPS), context(a=LIST)) == [48, 49]
    await ready(evaluator)
    assert not before & children(evaluator)


async def test_filters_do_not_wait_behind_runs(evaluator: EvaluatorPool) -> None:
    await ready(evaluator)
    spinning = [
        asyncio.ensure_future(evaluator.evaluate(ENVIRONMENT.compile(SPIN), context(a=LIST))) for _ in range(20)
    ]
    await until(lambda: evaluator.busy > 0)
    assert await evaluator.evaluate_each(ENVIRONMENT.compile(LOOPS), [context(a=LIST)] * 3) == [[48, 49]] * 3
    assert sum(task.done() for task in spinning) < 10
    for task in spinning:
        task.cancel()
    await asyncio.gather(*spinning, return_exceptions=True)


async def test_nulls_are_no_danger(evaluator: EvaluatorPool) -> None:
    nulls = context(trigger={"manager": None, "nulls": [None] * 40_000})
    program = ENVIRONMENT.compile("ctx.trigger.nulls.size() + (ctx.trigger.manager == null ? 1 : 0)")
    whole = ENVIRONMENT.compile("ctx.trigger.nulls")
    await evaluator.ready()
    before = sys.getrefcount(None)
    for _ in range(20):
        assert await evaluator.evaluate(program, nulls) == 40_001
        assert await evaluator.evaluate(ENVIRONMENT.compile("ctx.trigger.manager"), nulls) is None
        assert await evaluator.evaluate(whole, nulls) == [None] * 40_000
    assert sys.getrefcount(None) > before - 1_000


@pytest.mark.skipif(sys.platform != "linux", reason="memory of another process is limited by prlimit")
@pytest.mark.parametrize("room", [2**19, 3 * 2**18, 2**20])
async def test_expression_is_not_blamed_for_memory_that_leaked_before(evaluator: EvaluatorPool, room: int) -> None:
    await ready(evaluator)
    fresh = {pid: memory(pid) for pid in children(evaluator)}
    while not (grown := [pid for pid in fresh if memory(pid) > fresh[pid] + 2 * MAX_FRESH_GROWTH_BYTES]):
        await leak(evaluator)
    for pid in grown:
        resource.prlimit(pid, resource.RLIMIT_AS, (memory(pid) + room, EVALUATOR_MEMORY_BYTES))
    for _ in range(10):
        assert await leak(evaluator) == 400_000
    assert children(evaluator).isdisjoint(grown)


async def test_evaluator_that_grew_is_replaced_however_large_the_server_is(evaluator: EvaluatorPool) -> None:
    resident = b"x" * 400_000_000
    await ready(evaluator)
    del resident
    before = children(evaluator)
    while before <= children(evaluator):
        assert await leak(evaluator) == 400_000
    assert await leak(evaluator) == 400_000
