"""What is dear is evaluated in a child process, which is killed when it overruns and never outlives its evaluator."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from interlock.errors import Unavailable
from interlock.expressions.context import Context
from interlock.expressions.environment import NOWHERE, Environment
from interlock.expressions.evaluate import Evaluator
from interlock.expressions.failures import ExpressionFailed, OverBudget
from interlock.expressions.template import compile_template
from tests.expressions.given import ENVIRONMENT, NOW, context

pytestmark = pytest.mark.anyio

LIST = {"list": [{"i": i} for i in range(50)], "text": "a" * 5000, "text2": "{{ 1 }}"}
LOOPS = "ctx.a.list.map(x, x.i).filter(x, x > 47)"
BOMB = '["aaaaaaaa"]' + ".map(x, x + x + x + x + x + x + x + x + x + x)" * 8
SPIN = "ctx.a.text" + ".replace('a', ctx.a.text)" * 2 + ".size()"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def evaluator() -> AsyncIterator[Evaluator]:
    made = Evaluator()
    yield made
    await made.aclose()


def children(evaluator: Evaluator) -> set[int]:
    return {child.pid for child in evaluator.children}


async def test_a_program_gives_the_same_there_as_here(evaluator: Evaluator) -> None:
    program = ENVIRONMENT.compile(LOOPS + " + [trigger.n] + [int(now() - now() == duration('0s') ? 1 : 0)]")
    values = context(a=LIST, trigger={"n": 1.0})
    assert not program.inline(values)
    assert await evaluator.evaluate(program, values) == program.evaluate(values) == [48, 49, 1, 1]


async def test_what_is_cheap_starts_no_child(evaluator: Evaluator) -> None:
    assert await evaluator.evaluate(ENVIRONMENT.compile("ctx.a.text2"), context(a=LIST)) == "{{ 1 }}"
    assert children(evaluator) == set()


async def test_a_child_is_used_again(evaluator: Evaluator) -> None:
    program = ENVIRONMENT.compile(LOOPS)
    await evaluator.evaluate(program, context(a=LIST))
    first = children(evaluator)
    await evaluator.evaluate(program, context(a=LIST))
    assert children(evaluator) == first
    assert len(first) == 1


@pytest.mark.parametrize("source", [BOMB, SPIN, "cidr(dyn([{'a': ctx.?a}])).contains(ip('1.1.1.1'))"])
async def test_an_overrun_ends_the_child_and_not_the_next_evaluation(evaluator: Evaluator, source: str) -> None:
    with pytest.raises(OverBudget):
        await evaluator.evaluate(ENVIRONMENT.compile(source), context(a=LIST))
    assert await evaluator.evaluate(ENVIRONMENT.compile(LOOPS), context(a=LIST)) == [48, 49]


async def test_a_failure_there_names_what_is_missing_and_where(evaluator: Evaluator) -> None:
    with pytest.raises(ExpressionFailed, match="field 'nope' is missing") as failed:
        await evaluator.evaluate(ENVIRONMENT.compile("ctx.a.list.map(x, x.nope).map(x, x)"), context(a=LIST))
    assert failed.value.column == 21


async def test_a_template_is_filled_with_values_from_there(evaluator: Evaluator) -> None:
    template = compile_template(ENVIRONMENT, {"x": "{{ " + LOOPS + " }}", "y": "<{{ ctx.a.text2 }}>"}, NOWHERE)
    assert await evaluator.render(template, context(a=LIST)) == {"x": [48, 49], "y": "<{{ 1 }}>"}


async def test_one_program_over_several_contexts_gives_each_its_result_or_its_failure(evaluator: Evaluator) -> None:
    program = ENVIRONMENT.compile("ctx.a.list.map(x, x.i).map(x, x + 1)")
    lists: list[list[object]] = [[{"i": 0}] * 50, [{"j": 1}], [{"i": 1}], []]
    results = await evaluator.evaluate_each(program, [context(a={"list": given}) for given in lists])
    assert [type(result) for result in results] == [list, ExpressionFailed, list, list]
    assert "field 'i' is missing" in str(results[1])
    assert results[2:] == [[2], []]
    assert len(children(evaluator)) == 1


async def test_one_of_several_that_overruns_spoils_no_other(evaluator: Evaluator) -> None:
    program = ENVIRONMENT.compile("ctx.a.text" + ".replace('a', ctx.a.text)" * 2 + ".size()")
    results = await evaluator.evaluate_each(program, [context(a={"text": text}) for text in ("aa", "a" * 5000, "aaa")])
    assert (results[0], type(results[1]), results[2]) == (8, OverBudget, 27)


async def test_what_is_cheap_of_several_starts_no_child(evaluator: Evaluator) -> None:
    results = await evaluator.evaluate_each(ENVIRONMENT.compile("ctx.a.x"), [context(a={"x": 1}), context(a={})])
    assert (results[0], type(results[1])) == (1, ExpressionFailed)
    assert children(evaluator) == set()


async def test_more_jobs_than_children_take_turns(evaluator: Evaluator) -> None:
    program = ENVIRONMENT.compile(LOOPS)
    results = await asyncio.gather(*[evaluator.evaluate(program, context(a=LIST)) for _ in range(10)])
    assert results == [[48, 49]] * 10
    assert len(children(evaluator)) == 2


async def test_a_caller_that_is_cancelled_takes_its_child_with_it(evaluator: Evaluator) -> None:
    program = ENVIRONMENT.compile(LOOPS)
    await evaluator.evaluate(program, context(a=LIST))
    (before,) = children(evaluator)
    spinning = asyncio.ensure_future(evaluator.evaluate(ENVIRONMENT.compile(SPIN), context(a=LIST)))
    while not evaluator.busy:
        await asyncio.wait([spinning], timeout=0.001)
    spinning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await spinning
    assert await evaluator.evaluate(program, context(a=LIST)) == [48, 49]
    assert before not in children(evaluator)


async def test_too_much_input_is_refused_before_it_is_sent(evaluator: Evaluator) -> None:
    with pytest.raises(OverBudget, match="reads more than 512 KiB"):
        await evaluator.evaluate(ENVIRONMENT.compile("ctx.a.map(x, x).map(x, x)"), context(a=["x" * 600_000]))


async def test_closing_leaves_no_process(evaluator: Evaluator) -> None:
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


async def test_a_child_asks_the_directory_here(evaluator: Evaluator) -> None:
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
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_TEST_SECRET", "hunter2")
    await evaluator.evaluate(ENVIRONMENT.compile(LOOPS), context(a=LIST))
    (pid,) = children(evaluator)
    environment = Path(f"/proc/{pid}/environ")
    if not environment.exists():  # noqa: ASYNC240
        pytest.skip("no /proc here")
    assert b"hunter2" not in environment.read_bytes()  # noqa: ASYNC240
