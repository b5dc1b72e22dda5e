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
from tests.operations.desk import BY_NAME, CALL, GREET, WAIT, Desk

pytestmark = pytest.mark.anyio

Outcomes = list[Any]
"""What each call gave: the body of its answer, or its error."""


async def at_once(*calls: Awaitable[Any]) -> Outcomes:
    """All of them in one turn of the loop: each has read before the first commit is made."""
    return list(await asyncio.gather(*calls, return_exceptions=True))


def refusals(outcomes: Outcomes) -> list[type[BaseException]]:
    return [type(outcome) for outcome in outcomes if isinstance(outcome, BaseException)]


async def client(ann: Desk, id_: str, *roles: Role) -> None:
    row = ClientRow(
        tenant=ann.tenant.id, id=id_, display_name="", public_key=bytes([len(id_)]) * 32, roles=roles, created_at=1
    )
    await ann.services.store.access.create_client(row, AuditEntry(actor=SYSTEM, action="client.create", target=id_))


async def mutual(ann: Desk, name: str, id_: str, one: dict[str, Any], other: dict[str, Any]) -> Outcomes:
    return await at_once(*(ann.ask(name, body, id=id_) for body in (one, other)))


# --- what two at once must give --------------------------------------------------------------------------------------


async def settings(ann: Desk) -> None:
    changes = {"automationsDisabled": True, "payloadRetention": "86400s", "executionRetention": "34128001s"}
    assert not refusals(await at_once(*(ann.ask("OwnUpdateSettings", {key: value}) for key, value in changes.items())))
    assert (await ann.ask("OwnGetSettings")).body["settings"] == changes
    # Each is right beside what was there, and they exclude each other: one is refused.
    await ann.ask("OwnUpdateSettings", {"executionRetention": "864000s"})
    odd = [{"executionRetention": "172800s"}, {"payloadRetention": "345600s"}]
    assert len(refusals(await at_once(*(ann.ask("OwnUpdateSettings", body) for body in odd)))) == 1


async def automation(ann: Desk) -> None:
    id_ = await ann.make(WAIT)
    changes = {"displayName": "n", "description": "d", "enabled": True, "automationSteps": [GREET, WAIT]}
    outcomes = await at_once(
        *(
            ann.ask("UpdateAutomation", {"automation": {key: value}, "updateMask": key}, id=id_)
            for key, value in changes.items()
        )
    )
    assert not refusals(outcomes)
    found = (await ann.ask("GetAutomation", id=id_)).body["automation"]
    assert [found[key] for key in ("displayName", "description", "enabled")] == ["n", "d", True]
    assert [step["stepName"] for step in found["automationSteps"]] == ["greet", "hold"]
    assert len(await ann.audited("automation.update")) == len(changes)


async def published_twice(ann: Desk) -> None:
    id_ = await ann.make(WAIT)
    bodies = [
        {"automation": {"automationSteps": [{**WAIT, "stepName": name}]}, "updateMask": "automationSteps"}
        for name in ("a", "b")
    ]
    assert not refusals(await mutual(ann, "UpdateAutomation", id_, *bodies))
    versions = (await ann.ask("SearchAutomationTemplateVersions", {"automationTemplateId": id_})).body["list"]
    assert len(versions) == 3


async def deleted_beside_update(ann: Desk) -> None:
    id_ = await ann.make(WAIT)
    body = {"automation": {"displayName": "n"}, "updateMask": "displayName"}
    outcomes = await at_once(ann.ask("DeleteAutomation", {}, id=id_), ann.ask("UpdateAutomation", body, id=id_))
    assert refusals(outcomes) == [NotFound]
    assert refusals(await at_once(ann.ask("GetAutomation", id=id_))) == [NotFound]


async def created_automations(ann: Desk) -> None:
    made = await at_once(*(ann.make(WAIT) for _ in range(3)))
    assert len(set(made)) == 3
    assert not refusals([(await ann.ask("GetAutomation", id=id_)).body for id_ in made])


async def webhook(ann: Desk) -> None:
    body = {"displayName": "a", "url": "https://hooks.example/a"}
    id_ = (await ann.ask("CreateWebhook", body)).body["webhook"]["id"]
    changes = {"displayName": "n", "description": "d", "url": "https://hooks.example/b", "callbackTimeout": "90000s"}
    outcomes = await at_once(
        *(
            ann.ask("UpdateWebhook", {"webhook": {key: value}, "updateMask": key}, id=id_)
            for key, value in changes.items()
        )
    )
    assert not refusals(outcomes)
    found = (await ann.ask("GetWebhook", id=id_)).body["webhook"]
    assert {key: found[key] for key in changes} == changes
    outcomes = await at_once(
        ann.ask("DeleteWebhook", {}, id=id_),
        ann.ask("UpdateWebhook", {"webhook": {"displayName": "x"}, "updateMask": "displayName"}, id=id_),
    )
    assert refusals(outcomes) == [NotFound]


