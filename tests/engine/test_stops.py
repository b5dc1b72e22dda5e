"""Runs are stopped at every point, with truthful outcomes, and start nothing afterwards."""

from __future__ import annotations

import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from interlock.engine.dispatchers.embedded import EmbeddedDispatcher
from interlock.ports import Phase
from interlock.rules.model import Mode, Ref, TerminationRequest
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from tests.clocks import settle
from tests.engine.worlds import (
    ANN,
    THREE_WEBHOOKS,
    Engine,
    FarEnd,
    SteppingFarEnd,
    engine,
    run_automation,
    wait,
    webhook,
)

pytestmark = pytest.mark.anyio


async def test_an_attempt_in_flight_is_cut_and_the_run_is_terminated_at_once() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        await world.terminate(ref)
        assert world.far.calls[0].cut
        assert world.state(ref) is State.TERMINATE
        assert world.outcomes(ref) == [Outcome.INTERRUPTED_OUTCOME_UNKNOWN]
        assert len(world.far.calls) == 1
        assert world.dispatcher.busy == 0


@pytest.mark.parametrize(
    ("phase", "outcome"),
    [
        (Phase.CONNECTING, Outcome.INTERRUPTED_NOT_SENT),
        (Phase.WAITING, Outcome.INTERRUPTED_OUTCOME_UNKNOWN),
        (Phase.READING, Outcome.INTERRUPTED_RESPONSE),
    ],
)
async def test_the_outcome_says_how_far_the_request_had_got(phase: Phase, outcome: Outcome) -> None:
    async with engine(far=FarEnd(stays_at=phase)) as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        await world.terminate(ref)
        (row,) = world.steps(ref)
        assert (row.outcome, row.phase) == (outcome, phase)
        assert row.status == (200 if phase is Phase.READING else None)


async def test_drain_lets_the_attempt_end_and_starts_no_further_step() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        await world.terminate(ref, mode=Mode.DRAIN)
        assert world.state(ref) is State.STOPPING
        assert not world.far.calls[0].cut
        world.far.calls[0].answer()
        await settle()
        assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [Outcome.SUCCEEDED])
        assert len(world.far.calls) == 1


async def test_at_the_deadline_a_draining_attempt_is_abandoned_and_cut() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        await world.terminate(ref, mode=Mode.DRAIN)
        await world.clock.pass_time(9.9)
        assert world.state(ref) is State.STOPPING
        await world.clock.pass_time(0.1)
        assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [Outcome.ABANDONED])
        assert world.far.calls[0].cut
        assert world.dispatcher.busy == 0


async def at_the_deadline_a_deaf_attempt_is_abandoned(world: Engine) -> None:
    ref = await world.start(await world.publish(THREE_WEBHOOKS))
    await world.terminate(ref)
    assert world.state(ref) is State.STOPPING
    await world.clock.pass_time(10)
    assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [Outcome.ABANDONED])
    world.far.calls[0].answer()
    await settle()
    (row,) = world.steps(ref)
    assert row.outcome is Outcome.ABANDONED
    assert b"LATE_SUCCEEDED" in (row.late or b"")
    assert world.dispatcher.busy == 0


async def test_the_deadline_holds_even_if_the_attempt_ignores_its_cancellation() -> None:
    async with engine(far=FarEnd(deaf=True), slots=1) as world:
        await at_the_deadline_a_deaf_attempt_is_abandoned(world)


class DeadlineWaitsForTheAttempt(EmbeddedDispatcher):
    """Examines a due run when its slot is free again."""

    async def _come_due(self, ref: Ref, *, passing: bool = False) -> bool:
        held = self._held.get(ref)
        if held is None:
            return await super()._come_due(ref, passing=passing)
        held.ready_notifications += 1
        return True


async def test_a_deadline_that_waits_for_the_attempt_is_found_out() -> None:
    async with engine(far=FarEnd(deaf=True), dispatching=DeadlineWaitsForTheAttempt) as world:
        with pytest.raises(AssertionError):
            await at_the_deadline_a_deaf_attempt_is_abandoned(world)
        world.far.calls[0].answer()


async def test_a_deadline_of_nothing_terminates_in_the_accepting_commit() -> None:
    async with engine(far=FarEnd(deaf=True)) as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        await world.terminate(ref, deadline=0)
        assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [Outcome.ABANDONED])
        assert world.far.calls[0].cut
        world.far.calls[0].fail()
        await settle()


async def test_an_answer_that_beats_the_cut_is_recorded_as_what_it_is() -> None:
    async with engine(far=FarEnd(deaf=True)) as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        await world.terminate(ref)
        world.far.calls[0].answer()
        await settle()
        assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [Outcome.SUCCEEDED])
        assert len(world.far.calls) == 1


async def test_waiting_runs_end_at_once_and_are_never_woken() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([wait("w", "60s"), webhook("a")]))
        await world.terminate(ref)
        assert world.state(ref) is State.TERMINATE
        await world.clock.pass_time(120)
        assert not world.far.calls
        assert world.dispatcher.timers == 0


async def test_between_two_attempts_there_is_no_further_one() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([webhook("a")]))
        world.far.calls[0].answer(500)
        await settle()
        await world.terminate(ref)
        await world.clock.pass_time(60)
        assert (world.state(ref), len(world.far.calls)) == (State.TERMINATE, 1)


async def test_a_cascade_cuts_the_attempts_of_every_run_below() -> None:
    async with engine() as world:
        await world.publish([webhook("in_child")], id="child")
        parent = await world.publish([run_automation("go", "child"), webhook("after")])
        ref = await world.start(parent)
        assert len(world.far.open) == 2
        order = TerminationRequest(ANN, "enough", cascade=True)
        await world.store.executions.terminate_tree(ref, world.clock.now(), order)
        await settle()
        assert not world.far.open
        (child,) = await world.store.executions.children(ref)
        assert (world.state(ref), child.state) == (State.TERMINATE, State.TERMINATE)


@given(turns=st.integers(0, 45), mode=st.sampled_from(Mode))
async def test_a_stop_at_any_point_starts_nothing_and_its_receipt_is_true(turns: int, mode: Mode) -> None:
    """Stop a run of three webhooks after a number of turns of the loop."""
    async with engine(far=SteppingFarEnd()) as world:
        ref = await world.begin(await world.publish(THREE_WEBHOOKS))
        for _ in range(turns):
            await checkpoint()
        await world.order(ref, mode=mode)
        started = len(world.far.calls)
        await settle()

        # An attempt that was announced in the commit of the stop may begin only if the stop drains.
        assert len(world.far.calls) <= started + (mode is Mode.DRAIN)
        complete = world.outcomes(ref) == [Outcome.SUCCEEDED] * 3
        assert world.state(ref) is State.TERMINATE or (complete and world.state(ref) is State.DONE)
        for position, row in enumerate(world.steps(ref)):
            call = world.far.calls[position] if position < len(world.far.calls) else None
            if row.outcome is Outcome.SUCCEEDED:
                assert call is not None
                assert not call.cut
            elif row.outcome is Outcome.INTERRUPTED_NOT_SENT:
                assert call is None or call.progress.bytes_written == 0
            elif row.outcome is Outcome.INTERRUPTED_OUTCOME_UNKNOWN:
                assert call is not None
                assert call.progress.status is None
            else:
                assert row.outcome is Outcome.INTERRUPTED_RESPONSE
                assert call is not None
                assert call.progress.status == 200
        assert len(world.far.calls) <= len(world.steps(ref))
        assert world.dispatcher.busy == 0
        assert world.dispatcher.in_line == 0
