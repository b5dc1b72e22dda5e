"""Runs from their start to their end without a stop."""

from __future__ import annotations

import pytest

from interlock.engine.start import StartRequest
from interlock.errors import NotFound
from interlock.rules.model import Ref
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from tests.clocks import settle
from tests.engine.worlds import (
    ANN,
    THREE_WEBHOOKS,
    FarEnd,
    engine,
    evaluate,
    run_automation,
    wait,
    webhook,
)

pytestmark = pytest.mark.anyio


async def test_three_webhooks_are_called_in_order_and_the_run_is_done() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish(THREE_WEBHOOKS))
        for position in range(3):
            assert (world.state(ref), world.row(ref).step) == (State.PROCESS_STEP, position)
            assert len(world.far.calls) == position + 1
            world.far.calls[-1].answer()
            await settle()
        assert world.state(ref) is State.DONE
        assert world.outcomes(ref) == [Outcome.SUCCEEDED] * 3
        assert world.dispatcher.busy == 0


async def test_a_chain_of_n_steps_costs_n_plus_one_commits() -> None:
    async with engine(far=FarEnd(lambda request: (200, b"{}"))) as world:
        definition = await world.publish(THREE_WEBHOOKS)
        before = world.store.counters().commits
        ref = await world.start(definition)
        assert world.state(ref) is State.DONE
        assert world.store.counters().commits - before == 4


async def test_without_a_free_slot_it_costs_one_more_and_waits_its_turn() -> None:
    async with engine(slots=1) as world:
        definition = await world.publish([webhook("a")])
        first = await world.start(definition)
        second = await world.start(definition)
        third = await world.start(definition)
        assert [world.state(ref) for ref in (first, second, third)] == [
            State.PROCESS_STEP,
            State.PENDING,
            State.PENDING,
        ]
        for ref in (first, second, third):
            assert world.state(ref) is State.PROCESS_STEP
            world.far.calls[-1].answer()
            await settle()
        assert {world.state(ref) for ref in (first, second, third)} == {State.DONE}


async def test_a_later_step_reads_what_an_earlier_one_returned() -> None:
    async with engine() as world:
        steps = [
            webhook("ask", {"who": "{{ ctx.trigger.name }}"}),
            evaluate("sum", twice="ctx.ask.response.n * 2"),
            webhook("tell", {"answer": "{{ ctx.sum.twice }}", "code": "{{ ctx.ask.status_code }}"}),
        ]
        ref = await world.start(await world.publish(steps, context={"name": "unknown"}), {"name": "Ann"})
        assert world.far.calls[0].body["payload"]["context"] == {"who": "Ann"}
        world.far.calls[0].answer(201, b'{"version":"v1","context":{"n":21}}')
        await settle()
        assert world.far.calls[1].body["payload"]["context"] == {"answer": 42, "code": 201}
        world.far.calls[1].answer()
        await settle()
        assert world.state(ref) is State.DONE


async def test_defaults_of_the_automation_stand_under_the_data_of_the_run() -> None:
    async with engine() as world:
        steps = [webhook("a", {"x": "{{ ctx.trigger.x }}", "y": "{{ ctx.trigger.y }}"})]
        await world.start(await world.publish(steps, context={"x": 1, "y": 1}), {"y": 2})
        assert world.far.calls[0].body["payload"]["context"] == {"x": 1, "y": 2}


async def test_step_whose_condition_is_true_is_skipped_without_a_result() -> None:
    async with engine(far=FarEnd(lambda request: (200, b"{}"))) as world:
        steps = [
            webhook("a", skipIfTrueCel="ctx.trigger.quiet"),
            evaluate("b", seen="has(ctx.a)"),
        ]
        ref = await world.start(await world.publish(steps), {"quiet": True})
        assert world.state(ref) is State.DONE
        assert world.outcomes(ref) == [Outcome.SKIPPED, Outcome.SUCCEEDED]
        assert world.output(ref, 1) == {"seen": False}
        assert not world.far.calls


async def test_pure_steps_cost_no_commit_of_their_own() -> None:
    async with engine() as world:
        definition = await world.publish([evaluate("a", x="2"), evaluate("b", y="ctx.a.x")])
        before = world.store.counters().commits
        ref = await world.start(definition)
        assert world.state(ref) is State.DONE
        assert world.output(ref, 1) == {"y": 2}
        assert world.store.counters().commits - before == 1


async def test_an_expression_that_fails_fails_its_step_and_says_where() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([webhook("a", {"x": "{{ ctx.trigger.missing }}"})]))
        assert world.state(ref) is State.ERROR
        error = world.error(ref)
        assert error["code"] == "EXPRESSION_FAILED"
        assert error["field"].endswith("webhook.payload.x")
        assert not world.far.calls


async def test_a_skip_condition_that_fails_fails_the_step() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([webhook("a", skipIfTrueCel="ctx.trigger.missing")]))
        assert (world.state(ref), world.outcomes(ref)) == (State.ERROR, [Outcome.FAILED])


