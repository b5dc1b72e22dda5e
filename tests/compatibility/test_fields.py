"""Every field of every message makes the way there and back: through the messages, the server and the Python SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from conductorone_sdk.models import shared
from hypothesis import given
from hypothesis import strategies as st

from interlock.contract.automations import CreateAutomationRequest
from interlock.contract.base import Message, to_wire
from interlock.contract.parse import read
from interlock.contract.steps import AutomationStep
from interlock.contract.triggers import AutomationTrigger
from tests.compatibility.fields import variants
from tests.compatibility.forms import lost
from tests.compatibility.sdk import from_wire, sdk_rows, to_tree
from tests.contract.messages import MESSAGES, trees
from tests.servers import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

DRAFT: dict[str, Any] = {
    **variants(CreateAutomationRequest)[0],
    "isDraft": True,
    "automationSteps": variants(AutomationStep),
    "triggers": variants(AutomationTrigger),
}


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    directory: Path = tmp_path_factory.mktemp("fields")
    async with ServerProcess(directory) as server:
        yield server


@pytest.fixture(scope="module")
async def authorised(server: ServerProcess) -> dict[str, str]:
    return {"Authorization": f"Bearer {await server.token()}"}


@pytest.mark.parametrize("model", MESSAGES, ids=lambda model: model.proto_name)
def test_every_field_of_a_message_survives_parsing_and_sending(model: type[Message]) -> None:
    for tree in variants(model):
        assert lost(tree, to_wire(read(model, tree))) == []


async def test_every_field_of_an_automation_survives_the_server(
    server: ServerProcess, authorised: dict[str, str]
) -> None:
    async with httpx2.AsyncClient(base_url=server.url, headers=authorised) as api:
        made = await api.post("/api/v1/automations", json=DRAFT)
        assert made.status_code == 200, made.text
        read_back = await api.get(f"/api/v1/automations/{made.json()['automation']['id']}")
    assert lost(DRAFT, read_back.json()["automation"]) == []


async def test_every_field_that_the_python_sdk_knows_survives_its_way_there_and_back(server: ServerProcess) -> None:
    request = from_wire(shared.CreateAutomationRequestInput, DRAFT)
    async with await server.sdk() as sdk:
        made = await sdk.automation.create_automation_async(request=request)
        assert made.create_automation_response is not None
        assert made.create_automation_response.automation is not None
        id_ = str(made.create_automation_response.automation.id)
        found = await sdk.automation.get_automation_async(request={"id": id_})
    assert found.get_automation_response is not None
    assert lost(to_tree(request), to_tree(found.get_automation_response.automation)) == []


async def test_every_operation_of_the_python_sdk_gives_what_it_should(server: ServerProcess) -> None:
    assert [(row.operation, row.call, row.faults) for row in await sdk_rows(server) if row.faults] == []


@given(data=st.data())
def test_any_draft_comes_back_as_it_was_sent(
    server: ServerProcess, authorised: dict[str, str], data: st.DataObject
) -> None:
    tree = data.draw(trees(CreateAutomationRequest)) | {"isDraft": True}
    for either in ("is_draft", "annotations"):  # the first is given above; the second has rules of its own
        tree.pop(either, None)
    given_ = to_wire(read(CreateAutomationRequest, tree))
    drafted = {name: value for name, value in given_.items() if not (name.startswith("draft") and not value)}
    with httpx2.Client(base_url=server.url, headers=authorised) as api:
        made = api.post("/api/v1/automations", json=tree)
        assert made.status_code == 200, made.text
        read_back = api.get(f"/api/v1/automations/{made.json()['automation']['id']}")
    assert lost(drafted, read_back.json()["automation"]) == []
