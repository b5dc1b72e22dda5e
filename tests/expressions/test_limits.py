"""No expression, however it is written, costs more than it may."""

from __future__ import annotations

import pytest

from interlock.expressions.environment import InvalidExpression
from interlock.expressions.failures import OverBudget
from interlock.expressions.values import weigh
from tests.expressions.given import ENVIRONMENT, context, evaluate


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("'" + "x" * 4096 + "'", "4,098 bytes long; at most 4,096"),
        ("[1]" + ".map(x, x)" * 9, "9 macros"),
        ("[1].map(a, [1].map(b, [1].map(c, 1)))", "nested 3 deep; at most 2"),
        ("(" * 40 + "1" + ")" * 40, "nested too deeply"),
        ("1" + " + 1" * 40, "nested too deeply"),
        ("[" * 500 + "]" * 500, "nested too deeply"),
        ("ctx" + ".a" * 40, "nested too deeply"),
        ("'x'.matches('" + "a" * 257 + "')", "longer than 256 bytes"),
    ],
)
def test_a_source_beyond_a_limit_is_refused(source: str, says: str) -> None:
    with pytest.raises(InvalidExpression, match=says):
        ENVIRONMENT.compile(source)


def test_chains_of_and_are_free() -> None:
    assert evaluate("true" + " && true" * 300) is True


def test_eight_macros_and_two_levels_are_allowed() -> None:
    assert evaluate("[1]" + ".map(x, x)" * 8) == [1]
    assert evaluate("[1].map(a, [2].map(b, a + b))") == [[3]]


@pytest.mark.parametrize("source", ["ctx.a", "[ctx.a]", '{"x": ctx.a}', "[ctx.b, ctx.b, ctx.b]"])
def test_a_large_result_is_refused(source: str) -> None:
    with pytest.raises(OverBudget, match="larger than 256 KiB"):
        evaluate(source, {"a": "x" * 300_000, "b": "é" * 60_000})


SMALL = {"list": list(range(10)), "text": "x" * 100}
MIDDLE = {"list": list(range(1000)), "text": "x" * 10_000}


@pytest.mark.parametrize(
    ("source", "small", "middle"),
    [
        ("ctx.a.text == 'x'", True, True),
        ("ctx.a.text + 'x'", True, True),
        ("ctx.a.text.contains('x')", True, True),
        ("ctx.a.text.replace('x', 'y')", True, True),
        ("ctx.a.list.exists(x, x == 3)", True, False),
        ("ctx.a.list.map(x, x)", True, False),
        ("ctx.a.text.replace('x', 'yy')", True, False),
        ("ctx.a.text.replace('x', ctx.a.text)", True, False),
        ("ctx.a.text.contains(ctx.a.text)", True, False),
        ("ctx.a.text.matches(ctx.a.text)", True, False),
        ("ctx.a.list.map(x, x).map(x, x)", False, False),
        ("ctx.a.text.replace('x', ctx.a.text).replace('x', ctx.a.text)", False, False),
        ("[" + ", ".join(["ctx.a"] * 300) + "]", False, False),
        ("cidr(ctx.?a.orValue([])).contains(ip('1.1.1.1'))", False, False),
    ],
)
def test_only_what_is_cheap_runs_on_the_event_loop(source: str, small: bool, middle: bool) -> None:
    program = ENVIRONMENT.compile(source)
    assert program.inline(context(a=SMALL)) is small
    assert program.inline(context(a=MIDDLE)) is middle


def test_only_what_is_read_counts() -> None:
    program = ENVIRONMENT.compile("ctx.a.list.map(x, x)")
    assert program.inline(context(a=SMALL, other=MIDDLE)) is True


def test_weighing_stops_early() -> None:
    assert weigh({"a": [1, 2]}, 10_000) < 100
    assert weigh(list(range(10**6)), 1000) > 1000
