"""Turns of the loop for other callbacks: safe to cancel at every moment, and between any two large pieces of work."""

from __future__ import annotations

import asyncio
import json

import pytest
from anyio.lowlevel import checkpoint

from interlock.expressions.context import Context, Inputs
from interlock.expressions.environment import NOWHERE
from interlock.expressions.evaluate import LocalEvaluator
from interlock.expressions.names import Kind
from interlock.expressions.pool import EvaluatorPool
from interlock.rules.model import Ref
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from interlock.system import MAX_BYTES_A_TURN, Slices, yield_to_loop
from tests.clocks import Turns, expect_apart, settle
from tests.engine.worlds import Engine, engine, evaluate, wait, webhook
from tests.expressions.given import ENVIRONMENT, NOW

pytestmark = pytest.mark.anyio

LARGE = MAX_BYTES_A_TURN + 1


async def test_a_turn_that_is_cancelled_leaves_nothing_to_be_called() -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    turn = asyncio.ensure_future(yield_to_loop())
    await checkpoint()
    turn.cancel()
    await asyncio.wait((turn,))
    assert turn.cancelled()
    assert not failures


async def test_large_pieces_that_are_ready_together_are_worked_on_turns_apart() -> None:
    slices, turns, at = Slices(), Turns(), list[int]()

    async def piece() -> None:
        await slices.turn()
        at.append(turns.count)
        slices.spent(LARGE)

    with turns.counted():
        await asyncio.gather(*[piece() for _ in range(10)])
    assert len(at) == 10
    expect_apart(at)


async def test_small_pieces_are_worked_on_at_once() -> None:
    slices, turns = Slices(), Turns()
    with turns.counted():
        for _ in range(64):
            await slices.turn()
            slices.spent(MAX_BYTES_A_TURN // 64)
    assert turns.count == 0


async def test_a_piece_that_is_cancelled_passes_its_turn_on() -> None:
    slices = Slices()
    slices.spent(LARGE)
    pieces = [asyncio.ensure_future(slices.turn()) for _ in range(5)]
    await checkpoint()
    for piece in (pieces[0], pieces[2]):
        piece.cancel()
    await asyncio.wait(pieces)
    assert [piece.cancelled() for piece in pieces] == [True, False, True, False, False]


TURNS = Turns()


class Noted(Slices):
    """Records the turn of the loop of each large piece."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[int] = []

    def spent(self, size: int) -> None:
        super().spent(size)
        if size >= LARGE:
            self.at.append(TURNS.count)


class Noting(LocalEvaluator):
    def __init__(self) -> None:
        super().__init__()
        self.slices = self.noted = Noted()


def noted(world: Engine) -> list[int]:
    assert isinstance(world.evaluator, Noting)
    return world.evaluator.noted.at


async def until_done(world: Engine, refs: list[Ref]) -> None:
    while any(world.state(ref) is not State.DONE for ref in refs):
        await checkpoint()


async def test_runs_with_large_data_that_come_due_together_are_read_turns_apart() -> None:
    async with engine(evaluating=Noting) as world:
        definition = await world.publish([wait("w", "60s"), evaluate("x", n="ctx.trigger.text.size()")])
        refs = [await world.start(definition, {"text": "a" * LARGE}) for _ in range(10)]
        with TURNS.counted():
            await world.clock.pass_time(60)
            await until_done(world, refs)
        assert len(noted(world)) >= 10
        expect_apart(noted(world))


async def test_large_answers_that_come_together_are_read_turns_apart() -> None:
    async with engine(evaluating=Noting) as world:
        definition = await world.publish([webhook("w")])
        refs = [await world.start(definition) for _ in range(10)]
        with TURNS.counted():
            for call in world.far.calls:
                call.answer(200, json.dumps("a" * LARGE).encode())
            await until_done(world, refs)
        assert len(noted(world)) == 10
        expect_apart(noted(world))


async def test_run_terminated_before_its_answer_is_read_counts_as_answered() -> None:
    async with engine() as world:
        definition = await world.publish([webhook("w")])
        refs = [await world.start(definition) for _ in range(3)]
        for call in world.far.calls:
            call.answer(200, json.dumps("a" * LARGE).encode())
        await world.order(refs[-1])
        await until_done(world, refs[:-1])
        await settle()
        assert world.state(refs[-1]) is State.TERMINATE
        assert world.outcomes(refs[-1]) in ([Outcome.INTERRUPTED_RESPONSE], [Outcome.SUCCEEDED])
        assert world.dispatcher.busy == 0


async def test_data_of_many_evaluations_is_written_in_separate_turns() -> None:
    turns = Turns()
    at: dict[bool, list[int]] = {False: [], True: []}

    class Noting(Context):
        def packed(self, inputs: Inputs) -> str:
            at["urgent" in self.ctx].append(turns.count)
            return super().packed(inputs)

    program = ENVIRONMENT.compile("ctx.trigger.map(x, x).size()", Kind.ANY, NOWHERE)
    evaluator = EvaluatorPool()
    try:
        await evaluator.ready()
        with turns.counted():
            contexts = [Noting({"trigger": ["a" * LARGE]}, NOW) for _ in range(10)]
            values = asyncio.gather(*[evaluator.evaluate(program, one) for one in contexts])
            await checkpoint()
            assert await evaluator.evaluate_each(program, [Noting({"trigger": [1], "urgent": 1}, NOW)]) == [1]
            assert await values == [1] * 10
    finally:
        await evaluator.aclose()
    assert len(at[False]) == 10
    expect_apart(at[False])
    assert at[True][0] < at[False][1]
