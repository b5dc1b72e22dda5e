"""What reads a secret is masked as a whole, by where it comes from; what only looks like one is not."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.expressions.context import Context
from interlock.expressions.environment import Environment, InvalidExpression, Scope
from interlock.expressions.failures import ExpressionFailed
from interlock.expressions.program import Program
from interlock.steps.masking import MASK, MaskedCopy, masked_copy, reads_secret
from tests.expressions.compiled import compile_template

ENVIRONMENT = Environment()
SECRETS = frozenset({("s", "pw"), ("trigger", "token")})


@pytest.mark.parametrize(
    ("source", "secret"),
    [
        ("ctx.s.pw", True),
        ('ctx.s["pw"]', True),
        ('ctx["s"].pw.size() > 3', True),
        ("ctx.s.?pw.orValue('')", True),
        ("has(ctx.s.pw)", True),
        ("steps.s.output.pw", True),
        ("steps.s.output", True),
        ("steps.s", True),
        ("trigger.token.a[0]", True),
        ("ctx.s", True),
        ("ctx.s[ctx.t.name]", True),
        ("ctx", True),
        ("ctx[ctx.t.name]", True),
        ("'pw' in ctx.s", True),
        ("[1].map(x, ctx.s.pw)", True),
        ("{ctx.s.pw: 1}", True),
        ("cel.bind(x, ctx.s, x.open)", True),
        ("ctx.t.ok ? ctx.s.pw : 'x'", True),
        ("ctx.trigger", True),
        ("ctx.s.open", False),
        ('ctx.s["open"].pw', False),
        ("ctx.trigger.name + ctx.t.pw", False),
        ("trigger.name", False),
        ("steps.s.output.open", False),
        ("'ctx.s.pw'", False),
        ("{'pw': ctx.s.open}", False),
        ("now()", False),
    ],
)
def test_an_expression_is_secret_if_it_reads_a_secret_member(source: str, secret: bool) -> None:
    program = ENVIRONMENT.compile(source)
    assert reads_secret(program, SECRETS) is secret
    assert reads_secret(program, frozenset()) is False


def test_a_masked_copy_hides_each_part_that_a_secret_made_and_nothing_else() -> None:
    tree = {
        "alone": "{{ ctx.s.pw }}",
        "text": "Bearer {{ ctx.s.pw }} of {{ ctx.s.open }}",
        "list": ["{{ ctx.s.open }}", {"deep": "{{ ctx.s.pw }}"}],
        "open": "{{ ctx.s.open }}",
        "constant": "hunter2",
        "number": 2,
    }
    template = compile_template(ENVIRONMENT, tree, Scope())
    value = template.fill(["hunter2", "hunter2", {"x": 1}, {"x": 1}, {"a": 1}, {"x": 1}])
    masked = masked_copy(template, value, SECRETS)
    assert masked is not None
    assert masked.shown == {
        "alone": MASK,
        "text": MASK,
        "list": [{"x": 1}, {"deep": MASK}],
        "open": {"x": 1},
        "constant": "hunter2",
        "number": 2,
    }
    assert masked.secret == {"alone", "text", "list"}
    assert masked_copy(template, value, frozenset({("other", "pw")})) is None
    json.dumps(masked.shown)


def test_text_that_looks_like_a_mask_is_no_secret() -> None:
    template = compile_template(ENVIRONMENT, {"a": "{{ ctx.s.pw }}", "b": "{{ ctx.s.open }}", "c": MASK}, Scope())
    masked = masked_copy(template, template.fill([MASK, MASK]), SECRETS)
    assert masked is not None
    assert masked.secret == {"a"}


def test_template_that_is_no_map_has_no_secret_members() -> None:
    template = compile_template(ENVIRONMENT, ["{{ ctx.s.pw }}"], Scope())
    masked = masked_copy(template, ["hunter2"], SECRETS)
    assert masked == MaskedCopy([MASK], frozenset())


PATHS = st.sampled_from(
    [
        "ctx.s.pw",
        "ctx.s.open",
        'ctx.s["pw"]',
        "ctx.s[ctx.t.key]",
        "ctx[ctx.t.step].pw",
        "ctx.t.key",
        "ctx.trigger.token",
        "ctx.trigger",
        "trigger.token",
        "steps.s.output.pw",
        "steps.s",
        "ctx.s",
        "ctx.?s.?pw.orValue('x')",
        "'a'",
        "1",
    ]
)
EXPRESSIONS = st.recursive(
    PATHS,
    lambda inner: st.one_of(
        inner.map(lambda one: f"[{one}]"),
        inner.map(lambda one: f"string({one})"),
        inner.map(lambda one: f"[1].map(x, {one})"),
        inner.map(lambda one: f"cel.bind(x, {one}, [x])"),
        inner.map(lambda one: f"[{one}].exists(ctx, ctx == 'hunter2')"),
        st.tuples(inner, inner).map(lambda two: f"{two[0]} == {two[1]}"),
        st.tuples(inner, inner).map(lambda two: f"{{'k': {two[0]}, 'l': {two[1]}}}"),
        st.tuples(inner, inner, inner).map(lambda three: f"({three[0]} == {three[1]} ? {three[2]} : dyn(1))"),
        st.tuples(inner, inner).map(lambda two: f"(ctx.t.key == 'pw' || {two[0]} == {two[1]})"),
    ),
    max_leaves=5,
)


def outcome(program: Program, pw: object, token: object) -> object:
    """What an expression gives for these secrets: its value, or that it fails."""
    ctx = {
        "s": {"pw": pw, "open": "o"},
        "t": {"key": "pw", "step": "s"},
        "trigger": {"token": token, "name": "n"},
    }
    try:
        return program.evaluate(Context(ctx, datetime(2026, 1, 1, tzinfo=UTC)))
    except ExpressionFailed:
        return "failed"


@given(EXPRESSIONS)
def test_what_changes_with_a_secret_is_secret(source: str) -> None:
    try:
        program = ENVIRONMENT.compile(source)
    except InvalidExpression:
        return
    given_ = [outcome(program, pw, token) for pw in ("hunter2", 7, {"a": 1}) for token in ("t", ["x"])]
    if any(each != given_[0] for each in given_):
        assert reads_secret(program, SECRETS)
