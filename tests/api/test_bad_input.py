"""What should not be sent: each gets a clear refusal, none gets a 500, and nothing is lost by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from interlock.errors import NotFound, PermissionDenied
from interlock.operations.operation import Answer, Call, Handler, Operation
from interlock.operations.services import Services
from interlock.operations.table import OPERATIONS
from interlock.rules.model import Ref
from simulation.asgi import Caller
from tests.api.app_client import AppClient, app_client, path_of
from tests.clocks import settle
from tests.operations.operations_client import CALL, WAIT
from tests.store.stores import sqlite

pytestmark = pytest.mark.anyio

WITH_BODY = [row for row in OPERATIONS if row.request is not None]
WITH_NUMBER = [row for row in OPERATIONS if any(parameter.int64 for parameter in row.parameters) and not row.raw_body]


def named(rows: list[Operation]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", rows, ids=[row.id for row in rows])


NO_IDS = ["1_000", "%2012", "+5", "0", "-1", "9" * 20, "9223372036854775808", "1.0", "%D9%A3", "abc"]


@named(WITH_NUMBER)
@pytest.mark.parametrize("ident", NO_IDS)
async def test_what_is_no_id_is_refused_and_the_field_named(admin: AppClient, operation: Operation, ident: str) -> None:
    answer = await admin.ask(operation.method, path_of(operation, ident))
    assert (answer.status, answer.tree["code"], answer.fields) == (400, 3, ["id"])


BAD_BODIES: dict[str, tuple[bytes, int]] = {
    "NaN": (b'{"reason": NaN}', 400),
    "infinity": (b'{"reason": -Infinity}', 400),
    "a huge number": (b'{"reason": 1e999}', 400),
    "one name twice": (b'{"reason": "a", "reason": "b"}', 400),
    "half a surrogate pair": (b'{"reason": "\\ud800"}', 400),
    "depth 100,000": (b'{"a":' * 100_000, 400),
    "depth 100,000, closed": (b"[" * 100_000 + b"]" * 100_000, 400),
    "no object": (b"[]", 400),
    "no JSON": (b"reason=x", 400),
    "cut off": (b'{"reason": "x', 400),
    "not UTF-8": (b'{"reason": "\xff"}', 400),
    "a byte order mark": (b"\xef\xbb\xbf{}", 400),
    "ten megabytes": (b'{"a": "' + b"x" * 10_000_000 + b'"}', 413),
}


@named(WITH_BODY)
@pytest.mark.parametrize("body", BAD_BODIES)
async def test_a_body_that_is_none_is_refused(admin: AppClient, operation: Operation, body: str) -> None:
    raw, status = BAD_BODIES[body]
    answer = await admin.ask(operation.method, path_of(operation), raw)
    expected = status if len(raw) <= operation.body_limit else 413
    assert (answer.status, answer.tree["code"]) == (expected, 3)
    assert answer.tree["message"]


async def test_a_body_without_a_length_is_held_to_the_same_limit(admin: AppClient) -> None:
    caller = Caller([b'{"a": "', *([b"x" * 300_000] * 4), b'"}'])
    answer = await admin.ask("POST", "/api/v1/automations", headers=[("transfer-encoding", "chunked")], caller=caller)
    assert answer.status == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/json; charset=utf-16"}, 415),
        ({"content-encoding": "gzip"}, 415),
        ({"content-type": "application/json; charset=UTF-8"}, 200),
        ({"content-type": "Application/JSON"}, 200),
        ({"content-encoding": "identity"}, 200),
        ({"content-length": "many"}, 400),
    ],
)
async def test_a_body_is_plain_json(admin: AppClient, headers: dict[str, str], status: int) -> None:
    answer = await admin.ask("POST", "/api/v1/search/automations", {"query": "x"}, headers=headers.items())
    assert answer.status == status


async def test_an_empty_body_may_say_what_it_likes(admin: AppClient) -> None:
    answer = await admin.ask("POST", "/api/v1/search/automations", b"", headers=[("content-type", "text/plain")])
    assert answer.status == 200


@pytest.mark.parametrize(
    "query", ["page_size=x", "page_size=1_0", "page_size=10&page_size=20", "page_token=%FF", "page_token=abc"]
)
async def test_what_is_wrong_in_a_query_is_named(admin: AppClient, query: str) -> None:
    answer = await admin.ask("GET", f"/api/v1/automations?{query}")
    assert (answer.status, answer.fields) == (400, [query.partition("=")[0]])


async def test_unknown_fields_and_parameters_are_ignored(admin: AppClient) -> None:
    body = {"displayName": "n", "isDraft": True, "fromTheFuture": {"deep": [1]}}
    assert (await admin.ask("POST", "/api/v1/automations?future=1", body)).status == 200


async def test_null_is_absent_except_in_a_struct_where_it_comes_back(admin: AppClient) -> None:
    body = {"displayName": "n", "description": None, "triggers": None, "context": {"context": {"a": None, "b": [None]}}}
    made = (await admin.ask("POST", "/api/v1/automations", {**body, "isDraft": True})).tree["automation"]
    assert made["context"] == {"context": {"a": None, "b": [None]}}
    assert made["description"] == ""


async def test_two_arms_of_a_oneof_are_both_named(admin: AppClient) -> None:
    step = {"stepName": "x", "waitForDuration": {"duration": "1s"}, "webhook": {"webhookId": "w"}}
    answer = await admin.ask("POST", "/api/v1/automations", {"displayName": "n", "automationSteps": [step]})
    assert answer.status == 400
    assert "waitForDuration" in answer.tree["message"]
    assert "webhook" in answer.tree["message"]


async def test_all_problems_are_told_at_once_each_with_its_field(admin: AppClient) -> None:
    wait = {"stepName": "a", "waitForDuration": {"duration": "soon"}}
    steps = [wait, {"stepName": 5}, {"webhook": {"webhookId": []}}]
    answer = await admin.ask("POST", "/api/v1/automations", {"enabled": "yes", "automationSteps": steps})
    assert answer.status == 400
    assert set(answer.fields) == {
        "enabled",
        "automationSteps[0].waitForDuration.duration",
        "automationSteps[1].stepName",
        "automationSteps[2].webhook.webhookId",
    }


async def a_foreign_id_is_as_good_as_an_unknown_one(admin: AppClient) -> None:
    eve = await admin.operations_client.of_another_tenant()
    automation = await eve.make(WAIT)
    execution = await eve.start(automation)
    for operation in OPERATIONS:
        names = [parameter.name for parameter in operation.parameters]
        if names != ["id"] or operation.permission is None:
            continue
        theirs = str(execution if operation.parameters[0].int64 else automation)
        nobodys = "839265" if operation.parameters[0].int64 else "3MYMrOoZkrrVHedd3Ao3Fc17DEX"
        foreign = await admin.ask(operation.method, path_of(operation, theirs), {})
        unknown = await admin.ask(operation.method, path_of(operation, nobodys), {})
        assert foreign.body == unknown.body, operation.id
        assert foreign.status == unknown.status
        assert foreign.status in {400, 404}, operation.id
    assert await eve.state(execution) == "WAITING"


async def test_an_addendum_that_cannot_be_is_refused_as_what_it_is_and_a_full_disk_is_no_fault_of_it(
    admin: AppClient,
) -> None:
    run = await admin.operations_client.start(await admin.operations_client.make(CALL))
    path = f"/interlock/v1/executions/{run}/addenda"
    finding = {"step": "call", "finding": "HAPPENED"}
    early = await admin.ask("POST", path, finding)
    assert (early.status, early.tree["code"]) == (400, 9)
    await admin.operations_client.ask("TerminateAutomation", id=run)
    await settle()
    unclear = await admin.ask("POST", path, {"step": "call", "finding": "PERHAPS", "attempt": "one", "note": "a\nb"})
    assert (unclear.status, sorted(unclear.fields)) == (400, ["attempt", "finding", "note"])
    sqlite(admin.operations_client.engine.store).writer.full = True
    full = await admin.ask("POST", path, finding)
    assert (full.status, full.tree["code"], full.headers["retry-after"]) == (503, 14, "30")
    sqlite(admin.operations_client.engine.store).writer.full = False
    assert (await admin.ask("POST", path, finding)).status == 200


async def test_an_unknown_id_and_another_tenants_id_get_the_same_bytes(admin: AppClient) -> None:
    await a_foreign_id_is_as_good_as_an_unknown_one(admin)


async def names_the_id(services: Services, call: Call, body: Any) -> Answer:
    raise NotFound(f"no run {call.path['id']}")


async def denies_what_is_there(services: Services, call: Call, body: Any) -> Answer:
    refs = [Ref(row.id, int(call.path["id"])) for row in await services.store.access.tenants()]
    found = [await services.store.executions.get(ref) for ref in refs]
    raise PermissionDenied if any(found) else NotFound


@pytest.mark.parametrize("handler", [names_the_id, denies_what_is_there])
async def test_an_answer_that_tells_another_tenants_id_from_an_unknown_one_is_found_out(handler: Handler) -> None:
    rows = [replace(row, handler=handler) if row.id.endswith(".TerminateAutomation") else row for row in OPERATIONS]
    async with app_client(rows) as admin:
        with pytest.raises(AssertionError):
            await a_foreign_id_is_as_good_as_an_unknown_one(admin)


async def test_a_header_that_means_nothing_twice_is_refused(admin: AppClient) -> None:
    scope_headers = [("host", "localhost"), ("host", "acme.example")]
    caller = Caller([b""])
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/healthz",
        "raw_path": b"/healthz",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in scope_headers],
        "client": ("127.0.0.1", 1),
    }
    await admin.api(scope, caller.receive, caller.send)
    assert caller.answer.status == 400
