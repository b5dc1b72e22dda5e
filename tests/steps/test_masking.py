"""What reads a secret is masked as a whole, by where it comes from; what only looks like one is not."""

from __future__ import annotations

import json

import pytest

from interlock.expressions.environment import Environment, Scope
from interlock.expressions.template import compile_template
from interlock.steps.masking import MASK, masked_copy, reads_secret, secret_members

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
    shown = masked_copy(template, value, SECRETS)
    assert shown == {
        "alone": MASK,
        "text": MASK,
        "list": [{"x": 1}, {"deep": MASK}],
        "open": {"x": 1},
        "constant": "hunter2",
        "number": 2,
    }
    assert secret_members(shown) == {"alone", "text", "list"}
    assert masked_copy(template, value, frozenset({("other", "pw")})) is None
    json.dumps(shown)


def test_secret_members_of_what_is_no_map_are_none() -> None:
    assert secret_members([MASK]) == frozenset()
