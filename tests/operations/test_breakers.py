"""The circuit breaker of an automation, as its owner meets it."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.errors import InvalidArgument, NotFound
from tests.operations.operations_client import GREET, WAIT, OperationsClient

pytestmark = pytest.mark.anyio

TWO_A_DAY = {"circuitBreakerMax": 2, "circuitBreakerPeriod": "CIRCUIT_BREAKER_PERIOD_DAY"}
RUN, CANCEL = "PAUSED_EXECUTION_DECISION_RUN", "PAUSED_EXECUTION_DECISION_CANCEL"
PAUSED = "PAUSED_BY_CIRCUIT_BREAKER"


async def flooded(admin: OperationsClient, *steps: object, **fields: Any) -> tuple[str, list[int]]:
    """An automation that was started four times, and its runs."""
    automation = await admin.make(*(steps or (WAIT,)), **(fields or TWO_A_DAY))
    return automation, [await admin.start(automation, name="Ann") for _ in range(4)]


async def breaker(admin: OperationsClient, automation: str) -> Any:
    shown = (await admin.ask("GetAutomation", id=automation)).body["automation"]
    return shown.get("circuitBreaker")


async def settle(admin: OperationsClient, name: str, automation: str, **body: Any) -> Any:
    answer = (await admin.ask(name, body, id=automation)).body
    await admin.background()
    return answer


async def test_it_trips_holds_runs_back_and_says_how_it_came_to_that(admin: OperationsClient) -> None:
    automation, runs = await flooded(admin)
    assert [await admin.state(run) for run in runs] == ["WAITING", "WAITING", PAUSED, PAUSED]
    assert await breaker(admin, automation) == {
        "observedCount": 3,
        "period": "CIRCUIT_BREAKER_PERIOD_DAY",
        "threshold": 2,
        "trippedAt": "2025-06-15T15:06:40Z",
    }


async def test_it_never_switches_the_automation_off(admin: OperationsClient) -> None:
    automation, _ = await flooded(admin, WAIT, enabled=True, **TWO_A_DAY)
    assert (await admin.ask("GetAutomation", id=automation)).body["automation"]["enabled"] is True


async def test_without_a_period_it_is_a_day(admin: OperationsClient) -> None:
    automation, runs = await flooded(admin, WAIT, circuitBreakerMax=2)
    assert await admin.state(runs[2]) == PAUSED
    shown = (await admin.ask("GetAutomation", id=automation)).body["automation"]
    assert shown["circuitBreakerPeriod"] == "CIRCUIT_BREAKER_PERIOD_UNSPECIFIED"
    assert shown["circuitBreaker"]["period"] == "CIRCUIT_BREAKER_PERIOD_DAY"


async def test_resuming_runs_all_on_the_version_they_were_made_with(admin: OperationsClient) -> None:
    automation, runs = await flooded(admin, GREET, **TWO_A_DAY)
    other = {"automation": {"automationSteps": [WAIT]}, "updateMask": "automationSteps"}
    await admin.ask("UpdateAutomation", other, id=automation)
    answer = await settle(admin, "ClearAutomationCircuitBreaker", automation, decision=RUN)
    assert answer["bulkActionId"]
    assert [await admin.state(run) for run in runs] == ["DONE"] * 4
    assert await breaker(admin, automation) is None
    assert await admin.state(await admin.start(automation)) == "WAITING"


async def test_cancelling_terminates_them_and_keeps_the_reason(admin: OperationsClient) -> None:
    automation, runs = await flooded(admin)
    await settle(admin, "ClearAutomationCircuitBreaker", automation, decision=CANCEL, reason="a loop in the source")
    assert [await admin.state(run) for run in runs] == ["WAITING", "WAITING", "TERMINATE", "TERMINATE"]
    termination = (await admin.detail(runs[2]))["termination"]
    assert (termination["cause"], termination["reason"]) == ("breaker_cancel", "a loop in the source")
    (entry,) = await admin.audited("automation.circuit_breaker.clear")
    assert (entry.reason, entry.details) == ("a loop in the source", b'{"decision":"cancel_paused"}')


async def test_clearing_without_a_decision_leaves_the_paused_for_later(admin: OperationsClient) -> None:
    automation, runs = await flooded(admin)
    assert await settle(admin, "ClearAutomationCircuitBreaker", automation) == {"bulkActionId": ""}
    assert await admin.state(await admin.start(automation)) == "WAITING"
    assert await admin.state(runs[2]) == PAUSED
    answer = await settle(admin, "ResolvePausedAutomationExecutions", automation, decision=RUN)
    assert answer["bulkActionId"]
    assert (answer["pausedCount"], answer["erroredCount"]) == (0, 0)
    assert [await admin.state(run) for run in runs[2:]] == ["WAITING", "WAITING"]


async def test_resolving_leaves_the_breaker_open_and_can_be_repeated(admin: OperationsClient) -> None:
    automation, _ = await flooded(admin)
    await settle(admin, "ResolvePausedAutomationExecutions", automation, decision=RUN)
    assert await breaker(admin, automation) is not None
    again = await settle(admin, "ResolvePausedAutomationExecutions", automation, decision=RUN)
    assert again["bulkActionId"] == ""
    assert await admin.state(await admin.start(automation)) == PAUSED


async def test_a_child_is_counted_and_held_back_like_any_run(admin: OperationsClient) -> None:
    child = await admin.make(WAIT, **TWO_A_DAY)
    parent = await admin.make({"stepName": "begin", "runAutomation": {"automationTemplateRef": {"id": child}}})
    for _ in range(3):
        assert await admin.state(await admin.start(parent)) == "DONE"
    found = (await admin.ask("SearchAutomationExecutions", {"automationTemplateId": child})).body["list"]
    states = [each["automationExecution"]["state"].removeprefix("AUTOMATION_EXECUTION_STATE_") for each in found]
    assert states == [PAUSED, "WAITING", "WAITING"]


@pytest.mark.parametrize("name", ["ClearAutomationCircuitBreaker", "ResolvePausedAutomationExecutions"])
async def test_what_a_deleted_automation_holds_back_can_still_be_let_go(admin: OperationsClient, name: str) -> None:
    automation, runs = await flooded(admin, GREET, **TWO_A_DAY)
    await admin.ask("DeleteAutomation", id=automation)
    await settle(admin, name, automation, decision=RUN)
    assert [await admin.state(run) for run in runs] == ["DONE"] * 4


@pytest.mark.parametrize("name", ["ClearAutomationCircuitBreaker", "ResolvePausedAutomationExecutions"])
async def test_what_cannot_be_meant_is_refused(admin: OperationsClient, name: str) -> None:
    automation, _ = await flooded(admin)
    with pytest.raises(InvalidArgument, match="1024 bytes"):
        await admin.ask(name, {"reason": "é" * 600}, id=automation)
    with pytest.raises(InvalidArgument, match="PAUSED_EXECUTION_DECISION_CANCEL"):
        await admin.ask(name, {"decision": "PAUSE"}, id=automation)
    with pytest.raises(NotFound):
        await (await admin.of_another_tenant()).ask(name, {"decision": RUN}, id=automation)
