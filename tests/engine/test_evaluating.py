"""Runs that are terminated while their expressions are evaluated, and starts whose first step is expensive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from interlock.engine.held import SUPERSEDED, Claim, Held
from interlock.engine.plans import Plan
from interlock.engine.start import StartRequest
from interlock.expressions.context import Context
from interlock.expressions.evaluate import LocalEvaluator, Stopped, never
from interlock.expressions.script import Outcome as Value
from interlock.expressions.script import Script
from interlock.ports import NoMarks
from interlock.rules.model import Mode, Ref, TerminationRequest
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from tests.clocks import settle
from tests.engine.test_advance_operations import quiet
from tests.engine.worlds import ANN, Engine, engine, evaluate, wait, webhook

pytestmark = pytest.mark.anyio

EXPENSIVE = "ctx.trigger.n + 1"


class Slow(LocalEvaluator):
    """An evaluator that answers when the test releases it, and ignores the cancellation of its caller."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.open = asyncio.Event()
        self.stopped: Stopped = never
        """Whether the run of the last evaluation was terminated."""

    async def run(
        self, script: Script, context: Context, stopped: Stopped = never, *, urgent: bool = False
    ) -> Sequence[Value]:
        self.asked += 1
        self.stopped = stopped
        await self.open.wait()
        return await super().run(script, context)


def evaluator_of(world: Engine) -> Slow:
    assert isinstance(world.evaluator, Slow)
    return world.evaluator


async def one(world: Engine, ref: Ref) -> None:
    await world.order(ref)


async def one_draining(world: Engine, ref: Ref) -> None:
    await world.order(ref, mode=Mode.DRAIN)


async def many(world: Engine, ref: Ref) -> None:
    await world.store.executions.terminate_many(
        ref.tenant, [ref.id], world.clock.now(), TerminationRequest(ANN, "enough")
    )


async def tree(world: Engine, ref: Ref) -> None:
    await world.store.executions.terminate_tree(ref, world.clock.now(), TerminationRequest(ANN, cascade=True))


WAYS = [one, one_draining, many, tree]
PLACES = {
    "the first step": [evaluate("a", x=EXPENSIVE)],
    "after a call": [webhook("w"), evaluate("a", x=EXPENSIVE)],
    "after a wait": [wait("w", "1s"), evaluate("a", x=EXPENSIVE)],
    "several steps": [evaluate("a", x=EXPENSIVE), evaluate("b", x=EXPENSIVE), webhook("w")],
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", WAYS)
async def test_termination_during_an_evaluation_frees_the_slot_at_once(
    place: str, way: Callable[[Engine, Ref], Awaitable[None]]
) -> None:
    async with engine(evaluating=Slow) as world:
        ref = await world.start(await world.publish(PLACES[place]), {"n": 1})
        if place == "after a call":
            world.far.calls[0].answer()
        await world.clock.pass_time(1)
        assert (evaluator_of(world).asked, world.dispatcher.busy) == (1, 1)
        assert not evaluator_of(world).stopped()
        await way(world, ref)
        await settle()
        assert evaluator_of(world).stopped()
        assert (world.state(ref), world.dispatcher.busy, world.dispatcher.in_line) == (State.TERMINATE, 0, 0)
        if place == "after a call":
            assert world.outcomes(ref) == [Outcome.SUCCEEDED]
        evaluator_of(world).open.set()
        await world.clock.pass_time(30)
        assert (world.state(ref), evaluator_of(world).asked) == (State.TERMINATE, 1)


async def test_start_with_an_expensive_first_step_is_committed_first() -> None:
    async with engine(evaluating=Slow) as world:
        definition = await world.publish([evaluate("a", x=EXPENSIVE), webhook("w", {"x": "{{ ctx.a.x }}"})])
        started = await world.starter.start(StartRequest(world.tenant, "auto", definition, ANN, {"n": 41}))
        ref = started.execution.ref
        await settle()
        assert (world.state(ref), world.dispatcher.busy, len(world.far.calls)) == (State.PENDING, 1, 0)
        evaluator_of(world).open.set()
        await settle()
        assert world.state(ref) is State.PROCESS_STEP
        assert world.far.calls[0].body["payload"]["context"] == {"x": 42}
        assert evaluator_of(world).asked == 1


@pytest.mark.parametrize("steps", [[webhook("w", {"x": "{{ ctx.trigger.n }}"})], [evaluate("a", x="ctx.trigger.n")]])
async def test_start_that_needs_no_process_is_one_commit(steps: list[dict[str, object]]) -> None:
    async with engine(evaluating=Slow) as world:
        definition = await world.publish(steps)
        before = world.store.counters().commits
        started = await world.starter.start(StartRequest(world.tenant, "auto", definition, ANN, {"n": 1}))
        assert started.execution.state in {State.PROCESS_STEP, State.DONE}
        assert (world.store.counters().commits - before, evaluator_of(world).asked) == (1, 0)


async def test_draining_termination_does_not_cut_the_call() -> None:
    async with engine(evaluating=Slow) as world:
        ref = await world.start(await world.publish(PLACES["after a call"]), {"n": 1})
        await world.terminate(ref, mode=Mode.DRAIN)
        assert (world.state(ref), world.far.calls[0].cut) == (State.STOPPING, False)
        world.far.calls[0].answer()
        await settle()
        assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [Outcome.SUCCEEDED])
        assert evaluator_of(world).asked == 0


