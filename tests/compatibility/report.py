"""`docs/compatibility.md`: what the tests of this directory measured, as a document."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from interlock.contract.automations import CreateAutomationRequest
from interlock.contract.base import Message, to_wire
from interlock.contract.parse import read
from interlock.contract.steps import AutomationStep
from interlock.contract.triggers import AutomationTrigger
from tests.compatibility.fields import names, reachable, variants
from tests.compatibility.forms import lost
from tests.compatibility.live_server import LiveServer
from tests.compatibility.replays import AS_DRAFT, Row, replay
from tests.compatibility.sdk import CLIENT as SDK_CLIENT
from tests.compatibility.sdk import sdk_rows
from tests.compatibility.terraform import CONFIGURATIONS, life
from tests.compatibility.transcripts import OPERATIONS, exchanges
from tests.contract.messages import MESSAGES
from tests.servers import ServerProcess

PATH: Final = Path(__file__).parents[2] / "docs" / "compatibility.md"
TERRAFORM: Final = "terraform-1.5.0"
COLUMNS: Final = {
    SDK_CLIENT: "Python SDK 0.17.2, run",
    "python-0.17.2": "Python 0.17.2, replayed",
    "typescript-1.2.2": "TypeScript 1.2.2, replayed",
    "go-1.26.1": "Go 1.26.1, replayed",
    "go-1.29.0": "Go 1.29.0, replayed",
    TERRAFORM: "Terraform 1.5.0, replayed",
}
_HEAD: Final = """# Compatibility

This page lists the requests of C1's published clients and their results on Interlock. The tests generate it
(`python -m tests.compatibility`), and a test fails if the page differs from what they measure.

*Run* means that the client itself was run against a server. *Replayed* means that recorded requests of the client were
sent again byte by byte, and the answers were checked by a model of that client's parser; the model was verified with
answers that the client accepted and rejected. The Go, TypeScript and Terraform columns come from replays: these clients
were not run here. The Terraform column uses recorded configurations of the provider, from creation to deletion, and a
model that sends the requests of the provider. A plan is empty if every configured value is returned identically, which
is the provider's rule.

"""
_DRAFT: Final[dict[str, Any]] = {
    **variants(CreateAutomationRequest)[0],
    "isDraft": True,
    "automationSteps": variants(AutomationStep),
    "triggers": variants(AutomationTrigger),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything the document tells."""

    rows: tuple[Row, ...]
    lost: tuple[str, ...]
    """Paths of an automation's fields that did not come back from the server."""


async def measure(directory: Path) -> Measured:
    """Start a server in an empty directory, and put all clients to it."""
    async with ServerProcess(directory) as server:
        live_server = await LiveServer.of(server)
        rows = await sdk_rows(server)
        rows += [await replay(live_server, exchange) for exchange in exchanges()]
        for name, (configured, changed) in CONFIGURATIONS.items():
            rows += await _terraform(live_server, name, configured, changed)
        made = await live_server.json("POST", "/api/v1/automations", _DRAFT)
        found = await live_server.json("GET", f"/api/v1/automations/{made['automation']['id']}")
    return Measured(tuple(rows), tuple(lost(_DRAFT, found["automation"])))


async def _terraform(
    live_server: LiveServer, name: str, configured: dict[str, Any], changed: dict[str, Any]
) -> list[Row]:
    lived = await life(live_server, configured, changed)
    taken = AS_DRAFT if lived.draft else "accepted"
    told = {
        "CreateAutomation": (f"{name}: created", lived.plans["create"]),
        "UpdateAutomation": (f"{name}: updated without a mask", lived.plans["update"]),
        "GetAutomation": (f"{name}: refreshed and imported", lived.plans["import"]),
        "DeleteAutomation": (f"{name}: deleted, read (404), deleted again (404)", [] if lived.removed else ["there"]),
    }
    return [
        Row(TERRAFORM, operation, call, _result(operation, taken), (*plan, *lived.faults))
        for operation, (call, plan) in told.items()
    ]


def _result(operation: str, taken: str) -> str:
    return "accepted" if operation == "DeleteAutomation" else f"{taken}, plan empty"


# ── the document ─────────────────────────────────────────────────────────────────────────────────────────────────────


def document(measured: Measured) -> str:
    """The whole page."""
    parts = [_HEAD, "## Operations\n\n", *_matrix(measured.rows), "\n## Calls\n"]
    for client, title in COLUMNS.items():
        parts += [f"\n### {title}\n\n", *_calls([row for row in measured.rows if row.client == client])]
    return "".join([*parts, "\n## Fields\n\n", *_fields(measured)])


def _matrix(rows: Iterable[Row]) -> list[str]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.operation, row.client), []).append(row)
    lines = [f"| operation | {' | '.join(COLUMNS.values())} |\n", f"|---{'|---' * len(COLUMNS)}|\n"]
    for operation in OPERATIONS:
        cells = [_cell(found.get((operation, client), [])) for client in COLUMNS]
        lines.append(f"| {operation} | {' | '.join(cells)} |\n")
    lines.append(
        "\nA dash: the client does not have this operation, or it was not recorded. The number is the number of "
        "calls.\n"
    )
    return lines


def _cell(rows: list[Row]) -> str:
    if not rows:
        return "–"
    failed = sum(bool(row.faults) for row in rows)
    if failed:
        return f"**{failed} of {len(rows)} fail**"
    drafts = sum(row.only_kept for row in rows)
    return f"✓ {len(rows)}, of them {drafts} as a draft" if drafts else f"✓ {len(rows)}"


def _calls(rows: list[Row]) -> list[str]:
    lines = ["| operation | call | result |\n|---|---|---|\n"]
    for row in rows:
        told = f"**{'; '.join(row.faults)}**" if row.faults else row.result
        lines.append(f"| {row.operation} | {row.call} | {told} |\n".replace("\n |", " |"))
    return lines


def _fields(measured: Measured) -> list[str]:
    through_server = reachable(CreateAutomationRequest)
    lines = [
        "Each field is set to a value that is not its zero value, one arm of a oneof at a time.\n"
        "*Server*: an automation that holds them was made and read back over HTTP.\n"
        "*Message*: the field was read and written again.\n\n",
        "| message | fields | round trip |\n|---|---|---|\n",
    ]
    for model in _published():
        fields = ", ".join(names(model)) or "none"
        lines.append(f"| {model.proto_name} | {fields} | {_trip(model, model in through_server)} |\n")
    if measured.lost:
        lines.append(f"\n**Did not come back from the server: {', '.join(measured.lost)}**\n")
    return lines


def _trip(model: type[Message], server: bool) -> str:
    gone = {path for tree in variants(model) for path in lost(tree, to_wire(read(model, tree)))}
    if gone:
        return f"**{', '.join(sorted(gone))}**"
    return "✓ server" if server else "✓ message"


def _published() -> list[type[Message]]:
    fixture = Path(__file__).parents[1] / "fixtures" / "contract-fields.json"
    published = json.loads(fixture.read_bytes())["messages"]
    return [model for model in MESSAGES if model.proto_name in published]
