"""What is refused when an expression is saved, and where the finding points."""

from __future__ import annotations

import pytest

from interlock.errors import Problem
from interlock.expressions.check import Checker
from interlock.expressions.environment import Environment, InvalidExpression, Scope
from interlock.expressions.names import CONSTANTS, FUNCTIONS, Kind, Place
from tests.expressions.given import ENVIRONMENT, context, evaluate, scope


def findings(source: str, kind: Kind = Kind.ANY, where: Scope | None = None) -> tuple[Problem, ...]:
    with pytest.raises(InvalidExpression) as refused:
        ENVIRONMENT.compile(source, kind, where or scope())
    return refused.value.problems


def finding(source: str, kind: Kind = Kind.ANY, where: Scope | None = None) -> tuple[int | None, int | None, str]:
    (problem,) = findings(source, kind, where)
    assert problem.field == "field"
    return problem.line, problem.column, problem.description


@pytest.mark.parametrize(
    ("source", "line", "column", "says"),
    [
        ("1 +", 1, 4, "Syntax error: mismatched input"),
        ("subjct.department == 'x'", 1, 1, "undeclared reference to 'subjct.department'"),
        ("true &&\n  nosuch(1)", 2, 3, "undeclared reference to 'nosuch'"),
        ("true && c1.user.v1.HasAp(subject)", 1, 9, "undeclared reference to 'c1.user.v1.HasAp'"),
        ("'a' + 1", 1, 5, "found no matching overload"),
        ("", 1, 1, "the expression is empty"),
        ("'\ud800'", 1, 1, "not valid Unicode"),
    ],
)
def test_a_finding_has_its_line_and_column(source: str, line: int, column: int, says: str) -> None:
    found = finding(source)
    assert found[:2] == (line, column)
    assert says in found[2]


def test_the_result_must_be_of_the_kind_the_field_needs() -> None:
    assert finding("subject", Kind.BOOL)[2] == "expected type 'bool' but found 'map(string, dyn)'"
    assert finding("1", Kind.STRING)[2] == "expected type 'string' but found 'int'"
    assert finding("[1]", Kind.STRING_LIST)[2] == "expected type 'list(string)' but found 'list(int)'"
    assert finding("ctx.?trigger", Kind.ANY)[2].startswith("the result is an optional value")


@pytest.mark.parametrize(
    "source",
    [
        "ctx.late.x",
        'ctx["late"].x',
        "has(ctx.late)",
        "ctx.?late.x.orValue(1)",
        'ctx[?"late"].orValue(1)',
        "steps.late.x",
    ],
)
def test_a_later_step_is_refused_however_it_is_spelled(source: str) -> None:
    line, column, text = finding(source, where=scope(before="early", later="late"))
    assert line == 1
    assert column == source.index("late") + 1
    assert text == "undefined reference to 'ctx.late': that step comes later"


def test_an_unknown_step_and_the_step_itself_are_refused() -> None:
    assert "there is no step of this name" in finding("ctx.nosuch.x")[2]
    assert "cannot read its own output" in finding("ctx.here.x", where=scope("here"))[2]


def test_earlier_steps_and_the_trigger_may_be_read() -> None:
    program = ENVIRONMENT.compile("ctx.trigger.a == ctx.early.b", Kind.BOOL, scope(before="early"))
    assert program.steps_read == {"trigger", "early"}


def test_a_name_that_only_looks_like_a_step_is_not_one() -> None:
    assert evaluate('[{"late": 1}].map(ctx, ctx.late)') == [1]
    assert ENVIRONMENT.compile('"ctx.late" + ctx.trigger.late', Kind.ANY, scope(later="late")).steps_read == {"trigger"}


def test_a_condition_reads_no_step_and_calls_nothing_of_c1() -> None:
    condition = scope(place=Place.CONDITION)
    called = finding('c1.user.v1.HasApp(subject, "okta")', where=condition)
    assert called == (1, 1, "undeclared reference to 'c1.user.v1.HasApp': it cannot be used in a trigger condition")
    assert "can read only ctx.trigger" in finding("ctx.step.x", where=condition)[2]
    program = ENVIRONMENT.compile("subject.status == UserStatus.ENABLED && now() > now()", Kind.BOOL, condition)
    assert program.evaluate(context()) is False


