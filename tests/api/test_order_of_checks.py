"""What a request has to pass, in this order: host, token, path, method, right, lane, body, parse."""

from __future__ import annotations

import pytest

from interlock.operations.operation import Operation
from interlock.operations.table import OPERATIONS
from interlock.ports import Role
from tests.api.app_client import EVERY, AppClient, path_of

pytestmark = pytest.mark.anyio

GUARDED = [row for row in OPERATIONS if row.permission is not None]
ids = [row.id for row in GUARDED]
POISON = b'{"a": NaN'


async def test_an_unknown_host_is_not_found_for_any_caller(admin: AppClient) -> None:
    for path in ("/healthz", "/api/v1/automations", "/nothing"):
        answer = await admin.ask("GET", path, host="acme.example")
        assert (answer.status, answer.tree["code"]) == (404, 5)


@pytest.mark.parametrize("host", ["", "two words", "a" * 300, "[::1", "x:99999999"])
async def test_what_is_no_host_is_refused(admin: AppClient, host: str) -> None:
    assert (await admin.ask("GET", "/healthz", host=host)).status == 400


@pytest.mark.parametrize(
    ("method", "path"), [*EVERY, ("GET", "/api/v1/nothing"), ("BREW", "/interlock"), ("GET", "/api")]
)
@pytest.mark.parametrize("token", [None, "nonsense", "interlock_at_" + "0" * 50])
async def test_without_a_good_token_the_answer_is_401_before_anything_else(
    admin: AppClient, method: str, path: str, token: str | None
) -> None:
    if "/callback/" in path:
        return
    answer = await admin.ask(method, path, POISON, token=token, headers=[("content-type", "text/plain")])
    assert (answer.status, answer.tree["code"]) == (401, 16)
    assert answer.headers["www-authenticate"].startswith('Bearer realm="localhost"')


async def test_a_token_stands_in_one_header_given_once(admin: AppClient) -> None:
    for value in (f"Basic {admin.token}", f"Bearer {admin.token} x", "Bearer", admin.token):
        assert (await admin.ask("GET", "/api/v1/automations", headers=[("authorization", value)])).status == 401
    assert (await admin.ask("GET", f"/api/v1/automations?access_token={admin.token}", token=None)).status == 401
    for value in (f"bearer {admin.token}", f"BEARER  {admin.token} "):
        assert (await admin.ask("GET", "/api/v1/automations", headers=[("authorization", value)])).status == 200


@pytest.mark.parametrize("path", ["/", "/api/v1", "/api/v1/nothing", "/interlock/v2/x", "//api/v1/automations"])
async def test_an_unknown_path_is_not_found(admin: AppClient, path: str) -> None:
    answer = await admin.ask("GET", path)
    message = "no operation has this path; GET /openapi.json lists the operations"
    assert (answer.status, answer.tree) == (404, {"code": 5, "message": message, "details": []})


@pytest.mark.parametrize("operation", OPERATIONS, ids=[row.id for row in OPERATIONS])
async def test_a_slash_too_many_is_another_path(admin: AppClient, operation: Operation) -> None:
    assert (await admin.ask(operation.method, f"{path_of(operation)}/")).status == 404


@pytest.mark.parametrize("path", sorted({path for _, path in EVERY} | {"/healthz", "/openapi.json"}))
async def test_a_known_path_says_which_methods_it_takes(admin: AppClient, path: str) -> None:
    answer = await admin.ask("BREW", path)
    assert (answer.status, answer.tree["code"]) == (405, 12)
    allowed = {method for method, known in EVERY if known == path} or {"GET"}
    if "GET" in allowed:
        allowed.add("HEAD")
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("operation", GUARDED, ids=ids)
async def test_a_right_is_looked_at_before_the_body(admin: AppClient, operation: Operation) -> None:
    answer = await admin.ask(operation.method, path_of(operation), POISON, token=admin.tokens[Role.READ_ONLY])
    reads = str(operation.permission).endswith(".read")
    assert (answer.status == 403) == (not reads)


async def test_every_answer_is_json_uncacheable_and_has_its_own_id(admin: AppClient) -> None:
    answers = [await admin.ask("GET", path) for path in ("/api/v1/automations", "/nothing", "/healthz")]
    for answer in answers:
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert int(answer.headers["content-length"]) == len(answer.body)
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
