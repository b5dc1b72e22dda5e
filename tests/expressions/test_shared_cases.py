"""Every expression of the shared cases gives what it should, so that the engine behind them can be exchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock.expressions.context import Context
from interlock.expressions.environment import Environment, InvalidExpression, Scope
from interlock.expressions.failures import ExpressionFailed
from interlock.expressions.functions import Ask
from interlock.expressions.names import Kind, Place
from tests.expressions.given import NOW

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parents[1] / "fixtures" / "cel-cases.json").read_text())
ENVIRONMENT = Environment(directory=True)


class StandIn:
    """The directory of the cases."""

    def __getattr__(self, name: str) -> Ask:
        raise AttributeError(name)

    def has_app(self, user: Mapping[str, object], app_id: str) -> bool:
        return app_id == "okta"

    def find_user_by_email(self, email: str) -> Mapping[str, object]:
        return {"email": email, "department": "Engineering"}

    def managers(self, user: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
        return [{"email": "boss@company.com"}]


def context() -> Context:
    variables = json.loads(json.dumps(DOCUMENT["variables"]))
    task = variables["task"]
    others = {name: value for name, value in variables.items() if name not in ("ctx", "subject")}
    others["task.grantDuration"] = timedelta(seconds=int(task.pop("grantDuration")["$duration"].rstrip("s")))
    others["task.created_at"] = datetime.fromisoformat(task.pop("created_at")["$timestamp"])
    directory: Any = StandIn()
    return Context(variables["ctx"], NOW, subject=variables["subject"], directory=directory, others=others)


@pytest.mark.parametrize("case", DOCUMENT["cases"], ids=lambda case: case["expression"])
def test_case(case: dict[str, Any]) -> None:
    scope = Scope(Place.POLICY)
    if case["expect"] == {"$error": "compile"}:
        with pytest.raises(InvalidExpression):
            ENVIRONMENT.compile(case["expression"], Kind.ANY, scope)
        return
    program = ENVIRONMENT.compile(case["expression"], Kind.ANY, scope)
    if case["expect"] == {"$error": "run"}:
        with pytest.raises(ExpressionFailed):
            program.evaluate(context())
    else:
        assert program.evaluate(context()) == case["expect"]


def test_all_cases_are_there() -> None:
    assert len(DOCUMENT["cases"]) == 110
