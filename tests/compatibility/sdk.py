"""The published Python SDK, unchanged, against a running server: each operation it has, and what comes of it."""

from __future__ import annotations

import json
from typing import Any, Final

from conductorone_sdk import SDK
from conductorone_sdk.models import errors, shared
from conductorone_sdk.utils import unmarshal_json

from tests.compatibility.live_server import WAIT
from tests.compatibility.replays import Row
from tests.servers import ServerProcess

CLIENT: Final = "python-sdk"
UNKNOWN_ID: Final = "2unknown"
UNKNOWN: Final = 839265

_ID: Final = "id"


async def sdk_rows(server: ServerProcess) -> list[Row]:
    """Each operation of the SDK: that it succeeds, with 404 for what is not there, and with 401 for a bad token."""
    stranger = SDK(server_url=server.url, security=shared.Security(bearer_auth="nonsense", oauth="nonsense"))
    async with await server.sdk() as sdk, stranger:
        return await _rows(sdk, stranger)


async def _rows(sdk: Any, stranger: SDK) -> list[Row]:
    body = {"display_name": "n", "enabled": True, "automation_steps": [from_wire(shared.AutomationStep, WAIT)]}
    made = (await sdk.automation.create_automation_async(request=body)).create_automation_response.automation.id
    other = (await sdk.automation.create_automation_async(request=body)).create_automation_response.automation.id
    run = (await sdk.automation.execute_automation_async(request={_ID: made})).execute_automation_response.execution_id
    change = {"update_automation_request": {"automation": {"display_name": "m"}, "update_mask": "displayName"}}
    of_it = {"automation_template_id": made}
    accepted: list[tuple[str, str, Any]] = [
        ("automation", "create_automation", body),
        ("automation", "list_automations", None),
        ("automation", "get_automation", {_ID: made}),
        ("automation", "update_automation", {_ID: made, **change}),
        ("automation", "execute_automation", {_ID: made}),
        ("automation", "delete_automation", {_ID: other}),
        ("automation_execution", "list_automation_executions", None),
        ("automation_execution", "get_automation_execution", {_ID: run}),
        ("automation_execution_actions", "terminate_automation", {_ID: run}),
        ("automation_execution_search", "search_automation_executions", of_it),
        ("automation_search", "search_automations", {"query": "m", "page_size": 10}),
        ("automation_search", "search_automation_template_versions", of_it),
    ]
    unknown: list[tuple[str, str, Any]] = [
        ("automation", "get_automation", {_ID: UNKNOWN_ID}),
        ("automation", "update_automation", {_ID: UNKNOWN_ID, **change}),
        ("automation", "delete_automation", {_ID: UNKNOWN_ID}),
        ("automation", "execute_automation", {_ID: UNKNOWN_ID}),
        ("automation_execution", "get_automation_execution", {_ID: UNKNOWN}),
        ("automation_execution_actions", "terminate_automation", {_ID: UNKNOWN}),
        ("automation_search", "search_automation_template_versions", {"automation_template_id": UNKNOWN_ID}),
    ]
    return [
        *[await _row(sdk, group, call, request, "", 200) for group, call, request in accepted],
        *[await _row(sdk, group, call, request, ", unknown id", 404) for group, call, request in unknown],
        *[await _row(stranger, group, call, request, ", bad token", 401) for group, call, request in accepted],
    ]


async def _row(sdk: SDK, group: str, call: str, request: Any, case: str, expected: int) -> Row:
    method = getattr(getattr(sdk, group), f"{call}_async")
    told = ""
    try:
        status = (await (method() if request is None else method(request=request))).status_code
    except errors.SDKError as error:
        status, told = error.status_code, str(error)
    operation = "".join(part.title() for part in call.split("_"))
    faults = () if status == expected else (f"{status} instead of {expected}: {told}",)
    return Row(CLIENT, operation, f"{call}{case}", "accepted" if status == 200 else f"{status}", faults)


def from_wire(model: Any, tree: Any) -> Any:
    """A model of the SDK from a tree in the API's spelling."""
    return unmarshal_json(json.dumps(tree), model)


def to_tree(model: Any) -> Any:
    """What the SDK would send of a model of its own, without nulls."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: cleaned(item) for name, item in value.items() if item is not None}
        return [cleaned(item) for item in value] if isinstance(value, list) else value

    return cleaned(json.loads(model.model_dump_json(by_alias=True)))