async def test_end_of_the_process_during_an_evaluation_leaves_the_run_as_it_is() -> None:
    async with engine(evaluating=Slow) as world:
        ref = await world.start(await world.publish(PLACES["the first step"]), {"n": 1})
        assert evaluator_of(world).asked == 1
        await world.down()
        assert world.state(ref) is State.PENDING


async def test_cancellation_that_no_termination_caused_ends_the_caller_of_an_evaluation() -> None:
    async with quiet(evaluating=Slow) as world:
        ref = await world.begin(await world.publish(PLACES["the first step"]), {"n": 1})
        held = Held(ref)
        turn = asyncio.ensure_future(world.advance.advance(Claim(ref), held))
        await settle()
        assert (evaluator_of(world).asked, held.evaluating) == (1, True)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert (held.evaluating, world.state(ref)) == (False, State.PENDING)


async def test_run_that_was_terminated_before_its_turn_is_not_evaluated() -> None:
    async with quiet(evaluating=Slow) as world:
        ref = await world.begin(await world.publish(PLACES["the first step"]), {"n": 1})
        held = Held(ref)
        held.stop()
        evaluator_of(world).open.set()
        assert await world.advance.advance(Claim(ref), held) is SUPERSEDED
        assert (evaluator_of(world).asked, world.state(ref)) == (0, State.PENDING)


class Counted(NoMarks):
    """Marks that count."""

    def __init__(self) -> None:
        self.begun: list[Ref] = []
        self.ended: list[int] = []

    def begin(self, ref: Ref) -> int:
        self.begun.append(ref)
        return len(self.begun) - 1

    def end(self, number: int) -> None:
        if number >= 0:
            self.ended.append(number)


@pytest.mark.parametrize("expression", [EXPENSIVE, "ctx.trigger.n"])
async def test_only_an_evaluation_that_may_crash_the_server_is_marked(expression: str) -> None:
    marks = Counted()
    async with engine(marks=marks) as world:
        ref = await world.start(await world.publish([webhook("w"), evaluate("a", x=expression)]), {"n": 1})
        world.far.calls[0].answer()
        await settle()
        assert world.state(ref) is State.DONE
        assert (marks.begun, marks.ended) == (([ref], [0]) if expression == EXPENSIVE else ([], []))


class SlowPlans:
    """Plans that are compiled when the test releases them."""

    def __init__(self, world: Engine) -> None:
        self._real = world.plans
        self.asked = 0

    async def get(self, tenant: int, definition: int) -> Plan:
        self.asked += 1
        await asyncio.get_running_loop().create_future()
        return await self._real.get(tenant, definition)


async def test_termination_while_the_plan_is_compiled_frees_the_slot_at_once() -> None:
    async with engine() as world:
        slow = SlowPlans(world)
        ref = await world.start(await world.publish([wait("w", "1s"), webhook("a")]))
        world.advance._plans = slow  # type: ignore[assignment]
        await world.clock.pass_time(1)
        assert (slow.asked, world.dispatcher.busy) == (1, 1)
        await world.terminate(ref)
        assert (world.state(ref), world.dispatcher.busy) == (State.TERMINATE, 0)
