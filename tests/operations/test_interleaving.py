"""Two changes of one thing at once: both have read before either is written, and neither is lost.

Every operation that changes something has a row here: two calls of it, or of it and its counterpart, on one resource,
and what shows that both took effect or that one was refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from interlock.auth.encoding import to_base64url
from interlock.errors import AlreadyExists, FailedPrecondition, NotFound
from interlock.operations.operation import Operation
from interlock.ports import AuditEntry, BulkAction, BulkKind, ClientRow, Role
from interlock.ports.bulk import EVERY_AUTOMATION
from interlock.rules.events import Announce, Woken
from interlock.rules.model import SYSTEM, Ref
from interlock.rules.states import WaitingFor
from tests.clocks import settle
from tests.operations.operations_client import BY_NAME, CALL, GREET, WAIT, OperationsClient

pytestmark = pytest.mark.anyio

Outcomes = list[Any]
"""What each call gave: the body of its answer, or its error."""


async def at_once(*calls: Awaitable[Any]) -> Outcomes:
    """All of them in one turn of the loop: each has read before the first commit is made."""
    return list(await asyncio.gather(*calls, return_exceptions=True))


def refusals(outcomes: Outcomes) -> list[type[BaseException]]:
    return [type(outcome) for outcome in outcomes if isinstance(outcome, BaseException)]


async def client(admin: OperationsClient, id_: str, *roles: Role) -> None:
    row = ClientRow(
        tenant=admin.tenant.id, id=id_, display_name="", public_key=bytes([len(id_)]) * 32, roles=roles, created_at=1
    )
    await admin.services.store.access.create_client(row, AuditEntry(actor=SYSTEM, action="client.create", target=id_))


async def mutual(admin: OperationsClient, name: str, id_: str, one: dict[str, Any], other: dict[str, Any]) -> Outcomes:
    return await at_once(*(admin.ask(name, body, id=id_) for body in (one, other)))


# --- what two at once must give --------------------------------------------------------------------------------------


async def settings(admin: OperationsClient) -> None:
    changes = {"automationsDisabled": True, "payloadRetention": "86400s", "executionRetention": "34128001s"}
    assert not refusals(
        await at_once(*(admin.ask("OwnUpdateSettings", {key: value}) for key, value in changes.items()))
    )
    assert (await admin.ask("OwnGetSettings")).body["settings"] == changes
    # Each is right beside what was there, and they exclude each other: one is refused.
    await admin.ask("OwnUpdateSettings", {"executionRetention": "864000s"})
    odd = [{"executionRetention": "172800s"}, {"payloadRetention": "345600s"}]
    assert len(refusals(await at_once(*(admin.ask("OwnUpdateSettings", body) for body in odd)))) == 1


async def automation(admin: OperationsClient) -> None:
    id_ = await admin.make(WAIT)
    changes = {"displayName": "n", "description": "d", "enabled": True, "automationSteps": [GREET, WAIT]}
    outcomes = await at_once(
        *(
            admin.ask("UpdateAutomation", {"automation": {key: value}, "updateMask": key}, id=id_)
            for key, value in changes.items()
        )
    )
    assert not refusals(outcomes)
    found = (await admin.ask("GetAutomation", id=id_)).body["automation"]
    assert [found[key] for key in ("displayName", "description", "enabled")] == ["n", "d", True]
    assert [step["stepName"] for step in found["automationSteps"]] == ["greet", "hold"]
    assert len(await admin.audited("automation.update")) == len(changes)


async def published_twice(admin: OperationsClient) -> None:
    id_ = await admin.make(WAIT)
    bodies = [
        {"automation": {"automationSteps": [{**WAIT, "stepName": name}]}, "updateMask": "automationSteps"}
        for name in ("a", "b")
    ]
    assert not refusals(await mutual(admin, "UpdateAutomation", id_, *bodies))
    versions = (await admin.ask("SearchAutomationTemplateVersions", {"automationTemplateId": id_})).body["list"]
    assert len(versions) == 3


async def deleted_beside_update(admin: OperationsClient) -> None:
    id_ = await admin.make(WAIT)
    body = {"automation": {"displayName": "n"}, "updateMask": "displayName"}
    outcomes = await at_once(admin.ask("DeleteAutomation", {}, id=id_), admin.ask("UpdateAutomation", body, id=id_))
    assert refusals(outcomes) == [NotFound]
    assert refusals(await at_once(admin.ask("GetAutomation", id=id_))) == [NotFound]


async def created_automations(admin: OperationsClient) -> None:
    made = await at_once(*(admin.make(WAIT) for _ in range(3)))
    assert len(set(made)) == 3
    assert not refusals([(await admin.ask("GetAutomation", id=id_)).body for id_ in made])


async def webhook(admin: OperationsClient) -> None:
    body = {"displayName": "a", "url": "https://hooks.example/a"}
    id_ = (await admin.ask("CreateWebhook", body)).body["webhook"]["id"]
    changes = {"displayName": "n", "description": "d", "url": "https://hooks.example/b", "callbackTimeout": "90000s"}
    outcomes = await at_once(
        *(
            admin.ask("UpdateWebhook", {"webhook": {key: value}, "updateMask": key}, id=id_)
            for key, value in changes.items()
        )
    )
    assert not refusals(outcomes)
    found = (await admin.ask("GetWebhook", id=id_)).body["webhook"]
    assert {key: found[key] for key in changes} == changes
    outcomes = await at_once(
        admin.ask("DeleteWebhook", {}, id=id_),
        admin.ask("UpdateWebhook", {"webhook": {"displayName": "x"}, "updateMask": "displayName"}, id=id_),
    )
    assert refusals(outcomes) == [NotFound]


async def created_webhooks(admin: OperationsClient) -> None:
    body = {"displayName": "a", "url": "https://hooks.example/a"}
    made = await at_once(*(admin.ask("CreateWebhook", body) for _ in range(3)))
    assert len({reply.body["webhook"]["id"] for reply in made}) == 3


async def breaker(admin: OperationsClient) -> None:
    id_ = await admin.make(WAIT, circuitBreakerMax=1, circuitBreakerPeriod="CIRCUIT_BREAKER_PERIOD_DAY")
    runs = [await admin.start(id_) for _ in range(3)]
    assert [await admin.state(run) for run in runs] == [
        "WAITING",
        "PAUSED_BY_CIRCUIT_BREAKER",
        "PAUSED_BY_CIRCUIT_BREAKER",
    ]
    go, cancel = ({"decision": f"PAUSED_EXECUTION_DECISION_{word}"} for word in ("RUN", "CANCEL"))
    outcomes = await at_once(
        admin.ask("ResolvePausedAutomationExecutions", go, id=id_),
        admin.ask("ClearAutomationCircuitBreaker", cancel, id=id_),
    )
    assert not refusals(outcomes)
    await admin.background()
    # The later decision stands for every run, and the breaker is closed.
    assert [await admin.state(run) for run in runs[1:]] == ["TERMINATE", "TERMINATE"]
    assert await admin.state(await admin.start(id_)) == "WAITING"


async def run_and_its_stop(admin: OperationsClient) -> None:
    id_ = await admin.make(WAIT)
    run = await admin.start(id_)
    outcomes = await at_once(*(admin.ask("TerminateAutomation", {"reason": text}, id=run) for text in ("a", "b")))
    assert [reply.headers["Interlock-Termination"].partition(";")[0] for reply in outcomes] == ["accepted", "repeated"]
    assert (await admin.detail(run))["termination"]["reason"] == "a"


async def started_with_one_key(admin: OperationsClient) -> None:
    id_ = await admin.make(WAIT)
    starts = [
        admin.ask("ExecuteAutomation", {"context": {"context": {"n": n}}}, id=id_, headers={"idempotency-key": "k"})
        for n in (1, 1, 2)
    ]
    one, same, other = await at_once(*starts)
    assert one.body == same.body
    assert isinstance(other, AlreadyExists)


async def lease(admin: OperationsClient) -> None:
    id_ = await admin.make(WAIT)
    run = int((await admin.ask("ExecuteAutomation", {"lease": "60s"}, id=id_)).body["executionId"])
    outcomes = await at_once(
        admin.ask("OwnRenewLease", {"lease": "600s"}, id=run),
        admin.ask("OwnRenewLease", {}, id=run),
        admin.ask("TerminateAutomation", {}, id=run),
    )
    # A stop goes first, and what is stopped has no lease to renew.
    assert refusals(outcomes) == [FailedPrecondition, FailedPrecondition]
    again = int((await admin.ask("ExecuteAutomation", {"lease": "60s"}, id=id_)).body["executionId"])
    outcomes = await mutual(admin, "OwnRenewLease", str(again), {"lease": "600s"}, {})
    # The second one goes on with the length that the first one set.
    assert not refusals(outcomes)
    assert outcomes[0].body["expiresAt"] == outcomes[1].body["expiresAt"]


async def addenda(admin: OperationsClient) -> None:
    admin.engine.far.deaf = True
    run = await admin.start(await admin.make(CALL))
    await admin.ask("TerminateAutomation", {}, id=run)
    await admin.wait(60)
    bodies = [{"step": "call", "finding": finding} for finding in ("HAPPENED", "DID_NOT_HAPPEN", "STILL_UNKNOWN")]
    outcomes = await at_once(*(admin.ask("OwnCreateAddendum", body, id=run) for body in bodies))
    assert not refusals(outcomes)
    assert [found.number for found in await admin.services.store.addenda.of(admin.ref(run))] == [1, 2, 3]


async def one_plan_twice(admin: OperationsClient) -> None:
    await client(admin, "ann@localhost", Role.SUPER_ADMIN)
    run = await admin.start(await admin.make(WAIT))
    plan = (await admin.ask("OwnPlanBulkTermination", {"executionIds": [str(run)]})).body
    orders = await at_once(*(admin.ask("OwnCreateBulkTermination", {"planId": plan["id"]}) for _ in range(2)))
    assert refusals(orders) == [FailedPrecondition]
    aborts = await at_once(*(admin.ask("OwnAbortBulkTermination", {}, id=plan["id"]) for _ in range(2)))
    assert not refusals(aborts)
    assert len(await admin.audited("terminations.abort")) == 1


async def last_admins(admin: OperationsClient) -> None:
    for name in ("one", "two"):
        await client(admin, name, Role.SUPER_ADMIN)
    outcomes = await at_once(*(admin.ask("OwnRevokeClient", {}, id=name) for name in ("one", "two")))
    assert refusals(outcomes) == [FailedPrecondition]
    left = [row.id for row in await admin.services.store.access.clients(admin.tenant.id) if row.revoked_at is None]
    assert left == ["two"]


async def clients_of_one_name(admin: OperationsClient) -> None:
    body = {"roles": ["basic"], "name": "same", "publicKey": to_base64url(bytes(31) + b"\1")}
    made = await at_once(*(admin.ask("OwnCreateClient", body, headers={"host": "localhost"}) for _ in range(2)))
    assert len({row.id for row in await admin.services.store.access.clients(admin.tenant.id)}) == 2 - len(
        refusals(made)
    )


async def tenants_of_one_name(admin: OperationsClient) -> None:
    bodies = [{"name": "acme", "hosts": [host]} for host in ("a.example", "b.example")]
    made = await at_once(*(admin.ask("OwnCreateTenant", body) for body in bodies))
    assert refusals(made) == [AlreadyExists]
    outcomes = await at_once(*(admin.ask("OwnRevokeTenant", {}, path={"name": "acme"}) for _ in range(2)))
    assert not refusals(outcomes)
    assert len([row for row in await admin.services.store.access.tenants() if row.name == "acme"]) == 1


Case = Callable[[OperationsClient], Awaitable[None]]
CASES: Final[dict[str, tuple[Case, ...]]] = {
    "CreateAutomation": (created_automations,),
    "UpdateAutomation": (automation, published_twice, deleted_beside_update),
    "DeleteAutomation": (deleted_beside_update,),
    "ExecuteAutomation": (started_with_one_key,),
    "ClearAutomationCircuitBreaker": (breaker,),
    "ResolvePausedAutomationExecutions": (breaker,),
    "TerminateAutomation": (run_and_its_stop, lease),
    "CreateWebhook": (created_webhooks,),
    "UpdateWebhook": (webhook,),
    "DeleteWebhook": (webhook,),
    "OwnRenewLease": (lease,),
    "OwnCreateAddendum": (addenda,),
    "OwnPlanBulkTermination": (one_plan_twice,),
    "OwnCreateBulkTermination": (one_plan_twice,),
    "OwnAbortBulkTermination": (one_plan_twice,),
    "OwnUpdateSettings": (settings,),
    "OwnCreateClient": (clients_of_one_name,),
    "OwnRevokeClient": (last_admins,),
    "OwnCreateTenant": (tenants_of_one_name,),
    "OwnRevokeTenant": (tenants_of_one_name,),
}
ELSEWHERE: Final = {
    "OwnReceiveCallback": "tests/operations/test_callbacks.py: the first of two answers counts",
}
"""What changes something and is interleaved in the tests of its own rules."""


def changes_something(operation: Operation) -> bool:
    """Searches and checks are POSTs that only read."""
    return operation.method != "GET" and "/search" not in operation.path and not operation.path.endswith("/verify")


def test_every_operation_that_changes_something_has_a_row() -> None:
    changing = {name for name, operation in BY_NAME.items() if changes_something(operation)}
    assert CASES.keys() | ELSEWHERE.keys() == changing


@pytest.mark.parametrize(
    ("name", "case"),
    [(name, case) for name, cases in CASES.items() for case in cases],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
async def test_two_at_once_lose_nothing(admin: OperationsClient, name: str, case: Case) -> None:
    await case(admin)


async def test_an_order_asks_in_its_own_commit_whether_its_client_may_still_stop(admin: OperationsClient) -> None:
    """The revocation is before the batch in one group: the batch reads the client as that has left it."""
    await client(admin, "ann@localhost", Role.SUPER_ADMIN)
    run = await admin.start(await admin.make(WAIT))
    plan = (await admin.ask("OwnPlanBulkTermination", {"executionIds": [str(run)]})).body
    await admin.ask("OwnCreateBulkTermination", {"planId": plan["id"]})
    store, orders = admin.services.store, admin.services.store.bulk_terminations
    order = await orders.next()
    assert order is not None
    asked: list[int | None] = []

    def reach(row: ClientRow | None) -> frozenset[str] | None:
        assert row is not None
        asked.append(row.revoked_at)
        return None if row.revoked_at is None else frozenset()

    revoke = AuditEntry(actor=SYSTEM, action="client.revoke", target="ann@localhost")
    await store.access.revoke_client(admin.tenant.id, "ann@localhost", 7, revoke)
    await orders.carry_out(order, [run], reach, admin.engine.clock.now())
    assert asked == [7]
    assert await admin.state(run) == "WAITING"


async def test_a_client_is_not_made_beside_the_revocation_of_its_tenant(admin: OperationsClient) -> None:
    eve = await admin.of_another_tenant()
    store = admin.services.store
    row = ClientRow(
        tenant=eve.tenant.id, id="late", display_name="", public_key=bytes(32), roles=(Role.BASIC,), created_at=1
    )
    entry = AuditEntry(actor=SYSTEM, action="x", target="y")
    ended = BulkAction(id="b", automation=EVERY_AUTOMATION, kind=BulkKind.TERMINATE_ACTIVE, actor=SYSTEM)

    async def make() -> None:
        await store.access.create_client(row, entry)

    revoked, made = await at_once(store.access.revoke_tenant(eve.tenant.id, 5, entry, ended, now=5), make())
    assert revoked
    assert isinstance(made, NotFound)


async def test_a_run_does_not_go_on_beside_the_switch_or_the_revocation_of_its_tenant(admin: OperationsClient) -> None:
    """Both are asked for in one turn of the loop, the step first: the run is stopped, and nothing was announced."""
    eve = await admin.of_another_tenant()
    access, executions = admin.services.store.access, admin.services.store.executions
    ended = BulkAction(id="b", automation=EVERY_AUTOMATION, kind=BulkKind.TERMINATE_ACTIVE, actor=SYSTEM)
    entry = AuditEntry(actor=SYSTEM, action="x", target="y")

    async def switched_off() -> None:
        await access.change_settings(
            admin.tenant.id, lambda before: (replace(before, automations_disabled=True), entry), 5
        )

    async def revoked() -> None:
        await access.revoke_tenant(eve.tenant.id, 5, entry, ended, now=admin.engine.clock.now())

    for operations_client, stop in ((admin, switched_off), (eve, revoked)):
        automation = await operations_client.make(WAIT, WAIT | {"stepName": "again"})
        run = await operations_client.start(automation)
        row = await executions.get(operations_client.ref(run))
        assert row is not None
        assert row.wake_at is not None
        woken = Woken(row.wake_at, row.epoch, WaitingFor.TIMER, None, Announce(1, b"{}"), "me")

        async def goes_on(ref: Ref = row.ref, event: Woken = woken) -> None:
            await executions.apply(ref, event)

        await at_once(goes_on(), stop())
        await settle()
        assert await operations_client.state(run) == "TERMINATE"
        assert not admin.engine.far.calls
