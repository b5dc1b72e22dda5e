"""`{{ }}` in texts and trees: where an expression ends, what types come out, and that no value can do harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import Problem
from interlock.expressions.environment import NOWHERE, InvalidExpression
from interlock.expressions.failures import ExpressionFailed, OverBudget
from interlock.expressions.template import Compiler, Escape
from tests.expressions.compiled import compile_template
from tests.expressions.given import ENVIRONMENT, context


def text(template: str, escape: Escape = Escape.NONE, **ctx: object) -> object:
    return compile_template(ENVIRONMENT, template, NOWHERE, escape=escape, as_text=True).render(context(**ctx))


def tree(template: object, **ctx: object) -> Any:
    return compile_template(ENVIRONMENT, template, NOWHERE).render(context(**ctx))


def document(template: str, **ctx: object) -> object:
    problems: list[Problem] = []
    compiled = Compiler(ENVIRONMENT, problems, NOWHERE).document(template)
    assert compiled is not None, problems
    return compiled.render(context(**ctx))


@pytest.mark.parametrize(
    ("template", "gives"),
    [
        ("Hello {{ ctx.a.name }}!", "Hello Ann!"),
        ("{{ctx.a.name}}{{   ctx.a.n   }}", "Ann42"),
        ('{{ {"a":"}}"}["a"] }}', "}}"),
        ('{{ {"a":{"b":1}} }}', '{"a":{"b":1}}'),
        ('{{{"a":1}["a"]}}', "1"),
        ("{{ '}}' + \"{{\" }}", "}}{{"),
        ("{{ r'\\}}' }}", "\\}}"),
        ("{{ '''a'}}''' }}", "a'}}"),
        ("{{ 1 // }} a comment\n }}", "1"),
        ("{{ 'it\\'s }}' }}", "it's }}"),
        ('{"a":{"b":1}}', '{"a":{"b":1}}'),
        ("a }} b { c", "a }} b { c"),
        ("{{ ctx.a.n }} {{ ctx.a.half }} {{ true }} {{ null }}", "42 0.5 true null"),
        ("{{ ctx.a.list }}", '[1,"é"]'),
        ("{{ now() }}", "2026-06-10T14:30:00Z"),
    ],
)
def test_a_text_is_filled(template: str, gives: str) -> None:
    values = {"name": "Ann", "n": 42.0, "half": 0.5, "list": [1, "é"]}
    assert text(template, a=values) == gives


@pytest.mark.parametrize(
    ("template", "line", "column", "says"),
    [
        ("a\nb {{ ctx.a", 2, 3, "no '}}' after it"),
        ("{{ }}", 1, 1, "empty"),
        ("{{ 'a }}", 1, 4, "Syntax error: token recognition error"),
        ("{{ {1: 2 }}", 1, 1, "no '}}' after it"),
        ("x\n y {{ 1 + }}", 2, 10, "Syntax error"),
        ("x {{\n  nosuch }}", 2, 3, "undeclared reference to 'nosuch'"),
    ],
)
def test_a_malformed_text_is_refused_where_it_is_wrong(template: str, line: int, column: int, says: str) -> None:
    with pytest.raises(InvalidExpression) as refused:
        text(template)
    problem = refused.value.problems[0]
    assert says in problem.description
    assert (problem.line, problem.column) == (line, column)


def test_a_lone_expression_in_a_tree_keeps_its_type() -> None:
    values = {"n": 42.0, "list": [1], "map": {"x": None}, "id": "9007199254740993"}
    template = {
        "n": "{{ ctx.a.n }}",
        "list": ["{{ ctx.a.list }}", "n={{ ctx.a.n }}", " {{ ctx.a.n }}"],
        "map": "{{ ctx.a.map }}",
        "id": "{{ctx.a.id}}",
        "bool": "{{ ctx.a.n > 1 }}",
        "fixed": [1, None, True, "x"],
    }
    assert tree(template, a=values) == {
        "n": 42,
        "list": [[1], "n=42", " 42"],
        "map": {"x": None},
        "id": "9007199254740993",
        "bool": True,
        "fixed": [1, None, True, "x"],
    }


def test_a_template_without_expressions_costs_nothing() -> None:
    payload = {"a": [1, {"b": "text"}]}
    template = compile_template(ENVIRONMENT, payload, NOWHERE)
    assert template.constant
    assert template.programs == ()
    assert template.render(context()) is payload


def test_constant_parts_are_not_changed_by_rendering() -> None:
    template = compile_template(ENVIRONMENT, {"a": "{{ ctx.a }}", "b": {"c": 1}}, NOWHERE)
    assert template.render(context(a=1)) == {"a": 1, "b": {"c": 1}}
    assert template.render(context(a=2)) == {"a": 2, "b": {"c": 1}}


def test_a_result_is_never_a_template() -> None:
    sneaky = "{{ ctx.secret }}"
    assert text("<{{ ctx.a }}>", a=sneaky, secret="s") == "<{{ ctx.secret }}>"
    assert tree({"x": "{{ ctx.a }}"}, a={"y": sneaky}, secret="s") == {"x": {"y": sneaky}}


def test_the_name_of_a_member_cannot_be_a_template() -> None:
    with pytest.raises(InvalidExpression, match="name of a member"):
        tree({"{{ ctx.a }}": 1})


def test_every_finding_of_a_tree_has_its_field() -> None:
    with pytest.raises(InvalidExpression) as refused:
        tree({"a": ["{{ x }}", {"b": "{{"}], "c": "{{ y }}"})
    assert [problem.field for problem in refused.value.problems] == [".a[0]", ".a[1].b", ".c"]


SHAPE = {"name": "{{ ctx.a }}", "list": ["x {{ ctx.a }} y"], "role": "user"}


TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"))


@given(TEXTS | st.sampled_from(['x","role":"admin', '"}', "\\", "{{ 1 }}", '\\"', "]}", "\ue0000"]))
def test_no_value_can_add_a_member(value: str) -> None:
    for rendered in (tree(SHAPE, a=value), document(json.dumps(SHAPE), a=value)):
        assert rendered == {"name": value, "list": [f"x {value} y"], "role": "user"}
        assert json.loads(json.dumps(rendered)) == rendered


@given(TEXTS)
def test_no_value_can_break_out_of_a_document_with_bare_holes(value: str) -> None:
    template = '{"name": {{ ctx.a }}, "text": "<{{ ctx.a }}>", "fixed": ["\\"", 1]}'
    assert document(template, a=value) == {"name": value, "text": f"<{value}>", "fixed": ['"', 1]}


def test_a_document_that_is_json_is_a_tree_and_anything_else_a_text() -> None:
    assert document('{"n": {{ ctx.a.n }}, "t": "{{ ctx.a["n"] }}"}', a={"n": 4}) == {"n": 4, "t": "4"}
    assert document('["{{ ctx.a.n }}"]', a={"n": 4}) == ["4"]
    assert document("{{ ctx.a }} and {", a=1) == "1 and {"
    assert document("{ {{ ctx.a }} }", a=1) == "{ 1 }"


@pytest.mark.parametrize(
    ("escape", "gives"),
    [
        (Escape.NONE, '<b>a&b "q"</b>'),
        (Escape.HTML, "<b>a&amp;b &quot;q&quot;</b>"),
        (Escape.SLACK, '<b>a&amp;b "q"</b>'),
        (Escape.URL, "<b>a%26b%20%22q%22</b>"),
    ],
)
def test_values_are_written_for_where_they_go(escape: Escape, gives: str) -> None:
    assert text("<b>{{ ctx.a }}</b>", escape, a='a&b "q"') == gives


@pytest.mark.parametrize("value", ["a\r\nBcc: x@y", "a\x1b", "a\x85", "a\u2028b"])
def test_a_line_takes_no_line_break(value: str) -> None:
    with pytest.raises(ExpressionFailed, match="line break"):
        text("Hello {{ ctx.a }}", Escape.LINE, a=value)


def test_a_missing_field_fails_the_template() -> None:
    with pytest.raises(ExpressionFailed, match="field 'nope' is missing") as failed:
        text("Hello\n{{ ctx.a.nope }}", a={"secret": "hunter2"})
    assert (failed.value.line, failed.value.column) == (2, 10)
    assert "hunter2" not in str(failed.value)


def test_the_whole_is_capped() -> None:
    with pytest.raises(OverBudget, match="larger than 256 KiB"):
        text("{{ ctx.a }}" * 10, a="x" * 40_000)
    with pytest.raises(InvalidExpression, match="more expressions than the 500"):
        text("{{ 1 }}" * 501)
