"""The head of every answer: its own list, each name once, the same whenever the same is asked."""

from __future__ import annotations

import pytest

from interlock.api.app import resource_of
from interlock.errors import FailedPrecondition, InvalidArgument, Problem
from interlock.operations.table import OPERATIONS
from simulation.asgi import Caller
from tests.api.app_client import EVERY, AppClient

pytestmark = pytest.mark.anyio

ENDPOINTS = [
    ("GET", path)
    for path in ("/healthz", "/readyz", "/openapi.json", "/openapi.yaml", "/auth/v1/jwks", "/metrics", "/docs", "/none")
] + [("POST", "/auth/v1/token"), ("PUT", "/healthz"), ("OPTIONS", "/api/v1/automations"), ("HEAD", "/openapi.json")]
CHANGING = {"x-request-id", "content-length"}


async def head_of(admin: AppClient, method: str, path: str, token: str | None) -> tuple[int, list[tuple[str, str]]]:
    caller = Caller([b""])
    await admin.ask(method, path, token=token, caller=caller)
    start = caller.sent[0]
    return start["status"], [(name.decode(), value.decode()) for name, value in start["headers"]]


@pytest.mark.parametrize("token", ["", None], ids=["with a token", "without"])
@pytest.mark.parametrize(("method", "path"), EVERY + ENDPOINTS, ids=lambda value: value)
async def test_three_answers_have_the_same_head(admin: AppClient, method: str, path: str, token: str | None) -> None:
    heads = [await head_of(admin, method, path, token) for _ in range(3)]
    for _, head in heads:
        names = [name for name, _ in head]
        assert len(names) == len(set(names)), names
        assert "cache-control" in names
        assert "x-request-id" in names
    # A key that is used once makes a resource once: what counts is that no head grows.
    shapes = [
        (status, [(name, "" if name in CHANGING else value) for name, value in head]) for status, head in heads[1:]
    ]
    assert shapes[0] == shapes[1]
    assert len({value for _, head in heads for name, value in head if name == "x-request-id"}) == 3


async def test_key_set_says_once_how_long_it_may_be_kept(admin: AppClient) -> None:
    _, head = await head_of(admin, "GET", "/auth/v1/jwks", None)
    assert [value for name, value in head if name == "cache-control"] == ["max-age=300"]


@pytest.mark.parametrize("path", ["/healthz", "/openapi.json", "/auth/v1/jwks", "/api/v1/automations"])
async def test_head_is_answered_as_get_would_be(admin: AppClient, path: str) -> None:
    get, head = await admin.ask("GET", path), await admin.ask("HEAD", path)
    assert head.status == get.status
    assert {**head.headers, "x-request-id": ""} == {**get.headers, "x-request-id": ""}


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PATCH", "DELETE", "BREW"])
async def test_other_methods_hear_which_ones_the_path_takes(admin: AppClient, method: str) -> None:
    answer = await admin.ask(method, "/api/v1/automations")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    assert (await admin.ask(method, "/auth/v1/token", token=None)).headers["allow"] == "POST"


async def test_head_of_a_path_that_takes_only_post_is_refused(admin: AppClient) -> None:
    answer = await admin.ask("HEAD", "/auth/v1/token", token=None)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_what_is_not_found_is_named(admin: AppClient) -> None:
    for path, what in (
        ("/api/v1/automation_executions/839265", "execution not found"),
        ("/api/v1/automations/none", "automation not found"),
        ("/interlock/v1/bulkTerminations/none", "bulk termination not found"),
        ("/api/v1/webhooks/none", "webhook not found"),
        ("/api/v1/nothing", "no operation has this path"),
    ):
        answer = await admin.ask("GET", path)
        assert (answer.status, answer.tree["code"]) == (404, 5)
        assert answer.tree["message"].startswith(what), path
    answer = await admin.ask("GET", "/healthz", host="other.example")
    assert answer.tree["message"].startswith("no tenant answers to this host name")


@pytest.mark.parametrize("operation", [row for row in OPERATIONS if row.parameters], ids=lambda row: row.id)
def test_every_path_with_a_parameter_names_its_resource(operation: object) -> None:
    assert resource_of(operation.path) != "resource"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("", "bad", line=1, column=464), "line 1, column 464: bad"),
        (Problem("a", "bad", line=1, column=464), "a, line 1, column 464: bad"),
        (Problem("a", "bad", step="s"), "a (step 's'): bad"),
        (Problem("", "bad", step="s", line=2, column=3), "step 's', line 2, column 3: bad"),
        (Problem("", "bad"), "bad"),
    ],
)
def test_a_problem_reads_well_whatever_it_lacks(problem: Problem, text: str) -> None:
    assert str(problem) == text
    assert InvalidArgument(problems=(problem,)).message == text


async def test_precondition_failures_have_a_type(admin: AppClient) -> None:
    step = {"stepName": "x", "sendEmail": {"subject": "a", "body": "b", "useSubjectUser": True}}
    answer = await admin.ask("POST", "/api/v1/automations", {"displayName": "n", "automationSteps": [step]})
    [detail] = answer.tree["details"]
    assert answer.tree["code"] == 9
    assert [violation["type"] for violation in detail["violations"]] == [FailedPrecondition.code]


@pytest.mark.parametrize("query", ["page_size=10&page_token=abc", "pageSize=10&pageToken=abc", "pageToken=abc&x=%zz"])
async def test_query_members_are_known_in_both_spellings(admin: AppClient, query: str) -> None:
    answer = await admin.ask("GET", f"/api/v1/automations?{query}")
    assert (answer.status, answer.fields) == (400, ["page_token"])


async def test_a_member_in_two_spellings_is_given_twice(admin: AppClient) -> None:
    answer = await admin.ask("GET", "/api/v1/automations?page_size=10&pageSize=20")
    assert (answer.status, answer.fields) == (400, ["page_size"])


async def test_streams_and_lost_callers_are_counted(admin: AppClient) -> None:
    caller = Caller([b""])
    caller.gone.set()
    await admin.ask("GET", "/interlock/v1/executions/839265/events", caller=caller)
    text = (await admin.ask("GET", "/metrics")).body.decode()
    assert "interlock_streams_open 0.0" in text
    assert 'FollowExecution",status="404"' in text
