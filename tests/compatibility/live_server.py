"""A running server for the recordings, and a client that sends their requests byte by byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from interlock.contract.base import Message
from tests.compatibility.forms import READERS, refusals, zeroes_missing
from tests.servers import PATIENCE, ServerProcess

WAIT: Final = {"stepName": "hold", "waitForDuration": {"duration": "1209600s"}}


@dataclass(frozen=True, slots=True)
class Wire:
    """An answer, unparsed."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def tree(self) -> Any:
        return json.loads(self.body)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    def faults(self, model: type[Message]) -> list[str]:
        """What keeps a success from being what every client reads, and Terraform needs."""
        found = [f"{reader}: {why}" for reader in READERS for why in refusals(reader, model, *self.form)]
        if not found and isinstance(self.tree, dict):
            found += [f"{path} has no zero value" for path in zeroes_missing(model, self.tree)]
        return found

    @property
    def form(self) -> tuple[int, str, str]:
        return self.status, self.content_type, self.body

    def wrong_with_error(self) -> list[str]:
        """What keeps an error from being a google.rpc.Status."""
        try:
            tree = self.tree
        except ValueError:
            return [f"{self.status} with {self.body[:80]!r}"]
        if not isinstance(tree, dict) or not isinstance(tree.get("code"), int) or not tree.get("message"):
            return [f"{self.status} with {self.body[:80]!r}"]
        return []

    @property
    def named(self) -> list[str]:
        """The fields that an error names."""
        return [
            violation.get("field") or violation.get("subject")
            for detail in self.tree["details"]
            for violation in (*detail.get("fieldViolations", ()), *detail.get("violations", ()))
        ]


class LiveServer:
    """A server, and one caller of it."""

    def __init__(self, server: ServerProcess, token: str) -> None:
        self._host = server.url.partition("://")[2]
        self._token = token

    @classmethod
    async def of(cls, server: ServerProcess) -> LiveServer:
        return cls(server, await server.token())

    async def send(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: str | None = None
    ) -> Wire:
        """One request on a connection of its own; of the headers only the length is adjusted to the body."""
        sent = {"Host": self._host, "Authorization": f"Bearer {self._token}", "Connection": "close", **(headers or {})}
        raw = (body or "").encode()
        if raw or "content-length" in sent:
            sent["content-length"] = str(len(raw))
        head = "".join([f"{method} {path} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in sent.items())])
        host, _, port = self._host.rpartition(":")
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(head.encode("latin-1") + b"\r\n" + raw)
            await writer.drain()
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        top, _, rest = answer.partition(b"\r\n\r\n")
        status, *lines = top.decode("latin-1").split("\r\n")
        named = (line.partition(":") for line in lines)
        return Wire(int(status.split(" ")[1]), {name.lower(): value.strip() for name, _, value in named}, rest.decode())

    async def json(self, method: str, path: str, tree: Any = None) -> Any:
        """A plain call that has to succeed."""
        body = None if tree is None else json.dumps(tree)
        answer = await self.send(method, path, {"content-type": "application/json"} if body else None, body)
        assert answer.status == 200, answer.body
        return answer.tree

    async def automation(self) -> str:
        """An automation whose runs wait; returns its id."""
        made = await self.json(
            "POST", "/api/v1/automations", {"displayName": "n", "enabled": True, "automationSteps": [WAIT]}
        )
        id_: str = made["automation"]["id"]
        return id_

    async def execution(self, automation: str) -> str:
        """A run; returns its id."""
        started: str = (await self.json("POST", f"/api/v1/automations/{automation}/execute"))["executionId"]
        return started
