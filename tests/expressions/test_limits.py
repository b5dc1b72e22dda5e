"""No expression, however it is written, costs more than it may."""

from __future__ import annotations

import pytest

from interlock.expressions.environment import InvalidExpression
from interlock.expressions.failures import OverBudget
from interlock.expressions.values import weigh
from tests.expressions.given import ENVIRONMENT, evaluate


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


def test_weighing_stops_early() -> None:
    assert weigh({"a": [1, 2]}, 10_000) < 100
    assert weigh(list(range(10**6)), 1000) > 1000
