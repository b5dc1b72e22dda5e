"""Who may call: clients and tenants, made and revoked."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.auth.bearer import Principal
from interlock.auth.credentials import public_key_of
from interlock.auth.encoding import to_base64url
from interlock.auth.roles import permissions_of
from interlock.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from interlock.ports import Role, WebhookRow
from tests.clocks import settle
from tests.engine.worlds import AUDIT
from tests.operations.operations_client import CALL, GREET, WAIT, OperationsClient

pytestmark = pytest.mark.anyio

HOST = {"host": "localhost:8080"}
KEY = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
"""The public key of RFC 8037, appendix A.2."""


async def make(admin: OperationsClient, **fields: Any) -> Any:
    return (await admin.ask("OwnCreateClient", {"roles": ["read_only"], **fields}, headers=HOST)).body


async def clients(admin: OperationsClient) -> dict[str, Any]:
    return {row["id"]: row for row in (await admin.ask("OwnListClients")).body["list"]}


async def test_a_clients_secret_is_shown_once_and_its_public_key_alone_is_kept(admin: OperationsClient) -> None:
    made = await make(admin, name="ci", displayName="CI")
    assert made["client"]["id"] == "ci@localhost:8080/spc"
    key = public_key_of(made["clientSecret"])
    assert key is not None
    assert made["client"]["publicKey"] == to_base64url(key)
    assert await clients(admin) == {made["client"]["id"]: made["client"]}
    [entry] = await admin.audited("client.create")
    assert (entry.actor.client, entry.target) == ("ann@localhost", "client:ci@localhost:8080/spc")


async def test_a_client_may_bring_its_own_key(admin: OperationsClient) -> None:
    made = await make(admin, publicKey=KEY)
    assert (made["client"]["publicKey"], made["clientSecret"]) == (KEY, "")


async def test_a_client_may_be_let_in_for_a_time(admin: OperationsClient) -> None:
    client = (await make(admin, expiresIn="86400s"))["client"]
    assert (client["createdAt"], client["expiresAt"]) == ("2025-06-15T15:06:40Z", "2025-06-16T15:06:40Z")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"roles": []}, "roles"),
        ({"roles": ["read_only", "king"]}, r"roles\[1\]"),
        ({"name": "Two Words"}, "name"),
        ({"publicKey": "AAAA"}, "publicKey"),
        ({"publicKey": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, "publicKey"),
        ({"publicKey": "not base64url!"}, "publicKey"),
        ({"displayName": "x" * 257}, "displayName"),
        ({"expiresIn": "-1s"}, "expiresIn"),
    ],
)
async def test_what_is_wrong_with_a_client_is_named(admin: OperationsClient, fields: Any, field: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{field}: "):
        await make(admin, **fields)
    assert await clients(admin) == {}


async def test_a_client_is_made_once(admin: OperationsClient) -> None:
    await make(admin, name="ci")
    with pytest.raises(AlreadyExists):
        await make(admin, name="ci")


async def test_a_revoked_client_stays_on_record(admin: OperationsClient) -> None:
    made = await make(admin)
    revoked = (await admin.ask("OwnRevokeClient", id=made["client"]["id"])).body["client"]
    assert revoked == {**made["client"], "revokedAt": "2025-06-15T15:06:40Z"}
    assert (await admin.ask("OwnRevokeClient", id=made["client"]["id"])).body["client"] == revoked
    assert len(await admin.audited("client.revoke")) == 1
    with pytest.raises(NotFound):
        await admin.ask("OwnRevokeClient", id="unknown@localhost/spc")


async def test_the_last_client_that_can_create_clients_cannot_be_revoked(admin: OperationsClient) -> None:
    first = (await make(admin, roles=["super_admin"], name="first"))["client"]["id"]
    await make(admin, roles=["super_admin"], name="for-a-day", expiresIn="86400s")
    with pytest.raises(FailedPrecondition, match="last client"):
        await admin.ask("OwnRevokeClient", id=first)
    await make(admin, roles=["super_admin"], name="second")
    await admin.ask("OwnRevokeClient", id=first)


async def test_a_tenant_comes_with_a_client_and_is_found_by_its_hosts(admin: OperationsClient) -> None:
    body = {"name": "acme", "hosts": ["ACME.example", "[::2]"]}
    made = (await admin.ask("OwnCreateTenant", body)).body
    assert made["tenant"]["hosts"] == ["::2", "acme.example"]
    assert made["tenant"]["url"] == "https://acme.example"
    assert made["client"]["id"].endswith("@acme.example/spc")
    assert made["client"]["roles"] == ["super_admin"]
    assert public_key_of(made["clientSecret"]) is not None
    access = admin.services.store.access
    tenant = await access.tenant_of_host("acme.example")
    assert tenant is not None
    assert [client.id for client in await access.clients(tenant.id)] == [made["client"]["id"]]
    with pytest.raises(AlreadyExists):
        await admin.ask("OwnCreateTenant", {"name": "other", "hosts": ["acme.example"]})
    names = [row["name"] for row in (await admin.ask("OwnListTenants")).body["list"]]
    assert names == [admin.tenant.name, "acme"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "", "hosts": ["a.example"]}, "name"),
        ({"name": "Two Words", "hosts": ["a.example"]}, "name"),
        ({"name": "acme", "hosts": []}, "hosts"),
        ({"name": "acme", "hosts": ["a.example", "a b"]}, r"hosts\[1\]"),
    ],
)
async def test_what_is_wrong_with_a_tenant_is_named(admin: OperationsClient, body: Any, field: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{field}: "):
        await admin.ask("OwnCreateTenant", body)


async def test_a_revoked_tenant_is_let_in_no_more_and_its_runs_are_terminated(admin: OperationsClient) -> None:
    made = (await admin.ask("OwnCreateTenant", {"name": "acme", "hosts": ["acme.example"]})).body
    access = admin.services.store.access
    tenant = await access.tenant_of_host("acme.example")
    assert tenant is not None
    roles = (Role.SUPER_ADMIN,)
    eve = OperationsClient(
        admin.engine, admin.services, tenant, Principal(tenant.id, "eve", roles, permissions_of(roles))
    )
    await eve.services.store.webhooks.create(
        WebhookRow(
            tenant=tenant.id,
            id="hook",
            document=b"{}",
            url="https://far.example/in",
            callback_timeout=600,
            created_at=1,
            updated_at=1,
        ),
        AUDIT,
    )
    minute = {"stepName": "minute", "waitForDuration": {"duration": "60s"}}
    execution, in_flight = await eve.start(await eve.make(minute, WAIT)), await eve.start(await eve.make(CALL))
    finished, untouched = await eve.start(await eve.make(GREET), name="x"), await admin.start(await admin.make(WAIT))
    revoked = (await admin.ask("OwnRevokeTenant", path={"name": "acme"})).body["tenant"]
    assert (revoked["hosts"], revoked["url"], revoked["revokedAt"]) == ([], "", "2025-06-15T15:06:40Z")
    assert await access.tenant_of_host("acme.example") is None
    client = await access.client(tenant.id, made["client"]["id"])
    assert client is not None
    assert client.revoked_at is not None
    await settle()
    assert [await eve.state(run) for run in (execution, in_flight)] == ["TERMINATE", "TERMINATE"]
    assert [await eve.state(finished), await admin.state(untouched)] == ["DONE", "WAITING"]
    assert admin.engine.far.calls[-1].cut
    for run in (execution, in_flight):
        order = (await eve.detail(run))["termination"]
        assert (order["cause"], order["reason"]) == ("tenant_revoked", "the tenant acme was revoked")
        assert order["actor"]["client"] == "ann@localhost"
    assert [entry.target for entry in await eve.audited("execution.terminate")] == [str(execution), str(in_flight)]
    await admin.wait(60)
    assert len(admin.engine.far.calls) == 1
    await admin.ask("OwnCreateTenant", {"name": "heir", "hosts": ["acme.example"]})


async def test_the_default_tenant_stays(admin: OperationsClient) -> None:
    with pytest.raises(FailedPrecondition):
        await admin.ask("OwnRevokeTenant", path={"name": admin.tenant.name})
    with pytest.raises(NotFound):
        await admin.ask("OwnRevokeTenant", path={"name": "unknown"})


async def test_another_tenant_cannot_manage_tenants(admin: OperationsClient) -> None:
    eve = await admin.of_another_tenant()
    for name, options in (
        ("OwnListTenants", {}),
        ("OwnCreateTenant", {"body": {"name": "acme", "hosts": ["a.example"]}}),
        ("OwnRevokeTenant", {"path": {"name": admin.tenant.name}}),
    ):
        with pytest.raises(PermissionDenied):
            await eve.ask(name, **options)
    assert await clients(eve) == {}
