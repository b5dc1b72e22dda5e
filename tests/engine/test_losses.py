"""Runs that crash the server are counted, resumed alone and set aside, and can be terminated before they continue."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.assembly.assemble import assembled
from interlock.assembly.system import Platform
from interlock.engine.suspects import MAX_LOSSES
from interlock.expressions.evaluate import LocalEvaluator
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from interlock.settings import Settings
from interlock.store.marks import FileMarks
from interlock.store.sqlite.store import SqliteStore
from tests.clocks import FixedChance, ManualClock, SequentialIds, settle
from tests.engine.test_evaluating import EXPENSIVE, Slow, evaluator_of
from tests.engine.worlds import Engine, FarEnd, engine, evaluate, restarted, wait, webhook

pytestmark = pytest.mark.anyio

HOLD = 0.5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "working"


def dies(world: Engine) -> None:
    """From now on the next process sees no work of this one."""
    assert isinstance(world.marks, FileMarks)
    world.marks.abandon()


def holding(world: Engine) -> bool:
    return world.dispatcher.holding


@pytest.mark.parametrize(
    "steps",
    [
        [evaluate("a", x=EXPENSIVE)],
        [wait("w", "5s"), evaluate("a", x=EXPENSIVE)],
        [webhook("a", {"x": "{{ ctx.trigger.n + 1 }}"})],
        [webhook("a", skipIfTrueCel="ctx.trigger.n + 1 == 3")],
    ],
)
async def test_run_that_ends_the_server_three_times_is_set_aside(path: Path, steps: list[object]) -> None:
    async with engine(evaluating=Slow, marks=FileMarks(path)) as first:
        definition = await first.publish(steps)  # type: ignore[arg-type]
        ref = await first.start(definition, {"n": 1})
        await first.clock.pass_time(6)
        assert evaluator_of(first).asked == 1
        dies(first)
        for losses in range(1, MAX_LOSSES):
            async with restarted(first, evaluating=Slow, marks=FileMarks(path)) as world:
                assert dict(world.marks.losses) == {ref: losses}
                await world.clock.pass_time(HOLD)
                assert evaluator_of(world).asked == 1
                dies(world)
        async with restarted(first, evaluating=Slow, marks=FileMarks(path)) as world:
            await world.clock.pass_time(HOLD)
            assert evaluator_of(world).asked == 0
            assert (world.state(ref), world.error(ref)["code"]) == (State.ERROR, "SET_ASIDE")
            assert dict(world.marks.losses) == {}


async def test_innocent_runs_beside_it_go_on_one_at_a_time(path: Path) -> None:
    async with engine(evaluating=Slow, marks=FileMarks(path)) as first:
        definition = await first.publish([evaluate("a", x=EXPENSIVE), webhook("w")])
        refs = [await first.start(definition, {"n": number}) for number in range(3)]
        fresh = await first.publish([evaluate("a", x=EXPENSIVE)], id="fresh")
        assert evaluator_of(first).asked == 3
        dies(first)
        async with restarted(first, evaluating=Slow, marks=FileMarks(path)) as world:
            await world.clock.pass_time(HOLD)
            assert (evaluator_of(world).asked, world.dispatcher.in_line) == (1, 2)
            # Runs that are not suspects do not wait.
            await world.start(fresh, {"n": 1}, automation="fresh")
            assert evaluator_of(world).asked == 2
            evaluator_of(world).open.set()
            await settle(200)
            assert {world.state(ref) for ref in refs} == {State.PROCESS_STEP}
            assert evaluator_of(world).asked == 4
            for call in world.far.calls:
                call.answer()
            await settle()
            assert {world.state(ref) for ref in refs} == {State.DONE}
            assert dict(world.marks.losses) == {}


async def test_settled_call_is_not_repeated_by_each_death_after_it(path: Path) -> None:
    async with engine(evaluating=Slow, marks=FileMarks(path)) as first:
        ref = await first.start(await first.publish([webhook("w"), evaluate("a", x=EXPENSIVE)]), {"n": 1})
        first.far.calls[0].answer()
        await settle()
        assert evaluator_of(first).asked == 1
        dies(first)
        for _ in range(MAX_LOSSES + 1):
            async with restarted(first, evaluating=Slow, marks=FileMarks(path)) as world:
                await world.clock.pass_time(HOLD)
                if len(world.far.calls) == 2 and world.far.open:
                    world.far.calls[1].answer()
                    await settle()
                dies(world)
        assert len(first.far.calls) == 2
        assert (first.state(ref), first.error(ref)["code"]) == (State.ERROR, "SET_ASIDE")
        assert first.outcomes(ref) == [Outcome.ABANDONED, Outcome.SUCCEEDED, Outcome.FAILED]


async def test_runs_can_be_terminated_before_they_are_resumed_after_a_crash(path: Path) -> None:
    async with engine(evaluating=Slow, marks=FileMarks(path)) as first:
        definition = await first.publish([evaluate("a", x=EXPENSIVE)])
        ready = await first.start(definition, {"n": 1})
        called = await first.start(await first.publish([webhook("w")], id="called"), automation="called")
        stopping = await first.start(await first.publish([webhook("w")], id="stopping"), automation="stopping")
        first.far.deaf = True
        await first.order(stopping)
        dies(first)
        first.far.deaf = False
        async with restarted(first, evaluating=Slow, marks=FileMarks(path)) as world:
            assert holding(world)
            # Stopping runs are settled first.
            assert world.state(stopping) is State.TERMINATE
            assert (world.state(ready), world.state(called)) == (State.PENDING, State.PROCESS_STEP)
            for ref in (ready, called):
                await world.terminate(ref)
            assert (world.state(ready), evaluator_of(world).asked) == (State.TERMINATE, 0)
            await world.clock.pass_time(HOLD)
            assert not holding(world)
            assert world.state(called) is State.TERMINATE
            await world.clock.pass_time(60)
            assert (evaluator_of(world).asked, dict(world.marks.losses)) == (0, {})


async def test_runs_are_held_back_until_the_port_was_open_for_a_while(path: Path) -> None:
    async with engine(evaluating=Slow, marks=FileMarks(path)) as first:
        await first.start(await first.publish([evaluate("a", x=EXPENSIVE)]), {"n": 1})
        dies(first)
        async with restarted(first, evaluating=Slow, marks=FileMarks(path)) as world:
            world.dispatcher.opens_later()
            await world.clock.pass_time(20)
            assert (holding(world), evaluator_of(world).asked) == (True, 0)
            world.dispatcher.opened()
            await world.clock.pass_time(HOLD / 2)
            assert (holding(world), evaluator_of(world).asked) == (True, 0)
            await world.clock.pass_time(HOLD)
            assert (holding(world), evaluator_of(world).asked) == (False, 1)


async def test_the_time_for_which_runs_are_held_back_is_counted_once(path: Path) -> None:
    async with engine(evaluating=Slow, marks=FileMarks(path)) as first:
        await first.start(await first.publish([evaluate("a", x=EXPENSIVE)]), {"n": 1})
        dies(first)
        async with restarted(first, evaluating=Slow, marks=FileMarks(path)) as world:
            world.dispatcher.opens_later()
            await world.clock.pass_time(HOLD / 5)
            world.dispatcher.opened()
            await world.clock.pass_time(HOLD * 0.9)
            assert (holding(world), evaluator_of(world).asked) == (True, 0)
            await world.clock.pass_time(HOLD * 0.2)
            assert (holding(world), evaluator_of(world).asked) == (False, 1)


async def test_orderly_end_holds_nothing_back(path: Path) -> None:
    async with engine(marks=FileMarks(path)) as first:
        ref = await first.start(await first.publish([webhook("w")]))
        first.marks.close()
        async with restarted(first, marks=FileMarks(path)) as world:
            assert not holding(world)
            assert (world.state(ref), len(world.far.calls)) == (State.PROCESS_STEP, 2)


async def test_readiness_says_that_runs_are_not_taken_on_yet(tmp_path: Path) -> None:
    clock = ManualClock()

    def platform() -> Platform:
        return Platform(
            clock,
            FixedChance(),
            SequentialIds,
            lambda directory, fail: SqliteStore(directory, on_fatal=fail),
            FarEnd(),
            LocalEvaluator,
        )

    settings = Settings(data_dir=tmp_path / "data", grace=0)
    async with assembled(settings, "localhost", platform=platform()) as system:
        assert system.health().reasons == {}
    FileMarks(settings.data_dir / "working").abandon()
    async with assembled(settings, "localhost", platform=platform()) as system:
        health = system.health()
        assert (health.ready, list(health.reasons)) == (True, ["recovering"])
        await clock.pass_time(HOLD)
        assert system.health().reasons == {}
