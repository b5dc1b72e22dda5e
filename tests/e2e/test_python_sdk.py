"""The published Python SDK, unchanged, over HTTP: a run's whole life, and its stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conductorone_sdk import SDK
from conductorone_sdk.models import errors

from tests.servers import ServerProcess, until_state

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

WAIT = {"step_name": "hold", "step_display_name": "Hold", "wait_for_duration": {"duration": "1209600s"}}
NO_TIME = {"step_name": "pass", "wait_for_duration": {"duration": "0s"}}


@pytest.fixture
async def sdk(tmp_path: Path) -> AsyncIterator[SDK]:
    async with ServerProcess(tmp_path) as server:
        yield await server.sdk()


async def created(sdk: SDK, name: str, *steps: object) -> str:
    request: Any = {"display_name": name, "enabled": True, "automation_steps": list(steps), "triggers": []}
    answer = await sdk.automation.create_automation_async(request=request)
    assert answer.create_automation_response is not None
    automation = answer.create_automation_response.automation
    assert automation is not None
    assert automation.id
    return automation.id


async def started(sdk: SDK, automation: str, **trigger: object) -> int:
    request: Any = {"id": automation, "execute_automation_request": {"context": {"context": trigger}}}
    answer = await sdk.automation.execute_automation_async(request=request)
    assert answer.execute_automation_response is not None
    assert answer.execute_automation_response.execution_id
    return int(answer.execute_automation_response.execution_id)


async def test_an_automation_is_created_read_listed_and_updated(sdk: SDK) -> None:
    automation = await created(sdk, "Before", NO_TIME)
    read = await sdk.automation.get_automation_async(request={"id": automation})
    assert read.get_automation_response is not None
    assert read.get_automation_response.automation is not None
    assert read.get_automation_response.automation.display_name == "Before"
    assert int(read.get_automation_response.automation.current_version or 0) == 1
    await sdk.automation.update_automation_async(
        request={
            "id": automation,
            "update_automation_request": {"automation": {"display_name": "After"}, "update_mask": "displayName"},
        }
    )
    listed = await sdk.automation.list_automations_async()
    assert listed.list_automations_response is not None
    assert [row.display_name for row in listed.list_automations_response.list or []] == ["After"]


async def test_a_waiting_run_is_terminated_at_once_and_a_second_time_without_effect(sdk: SDK) -> None:
    execution = await started(sdk, await created(sdk, "Two weeks", WAIT))
    await until_state(sdk, execution, "WAITING")
    for _ in range(2):
        answer = await sdk.automation_execution_actions.terminate_automation_async(request={"id": execution})
        assert answer.status_code == 200
        assert answer.terminate_automation_response is not None
    run = await until_state(sdk, execution, "TERMINATE")
    assert run.completed_at is not None


async def test_a_finished_run_takes_a_terminate_and_stays_done(sdk: SDK) -> None:
    execution = await started(sdk, await created(sdk, "Hello", NO_TIME), name="Ann")
    await until_state(sdk, execution, "DONE")
    answer = await sdk.automation_execution_actions.terminate_automation_async(request={"id": execution})
    assert answer.status_code == 200
    await until_state(sdk, execution, "DONE")


async def test_an_unknown_run_is_not_found(sdk: SDK) -> None:
    with pytest.raises(errors.SDKError) as raised:
        await sdk.automation_execution_actions.terminate_automation_async(request={"id": 839265})
    assert raised.value.status_code == 404
