"""The effect of each answer of a webhook on a run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from interlock.ports import HttpFailureKind
from interlock.rules.events import CalledBack, Woken
from interlock.rules.model import Result
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from tests.clocks import SECOND, settle
from tests.engine.worlds import AUDIT, FarEnd, engine, webhook

pytestmark = pytest.mark.anyio

DAY = 24 * 3600


async def test_a_refused_call_is_made_again_with_the_same_key_and_payload() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([webhook("a", {"at": "{{ string(now()) }}"})]))
        world.far.calls[0].answer(500, b"busy")
        await settle()
        row = world.row(ref)
        assert (row.state, row.waiting_for, row.wake_at) == (
            State.WAITING,
            WaitingFor.RETRY,
            world.clock.now() + 3 * SECOND,
        )
        await world.clock.pass_time(2.9)
        assert len(world.far.calls) == 1
        await world.clock.pass_time(0.2)
        first, second = world.far.calls
        assert first.request.body == second.request.body
        assert first.request.headers == second.request.headers
        second.answer()
        await settle()
        assert world.state(ref) is State.DONE
        assert world.outcomes(ref) == [Outcome.FAILED, Outcome.SUCCEEDED]


async def test_after_fifty_attempts_the_step_fails_with_the_last_answer() -> None:
    async with engine(far=FarEnd(lambda request: (503, b"still busy"))) as world:
        ref = await world.start(await world.publish([webhook("a"), webhook("b")]))
        await world.clock.pass_time(50 * 3)
        assert world.state(ref) is State.ERROR
        assert len(world.far.calls) == 50
        assert world.error(ref) == {
            "code": "WEBHOOK_REFUSED",
            "message": "the receiver answered 503",
            "body": "still busy",
        }


async def test_retries_end_with_the_callback_timeout() -> None:
    async with engine(far=FarEnd(lambda request: (503, b""))) as world:
        hook = await world.store.webhooks.get(world.tenant, "hook")
        assert hook is not None
        hook = replace(hook, id="brief", callback_timeout=10)
        await world.store.webhooks.create(hook, AUDIT)
        step = {"stepName": "a", "webhook": {"webhookId": "brief"}}
        ref = await world.start(await world.publish([step]))
        await world.clock.pass_time(60)
        assert world.state(ref) is State.ERROR
        assert len(world.far.calls) == 4  # at 0, 3, 6 and 9 seconds


async def test_410_is_final() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([webhook("a")]))
        world.far.calls[0].answer(410, b"")
        await settle()
        assert (world.state(ref), world.error(ref)["code"]) == (State.ERROR, "WEBHOOK_GONE")


@pytest.mark.parametrize(
    ("kind", "state"),
    [(HttpFailureKind.CONNECT, State.WAITING), (HttpFailureKind.BLOCKED, State.ERROR)],
)
async def test_no_answer_is_tried_again_unless_it_cannot_become_better(kind: HttpFailureKind, state: State) -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([webhook("a")]))
        world.far.calls[0].fail(kind)
        await settle()
        assert world.state(ref) is state


async def test_202_waits_for_the_callback_without_a_slot_until_its_timeout() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([webhook("a"), webhook("b")]))
        began = world.clock.now()
        world.clock.advance(5)
        world.far.calls[0].answer(202, b"")
        await settle()
        row = world.row(ref)
        assert (row.state, row.waiting_for, row.wake_at) == (
            State.WAITING,
            WaitingFor.CALLBACK,
            began + 8 * DAY * SECOND,
        )
        assert world.dispatcher.busy == 0
        await world.clock.jump(8 * DAY)
        assert (world.state(ref), world.error(ref)["code"]) == (State.ERROR, "CALLBACK_TIMEOUT")
        assert len(world.far.calls) == 1


async def test_a_callback_makes_the_run_go_on_with_what_it_brought() -> None:
    async with engine() as world:
        steps = [webhook("a"), webhook("b", {"got": "{{ ctx.a.response.n }}"})]
        ref = await world.start(await world.publish(steps))
        world.far.calls[0].answer(202, b"")
        await settle()
        result = Result(Outcome.SUCCEEDED, json.dumps({"response": {"n": 3}}).encode())
        event = Woken(world.clock.now(), world.row(ref).epoch, WaitingFor.CALLBACK, result)
        await world.store.executions.apply(ref, event)
        await settle()
        assert world.far.calls[1].body["payload"]["context"] == {"got": 3}


async def test_a_deleted_webhook_fails_the_step() -> None:
    async with engine() as world:
        definition = await world.publish([webhook("a")])
        await world.store.webhooks.delete(world.tenant, "hook", 1, AUDIT)
        ref = await world.start(definition)
        assert (world.state(ref), world.error(ref)["code"]) == (State.ERROR, "WEBHOOK_NOT_FOUND")


@pytest.mark.parametrize("status", [202, 500, 410])
async def test_step_after_a_callback_that_came_before_the_answer_sees_its_output(status: int) -> None:
    async with engine() as world:
        steps = [webhook("a"), webhook("b", {"by": "{{ ctx.a.by }}"})]
        ref = await world.start(await world.publish(steps))
        called = CalledBack(world.clock.now(), 0, Result(Outcome.SUCCEEDED, b'{"by":"ann"}'))
        await world.store.executions.apply(ref, called)
        world.far.calls[0].answer(status)
        await world.clock.pass_time(1)
        assert (world.state(ref), len(world.far.calls)) == (State.PROCESS_STEP, 2)
        assert world.far.calls[1].body["payload"]["context"] == {"by": "ann"}
