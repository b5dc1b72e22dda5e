"""The circuit breaker of an automation, as its owner meets it."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.errors import InvalidArgument, NotFound
from tests.operations.desk import GREET, WAIT, Desk

pytestmark = pytest.mark.anyio

TWO_A_DAY = {"circuitBreakerMax": 2, "circuitBreakerPeriod": "CIRCUIT_BREAKER_PERIOD_DAY"}
RUN, CANCEL = "PAUSED_EXECUTION_DECISION_RUN", "PAUSED_EXECUTION_DECISION_CANCEL"
PAUSED = "PAUSED_BY_CIRCUIT_BREAKER"


async def flooded(ann: Desk, *steps: object, **fields: Any) -> tuple[str, list[int]]:
    """An automation that was started four times, and its runs."""
    automation = await ann.make(*(steps or (WAIT,)), **(fields or TWO_A_DAY))
    return automation, [await ann.start(automation, name="Ann") for _ in range(4)]


async def breaker(ann: Desk, automation: str) -> Any:
    shown = (await ann.ask("GetAutomation", id=automation)).body["automation"]
    return shown.get("circuitBreaker")


async def settle(ann: Desk, name: str, automation: str, **body: Any) -> Any:
    answer = (await ann.ask(name, body, id=automation)).body
    await ann.background()
    return answer


async def test_it_trips_holds_runs_back_and_says_how_it_came_to_that(ann: Desk) -> None:
    automation, runs = await flooded(ann)
    assert [await ann.state(run) for run in runs] == ["WAITING", "WAITING", PAUSED, PAUSED]
    assert await breaker(ann, automation) == {
        "observedCount": 3,
        "period": "CIRCUIT_BREAKER_PERIOD_DAY",
        "threshold": 2,
        "trippedAt": "2025-06-15T15:06:40Z",
    }


async def test_it_never_switches_the_automation_off(ann: Desk) -> None:
    automation, _ = await flooded(ann, WAIT, enabled=True, **TWO_A_DAY)
    assert (await ann.ask("GetAutomation", id=automation)).body["automation"]["enabled"] is True


async def test_without_a_period_it_is_a_day(ann: Desk) -> None:
    automation, runs = await flooded(ann, WAIT, circuitBreakerMax=2)
    assert await ann.state(runs[2]) == PAUSED
    shown = (await ann.ask("GetAutomation", id=automation)).body["automation"]
    assert shown["circuitBreakerPeriod"] == "CIRCUIT_BREAKER_PERIOD_UNSPECIFIED"
    assert shown["circuitBreaker"]["period"] == "CIRCUIT_BREAKER_PERIOD_DAY"


async def test_resuming_runs_all_on_the_version_they_were_made_with(ann: Desk) -> None:
    automation, runs = await flooded(ann, GREET, **TWO_A_DAY)
    other = {"automation": {"automationSteps": [WAIT]}, "updateMask": "automationSteps"}
    await ann.ask("UpdateAutomation", other, id=automation)
    answer = await settle(ann, "ClearAutomationCircuitBreaker", automation, decision=RUN)
    assert answer["bulkActionId"]
    assert [await ann.state(run) for run in runs] == ["DONE"] * 4
    assert await breaker(ann, automation) is None
    assert await ann.state(await ann.start(automation)) == "WAITING"


async def test_cancelling_terminates_them_and_keeps_the_reason(ann: Desk) -> None:
    automation, runs = await flooded(ann)
    await settle(ann, "ClearAutomationCircuitBreaker", automation, decision=CANCEL, reason="a loop in the source")
    assert [await ann.state(run) for run in runs] == ["WAITING", "WAITING", "TERMINATE", "TERMINATE"]
    termination = (await ann.detail(runs[2]))["termination"]
    assert (termination["cause"], termination["reason"]) == ("breaker_cancel", "a loop in the source")
    (entry,) = await ann.audited("automation.circuit_breaker.clear")
    assert (entry.reason, entry.details) == ("a loop in the source", b'{"decision":"cancel_paused"}')


async def test_clearing_without_a_decision_leaves_the_paused_for_later(ann: Desk) -> None:
    automation, runs = await flooded(ann)
    assert await settle(ann, "ClearAutomationCircuitBreaker", automation) == {"bulkActionId": ""}
    assert await ann.state(await ann.start(automation)) == "WAITING"
    assert await ann.state(runs[2]) == PAUSED
    answer = await settle(ann, "ResolvePausedAutomationExecutions", automation, decision=RUN)
    assert answer["bulkActionId"]
    assert (answer["pausedCount"], answer["erroredCount"]) == (0, 0)
    assert [await ann.state(run) for run in runs[2:]] == ["WAITING", "WAITING"]


async def test_resolving_leaves_the_breaker_open_and_can_be_repeated(ann: Desk) -> None:
    automation, _ = await flooded(ann)
    await settle(ann, "ResolvePausedAutomationExecutions", automation, decision=RUN)
    assert await breaker(ann, automation) is not None
    again = await settle(ann, "ResolvePausedAutomationExecutions", automation, decision=RUN)
    assert again["bulkActionId"] == ""
    assert await ann.state(await ann.start(automation)) == PAUSED


async def test_a_child_is_counted_and_held_back_like_any_run(ann: Desk) -> None:
    child = await ann.make(WAIT, **TWO_A_DAY)
    parent = await ann.make({"stepName": "begin", "runAutomation": {"automationTemplateRef": {"id": child}}})
    for _ in range(3):
        assert await ann.state(await ann.start(parent)) == "DONE"
    found = (await ann.ask("SearchAutomationExecutions", {"automationTemplateId": child})).body["list"]
    states = [each["automationExecution"]["state"].removeprefix("AUTOMATION_EXECUTION_STATE_") for each in found]
    assert states == [PAUSED, "WAITING", "WAITING"]


@pytest.mark.parametrize("name", ["ClearAutomationCircuitBreaker", "ResolvePausedAutomationExecutions"])
async def test_what_a_deleted_automation_holds_back_can_still_be_let_go(ann: Desk, name: str) -> None:
    automation, runs = await flooded(ann, GREET, **TWO_A_DAY)
    await ann.ask("DeleteAutomation", id=automation)
    await settle(ann, name, automation, decision=RUN)
    assert [await ann.state(run) for run in runs] == ["DONE"] * 4


@pytest.mark.parametrize("name", ["ClearAutomationCircuitBreaker", "ResolvePausedAutomationExecutions"])
async def test_what_cannot_be_meant_is_refused(ann: Desk, name: str) -> None:
    automation, _ = await flooded(ann)
    with pytest.raises(InvalidArgument, match="1024 bytes"):
        await ann.ask(name, {"reason": "é" * 600}, id=automation)
    with pytest.raises(InvalidArgument, match="PAUSED_EXECUTION_DECISION_CANCEL"):
        await ann.ask(name, {"decision": "PAUSE"}, id=automation)
    with pytest.raises(NotFound):
        await (await ann.of_another_tenant()).ask(name, {"decision": RUN}, id=automation)
