"""A server compiles in its evaluator processes, and finds what CEL finds."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from interlock.expressions.analysis import Analyst, from_json, to_json
from interlock.expressions.check import Checker
from interlock.expressions.environment import Environment
from interlock.expressions.limits import MAX_AUTOMATION_EXPRESSIONS, MAX_AUTOMATION_SOURCE
from interlock.expressions.names import Kind, Place
from interlock.expressions.pool import EvaluatorPool
from tests.expressions.given import ENVIRONMENT, context

pytestmark = pytest.mark.anyio

SOURCES = [
    "ctx.a.b",
    "has(ctx.a['b'])",
    "ctx.?a.b.orValue(1.5)",
    "ctx.list.map(x, x + 1).filter(y, y > 2)",
    "'x'.matches('a+') && ctx.b == TimeFormat.DATE",
    "nope + 1",
    "1 +",
    "entitlement.id",
    "c1.user.v1.HasApp(subject, 'x')",
    "[",
    "",
    "x" * 5_000,
    "9007199254740993.0 == ctx.a",
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def pool() -> AsyncIterator[EvaluatorPool]:
    made = EvaluatorPool()
    yield made
    await made.aclose()


@pytest.mark.parametrize("source", SOURCES)
def test_analysis_survives_the_way_through_json(source: str) -> None:
    for place in Place:
        analysed, _ = Analyst().analysed(place, source)
        assert from_json(to_json(analysed)) == analysed


async def test_server_finds_what_cel_finds(pool: EvaluatorPool) -> None:
    def check(environment: Environment) -> tuple[object, ...]:
        checker = Checker(environment, ["a", "b"])
        programs = [checker.expression(source, Kind.ANY, field=f"f[{i}]", step="b") for i, source in enumerate(SOURCES)]
        template = checker.text("{{ ctx.a }} and {{ nope }}\n {{ ctx.b }}", field="text", step="b")
        facts = [
            None if p is None else (p.inputs, p.steps_read, p.needs_directory, p.unavailable, p.plain) for p in programs
        ]
        return checker.problems, checker.unavailable, facts, template

    assert await pool.environment().compiled(check) == check(ENVIRONMENT)


async def test_program_of_a_server_never_evaluates_by_cel(pool: EvaluatorPool) -> None:
    program = await pool.environment().compiled(lambda known: known.compile("ctx.a + 1"))
    with pytest.raises(TypeError, match="only an evaluator process"):
        program.evaluate(context(a=1))
    assert await pool.evaluate(program, context(a=1)) == 2


async def test_source_is_analysed_once(pool: EvaluatorPool) -> None:
    environment = pool.environment()
    await environment.compiled(lambda known: known.compile("ctx.a + 1"))
    await pool.aclose()
    program = await environment.compiled(lambda known: known.compile("ctx.a + 1"))
    assert program.source == "ctx.a + 1"


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        (["1"] * (MAX_AUTOMATION_EXPRESSIONS + 1), "more than 1,000 expressions"),
        (["'" + "x" * 4_000 + "'"] * (MAX_AUTOMATION_SOURCE // 4_000 + 1), "longer than 262,144 characters together"),
    ],
)
def test_automation_has_a_total(sources: list[str], says: str) -> None:
    checker = Checker(ENVIRONMENT, ["a"])
    for index, source in enumerate(sources):
        assert not checker.problems
        checker.expression(source, Kind.ANY, field=f"f[{index}]", step="a")
    (problem,) = checker.problems
    assert says in problem.description
    assert problem.field == f"f[{len(sources) - 1}]"
    checker.tree({"x": "{{ 1 }}" * 400}, field="f", step="a")
    assert len(checker.problems) == 1
