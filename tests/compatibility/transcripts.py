"""What C1's published clients sent and were sent, as it was recorded with each of them.

The recordings stand in `tests/fixtures/transcripts`: bodies, paths and the headers that matter are verbatim. One that
the recorder cut off is marked `cut`; what can still be used of it is what `repaired` makes of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from interlock.contract.base import Message
from tests.contract.messages import MESSAGES

DIRECTORY: Final = Path(__file__).parents[1] / "fixtures" / "transcripts"
CLIENTS: Final = ("python-0.17.2", "typescript-1.2.2", "go-1.26.1", "go-1.29.0")
OPERATIONS: Final = (
    "ListAutomations",
    "CreateAutomation",
    "GetAutomation",
    "UpdateAutomation",
    "DeleteAutomation",
    "ExecuteAutomation",
    "ClearAutomationCircuitBreaker",
    "ResolvePausedAutomationExecutions",
    "ListAutomationExecutions",
    "GetAutomationExecution",
    "TerminateAutomation",
    "SearchAutomationExecutions",
    "SearchAllAutomationExecutions",
    "SearchAutomations",
    "SearchAutomationTemplateVersions",
)
"""C1's fifteen automation operations, by the last part of their operationId."""

_BY_CLASS: Final = {model.__name__: model for model in MESSAGES if ".automations." in model.proto_name}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the recording server answered, and the client took."""

    status: int
    content_type: str
    body: str
    cut: bool

    @property
    def tree(self) -> Any:
        return json.loads(repaired(self.body) if self.cut else self.body)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call of a client. `headers` are all that it sent, save those of the connection and its token."""

    client: str
    call: str
    operation: str
    method: str
    path: str
    headers: dict[str, str]
    body: str
    reply: Reply | None = None

    def __str__(self) -> str:
        return f"{self.client}: {self.call}"


def load(name: str) -> Any:
    return json.loads((DIRECTORY / f"{name}.json").read_bytes())


@cache
def exchanges() -> tuple[Exchange, ...]:
    """The recorded calls of the SDKs that reached a server."""
    return tuple(
        Exchange(
            client,
            found["call"],
            found["operation"],
            found["method"],
            found["path"],
            {**recorded["headers"], **found["headers"]},
            found["body"],
            Reply(reply["status"], reply["contentType"], reply["body"], reply["cut"])
            if (reply := found.get("reply"))
            else None,
        )
        for client in CLIENTS
        for recorded in [load(client)]
        for found in recorded["exchanges"]
        if found["operation"] is not None
    )


def request_of(operation: str) -> type[Message] | None:
    """The message that the body of an operation is."""
    return _BY_CLASS.get(f"{operation}Request")


def response_of(operation: str) -> type[Message]:
    return _BY_CLASS[f"{operation}Response"]


def repaired(cut: str) -> str:
    """The longest beginning of a JSON object that is whole members, closed."""
    open_: list[str] = []
    best, text, escaped = "", False, False
    for at, character in enumerate(cut):
        if text:
            text = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            text = True
        elif character in "{[":
            open_.append("}" if character == "{" else "]")
        elif character in "}]":
            open_.pop()
            best = cut[: at + 1] + "".join(reversed(open_))
        elif character == ",":
            best = cut[:at] + "".join(reversed(open_))
    return best
