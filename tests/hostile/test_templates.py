"""Templates that are built to keep a scanner busy: each is looked at in linear time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from interlock.errors import Problem
from interlock.expressions.check import Checker
from interlock.expressions.environment import Environment
from interlock.expressions.holes import MAX_HOLE
from interlock.expressions.limits import MAX_AUTOMATION_EXPRESSIONS, MAX_AUTOMATION_SOURCE, MAX_TEMPLATE_EXPRESSIONS
from interlock.expressions.pool import EvaluatorPool

pytestmark = pytest.mark.anyio

SIZE = 1_000_000
"""Characters: as much as a body may hold."""


def filled(piece: str, size: int = SIZE, *, begin: str = "{{ ", end: str = "") -> str:
    return begin + piece * ((size - len(begin) - len(end)) // len(piece)) + end


HOSTILE = {
    "escaped quotes": filled('\\"', begin='{{ "'),
    "escaped quotes in three": filled('\\"', begin='{{ """'),
    "three escaped quotes": filled('\\"\\"\\"', begin='{{ "', end=" }}"),
    "quotes": filled("'"),
    "quotes of both kinds": filled("'\""),
    "three quotes": filled('"""', end="}}"),
    "raw texts": filled('r"'),
    "raw texts in three": filled('rb"""'),
    "prefixes": filled("r"),
    "two prefixes": filled("rb"),
    "comments": filled("//"),
    "lines of quotes": filled('"\n', end="}}"),
    "open braces": filled("{"),
    "braces": filled("{}"),
    "closed braces": filled("}", begin="{{ " + "{" * 5_000),
    "beginnings": filled("{{", begin=""),
    "spaces": filled(" ", end="}}"),
    "expressions": filled("{{ 1 }}", begin=""),
    "unclosed texts": filled('{{ " }}', begin=""),
    "texts that reach on": filled('{{ \\""" }}', begin=""),
    "empty expressions": filled("{{ }}", begin=""),
    "private characters": "[" + "".join(map(chr, range(0xE000, 0xF8FF))) + filled("{{ 1 }}", begin=""),
}


@pytest.fixture
async def pool() -> AsyncIterator[EvaluatorPool]:
    made = EvaluatorPool()
    yield made
    await made.aclose()


async def checked(pool: EvaluatorPool, form: str, text: str) -> list[Problem]:
    """What is found, in a task of its own, each step of which is measured."""

    def check(environment: Environment) -> list[Problem]:
        checker = Checker(environment, ["a"])
        if form == "text":
            checker.text(text, field="f", step="a")
        elif form == "document":
            checker.document("[" + text, field="f", step="a")
        else:
            pieces = [text[at : at + 1_000] for at in range(0, len(text), 1_000)]
            checker.tree({"pieces": pieces}, field="f", step="a")
        return checker.problems

    return await asyncio.create_task(pool.environment().compiled(check))


@pytest.mark.parametrize("form", ["text", "document", "tree"])
@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_template_is_refused_without_holding_the_loop(pool: EvaluatorPool, name: str, form: str) -> None:
    problems = await checked(pool, form, HOSTILE[name])
    assert problems
    assert len(problems) <= SIZE // 1_000 + 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ 1 }}" * (MAX_TEMPLATE_EXPRESSIONS + 1), "more expressions than the 500"),
        ("{{ '" + "x" * MAX_HOLE + "' }}", "within 5,120 characters"),
        ("{{ '" + "x" * 4_096 + "' }}", "4,098 bytes long"),
        ('{{ "abc }}', "Syntax error"),
        ("{{ {'a': 1} }", "has no '}}' after it"),
        ("{{ }}", "is empty"),
    ],
)
async def test_finding_says_what_is_wrong(pool: EvaluatorPool, text: str, says: str) -> None:
    assert any(says in problem.description for problem in await checked(pool, "text", text))


async def test_many_findings_name_their_places_in_linear_time(pool: EvaluatorPool) -> None:
    line = "{{ nope }}" + "x" * 1_800 + "\n"
    problems = await checked(pool, "text", line * 500)
    assert [(problem.line, problem.column) for problem in problems] == [(line, 4) for line in range(1, 501)]


async def test_automation_at_its_limits_is_compiled_in_slices(pool: EvaluatorPool) -> None:
    length = MAX_AUTOMATION_SOURCE // MAX_AUTOMATION_EXPRESSIONS - 10
    sources = [f"'{n}{'x' * (length - 20)}' + ctx.a" for n in range(MAX_AUTOMATION_EXPRESSIONS)]

    def check(environment: Environment) -> Checker:
        checker = Checker(environment, ["a", "b"])
        for begin in range(0, len(sources), 250):
            checker.tree([f"{{{{ {source} }}}}" for source in sources[begin : begin + 250]], field="f", step="b")
        return checker

    assert (await asyncio.create_task(pool.environment().compiled(check))).problems == []
