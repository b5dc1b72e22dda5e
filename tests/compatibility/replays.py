"""Playing a recorded call again, against a real server, and saying what came of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from conductorone_sdk.models import shared
from conductorone_sdk.utils import unmarshal_json

from interlock.contract.base import Message
from interlock.operations.table import OPERATIONS as TABLE
from tests.compatibility.forms import lost
from tests.compatibility.live_server import LiveServer, Wire
from tests.compatibility.transcripts import Exchange, response_of

PYTHON: Final = "python-0.17.2"
AUTOMATIONS: Final = frozenset({"2auto1", "a"})
EXECUTION: Final = "839265"
"""Ids of the recording server, for which things of ours are put in. Other ids in a path stay, and are unknown here."""
OFFERED: Final = frozenset(operation.id.rpartition(".")[2] for operation in TABLE)
AS_DRAFT: Final = "accepted as a draft"
UNPUBLISHED: Final = (3, 9)
"""google.rpc codes of a definition that is not published: INVALID_ARGUMENT and FAILED_PRECONDITION."""

_NOT_FOUND: Final = frozenset(
    {
        (PYTHON, "get_automation(odd id)"),
        (PYTHON, "terminate_automation(str id)"),
        ("typescript-1.2.2", "getAutomation(odd id)"),
        ("typescript-1.2.2", "terminateAutomation(2^53+1)"),
    }
)
"""Calls whose id nothing here has: 404 is the right answer."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one call of one client."""

    client: str
    operation: str
    call: str
    result: str
    faults: tuple[str, ...] = ()

    @property
    def only_kept(self) -> bool:
        """The automation was kept as a draft: it has steps that cannot run here, or errors."""
        return self.result.startswith(AS_DRAFT)


async def replay(live_server: LiveServer, exchange: Exchange) -> Row:
    """Send what was recorded, and look at what comes back."""
    automation = await live_server.automation()
    path, body = exchange.path, exchange.body
    for known in AUTOMATIONS:
        path = path.replace(f"/automations/{known}", f"/automations/{automation}")
        body = body.replace(f'"automationTemplateId":"{known}"', f'"automationTemplateId":"{automation}"')
    if f"/{EXECUTION}" in path:
        path = path.replace(EXECUTION, await live_server.execution(automation))
    answer = await live_server.send(exchange.method, path, exchange.headers, body)
    if answer.status == 200:
        return _row(exchange, "accepted", *_faults(exchange, answer, body))
    if answer.status == 404 and (exchange.client, exchange.call) in _NOT_FOUND:
        return _row(exchange, "404, as nothing has that id", *answer.wrong_with_error())
    if answer.status == 400 and answer.wrong_with_error() == []:
        return await _refused(live_server, exchange, path, body, answer)
    return _row(exchange, f"{answer.status}", answer.body)


async def _refused(live_server: LiveServer, exchange: Exchange, path: str, body: str, answer: Wire) -> Row:
    """What is refused for a reason has to be taken once the reason is gone."""
    tree = json.loads(body or "{}")
    if answer.named == ["pageToken"]:
        del tree["pageToken"]
        again = await live_server.send(exchange.method, path, exchange.headers, json.dumps(tree))
        faults = _faults(exchange, again, "")
        return _row(exchange, "accepted; its made-up page token is refused by name", *faults)
    if answer.named == ["automation"] and not tree:
        return _row(exchange, "400 naming `automation`, as there is nothing to update with")
    if exchange.operation == "CreateAutomation" and answer.tree["code"] in UNPUBLISHED:
        tree["isDraft"] = True
        draft = json.dumps(tree)
        again = await live_server.send(exchange.method, path, exchange.headers, draft)
        why = "what cannot run here yet" if answer.tree["code"] == 9 else "what must be fixed"
        named = ", ".join(f"`{field}`" for field in answer.named)
        faults = _faults(exchange, again, draft)
        return _row(exchange, f"{AS_DRAFT}; publishing names {why}: {named}", *faults)
    return _row(exchange, f"{answer.status}", answer.body)


def _row(exchange: Exchange, result: str, *faults: str) -> Row:
    return Row(exchange.client, exchange.operation, exchange.call, result, faults)


def _faults(exchange: Exchange, answer: Wire, body: str) -> list[str]:
    """What is wrong with a success."""
    if answer.status != 200:
        return [f"{answer.status}: {answer.body}"]
    model = response_of(exchange.operation)
    found = answer.faults(model)
    if exchange.client == PYTHON:
        unmarshal_json(answer.body, _sdk_model(model))
    if exchange.operation == "CreateAutomation" and body:
        found += [f"{path} did not come back" for path in lost(json.loads(body), answer.tree["automation"])]
    if exchange.reply is not None:
        found += other_form(exchange.reply.tree, answer.tree)
    return found


def other_form(recorded: Any, ours: Any, path: str = "") -> list[str]:
    """Where a member of our reply has another JSON type than the recorded reply's, or is not there at all.

    A null of the recorded reply may be absent from ours. Lists are compared by their first items.
    """
    if recorded is None:
        return []
    if type(recorded) is not type(ours):
        return [f"{path} is {type(ours).__name__}, recorded as {type(recorded).__name__}"]
    if isinstance(recorded, dict):
        return [
            where
            for name, value in recorded.items()
            if name not in _FREE and (value is not None and (name in ours or name not in _OPTIONAL))
            for where in other_form(value, ours.get(name), f"{path}.{name}")
        ]
    if isinstance(recorded, list) and recorded and ours:
        return other_form(recorded[0], ours[0], f"{path}[0]")
    return []


_FREE: Final = frozenset({"annotations", "context", "expanded"})
"""Members whose content is the caller's, or depends on what there is."""
_OPTIONAL: Final = frozenset({"createdAt", "lastExecutedAt", "updatedAt", "completedAt", "duration", "view"})


def _sdk_model(model: type[Message]) -> Any:
    return getattr(shared, model.__name__)
