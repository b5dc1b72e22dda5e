"""The ASGI application over the whole engine in memory: a server without its socket."""

from __future__ import annotations

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
from simulation.asgi import Answer, Caller, scope_of
from tests.engine.worlds import AUDIT
from tests.operations.operations_client import OperationsClient, operations_client

KEY = bytes(31) + b"\x02"
HOUR = 3_600_000_000
Headers = Iterable[tuple[str, str]]


@dataclass
class AppClient:
    """A client of the ASGI application with all permissions."""

    api: Api
    operations_client: OperationsClient
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
        sent = {"host": host}
        if token is not None:
            sent["authorization"] = f"Bearer {token or self.token}"
        caller = caller or Caller([raw])
        scope = scope_of(method, path, raw, {**sent, **given}, address)
        await self.api(scope, caller.receive, caller.send)
        return caller.answer


@asynccontextmanager
async def app_client(operations: Iterable[Operation] = OPERATIONS, **options: Any) -> AsyncIterator[AppClient]:
    async with operations_client(**options) as admin:
        services, access = admin.services, admin.services.store.access
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
            client = ClientRow(
                tenant=admin.tenant.id,
                id=f"{role}@localhost/spc",
                display_name="",
                public_key=KEY,
                roles=(role,),
                created_at=services.clock.wall(),
            )
            await access.create_client(client, AUDIT)
            given[role] = new_token(services.ids)
            now = services.clock.wall()
            await access.issue(admin.tenant.id, client.id, digest_of(given[role]), now, now + HOUR, None, AUDIT)
        made = AppClient(api, admin, given[Role.SUPER_ADMIN], given)
        yield made


def path_of(operation: Operation, value: str = "839265") -> str:
    """A path that leads to the operation."""
    path = operation.path
    for parameter in operation.parameters:
        path = path.replace(f"{{{parameter.name}}}", value)
    return path


EVERY: Final = [(row.method, path_of(row)) for row in OPERATIONS]
