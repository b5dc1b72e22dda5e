"""A request to the application without a socket: what a server would hand it, and what it would send back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def tree(self) -> Any:
        return json.loads(self.body)

    @property
    def fields(self) -> list[str]:
        """The fields that a refusal names."""
        return [violation["field"] for detail in self.tree["details"] for violation in detail["fieldViolations"]]


@dataclass(slots=True)
class Caller:
    """A request's channel: sends its body in these pieces, and stays until it is told to go."""

    pieces: list[bytes]
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    sent: list[dict[str, Any]] = field(default_factory=list)

    async def receive(self) -> dict[str, Any]:
        if self.pieces:
            piece = self.pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def answer(self) -> Answer:
        start, *parts = self.sent
        headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], headers, b"".join(part["body"] for part in parts))


def scope_of(
    method: str, path: str, body: bytes, headers: Mapping[str, str], address: str = "127.0.0.1"
) -> dict[str, Any]:
    """What is known of a request before its body; with one come its length and the type of JSON, unless given."""
    target, _, query = path.partition("?")
    of_body = {"content-length": str(len(body)), "content-type": "application/json"} if body else {}
    return {
        "type": "http",
        "method": method,
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in {**of_body, **headers}.items()],
        "client": (address, 50_000),
    }