async def created_webhooks(ann: Desk) -> None:
    body = {"displayName": "a", "url": "https://hooks.example/a"}
    made = await at_once(*(ann.ask("CreateWebhook", body) for _ in range(3)))
    assert len({reply.body["webhook"]["id"] for reply in made}) == 3


async def breaker(ann: Desk) -> None:
    id_ = await ann.make(WAIT, circuitBreakerMax=1, circuitBreakerPeriod="CIRCUIT_BREAKER_PERIOD_DAY")
    runs = [await ann.start(id_) for _ in range(3)]
    assert [await ann.state(run) for run in runs] == [
        "WAITING",
        "PAUSED_BY_CIRCUIT_BREAKER",
        "PAUSED_BY_CIRCUIT_BREAKER",
    ]
    go, cancel = ({"decision": f"PAUSED_EXECUTION_DECISION_{word}"} for word in ("RUN", "CANCEL"))
    outcomes = await at_once(
        ann.ask("ResolvePausedAutomationExecutions", go, id=id_),
        ann.ask("ClearAutomationCircuitBreaker", cancel, id=id_),
    )
    assert not refusals(outcomes)
    await ann.background()
    # The later decision stands for every run, and the breaker is closed.
    assert [await ann.state(run) for run in runs[1:]] == ["TERMINATE", "TERMINATE"]
    assert await ann.state(await ann.start(id_)) == "WAITING"


async def run_and_its_stop(ann: Desk) -> None:
    id_ = await ann.make(WAIT)
    run = await ann.start(id_)
    outcomes = await at_once(*(ann.ask("TerminateAutomation", {"reason": text}, id=run) for text in ("a", "b")))
    assert [reply.headers["Interlock-Termination"].partition(";")[0] for reply in outcomes] == ["accepted", "repeated"]
    assert (await ann.detail(run))["termination"]["reason"] == "a"


async def started_with_one_key(ann: Desk) -> None:
    id_ = await ann.make(WAIT)
    starts = [
        ann.ask("ExecuteAutomation", {"context": {"context": {"n": n}}}, id=id_, headers={"idempotency-key": "k"})
        for n in (1, 1, 2)
    ]
    one, same, other = await at_once(*starts)
    assert one.body == same.body
    assert isinstance(other, AlreadyExists)


async def lease(ann: Desk) -> None:
    id_ = await ann.make(WAIT)
    run = int((await ann.ask("ExecuteAutomation", {"lease": "60s"}, id=id_)).body["executionId"])
    outcomes = await at_once(
        ann.ask("OwnRenewLease", {"lease": "600s"}, id=run),
        ann.ask("OwnRenewLease", {}, id=run),
        ann.ask("TerminateAutomation", {}, id=run),
    )
    # A stop goes first, and what is stopped has no lease to renew.
    assert refusals(outcomes) == [FailedPrecondition, FailedPrecondition]
    again = int((await ann.ask("ExecuteAutomation", {"lease": "60s"}, id=id_)).body["executionId"])
    outcomes = await mutual(ann, "OwnRenewLease", str(again), {"lease": "600s"}, {})
    # The second one goes on with the length that the first one set.
    assert not refusals(outcomes)
    assert outcomes[0].body["expiresAt"] == outcomes[1].body["expiresAt"]


async def addenda(ann: Desk) -> None:
    ann.engine.far.deaf = True
    run = await ann.start(await ann.make(CALL))
    await ann.ask("TerminateAutomation", {}, id=run)
    await ann.wait(60)
    bodies = [{"step": "call", "finding": finding} for finding in ("HAPPENED", "DID_NOT_HAPPEN", "STILL_UNKNOWN")]
    outcomes = await at_once(*(ann.ask("OwnCreateAddendum", body, id=run) for body in bodies))
    assert not refusals(outcomes)
    assert [found.number for found in await ann.services.store.addenda.of(ann.ref(run))] == [1, 2, 3]


async def one_plan_twice(ann: Desk) -> None:
    await client(ann, "ann@localhost", Role.SUPER_ADMIN)
    run = await ann.start(await ann.make(WAIT))
    plan = (await ann.ask("OwnPlanBulkTermination", {"executionIds": [str(run)]})).body
    orders = await at_once(*(ann.ask("OwnCreateBulkTermination", {"planId": plan["id"]}) for _ in range(2)))
    assert refusals(orders) == [FailedPrecondition]
    aborts = await at_once(*(ann.ask("OwnAbortBulkTermination", {}, id=plan["id"]) for _ in range(2)))
    assert not refusals(aborts)
    assert len(await ann.audited("terminations.abort")) == 1


