"""Executions narrowed down by whom they are about, and by an expression over what they are and what they know."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from interlock.errors import InvalidArgument
from interlock.expressions.context import Context
from interlock.expressions.evaluate import LocalEvaluator
from interlock.expressions.names import VARIABLES, Place
from interlock.expressions.program import Program
from interlock.operations.bulk_terminations.narrowing import MAX_FILTER_TIME, MEMBERS
from interlock.operations.paging import ROWS_PER_TURN
from interlock.ports import Role
from interlock.rules.model import SECOND
from tests.engine.worlds import evaluate
from tests.operations.operations_client import CALL, GREET, WAIT, OperationsClient

pytestmark = pytest.mark.anyio

EXPENSIVE = "ctx.trigger.numbers.map(n, n).map(n, n).size() == 2"
"""Two loops: too expensive for the event loop."""
TOO_EXPENSIVE = "[" + "1," * 99 + "1].all(a, ctx.trigger.numbers.all(b, a + b > 0))"


async def plan(admin: OperationsClient, **narrowing: Any) -> Any:
    return (await admin.ask("OwnPlanBulkTermination", {"filter": narrowing})).body


def planned(plan: Any) -> list[int]:
    """The runs of a plan, oldest first."""
    return sorted(int(row["executionId"]) for row in plan["executions"])


async def where(admin: OperationsClient, expression: str) -> list[int]:
    return planned(await plan(admin, expressionCel=expression))


# --- by subject -------------------------------------------------------------------------------------------------------


async def test_a_subject_finds_the_runs_about_that_person(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    ours = await admin.make(WAIT, context={"context": {"user_id": "u1"}})
    first = await admin.start(automation, user_id="u1")
    second = await admin.start(automation, userId="u1")
    by_default, overlaid = await admin.start(ours), await admin.start(ours, user_id="u2")
    for trigger in ({"user_id": "u10"}, {"user_id": None}, {"name": "u1"}, {"nested": {"user_id": "u1"}}):
        await admin.start(automation, **trigger)
    assert planned(await plan(admin, subjectUserIds=["u1"])) == [first, second, by_default]
    assert planned(await plan(admin, subjectUserIds=["u1", "u2"])) == [first, second, by_default, overlaid]
    assert planned(await plan(admin, subjectUserIds=["u1", "u1"], automationTemplateIds=[ours, ours])) == [by_default]
    assert planned(await plan(admin, subjectUserIds=["unknown"])) == []


async def test_what_a_run_hands_on_to_its_child_says_whom_that_is_about(admin: OperationsClient) -> None:
    child = await admin.make(WAIT)
    begin = {"automationTemplateRef": {"id": child}, "context": {"context": {"user_id": "{{ ctx.trigger.user_id }}"}}}
    await admin.start(await admin.make({"stepName": "begin", "runAutomation": begin}), user_id="u1")
    [found] = (await plan(admin, subjectUserIds=["u1"]))["executions"]
    assert found["automationTemplateId"] == child


# --- by expression ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression",
    [
        "execution.state == 'WAITING' && execution.waitingFor == 'timer'",
        "execution.automationDisplayName.startsWith('Off') && execution.automationTemplateId != ''",
        "execution.stepName == 'hold' && execution.step == 1",
        "execution.currentVersion == 1 && !execution.isDraft && execution.id > 0 && execution.step > 0",
        "execution.createdAt < now() - duration('5m') && execution.updatedAt >= execution.createdAt",
        "ctx.trigger.name == 'Ann'",
        "ctx.greet.text == 'hello Ann'",
        "ctx.exists(step, step == 'greet')",
        "ctx.trigger.numbers.map(n, n + 1).map(n, n + 1) == [3, 4] && execution.createdAt < now() - duration('5m')",
    ],
)
async def test_an_expression_asks_what_a_run_is_and_what_it_knows(admin: OperationsClient, expression: str) -> None:
    wanted = await admin.start(await admin.make(GREET, WAIT, displayName="Offboard"), name="Ann", numbers=[1, 2])
    await admin.wait(600)
    await admin.start(await admin.make(CALL), name="Bob", numbers=[])
    assert await where(admin, expression) == [wanted]


async def test_an_expression_is_one_condition_among_the_others(admin: OperationsClient) -> None:
    automation, other = await admin.make(WAIT), await admin.make(WAIT)
    runs = [await admin.start(made, user_id=user, n=1) for made in (automation, other) for user in ("u1", "u2")]
    done = await admin.start(await admin.make(GREET), name="Ann", user_id="u1", n=1)
    assert await where(admin, "ctx.trigger.n == 1") == runs
    both = await plan(admin, automationTemplateIds=[other], subjectUserIds=["u2"], expressionCel="ctx.trigger.n == 1")
    assert planned(both) == [runs[3]]
    assert await admin.state(done) == "DONE"


def test_what_can_be_asked_of_a_run_is_what_is_declared() -> None:
    declared = {name for name, (_, places) in VARIABLES.items() if Place.EXECUTION in places}
    assert declared == {"ctx", *MEMBERS}


# --- an expression that fails -----------------------------------------------------------------------------------------


async def test_a_run_that_an_expression_fails_for_is_not_stopped_and_is_counted(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    first, wanted, odd = [await admin.start(automation, **trigger) for trigger in ({}, {"n": 5}, {"n": "private"})]
    found = await plan(admin, expressionCel="ctx.trigger.n > 1")
    assert (planned(found), found["total"]) == ([wanted], 1)
    failures = found["expressionFailures"]
    assert (failures["count"], failures["executionId"]) == (2, str(odd))
    assert "matching overload" in failures["error"]
    assert "private" not in str(found)
    given = (await admin.ask("OwnCreateBulkTermination", {"filter": {"expressionCel": "ctx.trigger.n > 1"}})).body
    assert (given["bulkTermination"]["total"], given["expressionFailures"]) == (1, failures)
    assert first < wanted < odd
    assert not (await plan(admin, expressionCel="has(ctx.trigger.n)")).get("expressionFailures")


async def test_an_overrun_and_an_answer_that_is_no_bool_are_failures_too(admin: OperationsClient) -> None:
    run = await admin.start(await admin.make(WAIT), numbers=list(range(9_999)), text="yes")
    for expression, why in ((TOO_EXPENSIVE, "loops more|more time"), ("ctx.trigger.text", "expected type 'bool'")):
        found = await plan(admin, expressionCel=expression)
        assert (found["total"], found["expressionFailures"]["executionId"]) == (0, str(run))
        assert re.search(why, found["expressionFailures"]["error"])


async def test_a_secret_can_be_neither_asked_about_nor_read_in_an_error(admin: OperationsClient) -> None:
    steps = (evaluate("login", secret=["token"], token='"hunter" + "2"', open='"x"'), WAIT)
    run = await admin.start(await admin.make(*steps))
    assert await where(admin, 'ctx.login.token.startsWith("hunter")') == []
    assert await where(admin, 'ctx.login.token == "[secret]" && ctx.login.open == "x"') == [run]
    found = await plan(admin, expressionCel="int(ctx.login.token) == 1")
    assert found["expressionFailures"]["count"] == 1
    assert "hunter" not in str(found)


async def test_what_a_client_may_not_see_is_not_asked_about(admin: OperationsClient) -> None:
    theirs = await admin.make(WAIT, appId="app1")
    runs = [await admin.start(made) for made in (theirs, await admin.make(WAIT), await admin.make(WAIT, appId="app2"))]
    bob = admin.with_role(Role.APP_ADMIN, apps=["app1"])
    found = await plan(bob, expressionCel="ctx.trigger.missing")
    assert (found["total"], found["expressionFailures"]["count"]) == (0, 1)
    assert found["expressionFailures"]["executionId"] == str(runs[0])


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("execution.state ==", "line 1, column 19: "),
        ("true &&\n  execution.stat == 'x'", "line 2, column 3: undeclared reference to 'execution.stat'"),
        ("execution.state == 5", "line 1, column 17: found no matching overload"),
        ("execution.id", "line 1, column 1: expected type 'bool' but found 'int'"),
        ("subject.status == 'x'", "'subject': it cannot be used in a filter of executions"),
        ("c1.directory.users.v1.FindByEmail('a').id == ''", "it cannot be used in a filter of executions"),
        ("", "the expression is empty"),
        (" ", "the expression is empty"),
        ("true" + " " * 4_096, "at most 4,096 are allowed"),
    ],
)
async def test_an_expression_that_cannot_be_meant_is_refused_with_its_place(
    admin: OperationsClient, expression: str, told: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await plan(admin, allExecutions=True, expressionCel=expression)
    [problem, *_] = refused.value.problems
    assert problem.field == "filter.expressionCel"
    assert problem.line is not None
    assert told in str(problem)


async def test_an_empty_subject_is_refused(admin: OperationsClient) -> None:
    with pytest.raises(InvalidArgument, match=r"subjectUserIds\[1\]"):
        await plan(admin, subjectUserIds=["u1", ""])


# --- what it costs ----------------------------------------------------------------------------------------------------


class Counted:
    """Counts what is read of runs."""

    def __init__(self, reads: Counter[str], inner: Any) -> None:
        self._reads, self._inner = reads, inner

    def __getattr__(self, name: str) -> Any:
        self._reads[name] += 1
        found = getattr(self._inner, name)
        return Counted(self._reads, found) if name in ("executions", "automations") else found


@pytest.mark.parametrize(
    ("expression", "read"),
    [
        ("execution.state == 'none'", set()),
        ("ctx.trigger.n == 0", {"input", "definition"}),
        ("ctx.greet.text == ''", {"outputs", "definition"}),
        ("execution.automationDisplayName == ''", {"get_many"}),
    ],
)
async def test_what_an_expression_does_not_read_is_not_loaded(
    admin: OperationsClient, expression: str, read: set[str]
) -> None:
    automation = await admin.make(GREET, WAIT)
    for _ in range(3):
        await admin.start(automation, name="Ann", n=1)
    reads = Counter[str]()
    admin.services = replace(admin.services, store=Counted(reads, admin.services.store))
    assert await where(admin, expression) == []
    assert {name for name in reads if name in {"input", "outputs", "definition", "get_many", "load"}} == read
    assert all(reads[name] == (3 if name in ("input", "outputs") else 1) for name in read)


class SlowEvaluator(LocalEvaluator):
    """Takes ten seconds of engine time for each batch of runs."""

    def __init__(self, admin: OperationsClient) -> None:
        super().__init__()
        self._ann = admin

    async def evaluate_each(self, program: Program, contexts: Sequence[Context]) -> list[object]:
        self._ann.engine.clock.advance(10)
        return await super().evaluate_each(program, contexts)


async def test_what_takes_too_long_is_refused_as_a_whole(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    batches = MAX_FILTER_TIME // SECOND // 10
    runs = [await admin.start(automation) for _ in range(batches * ROWS_PER_TURN)]
    admin.services = replace(admin.services, evaluator=SlowEvaluator(admin))
    assert await where(admin, "true") == runs
    await admin.start(automation)
    with pytest.raises(InvalidArgument, match="longer than 30 s"):
        await where(admin, "true")
