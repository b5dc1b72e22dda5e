"""Polled work under any order of answers, stops, crashes and lost commits."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.ports import HttpFailureKind
from interlock.rules.model import Mode, Ref
from interlock.rules.outcomes import Outcome
from interlock.rules.states import TERMINAL, State, WaitingFor
from tests.clocks import ManualClock, settle
from tests.engine.polling import DONE, JOB, PAUSE_SECONDS, RUNNING, late, polling, requested
from tests.engine.worlds import Engine, FarEnd, engine, restarted

pytestmark = pytest.mark.anyio

ANSWERS: Final = {"accepted": (202, b"job-1"), "running": (200, RUNNING), "done": (200, DONE), "refused": (410, b"")}
FAULTS: Final = {"commit lost": "lose_orders", "reply lost": "lose_replies"}
ACTIONS: Final = (*ANSWERS, *FAULTS, "connection lost", "time passes", "stop", "drain", "crash")
MAX_ROUNDS: Final = 40
"""Rounds after which every run has to be terminal."""


class Schedule:
    """One run, through restarts of its server."""

    def __init__(self, stack: AsyncExitStack, world: Engine, ref: Ref) -> None:
        self.stack = stack
        self.world = world
        self.ref = ref
        self.accepted = False
        self.stopped_at: int | None = None
        """The number of requests when the termination was committed."""

    async def act(self, action: str) -> None:
        world, polls = self.world, self.accepted
        if action in FAULTS:
            setattr(world.executions, FAULTS[action], 1)
        elif action == "time passes":
            await world.clock.pass_time(PAUSE_SECONDS)
        elif action in {"stop", "drain"}:
            await self._stop(Mode.INTERRUPT if action == "stop" else Mode.DRAIN)
        elif action == "crash" and world.row(self.ref).waiting_for is WaitingFor.POLL:
            # Before its acceptance is recorded, a lost attempt is repeated, as every other.
            self.world = await self.stack.enter_async_context(
                restarted(world, more_kinds=[polling(world.far, world.clock)])
            )
        elif world.far.open and action == "connection lost" and polls:
            world.far.open[0].fail(HttpFailureKind.RESET)
        elif world.far.open and action in ANSWERS and polls == (action != "accepted"):
            world.far.open[0].answer(*ANSWERS[action])
            self.accepted = True
        await settle()
        self._check()

    async def _stop(self, mode: Mode) -> None:
        before, world = self.world.row(self.ref), self.world
        if before.state in TERMINAL or self.stopped_at is not None:
            return
        await world.order(self.ref, mode=mode)
        self.stopped_at = len(requested(world))
        if before.state is State.WAITING:
            assert world.state(self.ref) is State.TERMINATE

    def _check(self) -> None:
        calls = requested(self.world)
        assert calls.count("POST") == 1, "accepted work is not requested again"
        assert len(self.world.steps(self.ref)) == 1, "the same attempt goes on"
        if self.stopped_at is not None:
            assert len(calls) == self.stopped_at, "nothing starts after the stop"

    async def end(self) -> None:
        """Answer whatever is asked, until the run is terminal."""
        for _ in range(MAX_ROUNDS):
            if self.world.state(self.ref) in TERMINAL:
                return
            await self.act("done" if self.accepted else "accepted")
            await self.act("time passes")
        raise AssertionError("the run does not end")


@given(actions=st.lists(st.sampled_from(ACTIONS), max_size=14))
async def test_any_schedule_of_a_poll_requests_once_stops_at_once_and_ends(actions: list[str]) -> None:
    far, clock = FarEnd(), ManualClock()
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(engine(far=far, clock=clock, more_kinds=[polling(far, clock)]))
        ref = await world.start(await world.publish([JOB]))
        schedule = Schedule(stack, world, ref)
        for action in actions:
            await schedule.act(action)
        await schedule.end()
        world, [row] = schedule.world, schedule.world.steps(ref)
        if schedule.stopped_at is None:
            assert (world.state(ref), row.outcome) in {
                (State.DONE, Outcome.SUCCEEDED),
                (State.ERROR, Outcome.FAILED),
            }
            assert late(world, ref) == []
        elif world.state(ref) is State.TERMINATE:
            assert len(late(world, ref)) <= 1
        await world.clock.pass_time(2)
        assert world.dispatcher.busy == 0