def test_what_is_asked_of_a_run_from_outside_and_within_it_are_told_apart() -> None:
    outside = scope(place=Place.EXECUTION)
    assert finding("ip == ip('::1')", where=outside)[2].endswith("it cannot be used in a filter of executions")
    within = finding("true && execution.state == 'DONE'")
    assert within == (1, 9, "undeclared reference to 'execution.state': it cannot be used in a step")


@pytest.mark.parametrize("name", sorted(f.name for f in FUNCTIONS if f.places == {Place.POLICY}))
def test_what_only_policies_have_is_refused_and_named(name: str) -> None:
    arguments = {"map": "subject", "string": '"x"'}
    (function,) = (f for f in FUNCTIONS if f.name == name)
    call = f"{name}({', '.join(arguments[p] for p in function.overloads[0].parameters)})"
    assert finding(call) == (1, 1, f"undeclared reference to '{name}': it exists only in policies")


def test_policy_variables_and_enums_are_refused() -> None:
    assert "only in policies" in finding("task.id == 'x'")[2]
    assert "only in policies" in finding("TaskOrigin.WEBAPP == 'x'")[2]


@pytest.mark.parametrize(
    "spelling", ["UserStatus.ENABLED", "UserStatus.USER_STATUS_ENABLED", "USER_STATUS_ENABLED", '"ENABLED"']
)
def test_every_spelling_of_a_user_status_is_the_same(spelling: str) -> None:
    assert evaluate(f"subject.status == {spelling}") is True


@pytest.mark.parametrize("spelling", ["APP_USER_STATUS_ENABLED", "AppUserStatus.ENABLED", "Status.ENABLED"])
def test_every_spelling_of_an_account_status_is_the_same(spelling: str) -> None:
    trigger = {"newAccount": {"status": {"status": "APP_USER_STATUS_ENABLED"}}}
    assert evaluate(f"ctx.trigger.newAccount.status.status == {spelling}", {"trigger": trigger}) is True


def test_every_constant_compiles() -> None:
    assert all(evaluate(name) == value for name, value in CONSTANTS.items())


def test_the_directory_compiles_and_says_that_it_cannot_be_evaluated_yet() -> None:
    source = 'c1.user.v1.HasApp(c1.directory.users.v1.GetByID("u"), "okta")'
    program = ENVIRONMENT.compile(source)
    assert program.unavailable == ("c1.directory.users.v1.GetByID", "c1.user.v1.HasApp")
    assert program.needs_directory
    assert Environment(directory=True).compile(source).unavailable == ()


def test_a_checker_collects_every_finding_of_an_automation() -> None:
    checker = Checker(ENVIRONMENT, ["first", "second"])
    checker.expression("ctx.second.x == 1", Kind.BOOL, field="automationSteps[0].skipIfTrueCel", step="first")
    checker.tree({"a": [{"b": "x {{ ctx.nosuch.y }}"}]}, field="automationSteps[1].webhook.payload", step="second")
    checker.condition("ctx.first.x == 1", field="triggers[0].userCreated.condition")
    checker.text("Hello\n {{ 1 + }}", field="automationSteps[1].sendEmail.body", step="second")
    assert [(p.field, p.step, p.line, p.column) for p in checker.problems] == [
        ("automationSteps[0].skipIfTrueCel", "first", 1, 5),
        ("automationSteps[1].webhook.payload.a[0].b", "second", 1, 10),
        ("triggers[0].userCreated.condition", None, 1, 5),
        ("automationSteps[1].sendEmail.body", "second", 2, 8),
    ]
    assert not checker.unavailable


def test_a_checker_names_what_cannot_be_evaluated_yet() -> None:
    checker = Checker(ENVIRONMENT, ["only"])
    assert checker.text('{{ c1.directory.users.v1.GetByID("u").email }}', field="to", step="only") is not None
    assert not checker.problems
    assert [p.description.split("'")[1] for p in checker.unavailable] == ["c1.directory.users.v1.GetByID"]
