"""Expressions that are built to hold, to grow or to end a process: none of them keeps the event loop, or the server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from interlock.expressions.check import Checker
from interlock.expressions.context import Context
from interlock.expressions.environment import Environment, InvalidExpression
from interlock.expressions.failures import ExpressionFailed
from interlock.expressions.limits import MAX_SOURCE
from interlock.expressions.pool import EvaluatorPool
from interlock.expressions.program import Program
from tests.expressions.given import NOW

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pool() -> AsyncIterator[EvaluatorPool]:
    made = EvaluatorPool()
    yield made
    await made.aclose()


def repeated(piece: str, *, begin: str = "", end: str = "") -> str:
    return begin + piece * ((MAX_SOURCE - len(begin) - len(end)) // len(piece)) + end


SOURCES = {
    "maps": repeated("{},", begin="[", end="{}]"),
    "numbers": repeated("1,", begin="[", end="1]"),
    "conjunctions": repeated("true&&", end="true"),
    "brackets": repeated("["),
    "parentheses": repeated("("),
    "quotes": repeated('"'),
    "dots": repeated(".a", begin="ctx"),
    "sums": repeated("1+", end="1"),
    "unknown names": repeated("nope,", begin="[", end="1]"),
    "unknown functions": repeated("f(),", begin="[", end="1]"),
    "comments": repeated("//\n", end="1"),
    "exact literals": repeated("ctx.a==9e15||", end="true"),
    "doubles that stay": repeated("1.5==9e15||", end="true"),
    "folded loops": "[" + "1," * 900 + "1].map(x, [" + "1," * 900 + "1].map(y, x + y)).size()",
    "folded pattern": "'" + "a" * 3_000 + "'.matches('(a*)*(a*)*(a*)*(a|b)*c')",
    "folded functions": repeated("'a'.ifEmpty('b'),", begin="[", end="'c']"),
    "ternaries": repeated("true?1:", end="1"),
    "escapes": repeated("\\u1234", begin='"', end='"'),
    "controls": repeated("\x00"),
    "surrogates": repeated("\ud800"),
}


@pytest.mark.parametrize("name", SOURCES)
async def test_hostile_source_is_compiled_or_refused_without_holding_the_loop(pool: EvaluatorPool, name: str) -> None:
    def check(environment: Environment) -> object:
        try:
            return environment.compile(SOURCES[name])
        except InvalidExpression as refused:
            return refused.problems

    assert await asyncio.create_task(pool.environment().compiled(check))


LARGE = "x" * 450_000
EVALUATIONS: dict[str, tuple[str, dict[str, object]]] = {
    "patterns": ("ctx.a.matches('(x+x+)+y') || ctx.a.matches('(.*)(.*)(.*)z')", {"a": LARGE}),
    "replacements": ("ctx.a.replace('x', ctx.a).replace('x', ctx.a).size()", {"a": LARGE[:5_000]}),
    "bomb": ("['aaaaaaaa']" + ".map(x, x + x + x + x + x + x + x + x)" * 8, {}),
    "loops": ("ctx.a.map(x, ctx.a.map(y, x + y)).size()", {"a": list(range(3_000))}),
    "optional in a structure": ("cidr(dyn([{'a': ctx.?a}])).contains(ip('1.1.1.1'))", {"a": 1}),
    "deep data": ("ctx.a == ctx.b", {"a": [[[[]]]], "b": [[[[]]]]}),
    "nulls": ("ctx.a.map(x, x)", {"a": [None] * 9_000}),
    "many nulls": ("ctx.a", {"a": [None] * 40_000}),
    "splits": ("ctx.a.split('').size()", {"a": LARGE}),
    "join": ("[ctx.a, ctx.a, ctx.a].join(ctx.a).size()", {"a": LARGE}),
    "format": ("'%s%s%s%s'.format([ctx.a, ctx.a, ctx.a, ctx.a]).size()", {"a": LARGE}),
    "times": ("time.parse(ctx.a, ctx.a)", {"a": LARGE}),
    "layout": ("time.format(now(), ctx.a)", {"a": LARGE}),
    "addresses": ("ip(ctx.a)", {"a": LARGE}),
    "ranges": ("cidr(ctx.a).contains(ip('1.1.1.1'))", {"a": ["10.0.0.0/8"] * 500}),
    "empty": ("ctx.a.ifEmpty('y').size()", {"a": LARGE}),
}


@pytest.mark.parametrize("name", EVALUATIONS)
async def test_hostile_evaluation_ends_and_the_next_one_is_served(pool: EvaluatorPool, name: str) -> None:
    source, ctx = EVALUATIONS[name]
    program = await pool.environment().compiled(lambda known: known.compile(source))
    innocent = await pool.environment().compiled(lambda known: known.compile("ctx.a + 1"))
    hostile = [asyncio.create_task(outcome(pool, program, Context(ctx, NOW))) for _ in range(3)]
    assert await asyncio.create_task(pool.evaluate(innocent, Context({"a": 1}, NOW))) == 2
    first, *others = await asyncio.gather(*hostile)
    assert others == [first, first]


async def outcome(pool: EvaluatorPool, program: Program, context: Context) -> object:
    try:
        return await pool.evaluate(program, context)
    except ExpressionFailed as failure:
        return failure.reason


async def test_nulls_read_by_many_runs_take_no_reference_from_the_server(pool: EvaluatorPool) -> None:
    program = await pool.environment().compiled(lambda known: known.compile("ctx.trigger.manager"))
    context = Context({"trigger": {"manager": None, "list": [None] * 40_000}}, NOW)
    whole = await pool.environment().compiled(lambda known: known.compile("ctx.trigger.list"))
    before = sys.getrefcount(None)
    for _ in range(1_000):
        assert await pool.evaluate(program, context) is None
    for _ in range(5):
        # Not in the assertion, which would keep the list, and so its references.
        same = await pool.evaluate(whole, context) == [None] * 40_000
        assert same
    # The last list may still be held somewhere; one reference lost for each null would be 200,000.
    assert abs(sys.getrefcount(None) - before) < 100_000


async def test_template_of_many_wide_selections_holds_no_loop(pool: EvaluatorPool) -> None:
    wide: dict[str, object] = {f"m{number}": [number] * 300 for number in range(100)}
    pieces = [f"{{{{ ctx.a.m{number % 100} }}}}" for number in range(500)]
    environment = pool.environment()
    template = await environment.compiled(lambda known: Checker(known, ["a", "b"]).tree(pieces, field="f", step="b"))
    assert template is not None
    with pytest.raises(ExpressionFailed, match=r"larger than 256 KiB|more time"):
        await asyncio.create_task(pool.render(template, Context({"a": wide}, NOW)))
