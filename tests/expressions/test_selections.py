"""Plain selections mean what CEL says they mean, and lose no reference and no memory."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.expressions.context import Context
from interlock.expressions.environment import NOWHERE
from interlock.expressions.failures import ExpressionFailed
from interlock.expressions.limits import MAX_SELECTED_TEXT, MAX_SELECTED_WEIGHT
from interlock.expressions.names import Kind
from interlock.expressions.selection import ELSEWHERE
from tests.expressions.given import ENVIRONMENT, NOW

NAMES = ["a", "b", "c d", 'q"', "it's", "é", "trigger", "output"]
CONSTANTS = ["1", "-7", "1.5", "-0.0", "1e300", "true", "false", "null", "'x'", "[]", "{}", "9007199254740993"]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-9, 9)
    | st.floats(width=64)
    | st.text(alphabet="aé\ud800 ", max_size=3)
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=12,
)
CONTEXTS = st.dictionaries(st.sampled_from(NAMES), TREES, max_size=5)


@st.composite
def members(draw: st.DrawFn) -> tuple[str, bool]:
    name = draw(st.sampled_from(NAMES))
    optional = draw(st.integers(0, 3)) == 0
    if name.isalpha() and draw(st.booleans()):
        return (f".?{name}" if optional else f".{name}"), optional
    quoted = '"' + name.replace('"', '\\"') + '"'
    return (f"[?{quoted}]" if optional else f"[{quoted}]"), optional


@st.composite
def selections(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(CONSTANTS))
    path = draw(st.lists(members(), min_size=1, max_size=4))
    source = draw(st.sampled_from(["ctx", "ctx", "ctx", "trigger", "steps", "subject"]))
    if source == "steps":
        source += draw(st.sampled_from([".a.output", '.b["output"]', ".nope.output", '["trigger"].output']))
    source += "".join(text for text, _ in path)
    last = path[-1][0]
    if last.startswith(".") and not last.startswith(".?") and draw(st.integers(0, 3)) == 0:
        return f"has({source})"
    if any(optional for _, optional in path):
        return f"{source}.orValue({draw(st.sampled_from(CONSTANTS))})"
    return source


def outcome(evaluate: Any) -> object:
    try:
        value = evaluate()
    except ExpressionFailed as failure:
        return type(failure), str(failure), failure.offset
    # 1, 1.0 and True are equal, and not the same; NaN is not equal to itself.
    return repr(value)


@settings(max_examples=400)
@given(CONTEXTS, selections(), st.sampled_from([Kind.ANY, Kind.STRING, Kind.BOOL, Kind.LIST, Kind.MAP]))
def test_selection_gives_what_cel_gives(ctx: dict[str, object], source: str, kind: Kind) -> None:
    if not isinstance(ctx.get("trigger", {}), dict):
        ctx = {**ctx, "trigger": {"a": ctx["trigger"]}}
    problems: list[Any] = []
    program = ENVIRONMENT.compile_into(problems, source, kind, NOWHERE)
    if program is None:
        return
    found = ctx.get("a")
    subject = found if isinstance(found, dict) else None
    context = Context(ctx, NOW, subject=subject)
    if ELSEWHERE is not (selected := outcome_or_elsewhere(program, context)):
        assert selected == outcome(lambda: program.evaluate(context))


def outcome_or_elsewhere(program: Any, context: Context) -> object:
    found: list[object] = []
    shown = outcome(lambda: found.append(program.select(context)))
    if not found:
        return shown
    return ELSEWHERE if found[0] is ELSEWHERE else repr(found[0])


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("ctx.a.b", True),
        ('ctx["a"]["b"]', True),
        ("has(ctx.a.nope)", True),
        ("ctx.?a.?nope.orValue('x')", True),
        ("trigger.t", True),
        ("steps.a.output.b", True),
        ("subject.id", True),
        ("'constant'", True),
        ("ctx.a.b.c", False),
        ("has(ctx.a.b.c)", False),
        ("ctx.a.list[0]", False),
        ("ctx.a.b + ''", False),
        ("ctx", False),
        ("ctx.a.long", False),
        ("ctx.a.wide", False),
    ],
)
def test_only_plain_selections_are_told_without_cel(source: str, told: bool) -> None:
    a = {"b": "x", "list": [1], "long": "x" * (MAX_SELECTED_TEXT + 1), "wide": [1] * MAX_SELECTED_WEIGHT}
    context = Context({"a": a, "trigger": {"t": 1}}, NOW, subject={"id": "u1"})
    program = ENVIRONMENT.compile(source)
    assert (program.select(context) is not ELSEWHERE) is told


def test_text_with_nul_is_refused_and_its_neighbours_are_read() -> None:
    context = Context({"a": {"bad": "a\0b", "good": "x"}}, NOW)
    assert ENVIRONMENT.compile("ctx.a.good").select(context) == "x"
    with pytest.raises(ExpressionFailed, match="NUL character"):
        ENVIRONMENT.compile("ctx.a.bad").select(context)


@pytest.mark.parametrize(
    "value", [None, True, 7, 2**60, 1.5, "text", "é", [None, 1, "x"], {"k": [None]}, "missing"], ids=repr
)
def test_hundred_thousand_selections_keep_references_and_memory(value: object) -> None:
    ctx = {"a": {} if value == "missing" else {"b": value}}
    program = ENVIRONMENT.compile("ctx.a.b")

    def evaluate(count: int) -> None:
        for _ in range(count):
            try:
                program.select(Context(ctx, NOW))
            except ExpressionFailed:
                pass

    evaluate(100)
    gc.collect()
    counts = sys.getrefcount(value), sys.getrefcount(None), sys.getrefcount(ctx)
    before = sys.getallocatedblocks()
    evaluate(100_000 if value != "missing" else 10_000)
    gc.collect()
    grown = sys.getallocatedblocks() - before
    after = sys.getrefcount(value), sys.getrefcount(None), sys.getrefcount(ctx)
    assert all(abs(now - then) < 100 for now, then in zip(after, counts, strict=True))
    assert grown < 1_000
