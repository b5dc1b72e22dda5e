"""The Terraform provider's `conductorone_automation`, as far as a server can tell it from the real one.

What it sends (read-only fields from its state included, empty lists and maps left out, never a mask), and the rule by
which Terraform finds a plan empty: every value that is configured has to come back identically.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from interlock.contract.automations import (
    Automation,
    CreateAutomationResponse,
    DeleteAutomationResponse,
    GetAutomationResponse,
    UpdateAutomationResponse,
)
from interlock.contract.base import Message, Shape, shape_of
from tests.compatibility.forms import lost
from tests.compatibility.live_server import LiveServer, Wire
from tests.compatibility.transcripts import load

HEADERS: Final = {
    "user-agent": "speakeasy-sdk/terraform 1.5.0",
    "accept": "application/json",
    "accept-encoding": "gzip",
}
_JSON: Final = {**HEADERS, "content-type": "application/json"}
_NEVER_SENT: Final = frozenset({"id", "webhookHmacSecret", "webhookCapabilityUrl"})
_AUTOMATION: Final = shape_of(Automation)

RECORDED: Final = {
    sequence["configuration"]: sequence
    for sequence in load("terraform-1.5.0")["sequences"]
    if sequence["serverMode"] == "deep"
}
# The recorded body of the create tells what was configured, but for empty lists, which the provider leaves out: the one
# that the recorded plans name is put back.
FULL: Final[dict[str, Any]] = json.loads(RECORDED["full config"]["steps"][0]["body"])
FULL["automationSteps"][3]["sendEmail"]["userRefs"] = []

RUNNABLE: Final[dict[str, Any]] = {
    "displayName": "n",
    "description": "",
    "enabled": False,
    "isDraft": False,
    "annotations": {"team": "x"},
    "circuitBreakerMax": 0,
    "triggers": [],
    "automationSteps": [
        {"stepName": "w", "stepDisplayName": "Wait", "waitForDuration": {"duration": "3600s"}},
        {
            "stepName": "e",
            "evaluateExpressions": {"expressions": [{"key": "k", "expressionCel": "1", "isSecret": False}]},
        },
        {"stepName": "h", "skipIfTrueCel": "", "webhook": {"webhookId": "wh", "payload": {}}},
        {"stepName": "c", "runAutomation": {"automationTemplateRef": {"id": "other"}}},
    ],
}
CONFIGURATIONS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "runnable steps, published": (RUNNABLE, {**RUNNABLE, "displayName": "n2"}),
    "full": (FULL, {**FULL, "displayName": "n2"}),
    "full, switched on": (FULL, {**FULL, "enabled": True, "circuitBreakerMax": 5}),
    "steps changed, triggers no longer configured": (
        FULL,
        {name: value for name, value in FULL.items() if name != "triggers"}
        | {"automationSteps": [{"stepName": "w", "waitForDuration": {"duration": "60s"}}]},
    ),
    "steps cleared": (FULL, {**FULL, "automationSteps": [], "triggers": []}),
    "annotation removed, one changed, one added": (
        {**RUNNABLE, "annotations": {"team": "x", "owner": "ann", "tier": "1"}},
        {**RUNNABLE, "annotations": {"team": "y", "tier": "1", "site": "Bern"}},
    ),
    "minimal": ({"displayName": "min"}, {"displayName": "min2"}),
    "webhook trigger": ({"displayName": "wh", "triggers": [{"webhook": {"hmac": {}}}]},) * 2,
}


class Refused(Exception):
    """The server answered a call with an error, which fails the run."""

    def __init__(self, answer: Wire) -> None:
        super().__init__(f"{answer.status}: {answer.body}")
        self.answer = answer


@dataclass(slots=True)
class Resource:
    """One resource block, in the API's spelling, and what Terraform remembers of it."""

    live_server: LiveServer
    configured: dict[str, Any]
    id: str = ""
    state: dict[str, Any] | None = None
    faults: list[str] = field(default_factory=list)
    """What any of the SDKs would not have read in one of the answers, and zero values that were missing."""

    async def create(self) -> None:
        body = without_empty(_AUTOMATION, self.configured)
        answer = await self._call("POST", "/api/v1/automations", CreateAutomationResponse, body)
        self.id = answer["automation"]["id"]
        self._remember(answer["automation"])

    async def refresh(self) -> None:
        """Read it; 404 takes it out of the state."""
        try:
            answer = await self._call("GET", f"/api/v1/automations/{self.id}", GetAutomationResponse)
        except Refused as refused:
            if refused.answer.status != 404:
                raise
            self.state = None
        else:
            self.state = answer["automation"]

    async def update(self, configured: dict[str, Any]) -> None:
        """Apply another configuration: what is not configured is sent as it stands in the state, however old."""
        assert self.state is not None
        self.configured = configured
        sent = {name: value for name, value in {**self.state, **configured}.items() if name not in _NEVER_SENT}
        body = {"automation": without_empty(_AUTOMATION, sent)}
        answer = await self._call("POST", f"/api/v1/automations/{self.id}", UpdateAutomationResponse, body)
        self._remember(answer["automation"])

    async def import_(self) -> None:
        """Forget all but the id, and read."""
        self.state = None
        await self.refresh()

    async def delete(self) -> None:
        """Delete it; that it is gone already is success too."""
        try:
            await self._call("DELETE", f"/api/v1/automations/{self.id}", DeleteAutomationResponse)
        except Refused as refused:
            if refused.answer.status != 404:
                raise

    def plan(self) -> list[str]:
        """The configured values that differ from the state; empty if there is nothing to do."""
        return lost(_seen(_AUTOMATION, self.configured), _seen(_AUTOMATION, self.state or {}))

    def _remember(self, automation: dict[str, Any]) -> None:
        """After create and update the state is the reply with the plan's values laid over it."""
        self.state = {**automation, **self.configured}

    async def _call(self, method: str, path: str, model: type[Message], body: Any = None) -> Any:
        text = None if body is None else json.dumps(body)
        answer = await self.live_server.send(method, path, _JSON if text else HEADERS, text)
        if answer.status != 200:
            raise Refused(answer)
        self.faults += answer.faults(model)
        return answer.tree


