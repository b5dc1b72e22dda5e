"""The example automations: what each says comes back identically, and zero values stand elsewhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from interlock.contract.automations import CreateAutomationRequest, CreateAutomationResponse, GetAutomationResponse
from interlock.contract.parse import parse
from tests.compatibility.forms import lost
from tests.compatibility.live_server import LiveServer
from tests.servers import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

ROOT: Final = Path(__file__).parents[2]
OURS: Final[dict[str, Any]] = {
    path.name: json.loads(path.read_bytes()) for path in sorted((ROOT / "examples").glob("*.json"))
}
GIVEN: Final[dict[str, Any]] = {
    path.name: json.loads(path.read_bytes()) for path in sorted((ROOT / "tests/fixtures/examples").glob("*.json"))
}
TABLE: Final = (ROOT / "examples" / "README.md").read_text()
JSON: Final = {"content-type": "application/json"}


@pytest.fixture(scope="module")
async def live_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveServer]:
    directory: Path = tmp_path_factory.mktemp("examples")
    async with ServerProcess(directory) as server:
        yield await LiveServer.of(server)


async def applied(live_server: LiveServer, document: dict[str, Any]) -> dict[str, Any]:
    """The automation as it is read back."""
    made = await live_server.send("POST", "/api/v1/automations", JSON, json.dumps(document))
    assert made.status == 200, made.body
    assert made.faults(CreateAutomationResponse) == []
    read = await live_server.send("GET", f"/api/v1/automations/{made.tree['automation']['id']}")
    assert read.faults(GetAutomationResponse) == []
    found: dict[str, Any] = read.tree["automation"]
    return found


@pytest.mark.parametrize("name", OURS)
async def test_an_example_of_ours_comes_back_as_it_stands(live_server: LiveServer, name: str) -> None:
    document = OURS[name]
    automation = await applied(live_server, document)
    assert lost(document, automation) == []
    assert automation["draftAutomationSteps"] == automation["automationSteps"]
    assert automation["currentVersion"] == ("0" if document.get("isDraft") else "1")


@pytest.mark.parametrize("name", OURS)
async def test_an_example_of_ours_has_no_warnings(live_server: LiveServer, name: str) -> None:
    automation = await applied(live_server, OURS[name])
    detail = await live_server.json("GET", f"/interlock/v1/automations/{automation['id']}")
    assert [finding for finding in detail["warnings"] if finding["kind"] != "unavailable"] == []
    assert detail["publishable"] != automation["isDraft"], "an example that can be published should be"


@pytest.mark.parametrize("name", GIVEN)
async def test_a_given_example_comes_back_as_it_stands(live_server: LiveServer, name: str) -> None:
    document = GIVEN[name] | {"isDraft": True}
    assert lost(document, await applied(live_server, document)) == []


@pytest.mark.parametrize("name", OURS)
def test_an_example_says_what_it_is_for_and_stands_in_the_table(name: str) -> None:
    message = parse(CreateAutomationRequest, json.dumps(OURS[name]).encode())
    assert message.display_name
    assert message.description
    [row] = [line for line in TABLE.splitlines() if line.startswith(f"| [{name}]({name}) | {message.display_name} |")]
    assert row.endswith("| draft |" if message.is_draft else "| runs now |")


def test_every_example_has_a_name_of_its_own() -> None:
    names = [document["displayName"] for document in OURS.values()]
    assert len(set(names)) == len(names) >= 8
