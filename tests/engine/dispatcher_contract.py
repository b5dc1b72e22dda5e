"""The contract of dispatchers: its rules make it safe that `advance` does not know its caller."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from interlock.engine.held import SUPERSEDED, Claim, Held
from interlock.rules.events import Terminated
from interlock.rules.model import SECOND, Mode, Ref, TerminationRequest
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from tests.clocks import settle
from tests.engine.worlds import ANN, THREE_WEBHOOKS, Engine, FarEnd, wait, webhook

pytestmark = pytest.mark.anyio


class Deaf:
    """A commit listener that ignores all calls: every hint is lost."""

    def interrupt(self, ref: Ref, epoch: int) -> None: ...

    def ready(self, ref: Ref, at: int | None) -> None: ...

    def stopped(self, ref: Ref) -> None: ...


class DispatcherContract(ABC):
    """The contract. A subclass says how to start a server with its dispatcher."""

    @abstractmethod
    def engine(self, **options: Any) -> AbstractAsyncContextManager[Engine]: ...

    # 1. Hints may be repeated or lost; the rows are the truth.

    async def test_a_run_whose_hint_was_lost_is_found_by_the_sweep(self) -> None:
        async with self.engine(slots=1) as world:
            definition = await world.publish([webhook("a")])
            await world.start(definition)
            world.store.listen(Deaf())
            lost = await world.start(definition)
            world.far.calls[0].answer()
            await settle()
            assert world.state(lost) is State.PENDING
            await world.clock.pass_time(10)
            assert world.state(lost) is State.PROCESS_STEP

    async def test_a_deadline_whose_hint_was_lost_is_found_by_the_sweep(self) -> None:
        async with self.engine() as world:
            ref = await world.start(await world.publish([webhook("a")]))
            world.store.listen(Deaf())
            await world.order(ref)
            await world.clock.pass_time(30)
            assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [Outcome.ABANDONED])

    async def test_a_deadline_that_passes_during_the_commit_holds_immediately(self) -> None:
        async with self.engine(far=FarEnd(deaf=True)) as world:
            ref = await world.start(await world.publish([webhook("a")]))
            order = TerminationRequest(ANN, "enough", Mode.DRAIN, deadline=SECOND)
            asked_at = world.clock.now()
            await world.clock.pass_time(3)
            await world.store.executions.apply(ref, Terminated(asked_at, order))
            await settle()
            assert (world.state(ref), world.outcomes(ref)) == (State.TERMINATE, [Outcome.ABANDONED])
            world.far.calls[0].answer()
            await settle()

    async def test_repeated_hints_perform_nothing_twice(self) -> None:
        async with self.engine() as world:
            ref = await world.start(await world.publish(THREE_WEBHOOKS))
            for _ in range(5):
                world.dispatcher.ready(ref, None)
                await settle(3)
            assert len(world.far.calls) == 1
            for _ in range(3):
                world.far.calls[-1].answer()
                await settle()
            assert (world.state(ref), len(world.far.calls)) == (State.DONE, 3)

    async def test_early_hint_wakes_no_run(self) -> None:
        async with self.engine() as world:
            ref = await world.start(await world.publish([wait("w", "60s")]))
            world.dispatcher.ready(ref, None)
            await settle()
            assert world.state(ref) is State.WAITING

    # 2. A run has one turn at a time; a hint during a turn causes one more.

    async def test_a_run_that_becomes_ready_during_its_turn_gets_one_more(self) -> None:
        async with self.engine() as world:
            ref = await world.start(await world.publish([webhook("a"), wait("w", "1s"), webhook("b")]))
            held_before = world.dispatcher.busy
            world.dispatcher.ready(ref, None)
            assert world.dispatcher.busy == held_before == 1
            world.clock.advance(2)
            world.far.calls[0].answer()
            await world.clock.pass_time(1)
            assert len(world.far.calls) == 2

    # 3. A run is held before its announcement is committed, and an interrupt cancels only an older attempt.

    async def test_an_interrupt_before_the_perform_keeps_it_from_beginning(self) -> None:
        async with self.engine() as world:
            ref = await world.start(await world.publish([webhook("a"), webhook("b")]))
            world.far.calls[0].answer()
            # Before the turn continues: the termination is committed in the same group as its next announcement.
            await world.order(ref)
            await settle()
            assert len(world.far.calls) == 1
            assert world.state(ref) is State.TERMINATE

    async def test_an_interrupt_of_an_older_epoch_cuts_nothing(self) -> None:
        async with self.engine() as world:
            ref = await world.start(await world.publish(THREE_WEBHOOKS))
            world.dispatcher.interrupt(ref, world.row(ref).attempt_epoch)
            await settle()
            assert not world.far.calls[0].cut

    async def test_the_cut_attempt_is_still_recorded_by_its_own_turn(self) -> None:
        async with self.engine() as world:
            ref = await world.start(await world.publish(THREE_WEBHOOKS))
            await world.terminate(ref)
            (row,) = world.steps(ref)
            assert (row.outcome, row.phase) == (Outcome.INTERRUPTED_OUTCOME_UNKNOWN, "waiting")

    # 4. An interrupt is never an outcome.

    async def test_an_interrupt_without_a_stop_ends_nothing(self) -> None:
        async with self.engine() as world:
            ref = await world.start(await world.publish([webhook("a")]))
            world.dispatcher.interrupt(ref, world.row(ref).epoch + 1)
            await world.clock.pass_time(1)
            first, second = world.far.calls
            assert first.cut
            assert second.request.headers["Idempotency-Key"] == first.request.headers["Idempotency-Key"]
            second.answer()
            await settle()
            assert (world.state(ref), world.outcomes(ref)) == (State.DONE, [Outcome.ABANDONED, Outcome.SUCCEEDED])

    # 5. An attempt is not recovered while its holder is alive.

    async def test_a_turn_that_finds_an_attempt_in_flight_touches_nothing(self) -> None:
        async with self.engine() as world:
            ref = await world.start(await world.publish(THREE_WEBHOOKS))
            before = world.row(ref)
            assert await world.advance.advance(Claim(ref), Held(ref)) is SUPERSEDED
            assert world.row(ref) == before
            assert len(world.far.calls) == 1

    # 6. The result of a commit with unknown outcome is read again, and is not lost.

    @pytest.mark.parametrize("fault", ["lose_orders", "lose_replies"])
    @pytest.mark.parametrize("at_step", [0, 1, 2])
    async def test_a_result_whose_commit_is_in_doubt_is_recorded_once(self, fault: str, at_step: int) -> None:
        async with self.engine() as world:
            ref = await world.start(await world.publish(THREE_WEBHOOKS))
            for step in range(3):
                if step == at_step:
                    setattr(world.executions, fault, 1)
                world.far.calls[-1].answer()
                await world.clock.pass_time(2)
            assert (world.state(ref), world.outcomes(ref)) == (State.DONE, [Outcome.SUCCEEDED] * 3)
            assert len(world.far.calls) == 3
            assert all(row.late is None for row in world.steps(ref))

    @pytest.mark.parametrize("fault", ["lose_orders", "lose_replies"])
    async def test_a_cut_attempt_whose_commit_is_in_doubt_still_ends_the_run(self, fault: str) -> None:
        async with self.engine() as world:
            ref = await world.start(await world.publish(THREE_WEBHOOKS))
            setattr(world.executions, fault, 1)
            await world.terminate(ref)
            await world.clock.pass_time(2)
            assert world.state(ref) is State.TERMINATE
            assert world.outcomes(ref) == [Outcome.INTERRUPTED_OUTCOME_UNKNOWN]

    # 7. A holder that performs an attempt is not declared dead.

    async def test_no_sweep_takes_an_attempt_from_its_holder(self) -> None:
        async with self.engine(far=FarEnd(deaf=True)) as world:
            ref = await world.start(await world.publish([webhook("a")]))
            before = world.row(ref)
            await world.clock.pass_time(3600)
            assert world.row(ref) == before
            assert len(world.far.calls) == 1
            world.far.calls[0].answer()
            await settle()
            assert world.state(ref) is State.DONE
