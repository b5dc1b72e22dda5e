"""A client that calls operations without HTTP, over the whole engine in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from interlock.auth.bearer import Principal
from interlock.auth.roles import app_permissions_of, permissions_of
from interlock.contract.base import Message, to_wire
from interlock.contract.parse import parse
from interlock.engine.feed import Feed
from interlock.net.egress import EgressPolicy
from interlock.operations.authorise import authorise
from interlock.operations.operation import (
    Answer,
    Call,
    Document,
    NoContent,
    Operation,
    Stream,
    Visibility,
    anonymous_principal,
)
from interlock.operations.services import Services
from interlock.operations.table import OPERATIONS
from interlock.ports import AuditEntry, Role, TenantRow
from interlock.rules.model import Ref
from interlock.triggers.registry import RELEASED as TRIGGERS
from interlock.triggers.registry import TriggerRegistry
from tests.clocks import FixedChance, settle
from tests.engine.worlds import AUDIT, ENVIRONMENT, INSTALLATION, SECRET, Engine, FarEnd, engine


def _short(operation: Operation) -> str:
    """`GetAutomation` as C1 names it, `GetWebhook`, and `OwnGetAutomation` for our own view of the same."""
    last = operation.id.rpartition(".")[2]
    if ".webhooks." in operation.id:
        return f"{last}Webhook"
    return f"Own{last}" if operation.visibility is Visibility.OWN else last


BY_NAME = {_short(operation): operation for operation in OPERATIONS}
POLICY = EgressPolicy.parse([])

WAIT = {"stepName": "hold", "waitForDuration": {"duration": "1209600s"}}
GREET = {
    "stepName": "greet",
    "evaluateExpressions": {"expressions": [{"key": "text", "expressionCel": '"hello " + string(ctx.trigger.name)'}]},
}
CALL = {"stepName": "call", "webhook": {"webhookId": "hook", "payload": {}}}


class CheckedFarEnd(FarEnd):
    """A receiver behind the real egress rules."""

    def check_url(self, url: str) -> None:
        POLICY.check_url(url)


@dataclass
class Reply:
    """The answer of an operation in its JSON form."""

    body: Any
    headers: dict[str, str]


@dataclass
class OperationsClient:
    """Calls operations as one client of one tenant."""

    engine: Engine
    services: Services
    tenant: TenantRow
    principal: Principal
    address: str = "192.0.2.7"
    headers: dict[str, str] = field(default_factory=dict)

    async def ask(
        self,
        name: str,
        body: Any = None,
        *,
        id: str | int = "",
        query: Mapping[str, str] | None = None,
        path: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Carry out the operation with this name. Header names are lower case."""
        operation = BY_NAME[name]
        call = self.call(operation, path or ({"id": str(id)} if id != "" else {}), query or {}, headers or {})
        await authorise(self.services, call, operation)
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        parsed: Message | bytes | None = None
        if operation.raw_body:
            parsed = raw
        elif operation.request is not None:
            parsed = parse(operation.request, raw)
        answer: Answer = await operation.handler(self.services, call, parsed)
        if answer.later is not None:
            answer = await answer.later()
        message = answer.message
        if isinstance(message, Document | Stream):
            return Reply(message.text if isinstance(message, Document) else message, dict(answer.headers))
        assert not isinstance(message, NoContent)
        tree = to_wire(message) if isinstance(message, Message) else dict(message)
        return Reply(json.loads(json.dumps(tree)), dict(answer.headers))

    def call(
        self, operation: Operation, path: Mapping[str, str], query: Mapping[str, str], headers: Mapping[str, str]
    ) -> Call:
        principal = self.principal if operation.permission is not None else anonymous_principal(self.tenant.id)
        apps = principal.apps_for(operation.permission)
        return Call(self.tenant, principal, self.address, path, query, headers, apps)

    async def make(self, *steps: object, **fields: Any) -> str:
        body = {"displayName": "an automation", "automationSteps": list(steps), **fields}
        made: str = (await self.ask("CreateAutomation", body)).body["automation"]["id"]
        return made

    async def start(self, automation: str, **trigger: Any) -> int:
        reply = await self.ask("ExecuteAutomation", {"context": {"context": trigger}}, id=automation)
        await settle()
        return int(reply.body["executionId"])

    async def wait(self, seconds: float) -> None:
        """Let time pass in one leap."""
        self.engine.clock.advance(seconds)
        await settle()

    async def background(self) -> None:
        """Let what was decided about many runs be carried out to its end."""
        while await self.services.store.bulk.proceed(self.engine.clock.now()):
            await settle()
        await settle()

    async def state(self, execution: int) -> str:
        found = (await self.ask("GetAutomationExecution", id=execution)).body["automationExecution"]["state"]
        return str(found).removeprefix("AUTOMATION_EXECUTION_STATE_")

    async def detail(self, execution: int) -> Any:
        return (await self.ask("OwnGetExecution", id=execution)).body

    def ref(self, execution: int) -> Ref:
        return Ref(self.tenant.id, execution)

    async def audited(self, action: str) -> list[AuditEntry]:
        return [row.entry for row in await self.services.store.audit.rows(self.tenant.id) if row.entry.action == action]

    def with_role(self, *roles: Role, apps: Sequence[str] = ()) -> OperationsClient:
        """The same for another client with other roles."""
        principal = Principal(
            self.tenant.id,
            "bob@localhost",
            roles,
            permissions_of(roles),
            frozenset(apps),
            app_permissions_of(roles),
        )
        return OperationsClient(self.engine, self.services, self.tenant, principal)

    async def of_another_tenant(self) -> OperationsClient:
        tenant = await self.services.store.access.create_tenant("other", ("other.example",), 1, AUDIT)
        roles = (Role.SUPER_ADMIN,)
        return OperationsClient(
            self.engine, self.services, tenant, Principal(tenant.id, "eve", roles, permissions_of(roles))
        )


@asynccontextmanager
async def operations_client(**options: Any) -> AsyncIterator[OperationsClient]:
    async with engine(far=options.pop("far", None) or CheckedFarEnd(), **options) as made:
        feed = Feed()
        made.store.follow(feed)
        services = Services(
            store=made.store,
            clock=made.clock,
            ids=made.ids,
            chance=FixedChance(),
            http=made.far,
            starter=made.starter,
            environment=ENVIRONMENT,
            evaluator=made.evaluator,
            steps=made.registry,
            triggers=TriggerRegistry(TRIGGERS),
            feed=feed,
            page_key=b"p" * 32,
            callback_secret=SECRET,
            urls=made.urls,
            vault=made.vault,
            installation=INSTALLATION,
        )
        tenant = next(row for row in await made.store.access.tenants() if row.id == made.tenant)
        roles = (Role.SUPER_ADMIN,)
        principal = Principal(tenant.id, "ann@localhost", roles, permissions_of(roles))
        try:
            yield OperationsClient(made, services, tenant, principal)
        finally:
            # A receiver that ignores cancellation would delay the end of the test.
            made.far.deaf = False
            for call in made.far.calls:
                call.reply.cancel()


def names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [row["displayName"] for row in rows]
