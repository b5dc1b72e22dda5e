"""Page tokens lead on through one query of one tenant, and are good for nothing else."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.errors import InvalidArgument
from interlock.operations.paging import MAX_PAGE_BYTES
from tests.operations.operations_client import GREET, WAIT, OperationsClient, operations_client

pytestmark = pytest.mark.anyio


async def test_pages_hold_every_row_once(admin: OperationsClient) -> None:
    made = {await admin.make(WAIT) for _ in range(23)}
    seen: list[str] = []
    token = ""
    for size in (10, 10, 3):
        page = (await admin.ask("ListAutomations", query={"page_size": "10", "page_token": token})).body
        assert len(page["list"]) == size
        seen += [row["id"] for row in page["list"]]
        token = page["nextPageToken"]
    assert token == ""
    assert len(seen) == 23
    assert set(seen) == made


LARGE = 300_000
"""Bytes of an automation's description: three and a bit fill a page."""


async def all_pages(
    admin: OperationsClient, name: str, body: dict[str, Any] | None = None
) -> list[list[dict[str, Any]]]:
    """Every page that a list gives, by following its tokens."""
    pages: list[list[dict[str, Any]]] = []
    token = ""
    while not pages or token:
        if body is None:
            page = (await admin.ask(name, query={"page_size": "100", "page_token": token})).body
        else:
            page = (await admin.ask(name, {**body, "pageSize": 100, "pageToken": token})).body
        token = page["nextPageToken"]
        pages.append(page["list"])
        assert len(json.dumps(page)) < 2 * MAX_PAGE_BYTES + LARGE
    return pages


async def test_pages_of_large_rows_end_early_and_lose_none(admin: OperationsClient) -> None:
    made = {await admin.make(WAIT, description=f"{number:03}" * (LARGE // 3)) for number in range(11)}
    for name, body in (("ListAutomations", None), ("SearchAutomations", {})):
        pages = await all_pages(admin, name, body)
        assert max(map(len, pages)) < 11
        seen = [row["id"] for page in pages for row in page]
        assert len(seen) == 11
        assert set(seen) == made


async def test_a_row_larger_than_a_page_is_a_page_of_its_own(admin: OperationsClient) -> None:
    text = "x" * 900_000
    made = {await admin.make(WAIT, description=text) for _ in range(3)}
    pages = await all_pages(admin, "ListAutomations")
    assert [len(page) for page in pages] == [1, 1, 1]
    assert {row["id"] for page in pages for row in page} == made


async def test_pages_of_versions_end_early_and_lose_none(admin: OperationsClient) -> None:
    automation = await admin.make(GREET)
    for number in range(7):
        context = {"context": {"text": str(number) * LARGE}}
        sent = {"automation": {"context": context}, "updateMask": "context"}
        await admin.ask("UpdateAutomation", sent, id=automation)
    pages = await all_pages(admin, "SearchAutomationTemplateVersions", {"automationTemplateId": automation})
    assert max(map(len, pages)) < 8
    assert [int(row["version"]) for page in pages for row in page] == [8, 7, 6, 5, 4, 3, 2, 1]


@given(st.lists(st.sampled_from(["start", "stop", "read", "make", "drop"]), max_size=30), st.randoms())
@settings(max_examples=40, deadline=None)
def test_a_scan_gives_what_there_was_exactly_once_whatever_is_written_meanwhile(
    between: list[str], chance: Random
) -> None:
    """Of what there was when it began, less what was deleted meanwhile; nothing twice."""

    async def scan() -> None:
        async with operations_client() as admin:
            automations = [await admin.make(WAIT) for _ in range(25)]
            runs = [await admin.start(automations[0]) for _ in range(25)]
            dropped: set[str] = set()
            seen_runs, seen_automations = [], []
            run_token = automation_token = ""
            todo = list(between)
            for first in (True, False, False, False, False, False, False):
                if first or run_token:
                    page = (await admin.ask("ListAutomationExecutions", query=query(run_token))).body
                    seen_runs += [int(row["id"]) for row in page["automationExecutions"]]
                    run_token = page["nextPageToken"]
                if first or automation_token:
                    page = (await admin.ask("ListAutomations", query=query(automation_token))).body
                    seen_automations += [row["id"] for row in page["list"]]
                    automation_token = page["nextPageToken"]
                for _ in range(5):
                    match todo.pop() if todo else "":
                        case "start":
                            await admin.start(chance.choice([a for a in automations if a not in dropped]))
                        case "stop":
                            await admin.ask("TerminateAutomation", id=chance.choice(runs))
                        case "make":
                            await admin.make(WAIT)
                        case "drop" if len(dropped) < 20:
                            automation = chance.choice([a for a in automations if a not in dropped])
                            await admin.ask("DeleteAutomation", id=automation)
                            dropped.add(automation)
            assert run_token == automation_token == ""
            assert len(set(seen_runs)) == len(seen_runs)
            assert set(runs) <= set(seen_runs)
            assert len(set(seen_automations)) == len(seen_automations)
            assert set(automations) - dropped <= set(seen_automations)

    def query(token: str) -> dict[str, str]:
        return {"page_size": "10", "page_token": token}

    asyncio.run(scan())


@pytest.mark.parametrize(("asked", "size"), [("", 25), ("0", 25), ("1", 10), ("-5", 10), ("50", 50), ("9999", 100)])
async def test_the_size_of_a_page_is_clamped(admin: OperationsClient, asked: str, size: int) -> None:
    automation = await admin.make(GREET)
    for _ in range(101):
        await admin.ask("ExecuteAutomation", id=automation)
    page = (await admin.ask("ListAutomationExecutions", query={"page_size": asked})).body
    assert len(page["automationExecutions"]) == size


async def test_a_size_that_is_no_number_is_named(admin: OperationsClient) -> None:
    with pytest.raises(InvalidArgument, match="page_size: must be a whole number"):
        await admin.ask("ListAutomations", query={"page_size": "ten"})


@pytest.mark.parametrize("token", ["x", "====", "é", "A" * 5000, "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"])
async def test_garbage_is_refused_naming_the_field(admin: OperationsClient, token: str) -> None:
    with pytest.raises(InvalidArgument, match="page_token: is not a token for this query"):
        await admin.ask("ListAutomations", query={"page_token": token})
    with pytest.raises(InvalidArgument, match="pageToken: is not a token for this query"):
        await admin.ask("SearchAutomations", {"pageToken": token})


async def test_a_token_is_good_for_its_query_and_its_tenant_alone(admin: OperationsClient) -> None:
    eve = await admin.of_another_tenant()
    for _ in range(11):
        await admin.make(WAIT)
        await eve.make(WAIT)
    body = {"pageSize": 10, "query": "automation"}
    token = (await admin.ask("SearchAutomations", body)).body["nextPageToken"]
    assert len((await admin.ask("SearchAutomations", {**body, "pageToken": token})).body["list"]) == 1
    with pytest.raises(InvalidArgument):
        await eve.ask("SearchAutomations", {**body, "pageToken": token})
    with pytest.raises(InvalidArgument):
        await admin.ask("SearchAutomations", {"pageSize": 10, "query": "an", "pageToken": token})
    with pytest.raises(InvalidArgument):
        await admin.ask("ListAutomations", query={"page_token": token})