def without_empty(shape: Shape, tree: dict[str, Any]) -> dict[str, Any]:
    """As the provider sends it: without empty lists and maps, and without what is in a Struct."""
    sent: dict[str, Any] = {}
    for wire, value in tree.items():
        known = shape.fields[wire]
        if value is None or (known.repeated and not value) or (wire in shape.text_maps and not value):
            continue
        if known.mapping and wire not in shape.text_maps:
            sent[wire] = {}
        elif known.message is None:
            sent[wire] = value
        elif known.repeated:
            sent[wire] = [without_empty(known.message, item) for item in value]
        else:
            sent[wire] = without_empty(known.message, value)
    return sent


def _seen(shape: Shape, tree: dict[str, Any]) -> dict[str, Any]:
    """As the provider reads it: it does not see into a Struct."""
    seen: dict[str, Any] = {}
    for wire, value in tree.items():
        known = shape.fields.get(wire)
        if known is None:
            continue
        if known.mapping and wire not in shape.text_maps:
            seen[wire] = {}
        elif known.message is None:
            seen[wire] = value
        elif known.repeated:
            seen[wire] = [_seen(known.message, item) for item in value]
        else:
            seen[wire] = _seen(known.message, value)
    return seen


async def created(live_server: LiveServer, configured: dict[str, Any]) -> tuple[Resource, bool]:
    """The resource, and whether it had to be a draft: what cannot run here yet cannot be published."""
    resource = Resource(live_server, configured)
    try:
        await resource.create()
    except Refused as refused:
        if refused.answer.tree["code"] != 9:
            raise
        resource = Resource(live_server, {**configured, "isDraft": True})
        await resource.create()
        return resource, True
    return resource, False


@dataclass(slots=True)
class Life:
    """What came of a resource from its creation to its deletion."""

    draft: bool
    """It could only be kept as a draft."""
    plans: dict[str, list[str]]
    removed: bool
    faults: list[str]

    @property
    def clean(self) -> bool:
        return self.removed and not self.faults and not any(self.plans.values())


async def life(live_server: LiveServer, configured: dict[str, Any], changed: dict[str, Any]) -> Life:
    """Create, refresh, update, refresh, import, delete, read (404), delete again, with the plan after each step."""
    resource, draft = await created(live_server, configured)
    plans: dict[str, list[str]] = {}
    await resource.refresh()
    plans["create"] = resource.plan()
    await resource.update({**changed, "isDraft": True} if draft else changed)
    await resource.refresh()
    plans["update"] = resource.plan()
    await resource.import_()
    plans["import"] = resource.plan()
    await resource.delete()
    await resource.refresh()
    removed = resource.state is None
    await resource.delete()
    return Life(draft, plans, removed, resource.faults)
