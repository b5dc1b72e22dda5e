"""All expressions that a run evaluates between two commits go to an evaluator in one round trip."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from interlock.engine.context import RunContext
from interlock.engine.prepare import Preparer
from interlock.expressions.context import Context
from interlock.expressions.evaluate import EvaluationStopped, LocalEvaluator, Stopped, never
from interlock.expressions.script import Outcome, Script, play
from interlock.rules.events import Announce, Fail, Next
from interlock.rules.model import Ref
from tests.engine.worlds import VAULT, Engine, engine, evaluate, webhook

pytestmark = pytest.mark.anyio

RUN = Ref(1, 1)

STEPS = [
    {"stepName": "a", "evaluateExpressions": {"expressions": [{"key": "n", "expressionCel": "ctx.trigger.n + 1"}]}},
    {
        "stepName": "left_out",
        "skipIfTrueCel": "ctx.a.n > 1",
        "evaluateExpressions": {"expressions": [{"key": "n", "expressionCel": "1 / 0"}]},
    },
    {
        "stepName": "b",
        "evaluateExpressions": {
            "expressions": [
                {"key": "n", "expressionCel": "ctx.a.n * 2"},
                {"key": "plain", "expressionCel": "ctx.trigger.name"},
            ]
        },
    },
    webhook("c", {"n": "{{ ctx.b.n + ctx.a.n }}", "name": "{{ ctx.b.plain }}"}),
    webhook("d", {"n": "{{ ctx.b.n + 1 }}"}),
]


class CountingEvaluator(LocalEvaluator):
    """Counts round trips, and returns its values after `most` units."""

    def __init__(self, most: int = 1_000, *, dies: bool = False) -> None:
        self.trips = 0
        self._most = most
        self._dies = dies

    async def run(
        self, script: Script, context: Context, stopped: Stopped = never, *, urgent: bool = False
    ) -> Sequence[Outcome]:
        if stopped():
            raise EvaluationStopped
        self.trips += 1
        if self._dies and script.single is None:
            return []
        return play(script.steps, context, lambda outcomes: len(outcomes) < self._most)


async def followed(world: Engine, evaluator: CountingEvaluator, **trigger: object) -> Next | None:
    if not await world.store.automations.get(world.tenant, "auto"):
        await world.publish(STEPS)
    row = await world.store.automations.get(world.tenant, "auto")
    assert row is not None
    assert row.definition is not None
    plan = await world.plans.get(world.tenant, row.definition)
    return await Preparer(world.clock, evaluator, VAULT).following(
        RUN, plan, 0, RunContext(plan, trigger), world.clock.now()
    )


async def test_chain_of_steps_is_one_round_trip() -> None:
    async with engine() as world:
        evaluator = CountingEvaluator()
        following = await followed(world, evaluator, n=1, name="x")
        assert isinstance(following, Announce)
        assert b'"n":6' in (following.input or b"")
        assert [passed.position for passed in following.passed] == [0, 1, 2]
        assert evaluator.trips == 1


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5])
async def test_chain_that_is_given_back_unfinished_ends_the_same(most: int) -> None:
    async with engine() as world:
        whole = await followed(world, CountingEvaluator(), n=1, name="x")
        cut = CountingEvaluator(most)
        assert await followed(world, cut, n=1, name="x") == whole
        assert cut.trips <= 6


async def test_chain_that_ends_its_evaluator_is_asked_for_one_by_one() -> None:
    async with engine() as world:
        whole = await followed(world, CountingEvaluator(), n=1, name="x")
        assert await followed(world, CountingEvaluator(dies=True), n=1, name="x") == whole


async def test_failure_in_a_chain_belongs_to_its_step() -> None:
    async with engine() as world:
        following = await followed(world, CountingEvaluator(), n=0, name="x")
        assert isinstance(following, Fail)
        assert (following.position, len(following.passed)) == (1, 1)
        assert b"division by zero" in (following.error or b"")


async def test_stop_between_expressions_ends_the_preparation() -> None:
    async with engine() as world:
        definition = await world.publish([evaluate("e", x="ctx.trigger.n + 1"), evaluate("f", y="ctx.e.x + 1")])
        plan = await world.plans.get(world.tenant, definition)
        asked = 0

        def stopped() -> bool:
            nonlocal asked
            asked += 1
            return asked > 1

        preparer = Preparer(world.clock, CountingEvaluator(), VAULT)
        assert await preparer.following(RUN, plan, 0, RunContext(plan, {"n": 1}), world.clock.now(), stopped) is None
