"""The ASGI application over the whole engine in memory: what a server does for a request, less the socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from interlock.api import endpoints
from interlock.api.app import Api
from interlock.auth.bearer import Bearer, digest_of, new_token
from interlock.auth.signing import SigningKey
from interlock.auth.tenants import Tenants
from interlock.auth.token_endpoint import TokenEndpoint
from interlock.operations.operation import Operation
from interlock.operations.table import OPERATIONS
from interlock.ports import ClientRow, Health, Role
from interlock.telemetry.metrics import Metrics
from tests.engine.worlds import AUDIT
from tests.operations.desk import Desk, desk

KEY = bytes(31) + b"\x02"
HOUR = 3_600_000_000
Headers = Iterable[tuple[str, str]]


@dataclass
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


@dataclass
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


@dataclass
class Edge:
    """The application, and a caller with every right."""

    api: Api
    desk: Desk
    token: str
    tokens: dict[Role, str]
    health: Health = field(default_factory=Health)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = b"",
        *,
        token: str | None = "",
        headers: Headers = (),
        host: str = "localhost:8080",
        address: str = "127.0.0.1",
        caller: Caller | None = None,
    ) -> Answer:
        """Send a request. `token`: by default the super admin's; None sends none."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {name.lower(): value for name, value in headers}
        sent = {"host": host, "content-length": str(len(raw))} if raw else {"host": host}
        if token is not None:
            sent["authorization"] = f"Bearer {token or self.token}"
        if raw:
            sent["content-type"] = "application/json"
        caller = caller or Caller([raw])
        target, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": target,
            "raw_path": target.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in {**sent, **given}.items()],
            "client": (address, 50_000),
        }
        await self.api(scope, caller.receive, caller.send)
        return caller.answer


@asynccontextmanager
async def edge(operations: Iterable[Operation] = OPERATIONS, **options: Any) -> AsyncIterator[Edge]:
    async with desk(**options) as ann:
        services, access = ann.services, ann.services.store.access
        bearer, metrics = Bearer(access, services.clock), Metrics()
        tokens = TokenEndpoint(access, services.store.audit, services.clock, services.ids)
        api = Api(
            services,
            Tenants(access),
            bearer,
            operations,
            (
                endpoints.token(tokens),
                endpoints.key_set(SigningKey(bytes(32))),
                endpoints.health(),
                endpoints.readiness(lambda: made.health),
                endpoints.document("json", "application/json"),
                endpoints.document("yaml", "application/yaml"),
                *endpoints.pages(),
                endpoints.metrics(metrics, bearer),
            ),
            metrics,
        )
        given: dict[Role, str] = {}
        for role in Role:
            client = ClientRow(ann.tenant.id, f"{role}@localhost/spc", "", KEY, (role,), services.clock.wall())
            await access.create_client(client, AUDIT)
            given[role] = new_token(services.ids)
            now = services.clock.wall()
            await access.issue(ann.tenant.id, client.id, digest_of(given[role]), now, now + HOUR, None, AUDIT)
        made = Edge(api, ann, given[Role.SUPER_ADMIN], given)
        yield made


def path_of(operation: Operation, value: str = "839265") -> str:
    """A path that leads to the operation."""
    path = operation.path
    for parameter in operation.parameters:
        path = path.replace(f"{{{parameter.name}}}", value)
    return path


EVERY: Final = [(row.method, path_of(row)) for row in OPERATIONS]
