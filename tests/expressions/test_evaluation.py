"""What expressions give, what they say when they fail, and that they say nothing of what they read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import Unavailable
from interlock.expressions.context import Context
from interlock.expressions.environment import NOWHERE, Environment, InvalidExpression
from interlock.expressions.failures import ExpressionFailed, OverBudget
from interlock.expressions.names import Kind
from tests.expressions.compiled import compile_template
from tests.expressions.given import ENVIRONMENT, NOW, context, evaluate


def failure(source: str, kind: Kind = Kind.ANY, **ctx: object) -> ExpressionFailed:
    with pytest.raises(ExpressionFailed) as failed:
        evaluate(source, ctx, kind)
    return failed.value


def test_numbers_of_json_compare_whatever_their_type() -> None:
    assert evaluate("ctx.x.days > 90", {"x": {"days": 91}}) is True
    assert evaluate("ctx.x.days > 90", {"x": {"days": 90.5}}) is True
    assert evaluate("ctx.x.days == 91", {"x": {"days": 91.0}}) is True


@pytest.mark.parametrize(
    ("source", "gives"),
    [
        ("1.0 + 1.0", 2),
        ("0.5", 0.5),
        ("9007199254740993", "9007199254740993"),
        ("3u", 3),
        ('b"abc"', "YWJj"),
        ('timestamp("2026-06-10T14:30:00.25Z")', "2026-06-10T14:30:00.25Z"),
        ('timestamp("2026-06-10T14:30:00+02:00")', "2026-06-10T12:30:00Z"),
        ('duration("1h30m")', "5400s"),
        ('duration("-1.5s")', "-1.500s"),
        ('{"t": now(), 1: null, false: [duration("1s")]}', {"1": None, "t": "2026-06-10T14:30:00Z", "false": ["1s"]}),
        ("type(1)", "int"),
        ('ip("::ffff:10.0.0.1")', "10.0.0.1"),
    ],
)
def test_results_are_plain_json(source: str, gives: object) -> None:
    result = evaluate(source)
    assert result == gives
    assert type(result) is type(gives)


@pytest.mark.parametrize(
    ("source", "gives"),
    [
        ("ctx.i == ctx.d", False),
        ("ctx.i != ctx.d", True),
        ("ctx.d < ctx.i", True),
        ("ctx.i in [ctx.d]", False),
        ("ctx.d in [ctx.i, 1]", False),
        ("[ctx.i] == [ctx.d]", False),
        ("ctx.list == [ctx.d]", False),
        ("{'a': ctx.i} == {'a': ctx.d}", False),
        ("ctx.list.exists(x, x == ctx.d)", False),
        ("math.greatest(ctx.i, ctx.d) == ctx.i", True),
        ("ctx.i == 9007199254740992.0", False),
        ("ctx.i in [9007199254740992.0, 9.007199254740992e15]", False),
        ("9007199254740992.0 == ctx.i", False),
        ("dyn(9007199254740993) == 9007199254740992.0", False),
        ("-ctx.i == -9007199254740992.0", False),
        ("(true ? 9007199254740992.0 : 0.5) == ctx.i", False),
        ("{'a': 9007199254740992.0}.a == ctx.i", False),
        ("{'a': 9007199254740992.0}['a'] >= ctx.i", False),
        ("[0.5, 9007199254740992.0][1] == ctx.i", False),
        ("[0.5, 9007199254740992.0].exists(x, x == ctx.i)", False),
        ("ctx.list.exists(x, x in [0.5, 9007199254740992.0])", False),
        ("cel.bind(x, 9007199254740992.0, x == ctx.i)", False),
        ("optional.of(9007199254740992.0).orValue(0.5) == ctx.i", False),
        ("ctx.?none.orValue(9007199254740992.0) == ctx.i", False),
        ("math.greatest([9007199254740992.0, ctx.i]) == ctx.i", True),
        ("[9007199254740992.0].map(x, x * 2.0) == [18014398509481984.0]", True),
        ("9007199254740992.0 * ctx.half", 4503599627370496),
        ("ctx.d == 9007199254740992.0", True),
        ("double(ctx.d) == 9007199254740992.0", True),
        ("ctx.half < 1e17", True),
        ("ctx.max == 18446744073709551614u", False),
        ("ctx.max > 1.8446744073709548e19", True),
        ("ctx.max == ctx.max - 1u", False),
        ("ctx.max > ctx.i", True),
        ("string(ctx.max)", "18446744073709551615"),
        ("{ctx.max: 1}", {"18446744073709551615": 1}),
        ("'1e17 == ' + string(ctx.i)", "1e17 == 9007199254740993"),
    ],
)
def test_no_comparison_rounds_an_integer(source: str, gives: object) -> None:
    values = {"i": 2**53 + 1, "d": 2.0**53, "list": [2**53 + 1], "max": 2**64 - 1, "half": 0.5}
    assert evaluate(source, values) == gives


NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda number: number != 2.0**64
)


@given(NUMBERS | st.sampled_from([2**53, 2**53 + 1, 2.0**53, 2**63, 2.0**63, 2**64 - 1, -(2.0**63)]), NUMBERS)
def test_numbers_of_data_compare_by_their_value(left: float, right: float) -> None:
    for a, b in ((left, right), (left, left), (left, float(int(left) % 2**63))):
        for operator in ("==", "!=", "<", "<=", ">", ">="):
            expected = {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator]
            assert evaluate(f"ctx.a {operator} ctx.b", {"a": a, "b": b}) is expected


def test_a_double_that_an_integer_would_be_rounded_to_is_named() -> None:
    assert "cannot be told from the integer 2^64 - 1" in failure("ctx.a == ctx.b", a=2**64 - 1, b=2.0**64).reason


@pytest.mark.parametrize(
    "source",
    [
        "ctx.a == 18446744073709551616.0",
        "ctx.a <= 1.8446744073709551615e19",
        "ctx.a in\n [0.5, 18446744073709551616.0]",
    ],
)
def test_such_a_double_is_refused_where_it_is_written_out(source: str) -> None:
    with pytest.raises(InvalidExpression) as refused:
        ENVIRONMENT.compile(source, Kind.ANY, NOWHERE)
    (problem,) = refused.value.problems
    assert "cannot be told from 2^64 - 1" in problem.description
    assert problem.line is not None
    assert problem.column is not None
    assert float(source.splitlines()[problem.line - 1][problem.column - 1 :].rstrip("]")) == 2.0**64


def test_a_result_is_a_copy() -> None:
    output = {"list": [1, 2]}
    result = evaluate("ctx.a", {"a": output})
    assert result == output
    assert result is not output


@pytest.mark.parametrize("source", ["1.0 / 0.0", "-1.0 / 0.0", "0.0 / 0.0", '{1: "a", "1": "b"}'])
def test_what_json_cannot_say_fails(source: str) -> None:
    failure(source)


def test_has_is_true_for_an_empty_field_and_false_for_a_skipped_step() -> None:
    assert evaluate("has(ctx.a.b)", {"a": {"b": ""}}) is True
    assert evaluate("has(ctx.a.b)", {"a": {}}) is False
    assert evaluate("has(ctx.skipped)") is False
    assert "step 'skipped' has no output" in failure("has(ctx.skipped.field)").reason


def test_a_failure_points_at_the_missing_field() -> None:
    failed = failure("ctx.a.b == 1 &&\n  ctx.a.c == 1", a={"b": 1})
    assert (failed.line, failed.column) == (2, 9)
    assert failed.reason == "field 'c' is missing"


@pytest.mark.parametrize(
    "source",
    [
        'ctx.a[ctx.a.secret] == ""',
        "timestamp(ctx.a.secret)",
        "duration(ctx.a.secret)",
        "int(ctx.a.secret)",
        'time.parse(ctx.a.secret, "2006")',
        "ip(ctx.a.secret)",
        'time.format(now(), "2006", ctx.a.secret)',
        'ctx.a.secret.matches("x" + ctx.a.secret)',
        "ctx.a.secret > 1",
        "ctx.a.secret",
    ],
)
def test_a_failure_never_shows_what_was_read(source: str) -> None:
    failed = failure(f"dyn({source})", Kind.BOOL, a={"secret": "hunter2("})
    assert "hunter2" not in str(failed)
    assert "hunter2" not in failed.reason


def test_a_subject_that_is_not_known_fails() -> None:
    program = ENVIRONMENT.compile("subject.email")
    with pytest.raises(ExpressionFailed, match="'subject' is not known in this run"):
        program.evaluate(Context({}, NOW))


def test_a_result_of_another_kind_fails() -> None:
    assert failure("ctx.a", Kind.BOOL, a=1).reason == "expected type 'bool' but found 'int'"
    assert failure("ctx.a", Kind.STRING_LIST, a=["x", 1]).reason.endswith("a list with 'int'")
    assert evaluate("ctx.a", {"a": ["x"]}, Kind.STRING_LIST) == ["x"]


def test_an_optional_as_a_result_fails_and_does_not_end_the_process() -> None:
    for source in ('{"a": optional.of(1)}', '[dyn({"a": [optional.none()]})]', "dyn(optional.of(1))"):
        assert ".orValue" in failure(source).reason
    assert evaluate('ctx.?a.orValue("none")') == "none"
    assert evaluate('{"a": [ctx.?b.orValue(2)]}') == {"a": [2]}


def test_values_that_the_engine_cannot_hold_are_replaced() -> None:
    odd = {"big": 2**70, "broken": "a\ud800b", "times": (NOW,), "fine": 1}
    assert evaluate("ctx.a.fine", {"a": odd}) == 1
    assert evaluate("ctx.a.big > 1e20", {"a": odd}) is True
    assert evaluate("ctx.a.broken", {"a": odd}) == "a\ufffdb"
    assert evaluate("ctx.a", {"a": "a\ud800b"}) == "a\ufffdb"
    assert evaluate("ctx.a", {"a": [{"é\udfff": "é"}]}) == [{"é\ufffd": "é"}]
    assert evaluate("ctx.a.times[0]", {"a": odd}) == "2026-06-10T14:30:00Z"


def test_a_text_is_never_cut_at_a_nul_character() -> None:
    assert "NUL" in failure("ctx.a == 'admin'", a="admin\0evil").reason
    assert "NUL" in failure("ctx.a", a=[{"b\0": 1}]).reason
    assert evaluate("ctx.a", {"a": 1, "other": "\0"}) == 1


def test_aliases_of_the_context() -> None:
    values = {"trigger": {"x": 1}, "early": {"y": 2}}
    assert evaluate("[trigger.x, steps.early.output.y]", values) == [1, 2]


def test_the_address_of_the_requester() -> None:
    program = ENVIRONMENT.compile("ip.isPrivate && ip.within(cidr('10.0.0.0/8'))", Kind.BOOL)
    assert program.evaluate(Context({}, NOW, ip="10.1.2.3")) is True
    with pytest.raises(ExpressionFailed):
        program.evaluate(Context({}, NOW))


def test_one_value_of_now_for_one_context() -> None:
    assert evaluate("now() == now()") is True
    assert evaluate("now()") == "2026-06-10T14:30:00Z"


class Directory:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_user(self, user_id: str) -> Mapping[str, object] | None:
        self.asked.append(user_id)
        if user_id == "down":
            raise Unavailable("the disk is away")
        return {"id": user_id, "email": f"{user_id}@example.com"} if user_id != "unknown" else None

    def find_user_by_name(self, name: str) -> Mapping[str, object] | None:
        return None

    def direct_reports(self, users: list[Mapping[str, object]]) -> list[Mapping[str, object]]:
        return [{"id": f"report of {user['id']}"} for user in users]


def ask(source: str, directory: Directory | None = None) -> object:
    stand_in: Any = directory or Directory()
    return Environment(directory=True).compile(source).evaluate(Context({}, NOW, directory=stand_in))


def test_the_directory_is_asked_once_for_each_question() -> None:
    directory = Directory()
    get = "c1.directory.users.v1.GetByID"
    assert ask(f'{get}("a").email + {get}("a").id + {get}("b").id', directory) == "a@example.comab"
    assert directory.asked == ["a", "b"]


def test_an_unknown_user_fails_or_is_null_as_documented() -> None:
    with pytest.raises(ExpressionFailed, match="no user with this id"):
        ask('c1.directory.users.v1.GetByID("unknown").email')
    assert ask('c1.directory.users.v1.FindByName("unknown") == null') is True


def test_direct_reports_of_one_and_of_many() -> None:
    reports = "c1.directory.users.v1.DirectReports"
    assert ask(f'{reports}({{"id": "a"}})') == [{"id": "report of a"}]
    assert ask(f'{reports}({reports}({{"id": "a"}}))[0].id') == "report of report of a"


def test_a_failing_directory_is_not_the_fault_of_the_expression() -> None:
    with pytest.raises(Unavailable):
        ask('c1.directory.users.v1.GetByID("down").email')


def test_a_loop_has_a_limit() -> None:
    with pytest.raises(OverBudget, match="9,999"):
        evaluate("ctx.a.all(x, ctx.a.all(y, y >= 0))", {"a": list(range(200))})


def test_a_context_is_converted_once_for_each_set_of_names() -> None:
    shared = context(a={"b": 1})
    first, second = ENVIRONMENT.compile("ctx.a.b == 1"), ENVIRONMENT.compile("ctx.a.b == 2")
    assert first.inputs is second.inputs
    assert (first.evaluate(shared), second.evaluate(shared)) == (True, False)


def test_what_a_context_converted_is_never_taken_for_something_else() -> None:
    shared = context(a=1, b=2)
    for _ in range(50):
        # Environments, and the templates of each, come and go while the context lives.
        environment = Environment()
        assert environment.compile("ctx.a").evaluate(shared) == 1
        assert compile_template(environment, "{{ ctx.b }}{{ ctx.a }}", NOWHERE, as_text=True).render(shared) == "21"