async def test_expensive_expression_is_evaluated_in_another_process() -> None:
    async with engine() as world:
        steps = [evaluate("a", n="ctx.trigger.items.map(x, x + 1).size()")]
        definition = await world.publish(steps)
        request = StartRequest(world.tenant, "auto", definition, ANN, {"items": list(range(300))})
        started = await world.starter.start(request)
        await settle()
        assert world.state(started.execution.ref) is State.DONE
        assert world.output(started.execution.ref, 0) == {"n": 300}


async def test_a_secret_result_is_read_by_expressions_and_shown_nowhere() -> None:
    async with engine() as world:
        steps = [
            evaluate("s", secret=("token",), token="'hunter2-' + ctx.trigger.n", plain="1"),
            evaluate("t", same="ctx.s.token.size() == 9", leak="'x' + ctx.s.token"),
            webhook("w", {"given": "{{ ctx.s.token }}", "text": "Bearer {{ ctx.s.token }}"}),
        ]
        ref = await world.start(await world.publish(steps), {"n": "7"})
        assert world.output(ref, 0) == {"token": "[secret]", "plain": 1}
        assert world.output(ref, 1) == {"same": "[secret]", "leak": "[secret]"}
        sent = {"given": "hunter2-7", "text": "Bearer hunter2-7"}
        assert world.far.calls[0].body["payload"]["context"] == sent
        shown = b"".join((row.input or b"") + (row.output or b"") for row in world.steps(ref) if row.position > 0)
        assert b"hunter2" not in shown


async def test_a_child_is_created_in_the_commit_of_its_parent_and_both_end() -> None:
    async with engine() as world:
        await world.publish([webhook("in_child", {"got": "{{ ctx.trigger.a }}"})], id="child")
        parent = await world.publish([run_automation("go", "child", {"a": "{{ ctx.trigger.b }}"}), webhook("after")])
        ref = await world.start(parent, {"b": 5})
        child_id = int(world.output(ref, 0)["execution_id"])
        child = world.row(Ref(world.tenant, child_id))
        assert (child.parent, child.automation) == (ref.id, "child")
        contexts = [call.body["payload"]["context"] for call in world.far.calls]
        assert {"got": 5} in contexts
        assert len(contexts) == 2
        for call in world.far.open:
            call.answer()
        await settle()
        assert (world.state(ref), world.state(child.ref)) == (State.DONE, State.DONE)


async def test_a_child_that_does_not_exist_fails_the_step() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([run_automation("go", "unknown")]))
        assert (world.state(ref), world.error(ref)["code"]) == (State.ERROR, "CHILD_NOT_FOUND")


async def test_automations_that_start_each_other_end_at_the_tenth_generation() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([run_automation("again", "auto")]))
        await settle(400)
        runs = await world.store.executions.page(world.tenant, limit=100)
        assert len(runs) == 11
        assert [run.state for run in runs if run.depth == 10] == [State.ERROR]
        assert world.state(ref) is State.DONE


async def test_a_wait_rests_without_a_slot_and_goes_on_when_its_time_has_come() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([wait("w", "336h"), evaluate("e", at="ctx.w.waited_until")]))
        row = world.row(ref)
        assert (row.state, row.waiting_for, world.dispatcher.busy) == (State.WAITING, WaitingFor.TIMER, 0)
        await world.clock.jump(336 * 3600 - 1)
        assert world.state(ref) is State.WAITING
        await world.clock.pass_time(1)
        assert world.state(ref) is State.DONE
        assert world.output(ref, 1) == {"at": world.output(ref, 0)["waited_until"]}


async def test_a_wait_of_nothing_passes_through() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([wait("w", "0s")]))
        assert (world.state(ref), world.outcomes(ref)) == (State.DONE, [Outcome.SUCCEEDED])


async def test_an_unknown_automation_starts_nothing_and_keeps_no_slot() -> None:
    async with engine() as world:
        with pytest.raises(NotFound):
            await world.start(99, automation="unknown")
        assert world.dispatcher.busy == 0


async def test_a_plan_that_cannot_run_here_ends_its_run_with_the_reason() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([{"stepName": "m", "sendEmail": {"email": "a@b.example"}}]))
        assert world.state(ref) is State.ERROR
        assert world.error(ref)["code"] == "PLAN_UNUSABLE"
        assert "sendEmail" in world.error(ref)["message"]


async def test_a_result_too_large_to_keep_fails_its_step() -> None:
    async with engine() as world:
        steps = [evaluate("big", **{f"k{i}": f"ctx.trigger.x + '{i}'" for i in range(5)})]
        ref = await world.start(await world.publish(steps), {"x": "y" * 60_000})
        assert (world.state(ref), world.error(ref)["code"]) == (State.ERROR, "OUTPUT_TOO_LARGE")