async def last_admins(ann: Desk) -> None:
    for name in ("one", "two"):
        await client(ann, name, Role.SUPER_ADMIN)
    outcomes = await at_once(*(ann.ask("OwnRevokeClient", {}, id=name) for name in ("one", "two")))
    assert refusals(outcomes) == [FailedPrecondition]
    left = [row.id for row in await ann.services.store.access.clients(ann.tenant.id) if row.revoked_at is None]
    assert left == ["two"]


async def clients_of_one_name(ann: Desk) -> None:
    body = {"roles": ["basic"], "name": "same", "publicKey": to_base64url(bytes(31) + b"\1")}
    made = await at_once(*(ann.ask("OwnCreateClient", body, headers={"host": "localhost"}) for _ in range(2)))
    assert len({row.id for row in await ann.services.store.access.clients(ann.tenant.id)}) == 2 - len(refusals(made))


async def tenants_of_one_name(ann: Desk) -> None:
    bodies = [{"name": "acme", "hosts": [host]} for host in ("a.example", "b.example")]
    made = await at_once(*(ann.ask("OwnCreateTenant", body) for body in bodies))
    assert refusals(made) == [AlreadyExists]
    outcomes = await at_once(*(ann.ask("OwnRevokeTenant", {}, path={"name": "acme"}) for _ in range(2)))
    assert not refusals(outcomes)
    assert len([row for row in await ann.services.store.access.tenants() if row.name == "acme"]) == 1


Case = Callable[[Desk], Awaitable[None]]
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
async def test_two_at_once_lose_nothing(ann: Desk, name: str, case: Case) -> None:
    await case(ann)


async def test_an_order_asks_in_its_own_commit_whether_its_client_may_still_stop(ann: Desk) -> None:
    """The revocation is before the batch in one group: the batch reads the client as that has left it."""
    await client(ann, "ann@localhost", Role.SUPER_ADMIN)
    run = await ann.start(await ann.make(WAIT))
    plan = (await ann.ask("OwnPlanBulkTermination", {"executionIds": [str(run)]})).body
    await ann.ask("OwnCreateBulkTermination", {"planId": plan["id"]})
    store, orders = ann.services.store, ann.services.store.bulk_terminations
    order = await orders.next()
    assert order is not None
    asked: list[int | None] = []

    def reach(row: ClientRow | None) -> frozenset[str] | None:
        assert row is not None
        asked.append(row.revoked_at)
        return None if row.revoked_at is None else frozenset()

    revoke = AuditEntry(actor=SYSTEM, action="client.revoke", target="ann@localhost")
    await store.access.revoke_client(ann.tenant.id, "ann@localhost", 7, revoke)
    await orders.carry_out(order, [run], reach, ann.engine.clock.now())
    assert asked == [7]
    assert await ann.state(run) == "WAITING"


async def test_a_client_is_not_made_beside_the_revocation_of_its_tenant(ann: Desk) -> None:
    eve = await ann.of_another_tenant()
    store = ann.services.store
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


async def test_a_run_does_not_go_on_beside_the_switch_or_the_revocation_of_its_tenant(ann: Desk) -> None:
    """Both are asked for in one turn of the loop, the step first: the run is stopped, and nothing was announced."""
    eve = await ann.of_another_tenant()
    access, executions = ann.services.store.access, ann.services.store.executions
    ended = BulkAction(id="b", automation=EVERY_AUTOMATION, kind=BulkKind.TERMINATE_ACTIVE, actor=SYSTEM)
    entry = AuditEntry(actor=SYSTEM, action="x", target="y")

    async def switched_off() -> None:
        await access.change_settings(
            ann.tenant.id, lambda before: (replace(before, automations_disabled=True), entry), 5
        )

    async def revoked() -> None:
        await access.revoke_tenant(eve.tenant.id, 5, entry, ended, now=ann.engine.clock.now())

    for desk, stop in ((ann, switched_off), (eve, revoked)):
        automation = await desk.make(WAIT, WAIT | {"stepName": "again"})
        run = await desk.start(automation)
        row = await executions.get(desk.ref(run))
        assert row is not None
        assert row.wake_at is not None
        woken = Woken(row.wake_at, row.epoch, WaitingFor.TIMER, None, Announce(1, b"{}"), "me")

        async def goes_on(ref: Ref = row.ref, event: Woken = woken) -> None:
            await executions.apply(ref, event)

        await at_once(goes_on(), stop())
        await settle()
        assert await desk.state(run) == "TERMINATE"
        assert not ann.engine.far.calls
